"""Which rows of a set are near to each row: by label, or by the teacher's outputs."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, pairwise

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from data.errors import ConfigError

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

#: Labels are stored as float32: distances that differ by less than this, in ranges of the label space, are equal.
TOLERANCE = 2.0**-22
#: Up to so many dimensions a tree is asked: with 10 it takes about a fifth of the time of all distances, with many
#: dimensions it would look at nearly all rows, one by one.
_TREE_DIMENSIONS = 16
#: Trees whose cells are halved at their middle: most answers of a teacher lie in a few tight clusters, which take
#: 5 to 20 times as long to search where cells are halved at the median.
_LEAF_ROWS = 32
#: Bytes of distances that are held at a time.
_DISTANCE_BYTES = 1 << 26
#: Lists that are made at a time, where they are short; and entries of such lists.
_LISTS, _ENTRIES = 16_384, 1 << 21
#: Entries that all lists may have together: 2 GiB.
_MOST_ENTRIES = 1 << 28


@dataclass(frozen=True, eq=False)
class NearRows:
    """For every row a list of the rows that are near, with itself; lists may overlap in memory.

    Args:
        rows: row numbers, int64; row ``i`` has those from ``start[i]`` on, ``size[i]`` of them.
        start: int64 (N,).
        size: int64 (N,), at least 1.
        own: place of the row itself in its list, int64 (N,).
    """

    rows: Rows
    start: Rows
    size: Rows
    own: Rows


def near_values(values: Floats, classes: npt.NDArray[np.int64] | None, neighbours: int) -> NearRows:
    """Rows whose value is among the nearest of the same class; see ``near_vectors``.

    Lists are stretches of the rows in the order of their values, so that memory does not grow with ``neighbours``.

    Args:
        values: normalised labels, (N,).
        classes: class of each row, int64 (N,), or None if there are no classes.
        neighbours: K.
    """
    classes = np.zeros(len(values), np.int64) if classes is None else classes
    order = np.lexsort((values, classes))
    start, stop = np.empty(len(values), np.int64), np.empty(len(values), np.int64)
    bounds = np.r_[0, np.flatnonzero(np.diff(classes[order])) + 1, len(order)]
    for low, high in pairwise(bounds.tolist()):
        value = values[order[low:high]]
        reach = _reach(value, min(neighbours, len(value) - 1)) + TOLERANCE
        start[order[low:high]] = low + np.searchsorted(value, value - reach)
        stop[order[low:high]] = low + np.searchsorted(value, value + reach, side="right")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return NearRows(order, start, stop - start, place - start)


def _reach(value: Floats, neighbours: int) -> Floats:
    """Distance of each of rising values to the ``neighbours``-th nearest other one."""
    # The nearest ones are neighbours + 1 consecutive values. Along their possible starts the distance to the first
    # falls and that to the last rises; the best start is where they cross.
    place = np.arange(len(value))
    last = len(value) - 1 - neighbours
    starts = np.arange(last + 1)
    cross = np.searchsorted(value[starts] + value[starts + neighbours], 2.0 * value)
    lowest, highest = np.maximum(place - neighbours, 0), np.minimum(place, last)
    reaches = []
    for start in (np.clip(cross - 1, lowest, highest), np.clip(cross, lowest, highest)):
        reaches.append(np.maximum(value - value[start], value[start + neighbours] - value))
    return np.minimum(*reaches)


def near_vectors(points: Floats, neighbours: int) -> NearRows:
    """Rows whose labels are no further than the ``neighbours``-th nearest other row, Euclidean.

    All rows that tie for the last place count, so that equal labels are treated alike.

    Args:
        points: normalised labels, (N, L).
        neighbours: K; all other rows where there are fewer.

    Raises:
        ConfigError: if the lists would be too long for memory.
    """
    distinct, inverse, counts = np.unique(points, axis=0, return_inverse=True, return_counts=True)
    inverse = inverse.reshape(-1)
    order = np.argsort(inverse, kind="stable")
    first = np.cumsum(counts) - counts
    tree = cKDTree(distinct, leafsize=_LEAF_ROWS, balanced_tree=False)
    starts, sizes, lists = [np.zeros(1, np.int64)], [], []
    own = np.empty(len(distinct), np.int64)
    wanted = min(neighbours, len(points) - 1)
    _check_size(len(distinct) * (wanted + 1), neighbours)
    block = _lists_at_once(wanted + 1)
    for low in range(0, len(distinct), block):
        asked = distinct[low : low + block]
        # So many distinct labels hold at least so many rows.
        distance, near = tree.query(asked, k=np.arange(1, min(len(distinct), wanted + 1) + 1))
        enough = np.argmax(np.cumsum(counts[near], axis=1) - 1 >= wanted, axis=1)
        reach = distance[np.arange(len(asked)), enough] + TOLERANCE
        found = tree.query_ball_point(asked, reach, return_sorted=True)
        lengths = np.fromiter(map(len, found), np.int64, len(asked))
        label = np.fromiter(chain.from_iterable(found), np.int64, int(lengths.sum()))
        # Every distinct label stands for all its rows, which lie side by side in the order.
        before = np.cumsum(counts[label]) - counts[label]
        asker = np.repeat(np.arange(low, low + len(asked)), lengths)
        entry = np.arange(int(counts[label].sum())) + np.repeat(first[label] - before, counts[label])
        lists.append(order[entry])
        sizes.append(np.add.reduceat(counts[label], np.cumsum(lengths) - lengths))
        starts.append(starts[-1][-1] + np.cumsum(sizes[-1]))
        _check_size(int(starts[-1][-1]), neighbours)
        mine = label == asker
        own[asker[mine]] = before[mine] - (starts[-1] - sizes[-1] - starts[-2][-1])[asker[mine] - low]
    size = np.concatenate(sizes)
    start = np.concatenate(starts[1:]) - size
    rank = np.empty(len(points), np.int64)
    rank[order] = np.arange(len(points)) - first[inverse[order]]
    return NearRows(np.concatenate(lists), start[inverse], size[inverse], own[inverse] + rank)


def near_outputs(points: Floats, neighbours: int) -> NearRows:
    """The ``neighbours`` other rows with the nearest outputs, Euclidean, up to the rounding of float64.

    Exact: no row is left out by an index, and rows are ranked by the differences of their outputs. Of rows that tie
    for the last place any may be taken. Takes about N log N where outputs have few dimensions and N^2 where they have
    many, in bounded memory.

    Args:
        points: finite outputs, (N, K).
        neighbours: all other rows where there are fewer.

    Raises:
        ConfigError: if the lists would be too long for memory.
    """
    wanted = min(neighbours, len(points) - 1) + 1
    _check_size(len(points) * wanted, neighbours)
    near = np.empty((len(points), wanted), np.int64)
    if points.shape[1] <= _TREE_DIMENSIONS:
        tree = cKDTree(points, leafsize=_LEAF_ROWS, balanced_tree=False)
        block = _lists_at_once(wanted)
        for low in range(0, len(points), block):
            near[low : low + block] = tree.query(points[low : low + block], k=np.arange(1, wanted + 1))[1]
    else:
        _fill_nearest(near, points)
    # A row comes first in its own list; where others are equal to it, it may not even be among them.
    mine = near == np.arange(len(points))[:, None]
    place = np.where(mine.any(axis=1), mine.argmax(axis=1), wanted - 1)
    near[np.arange(len(points)), place] = near[:, 0]
    near[:, 0] = np.arange(len(points))
    start = np.arange(len(points)) * wanted
    return NearRows(near.ravel(), start, np.full(len(points), wanted), np.zeros(len(points), np.int64))


def _fill_nearest(near: Rows, points: Floats) -> None:
    """Fills (N, k) with the k nearest points of each, itself with them, from all distances.

    Squared distances as |x|^2 + |y|^2 - 2 x y are quick, but lose what is small beside |x|^2. So they only leave out
    what is too far whatever was lost; the rest is ranked by the differences themselves.
    """
    centred = points - points.mean(axis=0)
    squares = np.einsum("ij,ij->i", centred, centred)
    # More than the rounding of a product of so many terms and of the two sums, of both distances that are compared.
    lost = 4.0 * (points.shape[1] + 4) * np.finfo(np.float64).eps * (squares + squares.max())
    block = max(1, min(_LISTS, _DISTANCE_BYTES // (8 * len(points))))
    count = near.shape[1]
    for low in range(0, len(points), block):
        distances = centred[low : low + block] @ (-2.0 * centred.T)
        distances += squares
        bounds = _bounds(distances, count) + lost[low : low + block]
        for row, (values, bound) in enumerate(zip(distances, bounds.tolist(), strict=True), low):
            others = np.flatnonzero(values <= bound)
            difference = points[others] - points[row]
            exact = np.einsum("ij,ij->i", difference, difference)
            if len(others) > 4 * count:
                closest = np.argpartition(exact, count - 1)[:count]
                others, exact = others[closest], exact[closest]
            near[row] = others[np.argsort(exact, kind="stable")[:count]]


def _bounds(values: Floats, count: int) -> Floats:
    """A bound for each row that at least ``count`` of its values do not pass, and few more, (B,)."""
    pieces = 8 * count
    if values.shape[1] >= 2 * pieces:
        # The count-th smallest of the minima of pieces is no smaller than the count-th smallest value: few pass it.
        even = values.shape[1] // pieces * pieces
        values = values[:, :even].reshape(len(values), -1, pieces).min(axis=1)
    return np.asarray(np.partition(values, count - 1, axis=1)[:, count - 1])


def _lists_at_once(length: int) -> int:
    return max(1, min(_LISTS, _ENTRIES // length))


def _check_size(entries: int, neighbours: int) -> None:
    if entries > _MOST_ENTRIES:
        raise ConfigError(
            f"neighbours must be so few that all lists of near rows have at most {_MOST_ENTRIES:,} entries, got "
            f"{neighbours:,} with {entries:,} entries or more; try {max(1, neighbours * _MOST_ENTRIES // entries):,}."
        )
