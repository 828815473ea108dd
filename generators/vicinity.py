"""Vicinities of scalar labels: bandwidths by rule of thumb, and batches of (target, real image, fake label)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from data.errors import DataError

#: A real image may serve a target if its weight is at least this (the CcGAN code's threshold).
LEAST_WEIGHT = 1e-3
_REDRAWS = 8


def rule_of_thumb_sigma(labels: npt.NDArray[np.floating]) -> float:
    """Standard deviation of the noise on targets, 1.06 std(labels) N^(-1/5) (Ding et al., 2023, arXiv 2011.07466).

    Args:
        labels: normalised labels, shape (N,).
    """
    return float(1.06 * labels.astype(np.float64).std() * len(labels) ** -0.2)


def rule_of_thumb_kappa(labels: npt.NDArray[np.floating], multiplier: float) -> float:
    """Half-width of a vicinity: ``multiplier`` x the largest gap between neighbouring distinct labels.

    Args:
        labels: normalised labels, shape (N,).
        multiplier: m_kappa of Ding et al. (2023), > 0.

    Raises:
        DataError: if all labels are equal.
    """
    distinct = np.unique(labels.astype(np.float64))
    if len(distinct) < 2:
        raise DataError(
            f"scalar labels must have at least 2 distinct values to train a generator, got {len(distinct)}."
        )
    return float(multiplier * np.diff(distinct).max())


@dataclass(frozen=True)
class VicinityDraw:
    """What one discriminator step trains on; every array has B rows.

    Attributes:
        targets: labels that the discriminator is told, float32, normalised; may leave [0, 1] a little.
        rows: a real image for each target, int64.
        fake_labels: a label for the generator within each target's vicinity, float32.
        real_weights: exp(-nu (label - target)^2) of the real images, float32.
        fake_weights: the same of the fake labels, float32.
    """

    targets: npt.NDArray[np.float32]
    rows: npt.NDArray[np.int64]
    fake_labels: npt.NDArray[np.float32]
    real_weights: npt.NDArray[np.float32]
    fake_weights: npt.NDArray[np.float32]


class SoftVicinity:
    """Draws batches for the soft vicinal discriminator loss (SVDL).

    Source: Ding et al., 2023, arXiv 2011.07466. Differs from its code: labels are sorted once, so that a
    vicinity is a range of indices found by binary search for the whole batch; a target without a real
    label in its vicinity is redrawn a few times and then moved to the nearest real label.

    Args:
        labels: normalised labels of the training images, shape (N,).
        sigma: standard deviation of the noise on targets, in normalised units; None for the rule of thumb.
        kappa: half-width of a vicinity, in normalised units; nu = 1 / kappa^2; None for the rule of thumb.
        multiplier: m_kappa of the rule of thumb for ``kappa``.

    Raises:
        DataError: if all labels are equal and ``kappa`` is None.
    """

    def __init__(
        self,
        labels: npt.NDArray[np.floating],
        *,
        sigma: float | None = None,
        kappa: float | None = None,
        multiplier: float = 2.0,
    ) -> None:
        values = labels.astype(np.float64)
        self.order = np.argsort(values, kind="stable").astype(np.int64)
        self.sorted = values[self.order]
        self.distinct = np.unique(values)
        self.sigma = rule_of_thumb_sigma(labels) if sigma is None else sigma
        self.kappa = rule_of_thumb_kappa(labels, multiplier) if kappa is None else kappa
        self.nu = 1.0 / self.kappa**2
        self.reach = self.kappa * math.sqrt(-math.log(LEAST_WEIGHT))
        self.lowest = min(0.0, float(self.sorted[0]))
        self.highest = max(1.0, float(self.sorted[-1]))

    def targets(self, count: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
        """Labels drawn uniformly over the distinct training labels, plus noise; float64, shape (count,)."""
        return self.distinct[rng.integers(len(self.distinct), size=count)] + self.sigma * rng.normal(size=count)

    def _ranges(self, targets: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        first = np.searchsorted(self.sorted, targets - self.reach, side="left")
        end = np.searchsorted(self.sorted, targets + self.reach, side="right")
        return first.astype(np.int64), end.astype(np.int64)

    def _nearest(self, targets: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        right = np.searchsorted(self.distinct, targets).clip(1, len(self.distinct) - 1)
        below, above = self.distinct[right - 1], self.distinct[right]
        nearest: npt.NDArray[np.float64] = np.where(targets - below <= above - targets, below, above)
        return nearest

    def draw(self, count: int, rng: np.random.Generator) -> VicinityDraw:
        """Draws a batch of ``count`` targets, each with a real image and a fake label of its vicinity."""
        targets = self.targets(count, rng)
        first, end = self._ranges(targets)
        for attempt in range(_REDRAWS + 1):
            empty = np.flatnonzero(first == end)
            if not len(empty):
                break
            redrawn = self.targets(len(empty), rng) if attempt < _REDRAWS else self._nearest(targets[empty])
            targets[empty] = redrawn
            first[empty], end[empty] = self._ranges(redrawn)
        rows_sorted = first + np.floor(rng.random(count) * (end - first)).astype(np.int64)
        low = np.maximum(targets - self.reach, self.lowest)
        high = np.minimum(targets + self.reach, self.highest)
        fake_labels = low + rng.random(count) * (high - low)
        return VicinityDraw(
            targets=targets.astype(np.float32),
            rows=self.order[rows_sorted],
            fake_labels=fake_labels.astype(np.float32),
            real_weights=np.exp(-self.nu * (self.sorted[rows_sorted] - targets) ** 2).astype(np.float32),
            fake_weights=np.exp(-self.nu * (fake_labels - targets) ** 2).astype(np.float32),
        )
