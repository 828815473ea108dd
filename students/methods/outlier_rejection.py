"""Teacher outlier rejection (Takamoto, Morishita and Imaoka, 2020, arXiv 2002.12597)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from students.methods import Batch, ErrorStatistics, check_positive, methods
from students.methods.mse import residuals, row_errors

if TYPE_CHECKING:
    from torch import Tensor

#: Distance, in standard deviations of the labels, below which the robust pull is a parabola.
ROUNDING = 0.01


def outliers(teacher: Tensor, labels: Tensor, errors: ErrorStatistics, threshold: float) -> Tensor:
    """Rows whose label the teacher contradicts: z > threshold, with z = (e - mean) / std of its squared errors e.

    Args:
        teacher: the teacher's predictions, (B, L).
        labels: (B, L), or (B,) where L is 1.
        errors: mean and standard deviation over the training rows.
        threshold: of the z-score.

    Returns:
        bool (B,).
    """
    # The product, not the quotient, so that equal errors (std 0) make no outliers.
    found: Tensor = row_errors(teacher.detach(), labels) > errors.mean + threshold * errors.std
    return found


def robust_errors(outputs: Tensor, teacher: Tensor) -> Tensor:
    """The root of the distance to the teacher, rounded at 0: (d^2 + r^2)^(1/4) - r^(1/2) with r = ``ROUNDING``.

    Its slope stays below 0.32 / r^(1/2), where that of the plain root is infinite at 0.

    Args:
        outputs: the student's predictions, (B, L).
        teacher: (B, L).

    Returns:
        (B,), a mean over axes.
    """
    rounded = (residuals(outputs, teacher).square() + ROUNDING**2).sqrt().sqrt()
    return (rounded - math.sqrt(ROUNDING)).mean(dim=1)


@methods.register("outlier_rejection")
@dataclass(frozen=True)
class OutlierRejection:
    """Squared error to the label, except in rows whose label the teacher contradicts: these are pulled to the teacher.

    Differs from the paper in: one output learns both terms, where the paper gives the network a second head that
    learns the teacher's output; a student here has one output for each axis, in every method. The root is rounded
    at 0. Labels and predictions are standardised by the training labels.

    needs: labels, teacher outputs (cached are enough), teacher errors. Tasks: scalar, vector.

    Args:
        threshold: z-score of the teacher's squared error above which a label is an outlier, above 0.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"labels", "teacher_outputs", "teacher_errors"})
    tasks: ClassVar[frozenset[str]] = frozenset({"scalar", "vector"})

    threshold: float = 2.0

    def __post_init__(self) -> None:
        check_positive("outlier_rejection", "threshold", self.threshold, 2.0)

    def __call__(self, batch: Batch, outputs: Tensor, progress: float) -> dict[str, Tensor]:
        """The parts of the loss: ``label`` and ``teacher``."""
        rejected = outliers(batch.teacher(), batch.labels, batch.error_statistics(), self.threshold)
        return {
            "label": (row_errors(outputs, batch.labels) * ~rejected).mean(),
            "teacher": (robust_errors(outputs, batch.teacher()) * rejected).mean(),
        }
