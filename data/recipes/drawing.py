"""Draws distinct comparisons, and keeps every row from being in too many of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from data.recipes.groups import Rows
from data.recipes.pools import Pools

#: Comparisons that are decoded at a time where all are looked through.
_LEAST_BATCH = 1 << 17


def draw_distinct(pools: Pools, rows: int, count: int, rng: np.random.Generator, most_per_row: int | None) -> Rows:
    """Draws distinct comparisons one after the other, in random order.

    With a cap the result is what a loop would keep that takes every comparison whose rows all have room, and that
    leaves out full rows from then on.

    Args:
        pools: of which comparisons there are.
        rows: number of rows of the set.
        count: comparisons wanted; fewer come if there are fewer.
        rng: source of randomness.
        most_per_row: comparisons that a row may be in, or None for any number.

    Returns:
        int64 (M, p + q), as ``Pools.draw`` has them.
    """
    size = pools.positive + pools.negative
    # The sum of a random number a member is the same whatever their order; unequal sets hardly ever have equal sums.
    marks = rng.integers(0, 2**64 - 1, (2, rows), np.uint64, endpoint=True)
    found, keys = np.empty((0, size), np.int64), np.empty(0, np.uint64)
    used = np.zeros(rows, np.int64)
    room = rows if most_per_row is None else most_per_row
    productive = True
    while len(found) < count and pools.available:
        most = count if most_per_row is None else min(count, room * rows // size)
        wanted = most - len(found)
        if not wanted:
            break
        # Where most of them are asked for, or most were found before, chance would take long to come by the last.
        every = pools.available <= 3 * pools.positive * (wanted if productive else most)
        before = len(found)
        # Of comparisons that have come already about so many come again; of full rows nobody knows.
        spare = wanted * most * pools.positive // pools.available if most_per_row is None else wanted // 8
        for drawn in _batches(pools, wanted + spare + 64, rng, every=every):
            if most_per_row is not None:
                drawn = drawn[(used[drawn] < room).all(axis=1)]
            fresh, key = _unseen(drawn, keys, marks, pools.positive)
            if most_per_row is not None:
                fresh = fresh[_with_room(drawn[fresh], used, room)]
            fresh = fresh[: most - len(found)]
            new = drawn if len(fresh) == len(drawn) else drawn[fresh]
            found = np.concatenate([found, new]) if len(found) else new
            keys = np.concatenate([keys, key[fresh]])
            if len(found) == most:
                break
        if every:
            break
        productive = len(found) - before > wanted // 8
        if most_per_row is not None:
            pools = pools.within(used < room)
    return found


def _batches(pools: Pools, size: int, rng: np.random.Generator, *, every: bool) -> Iterator[Rows]:
    """One batch of draws, or all comparisons in random order, batch by batch."""
    if not every:
        yield pools.draw(size, rng)
        return
    numbers = rng.permutation(pools.available)
    size = max(size, _LEAST_BATCH)
    for low in range(0, len(numbers), size):
        yield pools.decode(numbers[low : low + size])


def _unseen(
    members: Rows, keys: npt.NDArray[np.uint64], marks: npt.NDArray[np.uint64], positive: int
) -> tuple[Rows, npt.NDArray[np.uint64]]:
    """Places of the comparisons that are neither among those with ``keys`` nor earlier here, and the keys of all."""
    key = np.zeros(len(members), np.uint64)
    with np.errstate(over="ignore"):
        for place in range(members.shape[1]):
            key += marks[int(place >= positive), members[:, place]]
    first = np.unique(np.concatenate([keys, key]), return_index=True)[1]
    return np.sort(first[first >= len(keys)]) - len(keys), key


def _with_room(members: Rows, used: Rows, most: int) -> npt.NDArray[np.bool_]:
    """Which comparisons can be taken one after the other before a row of theirs is full; adds them to ``used``.

    The same as a loop that takes each comparison whose rows all have room, in few passes over all of them: one that
    fits even if all before it were taken is taken, one with a full row is not, and the others wait for the next pass.
    """
    # Rows that cannot become full bind nobody.
    scarce = used + np.bincount(members.ravel(), minlength=len(used)) > most
    taken: npt.NDArray[np.bool_] = np.all(~scarce[members], axis=1, keepdims=False)
    used += np.bincount(members[taken].ravel(), minlength=len(used))
    waiting = np.flatnonzero(~taken)
    while len(waiting):
        rows = members[waiting]
        fits = (used[rows] + _earlier(rows, len(used)) < most).all(axis=1)
        taken[waiting[fits]] = True
        used += np.bincount(rows[fits].ravel(), minlength=len(used))
        room = (used[rows] < most).all(axis=1)
        waiting = waiting[~fits & room]
    return taken


def _earlier(members: Rows, rows: int) -> Rows:
    """How many earlier comparisons each member is in, of the shape of ``members``; by counting sort."""
    flat = np.arange(members.size, dtype=np.int32 if members.size < 2**31 else np.int64)
    table = csr_array((flat, members.ravel(), np.arange(len(members) + 1) * members.shape[1]), (len(members), rows))
    by_row = table.tocsc()
    earlier = np.empty(members.size, np.int64)
    earlier[by_row.data] = flat - np.repeat(by_row.indptr[:-1], np.diff(by_row.indptr))
    return earlier.reshape(members.shape)
