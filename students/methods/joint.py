"""Joint training: the student (or teacher) learns a class and a scalar from labels alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from students.methods import Batch, check_positive, methods, split_outputs
from students.methods.ce import cross_entropy
from students.methods.mse import squared_error

if TYPE_CHECKING:
    from torch import Tensor


@methods.register("joint")
@dataclass(frozen=True)
class Joint:
    """Cross entropy of the class plus w times the squared error of the standardised scalar.

    needs: labels. Tasks: class+scalar.

    Args:
        scalar_weight: w, above 0.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"labels"})
    tasks: ClassVar[frozenset[str]] = frozenset({"class+scalar"})

    scalar_weight: float = 1.0

    def __post_init__(self) -> None:
        check_positive("joint", "scalar_weight", self.scalar_weight, 1.0)

    def __call__(self, batch: Batch, outputs: Tensor, progress: float) -> dict[str, Tensor]:
        """The parts of the loss: ``ce`` and ``mse``."""
        classes, values = batch.both()
        logits, predictions = split_outputs(outputs, values)
        return {
            "ce": cross_entropy(logits, classes),
            "mse": self.scalar_weight * squared_error(predictions, values),
        }
