"""Decoupled KD (Zhao et al., 2022, CVPR, arXiv 2203.08679)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from students.methods import (
    Batch,
    at_least_float32,
    check_not_negative,
    check_positive,
    check_share,
    methods,
    target_classes,
    warmed_up,
)
from students.methods.ce import cross_entropy

if TYPE_CHECKING:
    from torch import Tensor


def non_target(logits: Tensor, classes: Tensor) -> Tensor:
    """Logits of all classes but the target.

    Args:
        logits: (B, C).
        classes: int64 (B,), the target of each row.

    Returns:
        (B, C - 1), in the order of classes.
    """
    # Picked by index: a mask would make the device wait, and a large negative target logit would overflow in half.
    below = classes.new_ones(logits.shape[1] - 1).cumsum(0)[None, :] - 1
    return logits.gather(1, below + (below >= classes[:, None]))


def decoupled_divergences(scaled: Tensor, teacher_scaled: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """The divergence of target against the rest, and that among the rest, of each row.

    Source: Zhao et al. 2022, equation 6. With a the teacher's probability of the target, KL(teacher || student) is
    the first plus (1 - a) times the second.

    Args:
        scaled: student's logits over their temperature, (B, C).
        teacher_scaled: teacher's logits over their temperature, (B, C).
        classes: int64 (B,), the target of each row.

    Returns:
        KL([a, 1 - a] || [b, 1 - b]) and KL of the softmax over non-target logits, (B,) each.
    """
    rest, teacher_rest = non_target(scaled, classes), non_target(teacher_scaled, classes)
    normaliser, teacher_normaliser = scaled.logsumexp(1), teacher_scaled.logsumexp(1)
    hit = scaled.gather(1, classes[:, None])[:, 0] - normaliser
    teacher_hit = teacher_scaled.gather(1, classes[:, None])[:, 0] - teacher_normaliser
    # log(1 - b) from the non-target logits: 1 - exp(hit) would lose all digits where the model is sure.
    miss, teacher_miss = rest.logsumexp(1) - normaliser, teacher_rest.logsumexp(1) - teacher_normaliser
    target = teacher_hit.exp() * (teacher_hit - hit) + teacher_miss.exp() * (teacher_miss - miss)
    among, teacher_among = rest.log_softmax(1), teacher_rest.log_softmax(1)
    return target, (teacher_among.exp() * (teacher_among - among)).sum(1)


def dkd_losses(logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """T^2 times the target and the non-target divergence, means over the batch.

    Source: Zhao et al. 2022, equation 7, without its weights.

    Args:
        logits: student, (B, C).
        teacher_logits: teacher, (B, C); no gradient flows into them.
        labels: int64 (B,), or soft labels (B, C), whose most probable class is the target.
        temperature: T > 0.

    Returns:
        TCKD and NCKD, scalars.
    """
    target, rest = decoupled_divergences(
        at_least_float32(logits) / temperature,
        at_least_float32(teacher_logits.detach()) / temperature,
        target_classes(labels),
    )
    return temperature**2 * target.mean(), temperature**2 * rest.mean()


@methods.register("dkd")
@dataclass(frozen=True)
class DecoupledDistillation:
    """Cross entropy plus warm-up * (alpha TCKD + beta NCKD): the two halves of KD with weights of their own.

    Differs from the paper in: the warm-up grows by steps, not by epochs; soft labels count as their most probable
    class.

    needs: labels, teacher outputs (cached are enough). Tasks: classification.

    Args:
        alpha: weight of the target class against the rest, at least 0.
        beta: weight of the differences among the rest, at least 0; the paper takes 2 to 8 by pair of networks.
        temperature: T, above 0.
        warmup: share of the steps over which the teacher's weight grows to 1, in [0, 1]; the paper: 20 of 240 epochs.
        ce_weight: weight of the labels, at least 0.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"labels", "teacher_outputs"})
    tasks: ClassVar[frozenset[str]] = frozenset({"class"})

    alpha: float = 1.0
    beta: float = 8.0
    temperature: float = 4.0
    warmup: float = 0.083
    ce_weight: float = 1.0

    def __post_init__(self) -> None:
        check_not_negative("dkd", "alpha", self.alpha, 1.0)
        check_not_negative("dkd", "beta", self.beta, 8.0)
        check_positive("dkd", "temperature", self.temperature, 4.0)
        check_share("dkd", "warmup", self.warmup, 0.083)
        check_not_negative("dkd", "ce_weight", self.ce_weight, 1.0)

    @property
    def learns_labels(self) -> bool:
        """Whether labels have a weight."""
        return self.ce_weight > 0.0

    def __call__(self, batch: Batch, outputs: Tensor, progress: float) -> dict[str, Tensor]:
        """The parts of the loss: ``ce``, ``target`` and ``non_target``."""
        target, rest = dkd_losses(outputs, batch.teacher(), batch.labels, self.temperature)
        factor = warmed_up(progress, self.warmup)
        return {
            "ce": self.ce_weight * cross_entropy(outputs, batch.labels),
            "target": factor * self.alpha * target,
            "non_target": factor * self.beta * rest,
        }
