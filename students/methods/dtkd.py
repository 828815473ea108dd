"""Dynamic Temperature KD (Wei and Bai, 2024, arXiv 2404.12711)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from students.methods import (
    Batch,
    at_least_float32,
    check_classes,
    check_not_negative,
    check_positive,
    check_share,
    methods,
    target_classes,
    warmed_up,
)
from students.methods.ce import cross_entropy
from students.methods.dkd import decoupled_divergences
from students.methods.kd import kd_loss

if TYPE_CHECKING:
    from torch import Tensor

#: A largest logit at or below this gives no usable temperature: it would be 0, negative or without bound.
SMALLEST_MAXIMUM = 1e-4

#: The bisection's share of 2 tau stays this far from 0 and 1, so that no temperature is 0 in float32 either.
SHARE_MARGIN = 1e-6


def centred(logits: Tensor) -> Tensor:
    """Logits less their mean over classes, (B, C); their largest is never negative."""
    return logits - logits.mean(dim=1, keepdim=True)


def unusable_rows(logits: Tensor, teacher_logits: Tensor, *, center: bool = False) -> Tensor:
    """Rows whose largest logit, the student's or the teacher's, gives no usable temperature.

    Args:
        logits: student, (B, C).
        teacher_logits: teacher, (B, C).
        center: whether logits are centred first.

    Returns:
        bool (B,). Their share, ``unusable_rows(...).float().mean()``, says how much of a batch is plain KD.
    """
    pair = (at_least_float32(logits), at_least_float32(teacher_logits))
    student, teacher = ((centred(item) if center else item).amax(dim=1) for item in pair)
    return student.minimum(teacher) <= SMALLEST_MAXIMUM


def dynamic_temperatures(
    logits: Tensor, teacher_logits: Tensor, reference: float, *, center: bool = False
) -> tuple[Tensor, Tensor]:
    """Temperatures in proportion to the largest logit: 2 tau x / (x + y) and 2 tau y / (x + y).

    Source: Wei and Bai 2024, equations 6 and 7; their erratum: the bound that leads there does not hold, so that this
    is a rule of thumb and no matching of sharpness.

    Args:
        logits: student, (B, C), with largest logit y of a row.
        teacher_logits: teacher, (B, C), with largest logit x of a row.
        reference: tau > 0; rows without a usable maximum get it for both.
        center: whether maxima are of centred logits.

    Returns:
        Temperatures of the teacher and of the student, (B, 1) each, with the gradient of the student's maximum.
    """
    student, teacher = at_least_float32(logits), at_least_float32(teacher_logits)
    unusable = unusable_rows(student, teacher, center=center)[:, None]
    if center:
        student, teacher = centred(student), centred(teacher)
    # Replaced before the division: a quotient without bound would send NaN back through the branch not taken.
    y, x = (item.amax(dim=1, keepdim=True).masked_fill(unusable, 1.0) for item in (student, teacher))
    return 2 * reference * x / (x + y), 2 * reference * y / (x + y)


def exact_temperatures(
    logits: Tensor, teacher_logits: Tensor, reference: float, *, halvings: int = 60
) -> tuple[Tensor, Tensor]:
    """Temperatures that add up to 2 tau and make both log-sum-exps of centred logits equal, by bisection.

    Source: the aim that Wei and Bai 2024 start from (equation 3). On centred logits the log-sum-exp of z / T falls as
    T grows, so that there is one such pair.

    Args:
        logits: student, (B, C).
        teacher_logits: teacher, (B, C).
        reference: tau > 0; rows in which a model's logits are all equal get it for both.
        halvings: of the interval; 60 reach double precision.

    Returns:
        Temperatures of the teacher and of the student, (B, 1) each, without gradients.
    """
    student, teacher = centred(at_least_float32(logits.detach())), centred(at_least_float32(teacher_logits.detach()))
    unusable = unusable_rows(student, teacher)[:, None]
    low = student.new_full((len(student), 1), SHARE_MARGIN)
    high = 1.0 - low
    for _ in range(halvings):
        middle = (low + high) / 2
        sharpness = (student / (2 * reference * (1.0 - middle))).logsumexp(1, keepdim=True)
        teacher_sharpness = (teacher / (2 * reference * middle)).logsumexp(1, keepdim=True)
        warmer = teacher_sharpness > sharpness
        low, high = middle.where(warmer, low), high.where(warmer, middle)
    share = ((low + high) / 2).masked_fill(unusable, 0.5)
    return 2 * reference * share, 2 * reference * (1.0 - share)


def dtkd_loss(logits: Tensor, teacher_logits: Tensor, temperatures: tuple[Tensor, Tensor]) -> Tensor:
    """T_teacher T_student KL(softmax(teacher / T_teacher) || softmax(student / T_student)), mean over the batch.

    Source: Wei and Bai 2024, equation 8.

    Args:
        logits: student, (B, C).
        teacher_logits: teacher, (B, C); gradients flow through their temperature alone.
        temperatures: of the teacher and of the student, (B, 1) each.

    Returns:
        A scalar.
    """
    of_teacher, of_student = temperatures
    teacher = (at_least_float32(teacher_logits.detach()) / of_teacher).log_softmax(1)
    student = (at_least_float32(logits) / of_student).log_softmax(1)
    divergence = (teacher.exp() * (teacher - student)).sum(1)
    return ((of_teacher * of_student)[:, 0] * divergence).mean()


@methods.register("dtkd")
@dataclass(frozen=True)
class DynamicTemperature:
    """KD whose two temperatures follow the largest logits of each row: warm-up * (alpha DTKD + beta KD) + gamma CE.

    Differs from the paper in: rows with a largest logit that is not positive take equal temperatures (the formula
    gives negative ones); the warm-up grows by steps, not by epochs. Left as released: the gradient also flows
    through the temperatures; ``detach`` stops it.

    needs: labels, teacher outputs (cached are enough). Tasks: classification, of at least three classes with
    ``center`` or ``exact``.

    Args:
        reference: tau, half the sum of the two temperatures and the temperature of the KD term, above 0.
        alpha: weight of the term with dynamic temperatures, at least 0.
        beta: weight of the KD term, at least 0.
        gamma: weight of the labels, at least 0.
        warmup: share of the steps over which the teacher's weight grows to 1, in [0, 1]; the paper: 20 of 240 epochs.
        center: whether maxima are of logits less their mean, which are positive and blind to shifts of a row.
        exact: whether sharpness is made equal by bisection on centred logits in place of the rule of maxima.
        detach: whether temperatures are constants to the gradient; exact ones always are.
        decoupled: whether dynamic temperatures enter DKD's two divergences in place of the one of KD.
        target_weight: of DKD's target divergence, at least 0.
        non_target_weight: of DKD's divergence among the other classes, at least 0.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"labels", "teacher_outputs"})
    tasks: ClassVar[frozenset[str]] = frozenset({"class"})

    reference: float = 4.0
    alpha: float = 3.0
    beta: float = 1.0
    gamma: float = 1.0
    warmup: float = 0.083
    center: bool = False
    exact: bool = False
    detach: bool = False
    decoupled: bool = False
    target_weight: float = 1.0
    non_target_weight: float = 8.0

    def __post_init__(self) -> None:
        check_positive("dtkd", "reference", self.reference, 4.0)
        check_share("dtkd", "warmup", self.warmup, 0.083)
        for option, example in (
            ("alpha", 3.0), ("beta", 1.0), ("gamma", 1.0), ("target_weight", 1.0), ("non_target_weight", 8.0),
        ):  # fmt: skip
            check_not_negative("dtkd", option, getattr(self, option), example)

    @property
    def least_classes(self) -> int:
        """Of two classes centred logits are (z, -z): scaled to one sharpness, both models agree wherever signs do."""
        return 3 if self.center or self.exact else 2

    @property
    def remedies(self) -> Mapping[str, str]:
        """Which options do without centred logits."""
        return {"classes": "center false and exact false"} if self.least_classes > 2 else {}

    def temperatures(self, logits: Tensor, teacher_logits: Tensor) -> tuple[Tensor, Tensor]:
        """Temperatures of the teacher and of the student, (B, 1) each, by the rule that the options choose."""
        if self.exact:
            return exact_temperatures(logits, teacher_logits, self.reference)
        found = dynamic_temperatures(logits, teacher_logits.detach(), self.reference, center=self.center)
        return (found[0].detach(), found[1].detach()) if self.detach else found

    @property
    def learns_labels(self) -> bool:
        """Whether labels have a weight."""
        return self.gamma > 0.0

    def __call__(self, batch: Batch, outputs: Tensor, progress: float) -> dict[str, Tensor]:
        """The parts of the loss: ``ce``, ``dtkd`` and ``kd``."""
        check_classes("dtkd", outputs.shape[1], self.least_classes, self.remedies.get("classes", "kd"))
        teacher = batch.teacher().detach()
        temperatures = self.temperatures(outputs, teacher)
        if self.decoupled:
            of_teacher, of_student = temperatures
            target, rest = decoupled_divergences(
                at_least_float32(outputs) / of_student,
                at_least_float32(teacher) / of_teacher,
                target_classes(batch.labels),
            )
            divergence = self.target_weight * target + self.non_target_weight * rest
            dynamic = ((of_teacher * of_student)[:, 0] * divergence).mean()
        else:
            dynamic = dtkd_loss(outputs, teacher, temperatures)
        factor = warmed_up(progress, self.warmup)
        return {
            "ce": self.gamma * cross_entropy(outputs, batch.labels),
            "dtkd": factor * self.alpha * dynamic,
            "kd": factor * self.beta * kd_loss(outputs, teacher, self.reference),
        }
