"""The learning rate as a pure function of the step."""

from __future__ import annotations

import math


def learning_rate_at(step: int, *, steps: int, peak: float, warmup_steps: int = 0) -> float:
    """Linear warm-up to ``peak``, then half a cosine towards 0 (Loshchilov and Hutter, 2017, eq. 5, no restarts).

    Args:
        step: 0 .. steps - 1.
        steps: length of the training.
        peak: the highest learning rate, reached after the warm-up.
        warmup_steps: steps of the warm-up, fewer than ``steps``.

    Returns:
        The learning rate of the step, above 0.
    """
    if step < warmup_steps:
        return peak * (step + 1) / (warmup_steps + 1)
    done = (step - warmup_steps) / (steps - warmup_steps)
    return peak * 0.5 * (1.0 + math.cos(math.pi * done))
