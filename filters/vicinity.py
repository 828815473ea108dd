"""The label vicinity of cDR-RS: which labels images are made for in place of a label, and which images stand for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from data.errors import ConfigError, DataError
from data.labels import LabelSpace
from data.random import VICINITY, Seeds, uniform_from_seeds


@dataclass(frozen=True)
class Vicinity:
    """A box around every label, with the same half-widths everywhere.

    Source: cDR-RS (Ding et al. 2023, arXiv 2103.11166), where zeta is 3 m_kappa (that is 6) times the largest gap.
    Differs from the paper in: labels of several values have a half-width for each axis; of a class with a value, the
    value alone is moved and checked, so that a wrong class is left to the density ratio.

    Args:
        label_space: what labels mean; it must have values.
        half_widths: zeta of each axis, on labels normalised to [0, 1], above 0, (L,).
    """

    label_space: LabelSpace
    half_widths: tuple[float, ...]

    @classmethod
    def from_labels(cls, labels: npt.NDArray[Any], label_space: LabelSpace, gaps: float) -> Vicinity:
        """Half-widths of ``gaps`` times the largest gap between neighbouring distinct labels, for each axis.

        Args:
            labels: training labels, a column of the label space, (N, ...).
            label_space: what labels mean.
            gaps: above 0.

        Raises:
            ConfigError: if labels have no values, or ``gaps`` is not above 0.
            DataError: if an axis has a single distinct value.
        """
        if label_space.kind == "class":
            raise ConfigError("ratio.vicinity_gaps must be 0 for class labels, which have no neighbours.")
        if not gaps > 0.0:
            raise ConfigError(f"the half-width of a vicinity must be above 0 gaps, got {gaps:g}; try 6.")
        half_widths = []
        normalised = _normalised(labels, label_space)
        for axis, values in zip(label_space.dimensions, normalised.T, strict=True):
            distinct = np.unique(values)
            if len(distinct) < 2:
                raise DataError(
                    f"labels must have at least 2 distinct values of {axis.name} for a vicinity, got {len(distinct)}; "
                    f"try ratio.vicinity_gaps 0."
                )
            half_widths.append(gaps * float(np.diff(distinct).max()))
        return cls(label_space, tuple(half_widths))

    def jitter(self, labels: npt.NDArray[Any], seeds: Seeds) -> npt.NDArray[Any]:
        """Labels to make images for: uniform within the vicinity of each label, cut off at the ends of the axes.

        Args:
            labels: a column of the label space, in its own units, (n, ...).
            seeds: uint64 (n,); a row's label depends on its own label and seed alone.

        Returns:
            A column of the label space, (n, ...).
        """
        space = self.label_space
        uniform = uniform_from_seeds(seeds, len(space.dimensions), VICINITY)
        moved = _normalised(labels, space) + (2.0 * uniform - 1.0) * self.half_widths
        low = np.array([axis.minimum for axis in space.dimensions])
        high = np.array([axis.maximum for axis in space.dimensions])
        values = np.clip(low + np.clip(moved, 0.0, 1.0) * (high - low), low, high)
        return space.join(space.class_part(labels) if space.has_classes else None, values)

    def holds(self, outputs: npt.NDArray[np.floating[Any]], labels: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Which images are predicted to show a label within the vicinity of theirs.

        Args:
            outputs: logits (if labels have a class), then normalised values, (n, K): see ``filters.features.answers``.
            labels: a column of the label space, in its own units, (n, ...).

        Returns:
            bool (n,); a border belongs to the vicinity.
        """
        predicted = outputs[:, self.label_space.classes :].astype(np.float64)
        away = np.abs(predicted - _normalised(labels, self.label_space))
        return np.asarray((away <= np.array(self.half_widths)).all(axis=1), np.bool_)


def _normalised(labels: npt.NDArray[Any], space: LabelSpace) -> npt.NDArray[np.float64]:
    """The values of labels on [0, 1], float64 (n, L)."""
    low = np.array([axis.minimum for axis in space.dimensions])
    span = np.array([axis.maximum - axis.minimum for axis in space.dimensions])
    return np.asarray((space.continuous_part(labels) - low) / span)
