"""Curriculum Temperature KD: a temperature learned against the student (Li et al., 2023, AAAI, arXiv 2211.16231)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from students.methods import Batch, Sizes, check_not_negative, check_positive, check_share, methods
from students.methods.ce import cross_entropy
from students.methods.kd import kd_loss

if TYPE_CHECKING:
    from torch import Tensor, nn


def reversed_gradient(value: Tensor, factor: float) -> Tensor:
    """The same value, whose gradient is multiplied by ``factor``.

    Args:
        value: any shape.
        factor: any number; below 0 what is minimised for others is maximised for ``value``.
    """
    # The bracket is exactly 0, so that the value stays as it is to the last bit.
    return value.detach() + factor * (value - value.detach())


def reversal_strength(progress: float, warmup: float) -> float:
    """Factor of the temperature's gradient, from 0 down to -1 along a cosine, then -1.

    Source: Li et al. 2023, equation 8.

    Args:
        progress: share of the training done, in [0, 1].
        warmup: share over which the factor falls, in [0, 1].
    """
    reached = 1.0 if progress >= warmup else progress / warmup
    return -(1.0 - math.cos(math.pi * reached)) / 2


def learned_temperature(theta: Tensor, low: float, span: float) -> Tensor:
    """The temperature low + span * sigmoid(theta)."""
    return low + span * theta.sigmoid()


@methods.register("ctkd")
@dataclass(frozen=True)
class CurriculumTemperature:
    """KD with one temperature for all rows, learned to make the student's loss larger as training goes on.

    The temperature is low + span * sigmoid(theta), theta starts at 1, and its gradient is reversed with a strength
    that grows along a cosine. Differs from the paper in: the strength grows by steps, not by epochs; the temperature
    of each row from a small network, and the form on DKD, are left out.

    needs: labels, teacher outputs (cached are enough). Tasks: classification.

    Args:
        low: smallest temperature, above 0.
        span: largest less smallest temperature, above 0.
        teacher_weight: weight of the teacher, at least 0.
        ce_weight: weight of the labels, at least 0.
        warmup: share of the steps over which the reversal grows to its full strength, in [0, 1]; the paper: 10 of 240
            epochs.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"labels", "teacher_outputs"})
    tasks: ClassVar[frozenset[str]] = frozenset({"class"})

    low: float = 1.0
    span: float = 20.0
    teacher_weight: float = 0.9
    ce_weight: float = 0.1
    warmup: float = 0.042

    def __post_init__(self) -> None:
        check_positive("ctkd", "low", self.low, 1.0)
        check_positive("ctkd", "span", self.span, 20.0)
        check_not_negative("ctkd", "teacher_weight", self.teacher_weight, 0.9)
        check_not_negative("ctkd", "ce_weight", self.ce_weight, 0.1)
        check_share("ctkd", "warmup", self.warmup, 0.042)

    def auxiliary(self, sizes: Sizes) -> nn.Module:
        """Holds theta alone, a scalar that starts at 1; sizes do not matter."""
        import torch

        return torch.nn.ParameterDict({"theta": torch.nn.Parameter(torch.ones(()))})

    @property
    def learns_labels(self) -> bool:
        """Whether labels have a weight."""
        return self.ce_weight > 0.0

    def __call__(self, batch: Batch, outputs: Tensor, progress: float) -> dict[str, Tensor]:
        """The parts of the loss: ``ce`` and ``kd``."""
        (theta,) = batch.own_network().parameters()
        against = reversed_gradient(theta, reversal_strength(progress, self.warmup))
        temperature = learned_temperature(against, self.low, self.span)
        return {
            "ce": self.ce_weight * cross_entropy(outputs, batch.labels),
            "kd": self.teacher_weight * kd_loss(outputs, batch.teacher(), temperature),
        }
