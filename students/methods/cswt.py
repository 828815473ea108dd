"""Cosine-similarity weighted temperature (Ham et al., 2023, arXiv 2311.14307)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from data.errors import ConfigError
from students.methods import Batch, at_least_float32, check_not_negative, check_positive, methods
from students.methods.ce import cross_entropy
from students.ranks import cosine

if TYPE_CHECKING:
    from torch import Tensor


def similarity(logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Cosine between the probabilities of student and teacher at temperature 1, of each row, without gradient.

    Args:
        logits: student, (B, C).
        teacher_logits: teacher, (B, C).

    Returns:
        (B,), in [0, 1].
    """
    student, teacher = (at_least_float32(item.detach()).softmax(dim=1) for item in (logits, teacher_logits))
    return cosine(student, teacher, 1)


def weighted_temperatures(similarities: Tensor, low: float, high: float) -> Tensor:
    """Temperatures from ``low`` for the most similar row of a batch to ``high`` for the least similar one.

    Args:
        similarities: (B,).
        low: smallest temperature.
        high: largest temperature.

    Returns:
        (B, 1); all ``low`` where all rows are equally similar.
    """
    most, least = similarities.max(), similarities.min()
    span = most - least
    share = (most - similarities) / span.masked_fill(span == 0, 1.0)
    return (low + (high - low) * share)[:, None]


def column_distance(logits: Tensor, teacher_logits: Tensor, temperature: float | Tensor) -> Tensor:
    """2 T^2 times one less the cosine of softened probabilities of each class along the batch, mean over classes.

    Args:
        logits: student, (B, C).
        teacher_logits: teacher, (B, C); no gradient flows into them.
        temperature: T > 0, or one a row (B, 1), whose mean is then the T of the factor.

    Returns:
        A scalar.
    """
    student = (at_least_float32(logits) / temperature).softmax(dim=1)
    teacher = (at_least_float32(teacher_logits.detach()) / temperature).softmax(dim=1)
    scale = temperature if isinstance(temperature, float) else temperature.mean()
    return 2 * scale**2 * (1.0 - cosine(student, teacher, 0)).mean()


@methods.register("cswt")
@dataclass(frozen=True)
class CosineWeightedTemperature:
    """Column cosine distances at a fixed temperature and at temperatures that grow as student and teacher disagree.

    Differs from its source in: one view of each image; the terms on Gram matrices of batch and classes, which are
    those of multi-level logits, are left out; the range of temperatures was not to be read, so that 2 to 6 is this
    project's choice.

    needs: labels, teacher outputs (cached are enough). Tasks: classification.

    Args:
        low: temperature of the most similar row of a batch, above 0.
        high: temperature of the least similar row, at least ``low``.
        temperature: of the fixed term, above 0.
        adaptive_weight: weight of the term with the temperatures of rows, at least 0.
        fixed_weight: weight of the fixed term, at least 0.
        ce_weight: weight of the labels, at least 0.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"labels", "teacher_outputs"})
    tasks: ClassVar[frozenset[str]] = frozenset({"class"})

    low: float = 2.0
    high: float = 6.0
    temperature: float = 4.0
    adaptive_weight: float = 1.0
    fixed_weight: float = 1.0
    ce_weight: float = 1.0

    def __post_init__(self) -> None:
        check_positive("cswt", "low", self.low, 2.0)
        check_positive("cswt", "temperature", self.temperature, 4.0)
        for option in ("adaptive_weight", "fixed_weight", "ce_weight"):
            check_not_negative("cswt", option, getattr(self, option), 1.0)
        check_positive("cswt", "high", self.high, 6.0)
        if self.high < self.low:
            raise ConfigError(
                f"option 'high' of method 'cswt' must be at least low, {self.low}, got {self.high}; "
                f"try {self.low + 4.0:g}."
            )

    @property
    def learns_labels(self) -> bool:
        """Whether labels have a weight."""
        return self.ce_weight > 0.0

    def __call__(self, batch: Batch, outputs: Tensor, progress: float) -> dict[str, Tensor]:
        """The parts of the loss: ``ce``, ``fixed`` and ``adaptive``."""
        teacher = batch.teacher()
        temperatures = weighted_temperatures(similarity(outputs, teacher), self.low, self.high)
        return {
            "ce": self.ce_weight * cross_entropy(outputs, batch.labels),
            "fixed": self.fixed_weight * column_distance(outputs, teacher, self.temperature),
            "adaptive": self.adaptive_weight * column_distance(outputs, teacher, temperatures),
        }
