"""The second view of a batch, further augmented, that a live teacher answers beside the student."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from students.methods import Batch, check_choice, check_positive

if TYPE_CHECKING:
    from torch import Tensor

#: Ways to make x' from x; "none" for methods that can do without.
AUGMENTATIONS = ("none", "mixup", "cutmix", "cutout", "autoaugment", "cutmixpick")


@dataclass(frozen=True)
class AugmentedView:
    """How the images x' are made from the images x that the student saw.

    Args:
        augment: one of ``AUGMENTATIONS`` but "none".
        mixup_alpha: Beta(a, a) of mixup's coefficient.
        cutmix_alpha: Beta(a, a) of the box of CutMix and CutMixPick.
        cutout_pixels: side of the hole of cutout, which lies in the same place of all images.
        policy: of AutoAugment, see ``students.policies``.
        pick_runs: runs of CutMix that CutMixPick picks from.
        pick_by: who has to be uncertain of the images that CutMixPick picks, "teacher" or "student".
        deranged: whether no image is mixed with itself.
    """

    augment: str
    mixup_alpha: float
    cutmix_alpha: float
    cutout_pixels: int
    policy: str
    pick_runs: int
    pick_by: str
    deranged: bool

    @property
    def channels(self) -> frozenset[int] | None:
        """Numbers of channels that the images may have; None for any."""
        return frozenset({1, 3}) if self.augment == "autoaugment" else None

    def check(self, method: str, choices: tuple[str, ...]) -> None:
        """Checks the options of a method that this was made from.

        Raises:
            ConfigError: naming the option that is out of range.
        """
        check_choice(method, "augment", self.augment, choices)
        check_positive(method, "mixup_alpha", self.mixup_alpha, 1.0)
        check_positive(method, "cutmix_alpha", self.cutmix_alpha, 1.0)
        check_positive(method, "cutout_pixels", self.cutout_pixels, 8)
        check_choice(method, "policy", self.policy, ("cifar10", "imagenet", "svhn"))
        check_positive(method, "pick_runs", self.pick_runs, 2)
        check_choice(method, "pick_by", self.pick_by, ("teacher", "student"))

    def __call__(self, batch: Batch, teacher: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """Images x' (B, C, H, W), and the teacher's outputs for them (B, K), without gradients.

        The teacher is asked once an image; CutMixPick asks teacher or student of every image of its pool, and needs
        outputs that are logits.
        """
        from students.mixing import cutmix_pick

        if self.augment != "cutmixpick":
            images = self._changed(batch)
            return images, teacher(images)
        ask = teacher if self.pick_by == "teacher" else _without_gradient(batch.ask_student)
        images, answers = cutmix_pick(
            batch.seen(),
            batch.randomness(),
            ask,
            runs=self.pick_runs,
            alpha=self.cutmix_alpha,
            deranged=self.deranged,
        )
        return images, answers if self.pick_by == "teacher" else teacher(images)

    def _changed(self, batch: Batch) -> Tensor:
        from students.mixing import cutmix, cutout, mixup
        from students.policies import autoaugment

        images, rng = batch.seen().detach(), batch.randomness()
        if self.augment == "mixup":
            return mixup(images, rng, alpha=self.mixup_alpha, deranged=self.deranged).images
        if self.augment == "cutmix":
            return cutmix(images, rng, alpha=self.cutmix_alpha, deranged=self.deranged).images
        if self.augment == "autoaugment":
            return autoaugment(images, rng, self.policy)
        # The mean of the batch stands for the mean of the training pixels, which lies inside student and teacher.
        return cutout(images, rng, side=self.cutout_pixels, fill=images.mean(dim=(0, 2, 3)))


def _without_gradient(ask: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    import torch

    return torch.no_grad()(ask)
