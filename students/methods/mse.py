"""Mean squared error: the student (or teacher) learns scalars or vectors from labels alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from students.methods import Batch, at_least_float32, methods

if TYPE_CHECKING:
    from torch import Tensor


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean squared error.

    Args:
        outputs: predictions, (B, L).
        targets: (B, L), or (B,) where L is 1, in the unit of ``outputs``; no gradient flows into them.

    Returns:
        The mean over batch and axes, a scalar.

    Raises:
        ValueError: if the shapes do not fit.
    """
    # (B, 1) - (B,) would silently become a (B, B) table, and a plain reshape would take (L, B) for (B, L).
    if targets.ndim == 1:
        targets = targets[:, None]
    if targets.shape != outputs.shape:
        raise ValueError(
            f"targets must have the shape {tuple(outputs.shape)} of the outputs, got {tuple(targets.shape)}."
        )
    return (at_least_float32(outputs) - targets.detach()).square().mean()


@methods.register("mse")
@dataclass(frozen=True)
class SquaredError:
    """Plain regression on standardised labels.

    needs: labels. Tasks: scalar, vector.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"labels"})
    tasks: ClassVar[frozenset[str]] = frozenset({"scalar", "vector"})

    def __call__(self, batch: Batch, outputs: Tensor, progress: float) -> dict[str, Tensor]:
        """The parts of the loss: ``mse``."""
        return {"mse": squared_error(outputs, batch.labels)}
