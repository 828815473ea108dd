"""Mean squared error: the student (or teacher) learns scalars or vectors from labels alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from students.methods import Batch, at_least_float32, methods

if TYPE_CHECKING:
    from torch import Tensor


def residuals(outputs: Tensor, targets: Tensor) -> Tensor:
    """Outputs minus targets.

    Args:
        outputs: predictions, (B, L).
        targets: (B, L), or (B,) where L is 1, in the unit of ``outputs``; no gradient flows into them.

    Returns:
        (B, L), float32 at least.

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
    return at_least_float32(outputs) - targets.detach()


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean squared error over batch and axes, a scalar; arguments as those of ``residuals``."""
    return residuals(outputs, targets).square().mean()


def row_errors(outputs: Tensor, targets: Tensor) -> Tensor:
    """Squared error of each row, mean over its axes, (B,); arguments as those of ``residuals``."""
    return residuals(outputs, targets).square().mean(dim=1)


def smooth_l1(differences: Tensor) -> Tensor:
    """Half the square of each element up to a size of 1, its size less 1/2 beyond."""
    size = differences.abs()
    near = size.clamp(max=1.0)
    return near * (size - near / 2.0)


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
