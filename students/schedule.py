"""The learning rate as a pure function of the step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from data.errors import ConfigError

Schedule = Literal["cosine", "step", "linear", "constant"]

#: What schedule "step" multiplies the learning rate with at each milestone.
FACTOR = 0.1


def learning_rate_at(
    step: int,
    *,
    steps: int,
    peak: float,
    warmup_steps: int = 0,
    schedule: Schedule = "cosine",
    milestones: Sequence[float] = (),
) -> float:
    """Linear warm-up to ``peak``, then the schedule.

    ========  ========================================================================================================
    cosine    half a cosine towards 0 (Loshchilov and Hutter, 2017, eq. 5, no restarts)
    linear    a straight line towards 0
    step      a tenth after each milestone; shares 0.625, 0.75 and 0.875 are epochs 150, 180 and 210 of 240
    constant  the peak
    ========  ========================================================================================================

    Args:
        step: 0 .. steps - 1.
        steps: length of the training; the schedule ends there, also where a training stops early.
        peak: the highest learning rate, reached after the warm-up.
        warmup_steps: steps of the warm-up, fewer than ``steps``.
        schedule: how the rate falls afterwards.
        milestones: of schedule "step": shares of all steps, in (0, 1).

    Returns:
        The learning rate of the step, above 0.

    Raises:
        ConfigError: for an unknown schedule.
    """
    if step < warmup_steps:
        return peak * (step + 1) / (warmup_steps + 1)
    done = (step - warmup_steps) / (steps - warmup_steps)
    if schedule == "cosine":
        return peak * 0.5 * (1.0 + math.cos(math.pi * done))
    if schedule == "linear":
        return peak * (1.0 - done)
    if schedule == "step":
        return peak * FACTOR ** sum(step >= share * steps for share in milestones)
    if schedule == "constant":
        return peak
    raise ConfigError(f"schedule must be 'cosine', 'step', 'linear' or 'constant', got '{schedule}'; try 'cosine'.")


def check_milestones(milestones: Sequence[float]) -> None:
    """Checks the milestones of schedule "step".

    Raises:
        ConfigError: if they do not rise or do not lie in (0, 1).
    """
    inside = all(0.0 < share < 1.0 for share in milestones)
    if not inside or any(later <= earlier for earlier, later in pairwise(milestones)):
        raise ConfigError(
            f"milestones must be rising shares of the steps, each in (0, 1), got {tuple(milestones)}; "
            f"try 0.625, 0.75, 0.875."
        )
