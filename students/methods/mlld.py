"""Multi-level logit distillation: images, batches and classes at several temperatures (Jin, Wang and Lin, 2023)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from data.errors import ConfigError
from students.methods import (
    Batch,
    at_least_float32,
    check_choice,
    check_not_negative,
    check_share,
    methods,
)
from students.methods.ce import cross_entropy

if TYPE_CHECKING:
    from torch import Generator, Tensor


def row_divergences(logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """T^2 KL(softmax(teacher / T) || softmax(student / T)) of each row, (B,)."""
    student, teacher = ((at_least_float32(item) / temperature).log_softmax(dim=1) for item in (logits, teacher_logits))
    return temperature**2 * (teacher.exp() * (teacher - student)).sum(dim=1)


def gram_distances(logits: Tensor, teacher_logits: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """How far relations between images, and between classes, differ from the teacher's.

    Source: Jin et al. 2023, batch and class alignment: |P P^T - Q Q^T|_F^2 / B and |P^T P - Q^T Q|_F^2 / C of the
    probabilities P of the teacher and Q of the student.

    Args:
        logits: student, (B, C).
        teacher_logits: teacher, (B, C).
        temperature: T > 0.

    Returns:
        What each image adds to the first, (B,), and each class to the second, (C,).
    """
    student, teacher = ((at_least_float32(item) / temperature).softmax(dim=1) for item in (logits, teacher_logits))
    images = (teacher @ teacher.T - student @ student.T).square().sum(dim=1) / len(student)
    classes = (teacher.T @ teacher - student.T @ student).square().sum(dim=1) / student.shape[1]
    return images, classes


def multi_level_losses(
    weak: tuple[Tensor, Tensor], strong: tuple[Tensor, Tensor], temperatures: Sequence[float], masks: str
) -> dict[str, Tensor]:
    """The three levels of Jin et al. 2023, each summed over the temperatures.

    Of the weak view, images count whose teacher is at most as confident as the median of the batch, and classes whose
    summed probability is at most the median class's. As released, the masks act on numbers that are already means,
    so that each is but the share of rows that it keeps; and the terms of the strong view from the fourth temperature
    on are those of the weak view.

    Args:
        weak: logits of student and teacher for the weak view, each (B, C).
        strong: the same for the strong view.
        temperatures: all above 0.
        masks: "intended" or "released".

    Returns:
        Scalars: ``kd`` of both views, ``batch`` and ``class`` of the weak view.
    """
    weak, strong = (weak[0], weak[1].detach()), (strong[0], strong[1].detach())
    probabilities = at_least_float32(weak[1]).softmax(dim=1)
    confidence, share = probabilities.amax(dim=1), probabilities.sum(dim=0)
    rows, columns = ((item <= item.median()).to(item.dtype) for item in (confidence, share))
    released = masks == "released"
    if released:
        rows, columns = (item.mean().expand_as(item) for item in (rows, columns))
    instance, batch, classes = [], [], []
    for number, temperature in enumerate(temperatures):
        instance.append((rows * row_divergences(*weak, temperature)).mean())
        instance.append(row_divergences(*(weak if released and number >= 3 else strong), temperature).mean())
        of_images, of_classes = gram_distances(*weak, temperature)
        batch.append((rows * of_images).sum())
        classes.append((columns * of_classes).sum())
    return {name: sum(terms[1:], terms[0]) for name, terms in (("kd", instance), ("batch", batch), ("class", classes))}


def strong_view(images: Tensor, rng: Generator, operations: int, magnitude: int, cutout_share: float) -> Tensor:
    """RandAugment, and a hole in each image whose side is uniform up to a share of the shorter side of the image.

    Args:
        images: grey levels (B, C, H, W), 1 or 3 channels, floating point.
        rng: source of randomness.
        operations: of RandAugment, drawn once for the batch.
        magnitude: of RandAugment, 0 to 30.
        cutout_share: in [0, 1].

    Returns:
        Images of the same shape and type.
    """
    import torch

    from students.mixing import cutout
    from students.policies import randaugment

    longest = cutout_share * min(images.shape[2:])
    sides = (longest * torch.rand(len(images), generator=rng, device=rng.device)).round().long()
    changed = randaugment(images, rng, operations=operations, magnitude=magnitude)
    return cutout(changed, rng, side=sides, fill=images.mean(dim=(0, 2, 3)))


@methods.register("mlld")
@dataclass(frozen=True)
class MultiLevel:
    """CE of a weak and a strong view, and the teacher's images, batch and classes at five temperatures.

    Source: Jin, Wang and Lin (2023), "Multi-level logit distillation", and its release. Differs from the release in:
    masks act on rows and on classes as was intended, and all strong terms are of the strong view, unless ``masks`` is
    "released"; RandAugment is drawn once for the batch; holes have the batch's mean pixel.

    needs: labels, the live teacher and the student; with ``cached`` teacher outputs too (cached are enough for the
    weak view alone). Tasks: classification.

    Args:
        temperatures: separated by commas, all above 0.
        label_weight: of the cross entropy of either view, at least 0.
        teacher_weight: of the three levels, at least 0.
        masks: "intended" or "released".
        cached: whether the teacher's answer to the weak view is the cached one, and not asked for.
        operations: of RandAugment, at least 0.
        magnitude: of RandAugment, 0 to 30.
        cutout_share: largest side of a hole, as a share of the image's, in [0, 1].
    """

    tasks: ClassVar[frozenset[str]] = frozenset({"class"})
    channels: ClassVar[frozenset[int]] = frozenset({1, 3})
    remedies: ClassVar[Mapping[str, str]] = {"channels": "augmented_kd, whose cutmix takes any"}

    temperatures: str = "4,3,5,2,6"
    label_weight: float = 0.1
    teacher_weight: float = 0.9
    masks: str = "intended"
    cached: bool = False
    operations: int = 2
    magnitude: int = 10
    cutout_share: float = 0.5

    def __post_init__(self) -> None:
        self._temperatures()
        check_not_negative("mlld", "label_weight", self.label_weight, 0.1)
        check_not_negative("mlld", "teacher_weight", self.teacher_weight, 0.9)
        check_choice("mlld", "masks", self.masks, ("intended", "released"))
        check_not_negative("mlld", "operations", self.operations, 2)
        if not 0 <= self.magnitude <= 30:
            raise ConfigError(f"option 'magnitude' of method 'mlld' must be in 0 to 30, got {self.magnitude}; try 10.")
        check_share("mlld", "cutout_share", self.cutout_share, 0.5)

    @property
    def needs(self) -> frozenset[str]:
        """The live teacher, and with ``cached`` its answers too."""
        return frozenset({"labels", "student", "live_teacher"} | ({"teacher_outputs"} if self.cached else set()))

    @property
    def learns_labels(self) -> bool:
        """Whether labels have a weight."""
        return self.label_weight > 0.0

    def __call__(self, batch: Batch, outputs: Tensor, progress: float) -> dict[str, Tensor]:
        """The parts of the loss: ``ce``, ``kd``, ``batch`` and ``class``."""
        weak, teacher = batch.seen(), batch.asked()
        strong = strong_view(weak, batch.randomness(), self.operations, self.magnitude, self.cutout_share)
        strong_outputs = batch.ask_student(strong)
        levels = multi_level_losses(
            (outputs, batch.teacher() if self.cached else teacher(weak)),
            (strong_outputs, teacher(strong)),
            self._temperatures(),
            self.masks,
        )
        labels = cross_entropy(outputs, batch.labels) + cross_entropy(strong_outputs, batch.labels)
        return {"ce": self.label_weight * labels, **{name: self.teacher_weight * x for name, x in levels.items()}}

    def _temperatures(self) -> list[float]:
        try:
            found = [float(item) for item in self.temperatures.split(",")]
        except ValueError:
            found = []
        if not found or not all(0.0 < item < float("inf") for item in found):
            raise ConfigError(
                f"option 'temperatures' of method 'mlld' must be numbers above 0 with commas between them, "
                f"got '{self.temperatures}'; try '4,3,5,2,6'."
            )
        return found
