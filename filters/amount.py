"""A number of rows, taken as evenly over groups as the groups allow."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def even_sizes(sizes: npt.NDArray[np.integer], count: int) -> npt.NDArray[np.int64]:
    """How many rows of each group make ``count`` of them, as evenly as possible (water-filling).

    Every group gives the same number, but one that has fewer gives all it has, and what is then missing comes from the
    others. Of the groups that could give one more, the first ones do where ``count`` does not divide.

    Args:
        sizes: rows of each group, (G,), 0 or more.
        count: rows wanted, 0 or more.

    Returns:
        int64 (G,), at most ``sizes``; their sum is ``count``, or all rows if there are fewer. A larger count never
        takes fewer rows of a group.

    Raises:
        ValueError: if the count is negative.
    """
    if count < 0:
        raise ValueError(f"count must be at least 0, got {count}.")
    sizes = np.asarray(sizes, np.int64)
    low, high = 0, int(sizes.max(initial=0))
    while low < high:
        level = (low + high + 1) // 2
        low, high = (level, high) if np.minimum(sizes, level).sum() <= count else (low, level - 1)
    taken = np.asarray(np.minimum(sizes, low), np.int64)
    more = np.flatnonzero(sizes > low)[: count - int(taken.sum())]
    taken[more] += 1
    return taken


def even_rows(groups: npt.NDArray[np.integer], group_count: int, count: int) -> npt.NDArray[np.int64]:
    """The numbers of ``count`` rows, evenly over the groups; within a group those that come first.

    Args:
        groups: group of each row, (n,), 0 .. group_count - 1.
        group_count: number of groups G.
        count: rows wanted, 0 or more.

    Returns:
        Rising row numbers, int64; ``count`` of them, or all n if there are fewer. The rows of a smaller count are
        among those of a larger one.
    """
    taken = even_sizes(np.bincount(groups, minlength=group_count), count)
    order = np.argsort(groups, kind="stable")
    ordered = groups[order]
    rank = np.arange(len(groups)) - np.searchsorted(ordered, ordered)
    return np.sort(order[rank < taken[ordered]])
