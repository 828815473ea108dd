"""R2KD: correlation distances to a teacher blended with its pruned copy (Kim, Ham, Cho and Kim, 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from data.errors import ConfigError
from students.augmented_view import AUGMENTATIONS, AugmentedView
from students.methods import (
    Batch,
    at_least_float32,
    check_choice,
    check_not_negative,
    check_positive,
    check_share,
    methods,
)
from students.methods.ce import cross_entropy
from students.methods.mse import squared_error
from students.ranks import cosine, pearson, spearman_distance

if TYPE_CHECKING:
    from torch import Tensor


def value_distances(student: Tensor, teacher: Tensor, centered: bool = False) -> tuple[Tensor, Tensor]:
    """One less the mean correlation of rows (of an image, over classes) and of columns (of a class, over the batch).

    Source: Kim et al. 2024 (arXiv 2311.13934), value-based distance. The release takes the absolute cosine, which is
    the same for probabilities; here it has a sign, so that opposite predictions of numbers are far apart.

    Args:
        student: (B, K), probabilities, or predictions of numbers.
        teacher: (B, K); no gradient flows into it.
        centered: whether vectors are taken less their means: Pearson's correlation, as in DIST.

    Returns:
        Two scalars, of rows and of columns, each in [0, 1] for probabilities.
    """
    measure = pearson if centered else cosine
    rows, columns = (measure(student, teacher.detach(), dim).mean() for dim in (1, 0))
    return 1.0 - rows, 1.0 - columns


def value_loss(logits: Tensor, teacher_logits: Tensor, temperature: float, centered: bool = False) -> Tensor:
    """T^2 (row distance + column distance) of the probabilities at temperature T; see ``value_distances``.

    Raises:
        ConfigError: for centered rows of two classes, whose correlation is 1 or -1 without gradient.
    """
    if centered and logits.shape[1] < 3:
        raise ConfigError(
            f"option 'centered' of method 'r2kd' must be False for fewer than 3 classes, got {logits.shape[1]}; "
            "try centered false."
        )
    student, teacher = (
        (at_least_float32(item) / temperature).softmax(dim=1) for item in (logits, teacher_logits.detach())
    )
    rows, columns = value_distances(student, teacher, centered)
    return temperature**2 * (rows + columns)


def rank_loss(outputs: Tensor, teacher_outputs: Tensor, soft_scale: float | None = None) -> Tensor:
    """One less Spearman's rank correlation of each row, mean over rows.

    Source: Kim et al. 2024, rank-based distance. Ranks are hard in the release, so that the term is a constant.

    Args:
        outputs: student, (B, K): logits, or any increasing function of them.
        teacher_outputs: teacher, (B, K); no gradient flows into it.
        soft_scale: None for hard ranks, which give no gradient; else how far, in standard deviations of the teacher's
            row, two outputs have to differ for their ranks to be told apart, above 0.

    Returns:
        A scalar in [0, 2].
    """
    if soft_scale is None:
        return spearman_distance(outputs, teacher_outputs.detach())
    teacher = at_least_float32(teacher_outputs.detach())
    spread = teacher.std(dim=-1, correction=0).clamp_min(1e-6)[:, None, None]
    return spearman_distance(outputs, teacher, soft_scale * spread)


@methods.register("r2kd")
@dataclass(frozen=True)
class RobustnessReinforced:
    """CE(x) + D(x) + D(x'), where D = w_v T^2 (row + column distance) + w_r rank distance to the blended teacher.

    Source: Kim, Ham, Cho and Kim (2024, arXiv 2311.13934) and its release. The target is b t + (1 - b) t_pruned, in
    logits. Differs from the release in: the pruned teacher is in evaluation mode; CutMixPick scores the mixed images;
    cutout fills with the batch's mean pixel; soft ranks by option, which have a gradient; regression, with distances
    of columns of raw outputs alone, ranks over the batch and the squared error of labels.

    needs: labels; the live teacher with its weights and the student, or with ``augment`` none and ``prune`` 0 teacher
    outputs (cached are enough). Tasks: classification, and but for CutMixPick scalar and vector.

    Args:
        temperature: T, above 0; of classes.
        label_weight: weight of the labels' term, at least 0.
        value_weight: w_v, at least 0.
        rank_weight: w_r, at least 0.
        centered: whether values are compared by Pearson's correlation instead of the cosine; of at least 3 classes.
        rank: "hard" as released (no gradient), "soft" (differentiable) or "none".
        rank_scale: scale of soft ranks, in standard deviations of the teacher's logits, above 0.
        prune: share of each layer's weights that the second teacher lacks, in [0, 1).
        blend: b, weight of the teacher that lacks none, in [0, 1].
        augment: how x' is made: none, mixup, cutmix, cutout, autoaugment or cutmixpick.
        mixup_alpha: Beta(a, a) of mixup.
        cutmix_alpha: Beta(a, a) of CutMix.
        cutout_pixels: side of the hole.
        policy: of AutoAugment: cifar10, imagenet or svhn.
        pick_runs: runs of CutMix to pick from.
        pick_by: "teacher" or "student": whose entropy decides.
    """

    temperature: float = 4.0
    label_weight: float = 1.0
    value_weight: float = 2.0
    rank_weight: float = 2.0
    centered: bool = False
    rank: str = "hard"
    rank_scale: float = 0.5
    prune: float = 0.1
    blend: float = 0.7
    augment: str = "cutmix"
    mixup_alpha: float = 0.2
    cutmix_alpha: float = 1.0
    cutout_pixels: int = 8
    policy: str = "cifar10"
    pick_runs: int = 2
    pick_by: str = "teacher"

    def __post_init__(self) -> None:
        check_positive("r2kd", "temperature", self.temperature, 4.0)
        for option in ("label_weight", "value_weight", "rank_weight"):
            check_not_negative("r2kd", option, getattr(self, option), 2.0)
        check_choice("r2kd", "rank", self.rank, ("hard", "soft", "none"))
        check_positive("r2kd", "rank_scale", self.rank_scale, 0.5)
        check_share("r2kd", "blend", self.blend, 0.7)
        if not 0.0 <= self.prune < 1.0:
            raise ConfigError(f"option 'prune' of method 'r2kd' must be in [0, 1), got {self.prune}; try 0.1.")
        self._view.check("r2kd", AUGMENTATIONS)

    @property
    def needs(self) -> frozenset[str]:
        """The live teacher, unless nothing but the teacher's outputs for x is asked for."""
        if self.augment == "none" and not self._prunes:
            return frozenset({"labels", "teacher_outputs"})
        weights = {"teacher_weights"} if self._prunes else set()
        return frozenset({"labels", "student", "live_teacher"} | weights)

    @property
    def tasks(self) -> frozenset[str]:
        """Numbers have no entropy to pick by."""
        return frozenset({"class"} if self.augment == "cutmixpick" else {"class", "scalar", "vector"})

    @property
    def least_classes(self) -> int:
        """Centred rows of two classes are all alike."""
        return 3 if self.centered else 2

    @property
    def channels(self) -> frozenset[int] | None:
        """Those of the augmentation."""
        return self._view.channels

    @property
    def remedies(self) -> Mapping[str, str]:
        """Which options do without."""
        return {"channels": "augment cutmix"} | ({"classes": "centered false"} if self.centered else {})

    @property
    def learns_labels(self) -> bool:
        """Whether labels have a weight."""
        return self.label_weight > 0.0

    def __call__(self, batch: Batch, outputs: Tensor, progress: float) -> dict[str, Tensor]:
        """The parts of the loss: ``label``, and of x and x' each ``value`` and ``rank``."""
        classes = batch.has_classes
        label = cross_entropy(outputs, batch.labels) if classes else squared_error(outputs, batch.labels)
        cached = "teacher_outputs" in self.needs
        answers = batch.teacher() if cached else self._blended(batch, batch.seen())
        parts = {"label": self.label_weight * label, **self._distances(outputs, answers, classes)}
        if self.augment != "none":
            images, answers = self._view(batch, lambda asked: self._blended(batch, asked))
            further = self._distances(batch.ask_student(images), answers, classes)
            parts |= {f"{name}_augmented": part for name, part in further.items()}
        return parts

    @property
    def _prunes(self) -> bool:
        return self.prune > 0.0 and self.blend < 1.0

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
            deranged=False,
        )

    def _blended(self, batch: Batch, images: Tensor) -> Tensor:
        teacher = batch.asked()
        if not self._prunes:
            return teacher(images)
        return self.blend * teacher(images) + (1.0 - self.blend) * teacher.pruned(self.prune)(images)

    def _distances(self, outputs: Tensor, answers: Tensor, classes: bool) -> dict[str, Tensor]:
        if classes:
            value = value_loss(outputs, answers, self.temperature, self.centered)
        else:
            # A row of one number, or of numbers in different units, has no direction to compare.
            value = value_distances(outputs, answers, self.centered)[1]
            outputs, answers = outputs.T, answers.T
        parts = {"value": self.value_weight * value}
        if self.rank != "none":
            scale = self.rank_scale if self.rank == "soft" else None
            parts["rank"] = self.rank_weight * rank_loss(outputs, answers, scale)
        return parts
