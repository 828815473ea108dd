"""The learning rate of the filters' networks as a pure function of the step."""

from __future__ import annotations

import math


def cosine(step: int, steps: int, peak: float) -> float:
    """Half a cosine from ``peak`` at step 0 towards 0 at ``steps`` (Loshchilov and Hutter, 2017, eq. 5)."""
    return peak * 0.5 * (1.0 + math.cos(math.pi * step / steps))
