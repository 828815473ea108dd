"""Distillation on further augmented images, which the teacher answers (Wang, Lohit, Jones and Fu, 2022)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from students.augmented_view import AUGMENTATIONS, AugmentedView
from students.methods import Batch, check_not_negative, check_positive, methods
from students.methods.ce import cross_entropy
from students.methods.kd import kd_loss
from students.methods.mse import squared_error

if TYPE_CHECKING:
    from torch import Tensor


@methods.register("augmented_kd")
@dataclass(frozen=True)
class AugmentedDistillation:
    """w_l CE(x) + w_t (KD(x) + KD(x')), where the teacher answers the further augmented images x' itself.

    Source: Wang, Lohit, Jones and Fu (2022, arXiv 2012.02909), "What makes a good data augmentation in knowledge
    distillation", and its release. Labels of x' are never used. Differs from the release in: cutout fills with the
    batch's mean pixel; permutations without a fixed point are cyclic; regression, with squared errors.

    needs: labels, the live teacher and the student; with ``cached`` teacher outputs too (cached are enough for x
    alone). Tasks: classification, and but for CutMixPick scalar and vector.

    Args:
        label_weight: w_l, at least 0.
        teacher_weight: w_t, at least 0.
        temperature: T, above 0; of classes.
        cached: whether the teacher's answer to x is the cached one, and not asked for.
        augment: how x' is made: mixup, cutmix, cutout, autoaugment or cutmixpick.
        mixup_alpha: Beta(a, a) of mixup.
        cutmix_alpha: Beta(a, a) of CutMix.
        cutout_pixels: side of the hole.
        policy: of AutoAugment: cifar10, imagenet or svhn.
        pick_runs: runs of CutMix to pick from.
        pick_by: "teacher" or "student": whose entropy decides.
    """

    remedies: ClassVar[Mapping[str, str]] = {"channels": "augment cutmix"}

    label_weight: float = 0.1
    teacher_weight: float = 0.9
    temperature: float = 4.0
    cached: bool = False
    augment: str = "cutmix"
    mixup_alpha: float = 1.0
    cutmix_alpha: float = 1.0
    cutout_pixels: int = 8
    policy: str = "cifar10"
    pick_runs: int = 2
    pick_by: str = "teacher"

    def __post_init__(self) -> None:
        check_not_negative("augmented_kd", "label_weight", self.label_weight, 0.1)
        check_not_negative("augmented_kd", "teacher_weight", self.teacher_weight, 0.9)
        check_positive("augmented_kd", "temperature", self.temperature, 4.0)
        self._view.check("augmented_kd", AUGMENTATIONS[1:])

    @property
    def needs(self) -> frozenset[str]:
        """The live teacher, and with ``cached`` its answers too."""
        return frozenset({"labels", "student", "live_teacher"} | ({"teacher_outputs"} if self.cached else set()))

    @property
    def tasks(self) -> frozenset[str]:
        """Numbers have no entropy to pick by."""
        return frozenset({"class"} if self.augment == "cutmixpick" else {"class", "scalar", "vector"})

    @property
    def channels(self) -> frozenset[int] | None:
        """Those of the augmentation."""
        return self._view.channels

    @property
    def learns_labels(self) -> bool:
        """Whether labels have a weight."""
        return self.label_weight > 0.0

    def __call__(self, batch: Batch, outputs: Tensor, progress: float) -> dict[str, Tensor]:
        """The parts of the loss: ``label``, ``teacher`` and ``teacher_augmented``."""
        teacher = batch.asked()
        answers = batch.teacher() if self.cached else teacher(batch.seen())
        images, further = self._view(batch, teacher)
        label = (cross_entropy if batch.has_classes else squared_error)(outputs, batch.labels)
        return {
            "label": self.label_weight * label,
            "teacher": self._distance(batch, outputs, answers),
            "teacher_augmented": self._distance(batch, batch.ask_student(images), further),
        }

    @property
    def _view(self) -> AugmentedView:
        return AugmentedView(
            augment=self.augment,
            mixup_alpha=self.mixup_alpha,
            cutmix_alpha=self.cutmix_alpha,
            cutout_pixels=self.cutout_pixels,
            policy=self.policy,
            pick_runs=self.pick_runs,
            pick_by=self.pick_by,
            deranged=True,
        )

    def _distance(self, batch: Batch, outputs: Tensor, answers: Tensor) -> Tensor:
        if batch.has_classes:
            return self.teacher_weight * kd_loss(outputs, answers, self.temperature)
        return self.teacher_weight * squared_error(outputs, answers)
