"""Normalised KD (Yang et al., 2023, ICCV, arXiv 2303.13005)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from students.methods import Batch, at_least_float32, check_not_negative, check_positive, methods, target_classes
from students.methods.ce import cross_entropy
from students.methods.dkd import non_target

if TYPE_CHECKING:
    from torch import Tensor


def nkd_losses(logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Cross entropy of the target weighed by the teacher's confidence, and T^2 that of the normalised rest.

    Source: Yang et al. 2023, equation 8, without its weight.

    Args:
        logits: student, (B, C).
        teacher_logits: teacher, (B, C); no gradient flows into them.
        labels: int64 (B,), or soft labels (B, C), whose most probable class is the target.
        temperature: T > 0 of the rest; the target has temperature 1.

    Returns:
        Mean of -p_t[y] log p_s[y], and T^2 times the mean cross entropy among the other classes, scalars.
    """
    classes = target_classes(labels)
    student, teacher = at_least_float32(logits), at_least_float32(teacher_logits.detach())
    confidence = teacher.softmax(1).gather(1, classes[:, None])
    target = -(confidence * student.log_softmax(1).gather(1, classes[:, None])).mean()
    wanted = (non_target(teacher, classes) / temperature).softmax(1)
    rest = cross_entropy(non_target(student, classes) / temperature, wanted)
    return target, temperature**2 * rest


@methods.register("nkd")
@dataclass(frozen=True)
class NormalisedDistillation:
    """Cross entropy, plus the teacher's confidence in the target, plus gamma T^2 the normalised other classes.

    Differs from the paper in: soft labels count as their most probable class.

    needs: labels, teacher outputs (cached are enough). Tasks: classification.

    Args:
        gamma: weight of the other classes, at least 0; the paper takes 1.5 with temperature 1 for ImageNet and 3.5
            with 3 for CIFAR-100.
        temperature: T of the other classes, above 0.
        target_weight: weight of the teacher's confidence, at least 0.
        ce_weight: weight of the labels, at least 0.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"labels", "teacher_outputs"})
    tasks: ClassVar[frozenset[str]] = frozenset({"class"})

    gamma: float = 1.5
    temperature: float = 1.0
    target_weight: float = 1.0
    ce_weight: float = 1.0

    def __post_init__(self) -> None:
        check_not_negative("nkd", "gamma", self.gamma, 1.5)
        check_positive("nkd", "temperature", self.temperature, 1.0)
        check_not_negative("nkd", "target_weight", self.target_weight, 1.0)
        check_not_negative("nkd", "ce_weight", self.ce_weight, 1.0)

    @property
    def learns_labels(self) -> bool:
        """Whether labels have a weight."""
        return self.ce_weight > 0.0

    def __call__(self, batch: Batch, outputs: Tensor, progress: float) -> dict[str, Tensor]:
        """The parts of the loss: ``ce``, ``target`` and ``non_target``."""
        target, rest = nkd_losses(outputs, batch.teacher(), batch.labels, self.temperature)
        return {
            "ce": self.ce_weight * cross_entropy(outputs, batch.labels),
            "target": self.target_weight * target,
            "non_target": self.gamma * rest,
        }
