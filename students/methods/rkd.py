"""Relational knowledge distillation (Park, Kim, Lu and Cho, 2019, arXiv 1904.05068)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from students.label_loss import label_loss
from students.methods import Batch, at_least_float32, check_choice, check_not_negative, methods
from students.methods.mse import smooth_l1

if TYPE_CHECKING:
    from torch import Tensor


def differences_of(embeddings: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Differences between all rows, and their lengths, with gradients that are 0 where two rows are equal.

    The root of a sum of squares has none there, and a length of 0 divides nothing.

    Args:
        embeddings: (B, F).

    Returns:
        Differences (B, B, F); lengths (B, B); inverse lengths (B, B), 0 where the length is 0.
    """
    differences = at_least_float32(embeddings)[:, None] - at_least_float32(embeddings)[None]
    squares = differences.square().sum(dim=2)
    apart = squares > 0.0
    safe = squares.where(apart, squares.new_ones(())).sqrt()
    return differences, safe * apart, apart / safe


def relations(embeddings: Tensor) -> tuple[Tensor, Tensor]:
    """What relational distillation compares: distances of pairs and cosines of the angles of triples.

    Source: Park et al. 2019, equations 5 and 7. Neither changes when embeddings are shifted, rotated or scaled.

    Args:
        embeddings: (B, F).

    Returns:
        Distances (B, B), in units of the mean of the positive ones; cosines (B, B, B), entry i, j, k at the corner i.
    """
    differences, lengths, inverse = differences_of(embeddings)
    # Where all rows are equal, there is no positive distance to take the mean of.
    pairs = (lengths > 0.0).sum()
    mean = lengths.sum() / pairs.clamp(min=1) + (pairs == 0)
    directions = differences * inverse[:, :, None]
    return lengths / mean, directions @ directions.transpose(1, 2)


def rkd_losses(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Smooth L1 differences between the relations of student and teacher.

    Source: Park et al. 2019, equations 6 and 8; means over all B^2 pairs and B^3 triples as in the common PyTorch
    implementations, a row with itself included.

    Args:
        student: embeddings, (B, F).
        teacher: embeddings, (B, F'); no gradient flows into them.

    Returns:
        The parts for distances and for angles, two scalars. They take O(B^2 (B + F)) memory.
    """
    distances, angles = relations(student)
    teacher_distances, teacher_angles = relations(teacher.detach())
    return smooth_l1(distances - teacher_distances).mean(), smooth_l1(angles - teacher_angles).mean()


@methods.register("rkd")
@dataclass(frozen=True)
class RelationalDistillation:
    """The loss of the labels plus weighted differences of distances and angles between the rows of a batch.

    Differs from the paper in: outputs can stand in for the features, so that cached answers are enough.

    needs: labels, and the features of student and teacher, or teacher outputs (cached are enough) with ``on``
    "outputs". Tasks: all on features; on outputs classification and vector, because numbers on a line make no angle,
    and logits and predictions no common distance.

    Args:
        distance_weight: of the distances, at least 0.
        angle_weight: of the angles, at least 0.
        on: "pooled" features or "outputs".
    """

    distance_weight: float = 25.0
    angle_weight: float = 50.0
    on: str = "pooled"

    def __post_init__(self) -> None:
        check_not_negative("rkd", "distance_weight", self.distance_weight, 25.0)
        check_not_negative("rkd", "angle_weight", self.angle_weight, 50.0)
        check_choice("rkd", "on", self.on, ("pooled", "outputs"))

    @property
    def needs(self) -> frozenset[str]:
        """Features or outputs, by ``on``."""
        compared = {"teacher_outputs"} if self.on == "outputs" else {"student_features", "teacher_features"}
        return frozenset({"labels", *compared})

    @property
    def tasks(self) -> frozenset[str]:
        """All on features; on outputs those with more than one output, all of one kind."""
        found = {"class", "vector"}
        return frozenset(found if self.on == "outputs" else {*found, "scalar", "class+scalar"})

    def __call__(self, batch: Batch, outputs: Tensor, progress: float) -> dict[str, Tensor]:
        """The parts of the loss: those of the labels (``ce``, ``mse``), ``distance`` and ``angle``."""
        if self.on == "outputs":
            student, teacher = outputs, batch.teacher()
        else:
            student, teacher = batch.features().pooled, batch.asked().features(batch.seen()).pooled
        distance, angle = rkd_losses(student, teacher)
        return {
            **label_loss(batch, outputs),
            "distance": self.distance_weight * distance,
            "angle": self.angle_weight * angle,
        }
