"""Values sorted once, group by group, so that an interval or a nearest neighbour is found by binary search."""

from __future__ import annotations

from typing import Literal

import numpy as np

from generators.vicinities.forms import Floats, Rows


class OrderedGroups:
    """Rows ordered by group and, within a group, by value.

    An interval of values of one group is then a range of positions, and one search in the keys group x width + value
    finds its ends for a whole batch. Keys are rounded, which keeps their order: no value of an interval is ever lost,
    but one may be added that lies beyond an end by the keys' last digit, 1e-14 of all values' range for fifty groups.

    Args:
        groups: group of each row, int64 (N,), 0 .. count - 1.
        values: float64 (N,).
        count: number of groups.

    Attributes:
        order: row at each position, int64 (N,).
        values: value at each position, float64 (N,).
        starts: first position of each group, and N; int64 (count + 1,).
    """

    def __init__(self, groups: Rows, values: Floats, count: int) -> None:
        self.order: Rows = np.lexsort((values, groups)).astype(np.int64)
        self.values = values[self.order]
        ordered = groups[self.order]
        self.starts: Rows = np.searchsorted(ordered, np.arange(count + 1)).astype(np.int64)
        self._low, self._range = float(self.values.min()), float(np.ptp(self.values)) or 1.0
        self._keys = self._key(ordered, self.values)

    def _key(self, groups: Rows, values: Floats) -> Floats:
        if len(self.starts) == 2:
            # The only group is 0, which is added for its shape.
            return np.asarray(groups + values)
        # What is far outside stays between the values of its own group and those of the next.
        bounded = np.clip(values - self._low, -0.25 * self._range, 1.25 * self._range)
        return np.asarray(2.0 * groups + bounded / self._range)

    def positions(self, groups: Rows, bounds: Floats, side: Literal["left", "right"]) -> Rows:
        """Where ``bounds`` would be inserted in ``groups``, left or right of equal values; broadcasts, int64."""
        return np.asarray(np.searchsorted(self._keys, self._key(groups, bounds), side=side))

    def ranges(self, groups: Rows, lows: Floats, highs: Floats) -> tuple[Rows, Rows]:
        """First and end position of the values in [low, high] of each group; equal where there are none."""
        return self.positions(groups, lows, "left"), self.positions(groups, highs, "right")

    def nearest(self, groups: Rows, targets: Floats) -> Floats:
        """The value of the group that is nearest to each target, the lower of two; the group must not be empty."""
        right = self.positions(groups, targets, "left")
        below = self.values[np.maximum(right - 1, self.starts[groups])]
        above = self.values[np.minimum(right, self.starts[groups + 1] - 1)]
        nearest: Floats = np.where(np.abs(targets - below) <= np.abs(above - targets), below, above)
        return nearest

    def distance_to_nearest(self, groups: Rows, targets: Floats, count: int) -> Floats:
        """Distance from each target to the ``count``-th nearest value of its group, or the farthest if it has fewer.

        The ``count`` nearest values stand side by side; one binary search for the whole batch finds where they begin.
        """
        first, end = self.starts[groups], self.starts[groups + 1]
        counts = np.minimum(count, end - first)
        position = self.positions(groups, targets, "left")
        low, high = np.maximum(position - counts, first), np.minimum(position, end - counts)
        searching = low < high
        while searching.any():
            middle = (low + high) >> 1
            # Beyond the last row only where the search is already over.
            beyond = self.values[np.minimum(middle + counts, len(self.values) - 1)]
            later = targets - self.values[middle] > beyond - targets
            low = np.where(searching & later, middle + 1, low)
            high = np.where(searching & ~later, middle, high)
            searching = low < high
        distances: Floats = np.maximum(targets - self.values[low], self.values[low + counts - 1] - targets)
        return distances


def distinct_rows(groups: Rows, points: Floats) -> tuple[Rows, Rows]:
    """An order of labels in which equal ones stand together.

    Args:
        groups: int64 (N,).
        points: float64 (N, L).

    Returns:
        The row at each position, int64 (N,), by group and then by the dimensions, and the position where each distinct
        label begins, int64 (D,).
    """
    order = np.lexsort((*points.T[::-1], groups)).astype(np.int64)
    ordered = np.column_stack([groups, points])[order]
    starts = np.flatnonzero(np.r_[True, (ordered[1:] != ordered[:-1]).any(axis=1)]).astype(np.int64)
    return order, starts
