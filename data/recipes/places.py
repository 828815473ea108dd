"""Drawing places without putting any back, for many draws at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

#: Draws that are worked on at a time, few enough for all their places to stay in the processor's cache.
BLOCK = 8192


def leave_out(numbers: npt.NDArray[Any]) -> None:
    """Turns numbers among the places that are left into places, without a loop over draws.

    Place j of a draw is the one that has number ``numbers[j]`` among those that its places 0 .. j - 1 left, in rising
    order; with uniform numbers every ordered choice is as likely as any other.

    Args:
        numbers: signed integers (k, B), changed in place; row j lies in 0 .. n - j - 1 for n places.
    """
    passed = np.empty(numbers.shape[1:], bool)
    rising: list[npt.NDArray[Any]] = []
    for place in numbers:
        for taken in rising:
            np.greater_equal(place, taken, out=passed)
            place += passed
        inserted = place.copy()
        for taken in rising:
            larger = np.maximum(taken, inserted)
            np.minimum(taken, inserted, out=taken)
            inserted = larger
        rising.append(inserted)
