"""Correlation matching: Pearson for values, soft Spearman for ranks, weighed by the teacher's doubt."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from students.methods import Batch, at_least_float32, check_classes, check_not_negative, check_positive, methods
from students.methods.ce import cross_entropy
from students.ranks import pearson, soft_ranks

if TYPE_CHECKING:
    from torch import Tensor


def doubt(teacher_logits: Tensor) -> Tensor:
    """Entropy of the teacher's probabilities over that of a uniform guess, (B,), in [0, 1].

    Args:
        teacher_logits: (B, C), C at least 2.
    """
    log_probabilities = at_least_float32(teacher_logits.detach()).log_softmax(dim=1)
    return -(log_probabilities.exp() * log_probabilities).sum(dim=1) / math.log(teacher_logits.shape[1])


def scaled_ranks(logits: Tensor, rank_scale: float) -> Tensor:
    """Soft ranks of a row's logits, blended over ``rank_scale`` times their standard deviation.

    Args:
        logits: (B, C).
        rank_scale: above 0.

    Returns:
        (B, C), blind to shift and scale of a row.
    """
    logits = at_least_float32(logits)
    spread = logits.std(dim=1, keepdim=True) + 1e-7
    return soft_ranks(logits / spread, rank_scale)


def correlation_losses(
    logits: Tensor, teacher_logits: Tensor, temperature: float, rank_scale: float
) -> tuple[Tensor, Tensor]:
    """One less Pearson by the teacher's certainty, and one less soft Spearman by its doubt.

    Args:
        logits: student, (B, C).
        teacher_logits: teacher, (B, C); no gradient flows into them.
        temperature: T > 0 of the probabilities that Pearson compares.
        rank_scale: difference of logits, in standard deviations of a row, over which ranks blend, above 0.

    Returns:
        Means of (1 - w) (1 - Pearson) and of w (1 - Spearman), with w the doubt, scalars.
    """
    teacher_logits = at_least_float32(teacher_logits.detach())
    weight = doubt(teacher_logits)
    student = (at_least_float32(logits) / temperature).softmax(dim=1)
    teacher = (teacher_logits / temperature).softmax(dim=1)
    values = 1.0 - pearson(student, teacher, 1)
    ranks = 1.0 - pearson(scaled_ranks(logits, rank_scale), scaled_ranks(teacher_logits, rank_scale), 1)
    return ((1.0 - weight) * values).mean(), (weight * ranks).mean()


@methods.register("correlation")
@dataclass(frozen=True)
class CorrelationMatching:
    """Cross entropy plus teacher_weight T^2 [(1 - w) (1 - Pearson) + w (1 - soft Spearman)], row by row.

    In the manner of Niu et al. (2024, arXiv 2410.06561), which joins both correlations with weights that follow the
    difficulty of a sample. Those weights were not to be read, so that this is not their method: here w is the
    teacher's entropy over log C, ranks are soft by pairwise sigmoids of logits, and the factor T^2 is that of DIST.

    needs: labels, teacher outputs (cached are enough). Tasks: classification, of at least three classes.

    Args:
        temperature: T of the probabilities that Pearson compares, above 0.
        teacher_weight: weight of both correlations, at least 0.
        rank_scale: difference of logits, in standard deviations of a row, over which ranks blend, above 0.
        ce_weight: weight of the labels, at least 0.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"labels", "teacher_outputs"})
    tasks: ClassVar[frozenset[str]] = frozenset({"class"})
    least_classes: ClassVar[int] = 3

    temperature: float = 4.0
    teacher_weight: float = 2.0
    rank_scale: float = 0.5
    ce_weight: float = 1.0

    def __post_init__(self) -> None:
        check_positive("correlation", "temperature", self.temperature, 4.0)
        check_not_negative("correlation", "teacher_weight", self.teacher_weight, 2.0)
        check_positive("correlation", "rank_scale", self.rank_scale, 0.5)
        check_not_negative("correlation", "ce_weight", self.ce_weight, 1.0)

    @property
    def learns_labels(self) -> bool:
        """Whether labels have a weight."""
        return self.ce_weight > 0.0

    def __call__(self, batch: Batch, outputs: Tensor, progress: float) -> dict[str, Tensor]:
        """The parts of the loss: ``ce``, ``pearson`` and ``spearman``."""
        check_classes("correlation", outputs.shape[1], self.least_classes)
        values, ranks = correlation_losses(outputs, batch.teacher(), self.temperature, self.rank_scale)
        factor = self.teacher_weight * self.temperature**2
        return {
            "ce": self.ce_weight * cross_entropy(outputs, batch.labels),
            "pearson": factor * values,
            "spearman": factor * ranks,
        }
