"""Logit standardisation in KD (Sun et al., 2024, CVPR, arXiv 2403.01427)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from students.methods import (
    Batch,
    at_least_float32,
    check_choice,
    check_classes,
    check_not_negative,
    check_positive,
    check_share,
    methods,
    warmed_up,
)
from students.methods.ce import cross_entropy
from students.methods.dkd import dkd_losses
from students.methods.kd import kd_loss

if TYPE_CHECKING:
    from torch import Tensor


def standardised_logits(logits: Tensor) -> Tensor:
    """Logits of a row less their mean, over 1e-7 plus their unbiased standard deviation.

    Source: Sun et al. 2024, equation 8 and algorithm 1.

    Args:
        logits: (B, C), C at least 2.

    Returns:
        (B, C), in float32 or wider; zeros for a constant row.
    """
    logits = at_least_float32(logits)
    return (logits - logits.mean(dim=1, keepdim=True)) / (1e-7 + logits.std(dim=1, keepdim=True))


@methods.register("lskd")
@dataclass(frozen=True)
class StandardisedLogits:
    """KD, or DKD, between logits that are standardised row by row: a student needs their shape and not their scale.

    ce_weight CE + teacher_weight KD(Z(student), Z(teacher)). Differs from the paper in: "dkd" has its alpha and beta
    multiplied by ``teacher_weight`` as released, while the form on multi-level logits is left out.

    needs: labels, teacher outputs (cached are enough). Tasks: classification, of at least three classes: the
    standardised logits of two are the same whatever the teacher says.

    Args:
        base: "kd" or "dkd".
        temperature: T of standardised logits, above 0; the paper takes 2 to 4.
        teacher_weight: weight of the teacher, at least 0; the paper takes 1 to 18 by pair of networks.
        ce_weight: weight of the labels, at least 0; the paper takes 1 with "dkd".
        alpha: weight of DKD's target divergence, at least 0.
        beta: weight of DKD's divergence among the other classes, at least 0.
        warmup: share of the steps over which the teacher's weight grows to 1, in [0, 1].
    """

    needs: ClassVar[frozenset[str]] = frozenset({"labels", "teacher_outputs"})
    tasks: ClassVar[frozenset[str]] = frozenset({"class"})
    least_classes: ClassVar[int] = 3

    base: str = "kd"
    temperature: float = 2.0
    teacher_weight: float = 9.0
    ce_weight: float = 0.1
    alpha: float = 1.0
    beta: float = 8.0
    warmup: float = 0.0

    def __post_init__(self) -> None:
        check_choice("lskd", "base", self.base, ("kd", "dkd"))
        check_positive("lskd", "temperature", self.temperature, 2.0)
        for option, example in (("teacher_weight", 9.0), ("ce_weight", 0.1), ("alpha", 1.0), ("beta", 8.0)):
            check_not_negative("lskd", option, getattr(self, option), example)
        check_share("lskd", "warmup", self.warmup, 0.083)

    @property
    def learns_labels(self) -> bool:
        """Whether labels have a weight."""
        return self.ce_weight > 0.0

    def __call__(self, batch: Batch, outputs: Tensor, progress: float) -> dict[str, Tensor]:
        """The parts of the loss: ``ce`` and ``kd``, or ``ce``, ``target`` and ``non_target``."""
        check_classes("lskd", outputs.shape[1], self.least_classes)
        student, teacher = standardised_logits(outputs), standardised_logits(batch.teacher().detach())
        factor = warmed_up(progress, self.warmup) * self.teacher_weight
        parts = {"ce": self.ce_weight * cross_entropy(outputs, batch.labels)}
        if self.base == "kd":
            return {**parts, "kd": factor * kd_loss(student, teacher, self.temperature)}
        target, rest = dkd_losses(student, teacher, batch.labels, self.temperature)
        return {**parts, "target": factor * self.alpha * target, "non_target": factor * self.beta * rest}
