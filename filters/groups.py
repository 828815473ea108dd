"""Statistics of groups of rows, for all groups at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def group_quantile(
    values: npt.NDArray[np.floating[Any]], groups: npt.NDArray[np.integer], group_count: int, quantile: float
) -> npt.NDArray[np.float64]:
    """The quantile of each group, interpolated linearly like ``numpy.quantile``.

    Args:
        values: (n,), finite.
        groups: group of each row, (n,), 0 .. group_count - 1.
        group_count: number of groups G.
        quantile: in [0, 1]; at 1 it is the group's largest value exactly.

    Returns:
        float64 (G,); NaN for a group with no row.

    Raises:
        ValueError: if ``quantile`` is not in [0, 1].
    """
    if not 0.0 <= quantile <= 1.0:
        raise ValueError(f"quantile must be in [0, 1], got {quantile}.")
    counts = np.bincount(groups, minlength=group_count)
    ordered = np.append(values[np.lexsort((values, groups))].astype(np.float64), np.nan)
    starts = np.cumsum(counts) - counts
    position = quantile * np.maximum(counts - 1, 0)
    below = np.floor(position).astype(np.int64)
    fraction = position - below
    lower = ordered[starts + below]
    upper = ordered[starts + np.minimum(below + 1, np.maximum(counts - 1, 0))]
    return np.where(counts > 0, lower + fraction * (upper - lower), np.nan)


def group_mean(
    values: npt.NDArray[np.floating[Any]], groups: npt.NDArray[np.integer], group_count: int
) -> npt.NDArray[np.float64]:
    """The mean of each group, float64 (G,); 0 for a group with no row."""
    totals = np.bincount(groups, weights=values, minlength=group_count)
    return totals / np.maximum(np.bincount(groups, minlength=group_count), 1)


def group_running_maximum(
    values: npt.NDArray[np.floating[Any]], groups: npt.NDArray[np.integer]
) -> npt.NDArray[np.float64]:
    """The largest value of a row's group up to and with that row, float64 (n,).

    Args:
        values: (n,), finite.
        groups: group of each row, never falling, (n,).

    Raises:
        ValueError: if a group is smaller than the one before it.
    """
    if (np.diff(groups) < 0).any():
        raise ValueError("groups must never fall from row to row; sort the rows by group first.")
    # Ranks are whole numbers, so that a group's offset costs no digits of the values.
    count = len(values)
    order = np.argsort(values, kind="stable")
    ranks = np.empty(count, np.int64)
    ranks[order] = np.arange(count)
    offsets = groups.astype(np.int64) * count
    return np.asarray(values[order][np.maximum.accumulate(offsets + ranks) - offsets], np.float64)
