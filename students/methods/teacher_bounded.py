"""Teacher-bounded regression (Chen, Choi, Yu, Han and Chandraker, 2017, NIPS)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from students.methods import Batch, check_not_negative, check_positive, methods
from students.methods.mse import residuals, row_errors, smooth_l1

if TYPE_CHECKING:
    from torch import Tensor


def bounded_error(outputs: Tensor, labels: Tensor, teacher: Tensor, margin: float) -> Tensor:
    """Squared error to the label of the rows in which the student does not beat the teacher by the margin.

    Source: Chen et al. 2017, equation 4: e if e + m > e_teacher, else 0, of squared errors to the label.

    Args:
        outputs: the student's predictions, (B, L).
        labels: (B, L), or (B,) where L is 1.
        teacher: the teacher's predictions, (B, L).
        margin: m, at least 0, a squared error.

    Returns:
        The mean over the batch, a scalar; each error is a mean over axes.
    """
    own = row_errors(outputs, labels)
    return (own * (own + margin > row_errors(teacher.detach(), labels))).mean()


@methods.register("teacher_bounded")
@dataclass(frozen=True)
class TeacherBounded:
    """Smooth L1 error to the label, plus nu times the squared error that counts until the student beats the teacher.

    Differs from the paper in: labels and predictions are standardised, so that the margin is in squared standard
    deviations of the training labels; the squared error is a mean over axes instead of a sum.

    needs: labels, teacher outputs (cached are enough). Tasks: scalar, vector.

    Args:
        bound_weight: nu, above 0.
        margin: by how much the student's squared error must be below the teacher's to be let go, at least 0.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"labels", "teacher_outputs"})
    tasks: ClassVar[frozenset[str]] = frozenset({"scalar", "vector"})

    bound_weight: float = 0.5
    margin: float = 0.0

    def __post_init__(self) -> None:
        check_positive("teacher_bounded", "bound_weight", self.bound_weight, 0.5)
        check_not_negative("teacher_bounded", "margin", self.margin, 0.0)

    def __call__(self, batch: Batch, outputs: Tensor, progress: float) -> dict[str, Tensor]:
        """The parts of the loss: ``label`` and ``bound``."""
        return {
            "label": smooth_l1(residuals(outputs, batch.labels)).mean(),
            "bound": self.bound_weight * bounded_error(outputs, batch.labels, batch.teacher(), self.margin),
        }
