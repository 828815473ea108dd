"""Adaptive vicinities of vectors: the nearest labels, found in a k-d tree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from generators.vicinities.drawing import Found
from generators.vicinities.forms import Floats, Form, Rows, inside, reach_in_kappas
from generators.vicinities.intervals import LEAST_KAPPA
from generators.vicinities.ordered import distinct_rows

# Rounding in units of ``scales`` must not lose a label on a vicinity's edge; ``inside`` decides.
_MARGIN = 1.0 + 1e-9


class Neighbours:
    """Finds real images in boxes (hard, hybrid) or ellipsoids (soft) that adapt to how many images are near.

    Around a target grows a box whose sides are in the proportions of ``scales``, until it holds ``images``
    images; its half-widths are kappa. So with one dimension this is the adaptive half-width of CcGAN-AVAR (Ding et al.,
    2025, arXiv 2508.01725), which knows scalars only.

    Args:
        points: normalised labels, float64 (N, L).
        form: of the vicinity.
        scales: proportions of the half-widths, float64 (L,), > 0.
        images: images that a vicinity holds at least, or all if there are fewer.
    """

    def __init__(self, points: Floats, *, form: Form, scales: Floats, images: int) -> None:
        self._form: Form = form
        self._scales = scales
        self.order, self._starts = distinct_rows(np.zeros(len(points), np.int64), points)
        self._counts = np.diff(np.r_[self._starts, len(points)])
        self._distinct = points[self.order[self._starts]]
        self._tree = cKDTree(self._distinct / scales)
        self._images = min(images, len(points))
        # So many labels hold enough images even where they have fewest; one more shows where the vicinity ends.
        self._neighbours = min(-(-self._images // int(self._counts.min())) + 1, len(self._distinct))

    def find(self, groups: Rows, points: Floats, rng: np.random.Generator) -> Found:
        """The images of one label for each target, chosen by how many images labels have; see ``Finder``."""
        distances, labels, kappas = self._nearest_labels(points)
        radii = (reach_in_kappas(self._form) * kappas / self._scales).max(axis=1) * _MARGIN
        complete = (distances[:, -1] > radii) | (labels.shape[1] == len(self._distinct))
        chosen, empty = np.zeros(len(points), np.int64), np.zeros(len(points), np.bool_)
        for targets in (np.flatnonzero(complete), np.flatnonzero(~complete)):
            if not len(targets):
                continue
            if complete[targets[0]]:
                lists = list(labels[targets])
            else:
                lists = self._tree.query_ball_point(points[targets] / self._scales, radii[targets], p=np.inf).tolist()
            chosen[targets], empty[targets] = self._choose(lists, points[targets], kappas[targets], rng)
        firsts = self._starts[chosen]
        return Found(firsts, firsts + np.where(empty, 0, self._counts[chosen]), kappas)

    def nearest(self, groups: Rows, points: Floats) -> Floats:
        """The nearest real labels in units of ``scales``; see ``Finder``."""
        nearest: Floats = self._distinct[self._tree.query(points / self._scales)[1]]
        return nearest

    def _nearest_labels(self, points: Floats) -> tuple[Floats, Rows, Floats]:
        """Distances to and indices of the nearest labels (B, k), which hold enough images, and half-widths (B, L)."""
        distances, labels = self._tree.query(points / self._scales, k=self._neighbours, p=np.inf)
        distances, labels = distances.reshape(len(points), -1), labels.reshape(len(points), -1)
        held = (self._counts[labels].cumsum(axis=1) >= self._images).argmax(axis=1)
        kappas = distances[np.arange(len(points)), held, None] * self._scales + LEAST_KAPPA
        return distances, labels, kappas

    def _choose(
        self, lists: Sequence[Sequence[int]], points: Floats, kappas: Floats, rng: np.random.Generator
    ) -> tuple[Rows, npt.NDArray[np.bool_]]:
        """One label of each target's list, as often as it has images in the vicinity; and whether none has any."""
        ends = np.cumsum([len(labels) for labels in lists])
        labels = np.concatenate(lists).astype(np.int64)
        targets = np.repeat(np.arange(len(points)), np.diff(ends, prepend=0))
        within = inside(self._form, self._distinct[labels] - points[targets], kappas[targets])
        images = np.r_[0, (self._counts[labels] * within).cumsum()]
        befores, totals = images[np.r_[0, ends[:-1]]], images[ends] - images[np.r_[0, ends[:-1]]]
        picks = befores + np.floor(rng.random(len(points)) * totals).astype(np.int64)
        # An empty vicinity, which only an ellipsoid of more than six dimensions can be, may pick the list's end.
        places = np.minimum(np.searchsorted(images[1:], picks, side="right"), len(labels) - 1)
        return labels[places], totals == 0
