"""DIST: correlations in place of divergences (Huang et al., 2022, NeurIPS, arXiv 2205.10536)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from students.methods import Batch, at_least_float32, check_classes, check_not_negative, check_positive, methods
from students.methods.ce import cross_entropy
from students.ranks import pearson

if TYPE_CHECKING:
    from torch import Tensor


def dist_losses(logits: Tensor, teacher_logits: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """T^2 times one less the Pearson correlation of softened probabilities, by rows and by columns.

    Source: Huang et al. 2022, equations 6 to 9.

    Args:
        logits: student, (B, C).
        teacher_logits: teacher, (B, C); no gradient flows into them.
        temperature: T > 0.

    Returns:
        Distance between classes (of rows, mean over the batch) and within classes (of columns, mean over classes),
        scalars. The second is the constant T^2 for a single row.
    """
    student = (at_least_float32(logits) / temperature).softmax(dim=1)
    teacher = (at_least_float32(teacher_logits.detach()) / temperature).softmax(dim=1)
    inter = (1.0 - pearson(student, teacher, 1)).mean()
    intra = (1.0 - pearson(student, teacher, 0)).mean()
    return temperature**2 * inter, temperature**2 * intra


@methods.register("dist")
@dataclass(frozen=True)
class Dist:
    """Cross entropy plus T^2 (beta * distance between classes + gamma * distance within classes).

    Both distances are one less a Pearson correlation of softened probabilities, which a student of another scale
    can meet exactly. Differs from the paper in: nothing; the weights are those of its CIFAR-100 recipe.

    needs: labels, teacher outputs (cached are enough). Tasks: classification, of at least three classes.

    Args:
        beta: weight of the distance between classes (rows), at least 0.
        gamma: weight of the distance within classes (columns of the batch), at least 0.
        temperature: T, above 0; the paper takes 1 for ImageNet.
        ce_weight: weight of the labels, at least 0.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"labels", "teacher_outputs"})
    tasks: ClassVar[frozenset[str]] = frozenset({"class"})
    least_classes: ClassVar[int] = 3

    beta: float = 2.0
    gamma: float = 2.0
    temperature: float = 4.0
    ce_weight: float = 1.0

    def __post_init__(self) -> None:
        check_not_negative("dist", "beta", self.beta, 2.0)
        check_not_negative("dist", "gamma", self.gamma, 2.0)
        check_positive("dist", "temperature", self.temperature, 4.0)
        check_not_negative("dist", "ce_weight", self.ce_weight, 1.0)

    @property
    def learns_labels(self) -> bool:
        """Whether labels have a weight."""
        return self.ce_weight > 0.0

    def __call__(self, batch: Batch, outputs: Tensor, progress: float) -> dict[str, Tensor]:
        """The parts of the loss: ``ce``, ``inter`` and ``intra``."""
        check_classes("dist", outputs.shape[1], self.least_classes)
        inter, intra = dist_losses(outputs, batch.teacher(), self.temperature)
        return {
            "ce": self.ce_weight * cross_entropy(outputs, batch.labels),
            "inter": self.beta * inter,
            "intra": self.gamma * intra,
        }
