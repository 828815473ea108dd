"""Bandwidths by rule of thumb: the noise on targets, and the half-width of a fixed vicinity."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from generators.vicinities.forms import Floats
from generators.vicinities.ordered import distinct_rows


def rule_of_thumb_sigma(points: Floats) -> Floats:
    """Standard deviation of the noise on targets, in every dimension.

    Source: Ding et al., 2023, arXiv 2011.07466: ``1.06 std N^(-1/5)``, Silverman's rule (1986) of one dimension.
    For L > 1 this is his rule of L dimensions, ``(4 / (L + 2))^(1 / (L + 4)) std_i N^(-1 / (L + 4))``.

    Args:
        points: normalised labels, float64 (N, L).

    Returns:
        float64 (L,); 0 where all labels are equal.
    """
    count, dimensions = points.shape
    factor = 1.06 if dimensions == 1 else (4 / (dimensions + 2)) ** (1 / (dimensions + 4))
    return np.array([factor * column.std() * count ** (-1 / (dimensions + 4)) for column in points.T])


def rule_of_thumb_kappa(points: Floats, multiplier: float) -> Floats:
    """Half-widths of a vicinity, in every dimension, such that the vicinity of a label reaches other labels.

    Source: Ding et al., 2023, arXiv 2011.07466: ``multiplier`` x the largest gap between neighbouring distinct
    labels. For L > 1 a dimension's largest gap is not enough, for it shrinks to nothing where vectors do not lie on a
    grid. There the half-width is at least ``multiplier`` x c std_i, where c is the largest distance of any
    label to its nearest other one, max_i |difference_i| / std_i. On a full grid the gaps alone decide.

    Args:
        points: normalised labels, float64 (N, L), with at least 2 distinct values in every dimension.
        multiplier: m_kappa, > 0.

    Returns:
        float64 (L,), > 0.
    """
    gaps = np.array([np.diff(np.unique(column)).max() for column in points.T])
    if points.shape[1] > 1:
        scales = points.std(axis=0)
        order, starts = distinct_rows(np.zeros(len(points), np.int64), points)
        distinct = points[order[starts]] / scales
        distances = cKDTree(distinct).query(distinct, k=2, p=np.inf)[0][:, 1]
        gaps = np.maximum(gaps, distances.max() * scales)
    return np.asarray(multiplier * gaps)
