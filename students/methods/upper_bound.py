"""Upper-bound imitation: the teacher counts where it is the better one (Saputra et al., 2019, arXiv 1908.00858)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from students.methods import Batch, check_share, methods
from students.methods.mse import row_errors, squared_error

if TYPE_CHECKING:
    from torch import Tensor


def upper_bound_error(outputs: Tensor, labels: Tensor, teacher: Tensor) -> Tensor:
    """Squared error to the teacher in the rows in which the student is further from the label than the teacher.

    Source: Saputra et al. 2019, the imitation loss with the teacher as upper bound.

    Args:
        outputs: the student's predictions, (B, L).
        labels: (B, L), or (B,) where L is 1.
        teacher: the teacher's predictions, (B, L).

    Returns:
        The mean over the batch, a scalar; each error is a mean over axes.
    """
    worse = row_errors(outputs, labels) > row_errors(teacher.detach(), labels)
    return (row_errors(outputs, teacher) * worse).mean()


@methods.register("upper_bound")
@dataclass(frozen=True)
class UpperBound:
    """a (prediction - label)^2 + (1 - a) (prediction - teacher)^2, the second only where the teacher is closer.

    Differs from the paper in: labels and predictions are standardised by the training labels.

    needs: labels, teacher outputs (cached are enough). Tasks: scalar, vector.

    Args:
        label_weight: a, in [0, 1].
    """

    needs: ClassVar[frozenset[str]] = frozenset({"labels", "teacher_outputs"})
    tasks: ClassVar[frozenset[str]] = frozenset({"scalar", "vector"})

    label_weight: float = 0.5

    def __post_init__(self) -> None:
        check_share("upper_bound", "label_weight", self.label_weight, 0.5)

    @property
    def learns_labels(self) -> bool:
        """Whether labels have a weight."""
        return self.label_weight > 0.0

    def __call__(self, batch: Batch, outputs: Tensor, progress: float) -> dict[str, Tensor]:
        """The parts of the loss: ``label`` and ``teacher``."""
        return {
            "label": self.label_weight * squared_error(outputs, batch.labels),
            "teacher": (1.0 - self.label_weight) * upper_bound_error(outputs, batch.labels, batch.teacher()),
        }
