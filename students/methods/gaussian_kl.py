"""Gaussian distillation: the student predicts a mean and a variance (Saputra et al., 2019, arXiv 1908.00858)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from students.methods import Batch, Sizes, at_least_float32, check_not_negative, check_share, methods
from students.methods.mse import residuals

if TYPE_CHECKING:
    from torch import Tensor, nn

#: The log variance stays within these bounds, so that standard deviations are between 0.007 and 150 of the labels'.
LARGEST_LOG_VARIANCE = 10.0

#: Smallest standard deviation taken for a teacher from its errors: one that has learnt its rows by heart has almost
#: none, and the loss, whose slope in the mean grows as the inverse of the deviation, would become too steep.
SMALLEST_TEACHER_STD = 0.05


def gaussian_kl_loss(outputs: Tensor, log_variance: Tensor, teacher: Tensor, teacher_std: float) -> Tensor:
    """KL(teacher || student) of normal distributions, mean over batch and axes.

    log(s_s / s_t) + (s_t^2 + (m_t - m_s)^2) / (2 s_s^2) - 1/2, with means m and standard deviations s.

    Args:
        outputs: the student's means, (B, L).
        log_variance: log s_s^2, (B, L).
        teacher: the teacher's means, (B, L); no gradient flows into them.
        teacher_std: s_t, above 0.

    Returns:
        A scalar.
    """
    # (s_t / s_s)^2 as one exponential, so that neither variance is ever formed alone.
    log_ratio = -log_variance + 2.0 * math.log(teacher_std)
    distance = residuals(outputs, teacher).square() * (-log_variance).exp()
    return 0.5 * (log_ratio.exp() - log_ratio + distance - 1.0).mean()


def negative_log_likelihood(outputs: Tensor, log_variance: Tensor, labels: Tensor) -> Tensor:
    """(log s^2 + (y - m)^2 / s^2) / 2, mean over batch and axes; the constant log(2 pi) / 2 is left out."""
    return 0.5 * (log_variance + residuals(outputs, labels).square() * (-log_variance).exp()).mean()


@methods.register("gaussian_kl")
@dataclass(frozen=True)
class GaussianKL:
    """a NLL(label) + (1 - a) KL(teacher || student), the student's output being the mean of a normal distribution.

    Its log variance comes from a linear layer on the student's penultimate features, which is trained with the
    student and is no part of the result: that has the mean alone, as with every other method. Differs from the paper's
    probabilistic imitation in: the teacher has a variance too, one for all rows; labels and predictions are
    standardised by the training labels; means over axes instead of sums.

    needs: labels, teacher outputs (cached are enough), the student's features, and teacher errors unless
    ``teacher_std`` is given. Tasks: scalar, vector.

    Args:
        label_weight: a, in [0, 1].
        teacher_std: standard deviation of the teacher, in those of the training labels; 0 for the root of its mean
            squared error on the training rows.
    """

    tasks: ClassVar[frozenset[str]] = frozenset({"scalar", "vector"})

    label_weight: float = 0.5
    teacher_std: float = 0.0

    def __post_init__(self) -> None:
        check_share("gaussian_kl", "label_weight", self.label_weight, 0.5)
        check_not_negative("gaussian_kl", "teacher_std", self.teacher_std, 0.0)

    @property
    def needs(self) -> frozenset[str]:
        """Errors of the teacher are needed only where its standard deviation is not given."""
        found = frozenset({"labels", "teacher_outputs", "student_features"})
        return found if self.teacher_std > 0.0 else found | {"teacher_errors"}

    def auxiliary(self, sizes: Sizes) -> nn.Module:
        """The layer of the log variance, which starts at 0: the spread of the labels."""
        from torch import nn

        if sizes.student is None:
            raise ValueError("sizes must have the student's features for this method, got none.")
        layer = nn.Linear(sizes.student.pooled.shape[-1], sizes.outputs)
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
        return layer

    @property
    def learns_labels(self) -> bool:
        """Whether labels have a weight."""
        return self.label_weight > 0.0

    def __call__(self, batch: Batch, outputs: Tensor, progress: float) -> dict[str, Tensor]:
        """The parts of the loss: ``label`` and ``teacher``."""
        raw: Tensor = batch.own_network()(at_least_float32(batch.features().pooled))
        # Bounded by a smooth function, because a clamp would have no gradient to come back by.
        log_variance = LARGEST_LOG_VARIANCE * (raw / LARGEST_LOG_VARIANCE).tanh()
        std = self.teacher_std or max(math.sqrt(batch.error_statistics().mean), SMALLEST_TEACHER_STD)
        return {
            "label": self.label_weight * negative_log_likelihood(outputs, log_variance, batch.labels),
            "teacher": (1.0 - self.label_weight) * gaussian_kl_loss(outputs, log_variance, batch.teacher(), std),
        }
