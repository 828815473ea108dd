"""Confidence-conditioned KD (Mishra and Sundaram, 2021, arXiv 2107.06993)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from students.methods import (
    Batch,
    at_least_float32,
    check_choice,
    check_positive,
    class_probabilities,
    methods,
    target_classes,
)

if TYPE_CHECKING:
    from torch import Tensor


def confidence(teacher_logits: Tensor, labels: Tensor) -> Tensor:
    """The teacher's probability of the target class at temperature 1.

    Args:
        teacher_logits: (B, C).
        labels: int64 (B,), or soft labels (B, C), whose most probable class is the target.

    Returns:
        (B, 1), in [0, 1].
    """
    probabilities = at_least_float32(teacher_logits.detach()).softmax(dim=1)
    return probabilities.gather(1, target_classes(labels)[:, None])


def conditioned_losses(
    logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Soft cross entropy to the teacher by its confidence, and cross entropy to the labels by the rest.

    Args:
        logits: student, (B, C).
        teacher_logits: teacher, (B, C); no gradient flows into them.
        labels: int64 (B,), or soft labels (B, C).
        temperature: T > 0 of the teacher's half on both sides.

    Returns:
        Means of lambda H(p_t^T, p_s^T) and of (1 - lambda) CE, scalars.
    """
    share = confidence(teacher_logits, labels)
    student = at_least_float32(logits)
    wanted = (at_least_float32(teacher_logits.detach()) / temperature).softmax(dim=1)
    known = class_probabilities(labels, logits)
    of_teacher = -(share * wanted * (student / temperature).log_softmax(dim=1)).sum(dim=1).mean()
    of_labels = -((1.0 - share) * known * student.log_softmax(dim=1)).sum(dim=1).mean()
    return of_teacher, of_labels


def conditioned_target_loss(logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Cross entropy to targets that are teacher and label in the proportion of the teacher's confidence.

    Args:
        logits: student, (B, C).
        teacher_logits: teacher, (B, C); no gradient flows into them.
        labels: int64 (B,), or soft labels (B, C).
        temperature: T > 0 of teacher and student.

    Returns:
        The mean of H(lambda p_t^T + (1 - lambda) y, p_s^T), a scalar.
    """
    share = confidence(teacher_logits, labels)
    wanted = (at_least_float32(teacher_logits.detach()) / temperature).softmax(dim=1)
    blend = share * wanted + (1.0 - share) * class_probabilities(labels, logits)
    return -(blend * (at_least_float32(logits) / temperature).log_softmax(dim=1)).sum(dim=1).mean()


@methods.register("cckd")
@dataclass(frozen=True)
class ConfidenceConditioned:
    """Each row learns from the teacher as far as the teacher believes in its label, and from the label otherwise.

    "loss" divides the loss between the two, "target" blends them into one target; at temperature 1 both are the
    same. Differs from the paper in: it was read in another's implementation, whose cross entropy of the "loss" form
    is the batch's mean, while here it is each row's own; the form that skips rows already learned is left out; soft
    labels have the confidence of their most probable class.

    needs: labels, teacher outputs (cached are enough). Tasks: classification.

    Args:
        form: "loss" or "target".
        temperature: T, above 0.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"labels", "teacher_outputs"})
    tasks: ClassVar[frozenset[str]] = frozenset({"class"})
    learns_labels: ClassVar[bool] = False

    form: str = "loss"
    temperature: float = 1.0

    def __post_init__(self) -> None:
        check_choice("cckd", "form", self.form, ("loss", "target"))
        check_positive("cckd", "temperature", self.temperature, 1.0)

    def __call__(self, batch: Batch, outputs: Tensor, progress: float) -> dict[str, Tensor]:
        """The parts of the loss: ``teacher`` and ``remainder``, or ``blend``."""
        if self.form == "target":
            blend = conditioned_target_loss(outputs, batch.teacher(), batch.labels, self.temperature)
            return {"blend": blend}
        teacher, remainder = conditioned_losses(outputs, batch.teacher(), batch.labels, self.temperature)
        return {"teacher": teacher, "remainder": remainder}
