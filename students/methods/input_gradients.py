"""Input gradient alignment: the student's loss changes with the pixels as the teacher's does (Shao et al., 2021)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from students.methods import Batch, at_least_float32, check_not_negative, check_positive, methods, target_classes
from students.methods.ce import cross_entropy
from students.methods.mlld import row_divergences
from students.methods.mse import squared_error

if TYPE_CHECKING:
    from torch import Tensor

#: Gradients are with respect to pixels in [0, 1], while networks take grey levels.
GREY_LEVELS = 255.0


def input_gradients(
    network: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor | None, *, create_graph: bool
) -> tuple[Tensor, Tensor]:
    """Gradients of each image's cross entropy with respect to its pixels, or of each output where labels are None.

    The losses are added up and not averaged, so that a gradient does not depend on the size of the batch.

    Args:
        network: gives outputs (B, K) for images, with a graph.
        images: grey levels (B, C, H, W).
        labels: classes int64 (B,) or their probabilities (B, K); None for the gradient of each output.
        create_graph: whether gradients flow on through the result into the network.

    Returns:
        The outputs (B, K), and gradients (G, B, C, H, W) a pixel in [0, 1], G being 1 with labels and K without.
    """
    import torch

    images = images.detach().requires_grad_(True)
    outputs = network(images)
    sums = outputs.sum(dim=0).unbind() if labels is None else (len(images) * cross_entropy(outputs, labels),)
    gradients = [torch.autograd.grad(item, images, retain_graph=True, create_graph=create_graph)[0] for item in sums]
    return outputs, GREY_LEVELS * torch.stack(gradients)


def gradient_distances(student: Tensor, teacher: Tensor) -> Tensor:
    """Euclidean distance between the gradients of each image, mean over the first axis.

    Args:
        student: (G, B, C, H, W).
        teacher: (G, B, C, H, W); no gradient flows into it.

    Returns:
        (B,), at least 0.
    """
    difference = at_least_float32(student) - at_least_float32(teacher.detach())
    distances: Tensor = difference.flatten(2).norm(dim=2).mean(dim=0)
    return distances


@methods.register("input_gradients")
@dataclass(frozen=True)
class InputGradients:
    """w_l CE + w_t KD + w_g |g_s - g_t|_2, where g is the gradient of an image's cross entropy by its pixels.

    Source: Shao, Yi, Chen and Hsieh (2021, arXiv 2110.12072, KDIGA). Differs from the release in: gradients are taken
    at the images that the student saw, not at adversarial ones; the cross entropy is added up over the batch, not
    averaged, and the divergence is averaged over images, not over images and classes; regression, where g is the
    gradient of an output (Sobolev matching), with squared errors, of all images.

    needs: labels, the student and input gradients of the live teacher. Tasks: classification, scalar, vector.

    Args:
        label_weight: w_l, at least 0.
        teacher_weight: w_t, at least 0.
        gradient_weight: w_g, at least 0; for gradients by pixels in [0, 1].
        temperature: T of KD, above 0; of classes.
        only_right: whether the teacher counts only for images that it classifies as labelled.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"labels", "student", "input_gradients"})
    tasks: ClassVar[frozenset[str]] = frozenset({"class", "scalar", "vector"})

    label_weight: float = 0.5
    teacher_weight: float = 0.5
    gradient_weight: float = 1.0
    temperature: float = 1.0
    only_right: bool = True

    def __post_init__(self) -> None:
        for option in ("label_weight", "teacher_weight", "gradient_weight"):
            check_not_negative("input_gradients", option, getattr(self, option), 0.5)
        check_positive("input_gradients", "temperature", self.temperature, 1.0)

    @property
    def learns_labels(self) -> bool:
        """Whether labels have a weight."""
        return self.label_weight > 0.0

    def __call__(self, batch: Batch, outputs: Tensor, progress: float) -> dict[str, Tensor]:
        """The parts of the loss: ``label``, ``teacher`` and ``gradient``."""
        classes, images = batch.has_classes, batch.seen()
        labels = batch.labels if classes else None
        answers, wanted = input_gradients(batch.asked().differentiable, images, labels, create_graph=False)
        answers = answers.detach()
        given = input_gradients(batch.ask_student, images, labels, create_graph=True)[1]
        distances = gradient_distances(given, wanted)
        counted = distances.new_ones(len(distances))
        if classes:
            if self.only_right:
                counted = (answers.argmax(dim=1) == target_classes(batch.labels)).to(distances.dtype)
            label = cross_entropy(outputs, batch.labels)
            teacher = _mean_of(row_divergences(outputs, answers, self.temperature), counted)
        else:
            label, teacher = squared_error(outputs, batch.labels), squared_error(outputs, answers)
        return {
            "label": self.label_weight * label,
            "teacher": self.teacher_weight * teacher,
            "gradient": self.gradient_weight * _mean_of(distances, counted),
        }


def _mean_of(rows: Tensor, counted: Tensor) -> Tensor:
    """The mean over the rows that count; 0 where none does."""
    return (rows * counted).sum() / counted.sum().clamp_min(1.0)
