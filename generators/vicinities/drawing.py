"""Batches of (target, real image, fake label), whatever the kind of label and the form of the vicinity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from data.labels import LabelSpace
from generators.vicinities.forms import Floats, Form, Rows, reach_in_kappas, soft_weights
from generators.vicinities.ordered import distinct_rows

_REDRAWS = 8


@dataclass(frozen=True)
class VicinityDraw:
    """What one discriminator step trains on; every array has B rows.

    Attributes:
        targets: conditions that the discriminator is told, float32 (B,), (B, L) or (B, 2); their continuous part may
            leave [0, 1] a little.
        rows: a real image in the vicinity of each target, int64 (B,).
        fake_labels: a condition for the generator in the vicinity of each target, shape of ``targets``.
        real_weights: weights of the real images in the loss, float32 (B,); None for 1.
        fake_weights: weights of the fake images, float32 (B,); None for 1.
        kappas: half-width of each target's vicinity in normalised units, float32 (B,), or (B, L) for vectors.
    """

    targets: npt.NDArray[np.float32]
    rows: npt.NDArray[np.int64]
    fake_labels: npt.NDArray[np.float32]
    real_weights: npt.NDArray[np.float32] | None
    fake_weights: npt.NDArray[np.float32] | None
    kappas: npt.NDArray[np.float32]


class Found(NamedTuple):
    """Where the real images of B targets are.

    Attributes:
        firsts: first position of each target's images, int64 (B,).
        ends: the position after the last, int64 (B,); equal to ``firsts`` where a vicinity is empty.
        kappas: half-widths of the vicinities, float64 (B, L).
    """

    firsts: Rows
    ends: Rows
    kappas: Floats


class Finder(Protocol):
    """Finds the real images in the vicinity of targets.

    Attributes:
        order: the row at each position, int64 (N,).
    """

    order: Rows

    def find(self, groups: Rows, points: Floats, rng: np.random.Generator) -> Found:
        """Positions from which one chosen uniformly is a uniform choice among the vicinity's images.

        Args:
            groups: class of each target, int64 (B,); 0 where labels have none.
            points: continuous part of each target, float64 (B, L).
            rng: for a finder that has to choose some of the way itself.
        """
        ...

    def nearest(self, groups: Rows, points: Floats) -> Floats:
        """Continuous part of the real label of the same class that is nearest to each target, float64 (B, L)."""
        ...


class Vicinity:
    """Draws batches for the vicinal discriminator losses; ``make_vicinity`` builds one.

    Source: Ding et al., 2023, arXiv 2011.07466, and for adaptive half-widths 2025, arXiv 2508.01725. Differs from their
    code: a batch is drawn without a loop over targets or a scan of all labels; a target without a real label in
    its vicinity is redrawn a few times and then moved to the nearest real label; fake labels are clipped to [0, 1]
    or to the training labels, whichever is wider.

    Args:
        groups: class of each training image, int64 (N,); 0 where labels have none.
        points: continuous part of the normalised labels, float64 (N, L).
        label_space: of the labels.
        form: "hard", "soft" or "hybrid".
        sigma: standard deviation of the noise on targets, float64 (groups, L).
        finder: of real images, for the same labels and form.
        bandwidths: what ``describe`` answers.
    """

    def __init__(
        self,
        groups: Rows,
        points: Floats,
        label_space: LabelSpace,
        *,
        form: Form,
        sigma: Floats,
        finder: Finder,
        bandwidths: dict[str, float | list[float]],
    ) -> None:
        order, starts = distinct_rows(groups, points)
        self._distinct_groups, self._distinct_points = groups[order[starts]], points[order[starts]]
        self._points = points
        self._label_space = label_space
        self._weighted = form != "hard"
        self._reach = reach_in_kappas(form)
        self._sigma = sigma
        self._finder = finder
        self._bandwidths = bandwidths
        self._lowest = np.minimum(0.0, points.min(axis=0))
        self._highest = np.maximum(1.0, points.max(axis=0))

    def describe(self) -> dict[str, float | list[float]]:
        """The bandwidths in normalised units, ready for JSON; a list holds one a class, or one a dimension."""
        return dict(self._bandwidths)

    def targets(self, count: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
        """Conditions drawn uniformly over the distinct training labels, plus noise on their continuous part."""
        return self._conditions(*self._aim(count, rng))

    def draw(self, count: int, rng: np.random.Generator) -> VicinityDraw:
        """Draws a batch of ``count`` targets, each with a real image and a fake label of its vicinity."""
        groups, points = self._aim(count, rng)
        found = self._finder.find(groups, points, rng)
        for attempt in range(_REDRAWS + 1):
            empty = np.flatnonzero(found.firsts == found.ends)
            if not len(empty):
                break
            if attempt < _REDRAWS:
                groups[empty], points[empty] = self._aim(len(empty), rng)
            else:
                points[empty] = self._finder.nearest(groups[empty], points[empty])
            for whole, part in zip(found, self._finder.find(groups[empty], points[empty], rng), strict=True):
                whole[empty] = part
        firsts, ends, kappas = found
        rows = self._finder.order[firsts + np.floor(rng.random(count) * (ends - firsts)).astype(np.int64)]
        lows = np.maximum(points - self._reach * kappas, self._lowest)
        highs = np.minimum(points + self._reach * kappas, self._highest)
        fakes = lows + rng.random(points.shape) * (highs - lows)
        return VicinityDraw(
            targets=self._conditions(groups, points),
            rows=rows,
            fake_labels=self._conditions(groups, fakes),
            real_weights=self._weights(self._points[rows] - points, kappas),
            fake_weights=self._weights(fakes - points, kappas),
            kappas=(kappas if self._label_space.kind == "vector" else kappas[:, 0]).astype(np.float32),
        )

    def _aim(self, count: int, rng: np.random.Generator) -> tuple[Rows, Floats]:
        chosen = rng.integers(len(self._distinct_groups), size=count)
        groups = self._distinct_groups[chosen]
        noise = rng.normal(size=(count, self._distinct_points.shape[1]))
        return groups, self._distinct_points[chosen] + self._sigma[groups] * noise

    def _weights(self, differences: Floats, kappas: Floats) -> npt.NDArray[np.float32] | None:
        return soft_weights(differences, kappas).astype(np.float32) if self._weighted else None

    def _conditions(self, groups: Rows, points: Floats) -> npt.NDArray[np.float32]:
        conditions: npt.NDArray[Any] = self._label_space.join(groups if self._label_space.has_classes else None, points)
        return conditions
