"""Pools of rows that comparisons are drawn from: how many comparisons there are, and any number of them at random."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from data.recipes.groups import Rows, beside, combinations
from data.recipes.places import BLOCK, leave_out


@dataclass(frozen=True, eq=False)
class Pools:
    """Pools of rows; a comparison is drawn from one of them.

    ======================  ===================================  ======================================
    pools                   first group                          second group
    ======================  ===================================  ======================================
    plain                   p rows of the pool                   q other rows of it
    ``apart``               p rows of the pool                   q rows outside it
    with an ``anchor``      the anchor, p - 1 others of its pool q other rows of it
    ======================  ===================================  ======================================

    Args:
        rows: row numbers, int64; pool ``i`` has those from ``start[i]`` on, ``size[i]`` of them.
        start: int64 (C,).
        size: int64 (C,).
        positive: p.
        negative: q.
        apart: whether the second group is of rows outside the pool; pools then share no rows.
        anchor: the row that a pool belongs to and that is in it, int64 (C,), or None.
        own: place of the anchor in its pool, int64 (C,), or None.
    """

    rows: Rows
    start: Rows
    size: Rows
    positive: int
    negative: int
    apart: bool = False
    anchor: Rows | None = None
    own: Rows | None = None
    _choosing: list[npt.NDArray[np.float64]] = field(default_factory=list, init=False, repr=False)

    @property
    def _drawn(self) -> int:
        """Rows of the first group that are drawn: all but the anchor."""
        return self.positive - (self.anchor is not None)

    @cached_property
    def _counts(self) -> tuple[list[int], Rows]:
        """Comparisons of pools of each size that there is, and which of these sizes a pool has."""
        sizes, which = np.unique(self.size, return_inverse=True)
        counts = [math.comb(self._members(size), self._drawn) * self._seconds(size) for size in sizes.tolist()]
        return counts, which.reshape(-1)

    def _members(self, size: int) -> int:
        """Rows that the first group is drawn from, of a pool of some size."""
        return size - (self.anchor is not None)

    def _seconds(self, size: int) -> int:
        """Second groups beside each first one."""
        left = len(self.rows) - size if self.apart else self._members(size) - self._drawn
        return math.comb(max(left, 0), self.negative)

    @cached_property
    def available(self) -> int:
        """Number of comparisons; with anchors one counts once for each member of its first group that can be one."""
        counts, which = self._counts
        return sum(count * int(pools) for count, pools in zip(counts, np.bincount(which), strict=True))

    def draw(self, count: int, rng: np.random.Generator) -> Rows:
        """Comparisons drawn with replacement, each as likely as any other.

        Args:
            count: M.
            rng: source of randomness.

        Returns:
            int64 (M, p + q): the first group and then the second, each rising, the anchor before all.
        """
        members = np.empty((count, self.positive + self.negative), np.int64)
        for low in range(0, count, BLOCK):
            pool = self._choose(min(BLOCK, count - low), rng)
            size = self.size[pool] - (self.anchor is not None)
            if self.apart:
                first = _places(size, self._drawn, rng)
                second = _places(len(self.rows) - size, self.negative, rng)
            else:
                both = _places(size, self._drawn + self.negative, rng)
                first, second = both[: self._drawn], both[self._drawn :]
            members[low : low + BLOCK] = self._named(pool, first, second)
        return self._sorted(members)

    def decode(self, numbers: Rows) -> Rows:
        """The comparisons with some numbers in 0 .. available - 1, as ``draw`` has them; ``available`` fits int64."""
        counts, which = self._counts
        end = np.cumsum(np.array(counts, np.int64)[which])
        pool = np.searchsorted(end, numbers, side="right")
        rest = numbers - np.r_[0, end][pool]
        sizes = np.unique(self.size)
        seconds = np.array([self._seconds(size) if counts[i] else 1 for i, size in enumerate(sizes.tolist())], np.int64)
        one, other = np.divmod(rest, seconds[which[pool]])
        chosen = combinations(one, int(sizes[-1]), self._drawn)
        second = combinations(other, len(self.rows) if self.apart else int(sizes[-1]), self.negative)
        second = second if self.apart else beside(chosen, second)
        return self._sorted(self._named(pool, chosen.T, second.T))

    def within(self, open_rows: npt.NDArray[np.bool_]) -> Pools:
        """The same pools without some rows; which rows are near to which does not change.

        Args:
            open_rows: whether each row of the set may be drawn, (N,).
        """
        keep = open_rows[self.rows]
        before = np.r_[0, np.cumsum(keep)]
        start, stop = before[self.start], before[self.start + self.size]
        anchor, own = self.anchor, self.own
        if anchor is not None and own is not None:
            left = open_rows[anchor]
            own = (before[self.start + own] - start)[left]
            anchor, start, stop = anchor[left], start[left], stop[left]
        rows = self.rows[keep]
        return Pools(rows, start, stop - start, self.positive, self.negative, self.apart, anchor, own)

    def _choose(self, count: int, rng: np.random.Generator) -> Rows:
        """A pool for each comparison, in proportion to the comparisons that it has."""
        if not self._choosing:
            counts, which = self._counts
            # Python's integers have no largest one; their ratio does.
            self._choosing.append(np.cumsum(np.array([number / max(counts) for number in counts])[which]))
        end = self._choosing[0]
        return np.asarray(np.searchsorted(end, rng.random(count) * end[-1], side="right"))

    def _named(self, pool: Rows, first: Rows, second: Rows) -> Rows:
        """Rows (B, p + q) of places (p or p - 1, B) and (q, B) in pools (B,)."""
        start = self.start[pool]
        named = np.empty((self.positive + self.negative, len(pool)), np.int64)
        if self.anchor is not None and self.own is not None:
            own = self.own[pool]
            named[0] = self.anchor[pool]
            for place, member in enumerate([*first, *second], 1):
                named[place] = self.rows[start + member + (member >= own)]
            return named.T
        for place, member in enumerate(first):
            named[place] = self.rows[start + member]
        for place, member in enumerate(second, self.positive):
            beyond = member + self.size[pool] * (member >= start) if self.apart else start + member
            named[place] = self.rows[beyond]
        return named.T

    def _sorted(self, members: Rows) -> Rows:
        members = np.ascontiguousarray(members)
        members[:, self.anchor is not None : self.positive].sort(axis=1)
        members[:, self.positive :].sort(axis=1)
        return members


def _places(size: Rows, count: int, rng: np.random.Generator) -> Rows:
    """Distinct places in 0 .. size - 1 for each of B draws, (count, B), in the order in which they were drawn."""
    numbers = rng.random((count, len(size)))
    numbers *= size - np.arange(count)[:, None]
    places: Rows = numbers.astype(np.int32 if size.max() < 2**31 else np.int64)
    leave_out(places)
    return places
