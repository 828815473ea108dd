"""What a method is given: the batch, and what else it may read of student and teacher.

Torch is not imported here, so that methods can be named and checked without it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

T = TypeVar("T")


#: What a method may read beside the student's outputs, and what a configuration must be able to give it.
NEEDS = (
    "labels",  # Batch.labels, and Batch.values
    "teacher_outputs",  # Batch.teacher(): cached answers, one an image (or one a view)
    "teacher_errors",  # Batch.error_statistics(): how far the teacher is from the training labels
    "student",  # Batch.images and Batch.student: the student's outputs for other images
    "student_features",  # Batch.student_features of the forward pass that gave the outputs
    "live_teacher",  # Batch.live_teacher: outputs for any images, asked anew in every step
    "teacher_weights",  # LiveTeacher.pruned: a teacher whose weights are here
    "teacher_features",  # LiveTeacher.features
    "input_gradients",  # LiveTeacher.differentiable: outputs with a graph back to the images
)


#: Those that need the teacher at hand in every step.
LIVE_NEEDS = frozenset({"live_teacher", "teacher_weights", "teacher_features", "input_gradients"})


@dataclass(frozen=True)
class Features:
    """What a network computed on the way to its outputs.

    Args:
        pooled: penultimate features, float32 (B, F): what the last linear layer reads.
        maps: the last feature map of each resolution (B, C, H, W), from the largest to the smallest.
    """

    pooled: Tensor
    maps: tuple[Tensor, ...] = ()


class LiveTeacher(Protocol):
    """A teacher that can be asked in every step. Its predictions are standardised like the labels."""

    def __call__(self, images: Tensor) -> Tensor:
        """Outputs (B, K) for grey levels (B, C, H, W) in 0..255, without gradients."""
        ...

    def differentiable(self, images: Tensor) -> Tensor:
        """The same with a graph back to the images; the weights get no gradients."""
        ...

    def features(self, images: Tensor) -> Features:
        """Features for images, without gradients."""
        ...

    def pruned(self, amount: float) -> LiveTeacher:
        """A copy whose smallest weights are 0: this share of each convolution and linear layer."""
        ...


@dataclass(frozen=True)
class ErrorStatistics:
    """The teacher's squared errors on the training rows, of standardised values, mean over axes.

    Args:
        minimum: smallest of a row.
        maximum: largest of a row.
        mean: over rows.
        std: over rows.
    """

    minimum: float
    maximum: float
    mean: float
    std: float


@dataclass(frozen=True)
class Sizes:
    """Shapes that an auxiliary network is made for; those of the teacher are None unless its features are needed.

    Args:
        outputs: number of outputs K.
        student: features of the student for one image.
        teacher: features of the teacher for one image.
    """

    outputs: int
    student: Features | None = None
    teacher: Features | None = None


@dataclass(frozen=True)
class Batch:
    """What a method may know of a batch, beside the student's outputs. All tensors lie on the student's device.

    What a method has not declared as a need is None.

    Args:
        labels: where labels have a class, that class, int64 (B,), or class probabilities float32 (B, C) where some
            rows have soft labels; otherwise scalars (B,) or vectors (B, L), float32, standardised by mean and
            standard deviation of the training labels.
        teacher_outputs: float32 (B, K), logits first and then predictions, these standardised like the labels; None
            unless the method needs them.
        values: the continuous part of labels that also have a class, float32 (B, L), standardised; else None.
        groups: sizes (p, q) of the groups that rows come in, where the method asked for groups: B is a multiple of
            p + q, and rows M (p + q) .. M (p + q) + p - 1 are the positive group of comparison M, the next q its
            negative group.
        images: what the student saw, grey levels float32 (B, C, H, W) in 0..255, after augmentation.
        student: gives the student's standardised outputs for other images, with gradients, in training mode.
        student_features: features of the forward pass that gave the outputs, with gradients.
        live_teacher: the teacher itself.
        errors: how far the teacher is from the labels of all training rows.
        auxiliary: the method's own trained network, see ``Method.auxiliary``.
        rng: randomness of this step, a pure function of (seed, step), on the device.
        kind: kind of the label space, which tells soft labels (B, C) from vectors (B, L); None if that is plain.
    """

    labels: Tensor
    teacher_outputs: Tensor | None = None
    values: Tensor | None = None
    groups: tuple[int, int] | None = None
    images: Tensor | None = None
    student: Callable[[Tensor], Tensor] | None = None
    student_features: Features | None = None
    live_teacher: LiveTeacher | None = None
    errors: ErrorStatistics | None = None
    auxiliary: nn.Module | None = None
    rng: Generator | None = None
    kind: str | None = None

    @property
    def has_classes(self) -> bool:
        """Whether ``labels`` are classes or their probabilities, not numbers; for methods that serve both."""
        return not self.labels.is_floating_point() if self.kind is None else self.kind.startswith("class")

    def teacher(self) -> Tensor:
        """The teacher's cached outputs.

        Raises:
            ValueError: if the batch has none.
        """
        return self._given(self.teacher_outputs, "teacher_outputs")

    def both(self) -> tuple[Tensor, Tensor]:
        """The two parts of labels that have a class and a continuous part: ``labels`` and ``values``.

        Raises:
            ValueError: if the labels have one part only.
        """
        return self.labels, self._given(self.values, "values")

    def seen(self) -> Tensor:
        """The images that the student saw; see ``images``."""
        return self._given(self.images, "images")

    def ask_student(self, images: Tensor) -> Tensor:
        """The student's outputs for other images; see ``student``."""
        return self._given(self.student, "student")(images)

    def features(self) -> Features:
        """The student's features; see ``student_features``."""
        return self._given(self.student_features, "student_features")

    def asked(self) -> LiveTeacher:
        """The teacher itself; see ``live_teacher``."""
        return self._given(self.live_teacher, "live_teacher")

    def error_statistics(self) -> ErrorStatistics:
        """How far the teacher is from the training labels; see ``errors``."""
        return self._given(self.errors, "errors")

    def own_network(self) -> nn.Module:
        """The method's own network; see ``auxiliary``."""
        return self._given(self.auxiliary, "auxiliary")

    def randomness(self) -> Generator:
        """The randomness of this step; see ``rng``."""
        return self._given(self.rng, "rng")

    @staticmethod
    def _given(item: T | None, name: str) -> T:
        if item is None:
            raise ValueError(f"batch must have {name} for this method, got none.")
        return item
