"""Mean squared error: the student (or teacher) learns a scalar from labels alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from students.methods import Batch, at_least_float32, methods

if TYPE_CHECKING:
    from torch import Tensor


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean squared error.

    Args:
        outputs: predictions, (B, 1).
        targets: (B,) or (B, 1), in the unit of ``outputs``; no gradient flows into them.

    Returns:
        The mean over the batch, a scalar.
    """
    # The reshape keeps (B, 1) - (B,) from silently becoming a (B, B) table.
    return (at_least_float32(outputs) - targets.detach().reshape(outputs.shape)).square().mean()


@methods.register("mse")
@dataclass(frozen=True)
class SquaredError:
    """Plain regression on standardised labels.

    needs: labels. Tasks: scalar.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"labels"})
    tasks: ClassVar[frozenset[str]] = frozenset({"scalar"})

    def __call__(self, batch: Batch, outputs: Tensor, progress: float) -> dict[str, Tensor]:
        """The parts of the loss: ``mse``."""
        return {"mse": squared_error(outputs, batch.labels)}
