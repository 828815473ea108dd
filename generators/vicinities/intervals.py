"""Vicinities of a scalar, or of a class and a scalar: intervals of sorted labels."""

from __future__ import annotations

import numpy as np

from generators.vicinities.drawing import Found
from generators.vicinities.forms import Floats, Form, Rows, reach_in_kappas
from generators.vicinities.ordered import OrderedGroups

#: Added to an adaptive kappa: ten times float32's spacing just above 1, so that kappa is never 0 where one label has
#: images enough, nor so small that rounding a label to float32 takes it out of its own vicinity.
LEAST_KAPPA = 1e-6


class Intervals:
    """Finds the real images of intervals whose half-width is given, or adapts to how many images are near.

    Source: the adaptive half-width is that of CcGAN-AVAR (Ding et al., 2025, arXiv 2508.01725): from the target
    outwards, one distinct label after the other is taken in until ``images`` images are; kappa is the larger of the
    distances to the last one on either side. Differs from its code: ``LEAST_KAPPA`` is added to every kappa; there,
    1e-5 is the least kappa.

    Args:
        groups: class of each image, int64 (N,); 0 where labels have none.
        values: normalised scalar of each image, float64 (N,).
        form: of the vicinity.
        kappa: half-width for each class, float64 (groups, 1), > 0; not used where ``images`` is given.
        images: images that an adaptive vicinity holds (fewer where a class has fewer); None for the given half-width.
    """

    def __init__(self, groups: Rows, values: Floats, *, form: Form, kappa: Floats, images: int | None) -> None:
        self._ordered = OrderedGroups(groups, values, len(kappa))
        self.order = self._ordered.order
        self._reach = reach_in_kappas(form)
        self._kappa = kappa
        self._images = images

    def find(self, groups: Rows, points: Floats, rng: np.random.Generator) -> Found:
        """The ranges of positions in the intervals of the targets; see ``Finder``."""
        targets = points[:, 0]
        if self._images is None:
            kappas = self._kappa[groups, 0]
        else:
            kappas = self._ordered.distance_to_nearest(groups, targets, self._images) + LEAST_KAPPA
        reaches = self._reach * kappas
        return Found(*self._ordered.ranges(groups, targets - reaches, targets + reaches), kappas[:, None])

    def nearest(self, groups: Rows, points: Floats) -> Floats:
        """The nearest real labels; see ``Finder``."""
        return self._ordered.nearest(groups, points[:, 0])[:, None]
