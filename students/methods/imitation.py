"""Imitation: regression towards label and teacher (Saputra et al., 2019, arXiv 1908.00858)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from students.methods import Batch, check_share, methods
from students.methods.mse import squared_error

if TYPE_CHECKING:
    from torch import Tensor


@methods.register("imitation")
@dataclass(frozen=True)
class Imitation:
    """a (prediction - label)^2 + (1 - a) (prediction - teacher)^2, mean over batch and axes.

    Up to a constant it is the squared error to the blend a * label + (1 - a) * teacher. Differs from the paper in:
    labels and predictions are standardised by the training labels, so that a loss means the same in every unit.

    needs: labels, teacher outputs (cached are enough). Tasks: scalar, vector.

    Args:
        label_weight: a, in [0, 1].
    """

    needs: ClassVar[frozenset[str]] = frozenset({"labels", "teacher_outputs"})
    tasks: ClassVar[frozenset[str]] = frozenset({"scalar", "vector"})

    label_weight: float = 0.5

    def __post_init__(self) -> None:
        check_share("imitation", "label_weight", self.label_weight, 0.5)

    @property
    def learns_labels(self) -> bool:
        """Whether labels have a weight."""
        return self.label_weight > 0.0

    def __call__(self, batch: Batch, outputs: Tensor, progress: float) -> dict[str, Tensor]:
        """The parts of the loss: ``label`` and ``teacher``."""
        return {
            "label": self.label_weight * squared_error(outputs, batch.labels),
            "teacher": (1.0 - self.label_weight) * squared_error(outputs, batch.teacher()),
        }
