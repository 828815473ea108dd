"""Comparative KD: differences between samples in place of samples (Wilf et al., 2023, arXiv 2311.02253)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from data.errors import ConfigError
from students.label_loss import label_loss
from students.methods import (
    Batch,
    Recentring,
    at_least_float32,
    check_choice,
    check_not_negative,
    check_positive,
    class_probabilities,
    methods,
)
from students.methods.kd import kd_loss
from students.methods.mse import squared_error

if TYPE_CHECKING:
    from torch import Tensor


def differences(rows: Tensor, positive: int, negative: int) -> Tensor:
    """Mean of the positive group less mean of the negative group, of each comparison.

    Args:
        rows: (M (p + q), K), row-major: p rows of the first positive group, q of its negative group, and so on.
        positive: p, at least 1.
        negative: q, at least 1.

    Returns:
        (M, K), in float32 or wider.

    Raises:
        ValueError: if rows do not come in whole comparisons.
    """
    size = positive + negative
    if len(rows) % size:
        raise ValueError(f"rows must come in comparisons of {size}, got {len(rows)} rows.")
    compared = at_least_float32(rows).reshape(-1, size, rows.shape[1])
    return compared[:, :positive].mean(dim=1) - compared[:, positive:].mean(dim=1)


def all_comparisons(outputs: Tensor, targets: Tensor, positive: int = 1, negative: int = 1) -> Tensor:
    """Mean squared error of differences, over all comparisons that the batch allows, from one pass over its rows.

    With the unbiased variance S2 of outputs - targets over the batch, mean over classes, the mean over all pairs of
    disjoint groups is exactly (1 / p + 1 / q) S2.

    Args:
        outputs: (B, K).
        targets: (B, K); no gradient flows into them.
        positive: p, at least 1.
        negative: q, at least 1.

    Returns:
        A scalar; exactly 0 for a single row, which has nothing to be compared with.
    """
    error = at_least_float32(outputs) - at_least_float32(targets.detach())
    spread = (error - error.mean(dim=0)).square().sum() / (max(len(error) - 1, 1) * error.shape[1])
    return (1.0 / positive + 1.0 / negative) * spread


def recentring(
    teacher_mean: Tensor, student_mean: Tensor, label_mean: Tensor, *, teacher_weight: float, label_weight: float
) -> Tensor:
    """What to add to a student's outputs, whose common offset no comparison can see.

    The weighted sum of squared differences is least for outputs that are the weighted mean of teacher outputs and
    labels, plus any constant; this is the step from the student's mean to that of the weighted mean itself, where
    absolute squared errors with the same weights are least, too.

    Args:
        teacher_mean: (K,), mean output of the teacher over the training rows.
        student_mean: (K,), mean output of the student over the same rows.
        label_mean: (K,), mean label over the same rows: standardised values, or class probabilities.
        teacher_weight: w_t, above 0.
        label_weight: w_y, at least 0.

    Returns:
        (w_t teacher + w_y label) / (w_t + w_y) - student, of shape (K,).
    """
    target = teacher_weight * teacher_mean + label_weight * label_mean
    return target / (teacher_weight + label_weight) - student_mean


@methods.register("ckd")
@dataclass(frozen=True)
class Comparative:
    """The student's differences between two groups of samples follow the labels' and the teacher's differences.

    Two releases, two losses: squared error of differences (``distance`` "mse", WACV 2025) and KL divergence of the
    softmax of differences (``distance`` "kl", 2023, with ``temperature`` 4). Differs from the paper in: rows of both
    groups go through the student together; comparisons may also be all those within a batch; outputs may be
    re-centred or anchored, as no comparison tells apart outputs that differ by a constant.

    needs: labels, teacher outputs (cached are enough). Tasks: classification, scalar and vector (with "mse").

    Args:
        distance: "mse" or "kl".
        pairing: "sampled": each batch holds groups; "all_in_batch": the mean over all groups of a batch in closed
            form, with "mse" only.
        positive: rows of a positive group, at least 1.
        negative: rows of a negative group, at least 1.
        teacher_weight: weight of the teacher's differences, above 0.
        label_weight: weight of the labels' differences, at least 0.
        temperature: T of "kl", above 0.
        anchor_weight: weight of the plain loss of the labels, which fixes the constant, at least 0; 0 as released.
        recenter_bias: whether outputs are shifted, after training and in validations, to the mean that comparisons
            leave open.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"labels", "teacher_outputs"})

    distance: str = "mse"
    pairing: str = "sampled"
    positive: int = 1
    negative: int = 1
    teacher_weight: float = 1.0
    label_weight: float = 1.0
    temperature: float = 4.0
    anchor_weight: float = 0.0
    recenter_bias: bool = False

    def __post_init__(self) -> None:
        check_choice("ckd", "distance", self.distance, ("mse", "kl"))
        check_choice("ckd", "pairing", self.pairing, ("sampled", "all_in_batch"))
        check_positive("ckd", "positive", self.positive, 1)
        check_positive("ckd", "negative", self.negative, 1)
        check_positive("ckd", "teacher_weight", self.teacher_weight, 1.0)
        check_not_negative("ckd", "label_weight", self.label_weight, 1.0)
        check_positive("ckd", "temperature", self.temperature, 4.0)
        check_not_negative("ckd", "anchor_weight", self.anchor_weight, 0.1)
        if self.distance == "kl" and self.pairing == "all_in_batch":
            raise ConfigError(
                "option 'pairing' of method 'ckd' must be sampled with distance 'kl', which has no closed form, got "
                "'all_in_batch'; try distance 'mse'."
            )
        if self.recenter_bias and self.anchor_weight > 0.0:
            raise ConfigError(
                f"option 'anchor_weight' of method 'ckd' must be 0 where outputs are re-centred, as both fix the same "
                f"constant, got {self.anchor_weight}; try recenter_bias false."
            )

    @property
    def tasks(self) -> frozenset[str]:
        """Classes, and scalars and vectors with squared errors: one output has no softmax."""
        return frozenset({"class"} if self.distance == "kl" else {"class", "scalar", "vector"})

    @property
    def groups(self) -> tuple[int, int] | None:
        """Sizes of the groups that rows must come in; None where a batch is compared with itself."""
        return (self.positive, self.negative) if self.pairing == "sampled" else None

    @property
    def recentre(self) -> Recentring | None:
        """The step to the mean of the weighted mean of teacher and labels, where it is asked for."""
        return self._shift if self.recenter_bias else None

    def _shift(self, teacher_mean: Tensor, student_mean: Tensor, label_mean: Tensor) -> Tensor:
        return recentring(
            teacher_mean,
            student_mean,
            label_mean,
            teacher_weight=self.teacher_weight,
            label_weight=self.label_weight,
        )

    def _compared(self, outputs: Tensor, targets: Tensor) -> Tensor:
        if self.pairing == "all_in_batch":
            return all_comparisons(outputs, targets, self.positive, self.negative)
        found, wanted = (differences(item, self.positive, self.negative) for item in (outputs, targets))
        return kd_loss(found, wanted, self.temperature) if self.distance == "kl" else squared_error(found, wanted)

    @property
    def learns_labels(self) -> bool:
        """Whether there is an anchor: comparisons leave open what labels fix."""
        return self.anchor_weight > 0.0

    def __call__(self, batch: Batch, outputs: Tensor, progress: float) -> dict[str, Tensor]:
        """The parts: ``label_differences``, ``teacher_differences`` and, with an anchor, ``ce`` or ``mse``."""
        if batch.groups != self.groups and self.groups is not None:
            raise ValueError(f"batch must come in groups of {self.groups} for method 'ckd', got {batch.groups}.")
        labels = batch.labels if batch.labels.is_floating_point() else class_probabilities(batch.labels, outputs)
        parts = {
            "label_differences": self.label_weight * self._compared(outputs, labels.reshape(len(outputs), -1)),
            "teacher_differences": self.teacher_weight * self._compared(outputs, batch.teacher()),
        }
        anchors = label_loss(batch, outputs) if self.anchor_weight > 0.0 else {}
        return parts | {name: self.anchor_weight * part for name, part in anchors.items()}
