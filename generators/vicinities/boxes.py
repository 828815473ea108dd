"""Fixed vicinities of vectors: a grid of columns, binary search within them, and bounded rejection."""

from __future__ import annotations

import itertools
from functools import cached_property

import numpy as np
from scipy.spatial import cKDTree

from generators.vicinities.drawing import Found
from generators.vicinities.forms import Floats, Form, Rows, inside, reach_in_kappas
from generators.vicinities.ordered import OrderedGroups

_GRID_DIMENSIONS = 3
_TRIES, _ROUNDS = 8, 8
# Columns are a little wider than a vicinity, so that rounding never puts a label two columns from its target.
_MARGIN = 1.0 + 1e-9


class Boxes:
    """Finds real images in boxes (hard, hybrid) or ellipsoids (soft) of one size.

    One dimension is sorted; up to three others are cut into cells as wide as the vicinity's half-width, which makes
    columns. A vicinity lies in the 3^k columns around its target, and in each of them in one range of positions. Images
    are drawn from these ranges until one lies in the vicinity; the few targets that have none after 64 draws get the
    list of their candidates.

    Args:
        points: normalised labels, float64 (N, L), L >= 2.
        form: of the vicinity.
        kappa: half-widths, float64 (L,), > 0.
    """

    def __init__(self, points: Floats, *, form: Form, kappa: Floats) -> None:
        self._form: Form = form
        self._kappa = kappa
        self._half = reach_in_kappas(form) * kappa * _MARGIN
        spans = np.ptp(points, axis=0)
        # The most selective dimension is the sorted one, for there no candidate is drawn in vain.
        self._sorted, *others = np.argsort(-spans / self._half, kind="stable").tolist()
        self._cut = others[:_GRID_DIMENSIONS]
        # At most 2^20 cells a dimension, so that three of them fit an integer and rounding stays within the margin.
        self._side = np.maximum(self._half[self._cut], spans[self._cut] / 2**20)
        self._low = points[:, self._cut].min(axis=0)
        self._cells = (spans[self._cut] / self._side).astype(np.int64) + 1
        self._strides = np.r_[1, self._cells[:-1].cumprod()]
        self._around = np.array(list(itertools.product((-1, 0, 1), repeat=len(self._cut))), np.int64)
        columns = self._column_keys(self._cell(points))
        self._columns, groups = np.unique(columns, return_inverse=True)
        self._ordered = OrderedGroups(groups, points[:, self._sorted], len(self._columns))
        self.order = self._ordered.order
        self._points = points[self.order]

    def find(self, groups: Rows, points: Floats, rng: np.random.Generator) -> Found:
        """One position for each target that has an image in its vicinity; see ``Finder``."""
        firsts, sizes = self._candidates(points)
        chosen = np.full(len(points), -1, np.int64)
        ends = sizes.cumsum(axis=1)
        open_targets = np.flatnonzero(ends[:, -1] > 0)
        for _ in range(_ROUNDS):
            if not len(open_targets):
                break
            drawn = _draw_positions(firsts[open_targets], sizes[open_targets], ends[open_targets], rng)
            fits = inside(self._form, self._points[drawn] - points[open_targets, None], self._kappa)
            first_fit = fits.argmax(axis=1)
            each = np.arange(len(open_targets))
            chosen[open_targets] = np.where(fits[each, first_fit], drawn[each, first_fit], -1)
            open_targets = open_targets[chosen[open_targets] < 0]
        for target in open_targets:
            listed = np.concatenate(
                [np.arange(f, f + s) for f, s in zip(firsts[target], sizes[target], strict=True) if s]
            )
            listed = listed[inside(self._form, self._points[listed] - points[target], self._kappa)]
            if len(listed):
                chosen[target] = listed[rng.integers(len(listed))]
        kappas = np.repeat(self._kappa[None], len(points), axis=0)
        return Found(np.maximum(chosen, 0), chosen + 1, kappas)

    def nearest(self, groups: Rows, points: Floats) -> Floats:
        """The real labels of the largest soft weight; see ``Finder``."""
        nearest: Floats = self._points[self._tree.query(points / self._kappa)[1]]
        return nearest

    @cached_property
    def _tree(self) -> cKDTree:
        return cKDTree(self._points / self._kappa)

    def _cell(self, points: Floats) -> Rows:
        # Bounded before the conversion: a target may be farther away than integers reach.
        cells = np.floor((points[:, self._cut] - self._low) / self._side)
        return np.asarray(np.clip(cells, -2, self._cells + 1), np.int64)

    def _column_keys(self, cells: Rows) -> Rows:
        return np.asarray(cells @ self._strides, np.int64)

    def _candidates(self, points: Floats) -> tuple[Rows, Rows]:
        """First position and size of the ranges around each target, int64 (B, 3^k)."""
        cells = self._cell(points)[:, None] + self._around
        keys = self._column_keys(cells)
        columns = np.searchsorted(self._columns, keys).clip(max=len(self._columns) - 1)
        there = (self._columns[columns] == keys) & ((cells >= 0) & (cells < self._cells)).all(axis=-1)
        targets, half = points[:, self._sorted, None], self._half[self._sorted]
        firsts, ends = self._ordered.ranges(columns, targets - half, targets + half)
        return firsts, np.where(there, ends - firsts, 0)


def _draw_positions(firsts: Rows, sizes: Rows, ends: Rows, rng: np.random.Generator) -> Rows:
    """Positions drawn uniformly from the joined ranges of each target, int64 (B, tries)."""
    picks = np.floor(rng.random((len(firsts), _TRIES)) * ends[:, -1:]).astype(np.int64)
    ranges = (picks[:, :, None] >= ends[:, None, :]).sum(axis=-1)
    before = np.take_along_axis(ends - sizes, ranges, axis=1)
    return np.take_along_axis(firsts, ranges, axis=1) + picks - before
