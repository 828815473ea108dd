"""Distillation on mixed images: mixup or CutMix, with the teacher's answers mixed like labels, or asked for anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from students.methods import Batch, at_least_float32, check_choice, check_not_negative, check_positive, methods
from students.methods.ce import cross_entropy
from students.methods.kd import kd_loss
from students.methods.mse import squared_error

if TYPE_CHECKING:
    from torch import Tensor


def label_error(outputs: Tensor, labels: Tensor, classes: bool) -> Tensor:
    """Cross entropy of classes, squared error of numbers; a scalar."""
    return cross_entropy(outputs, labels) if classes else squared_error(outputs, labels)


def teacher_error(outputs: Tensor, answers: Tensor, loss: str, temperature: float) -> Tensor:
    """How far the student is from the teacher.

    Args:
        outputs: student, (B, K).
        answers: teacher, (B, K); no gradient flows into them.
        loss: "ce" (cross entropy with the teacher's probabilities), "kl" (T^2 KL) or "mse" (of the outputs).
        temperature: T, of "kl".

    Returns:
        A scalar.
    """
    if loss == "kl":
        return kd_loss(outputs, answers, temperature)
    if loss == "mse":
        return squared_error(outputs, at_least_float32(answers))
    return cross_entropy(outputs, at_least_float32(answers.detach()).softmax(dim=1))


@methods.register("mixup_kd")
@dataclass(frozen=True)
class MixupDistillation:
    """l D(s(x), 1) + (1 - l) D(s(x), 2) on x = l x_1 + (1 - l) x_2, where D compares with label and teacher.

    Source: the mixup and CutMix baselines of Wilf et al. (2023, arXiv 2311.02253), in which the teacher's cached
    answers to both images are targets. With ``live`` the teacher answers the mixed image itself, as in MixKD (Liang et
    al., 2021, arXiv 2011.00593), which mixes embeddings of words and takes loss "mse". Differs from both in: pairs are
    those of one batch with a cyclic permutation of itself, so that no image is mixed with itself; regression, with
    squared errors of both labels and answers.

    needs: labels, the student, and teacher outputs (cached are enough) or with ``live`` the live teacher. Tasks:
    classification, scalar, vector.

    Args:
        mix: "mixup" or "cutmix".
        alpha: the coefficient follows Beta(alpha, alpha), above 0.
        loss: of classes: "ce" at temperature 1, "kl" or "mse"; of numbers it is the squared error.
        temperature: T of "kl", above 0.
        live: whether the teacher answers the mixed images.
        label_weight: of mixed labels, at least 0.
        teacher_weight: of the teacher, at least 0.
        clean_weight: of the labels of the images as they are, at least 0.
    """

    tasks: ClassVar[frozenset[str]] = frozenset({"class", "scalar", "vector"})

    mix: str = "mixup"
    alpha: float = 1.0
    loss: str = "ce"
    temperature: float = 4.0
    live: bool = False
    label_weight: float = 1.0
    teacher_weight: float = 1.0
    clean_weight: float = 0.0

    def __post_init__(self) -> None:
        check_choice("mixup_kd", "mix", self.mix, ("mixup", "cutmix"))
        check_positive("mixup_kd", "alpha", self.alpha, 1.0)
        check_choice("mixup_kd", "loss", self.loss, ("ce", "kl", "mse"))
        check_positive("mixup_kd", "temperature", self.temperature, 4.0)
        for option in ("label_weight", "teacher_weight", "clean_weight"):
            check_not_negative("mixup_kd", option, getattr(self, option), 1.0)

    @property
    def needs(self) -> frozenset[str]:
        """The live teacher, or its cached answers."""
        return frozenset({"labels", "student", "live_teacher" if self.live else "teacher_outputs"})

    @property
    def learns_labels(self) -> bool:
        """Whether labels have a weight."""
        return self.label_weight > 0.0 or self.clean_weight > 0.0

    def __call__(self, batch: Batch, outputs: Tensor, progress: float) -> dict[str, Tensor]:
        """The parts of the loss: ``label`` and ``teacher``."""
        from students.mixing import cutmix, mixup

        classes, loss = batch.has_classes, self.loss if batch.has_classes else "mse"
        mix = mixup if self.mix == "mixup" else cutmix
        mixed = mix(batch.seen().detach(), batch.randomness(), alpha=self.alpha)
        student = batch.ask_student(mixed.images)
        own, other = mixed.coefficient, 1.0 - mixed.coefficient

        label = own * label_error(student, batch.labels, classes)
        label = label + other * label_error(student, batch.labels[mixed.partner], classes)
        if self.live:
            teacher = teacher_error(student, batch.asked()(mixed.images), loss, self.temperature)
        else:
            answers = batch.teacher()
            teacher = own * teacher_error(student, answers, loss, self.temperature)
            teacher = teacher + other * teacher_error(student, answers[mixed.partner], loss, self.temperature)
        clean = self.clean_weight * label_error(outputs, batch.labels, classes) if self.clean_weight else 0.0
        return {"label": self.label_weight * label + clean, "teacher": self.teacher_weight * teacher}
