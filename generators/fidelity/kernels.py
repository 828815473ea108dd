"""The joint kernel of features and labels, in which generated and real images are compared pair by pair."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist

from data.labels import LabelSpace

Floats = npt.NDArray[np.float64]
#: Shapes of the mixed kernels: heavy tails below 1, nearly Gaussian at 5.
_SHAPES = (0.2, 0.5, 1.0, 2.0, 5.0)


def label_kernel(labels: npt.NDArray[Any], label_space: LabelSpace) -> Floats:
    """How much two labels count as the same: equality of classes times a Gaussian of the continuous values.

    The Gaussian's width is Scott's rule of thumb, a standard deviation times n^(-1 / (4 + L)), for each of the L
    dimensions on [0, 1]. A dimension that does not vary counts as equal everywhere.

    Args:
        labels: a column of the label space, (n, ...).
        label_space: what labels mean.

    Returns:
        float64 (n, n) in [0, 1], symmetric, with ones on the diagonal.
    """
    kernel = np.ones((len(labels), len(labels)))
    if label_space.has_classes:
        classes = label_space.class_part(labels)
        kernel *= classes[:, None] == classes[None, :]
    dimensions = len(label_space.dimensions)
    values = label_space.continuous_part(labels)
    for place, axis in enumerate(label_space.dimensions):
        column = (values[:, place] - axis.minimum) / (axis.maximum - axis.minimum)
        width = float(column.std()) * len(column) ** (-1.0 / (4 + dimensions))
        if width > 0:
            kernel *= np.exp(-((column[:, None] - column[None, :]) ** 2) / (2 * width**2))
    return kernel


@dataclass(frozen=True)
class FeatureScale:
    """The centre and the size of real features, so that a kernel of them has no unit.

    Args:
        centre: mean of each feature, (F,).
        size: root mean square of the centred features over all of them.
    """

    centre: Floats
    size: float

    @classmethod
    def of(cls, features: npt.NDArray[np.floating[Any]]) -> FeatureScale:
        """The scale of features (n, F)."""
        centre = np.asarray(features, np.float64).mean(axis=0)
        size = float(np.sqrt(np.mean((features - centre) ** 2)))
        return cls(centre, size or 1.0)

    def __call__(self, features: npt.NDArray[np.floating[Any]]) -> Floats:
        """Features without unit, float64 (n, F)."""
        return (np.asarray(features, np.float64) - self.centre) / self.size


def rational_quadratic_kernel(first: Floats, second: Floats) -> Floats:
    """The kernel that images are compared in, the mean over a of (1 + |x - y|² / (2 a F))^(-a).

    Source: Bińkowski, Sutherland, Arbel & Gretton, 2018, arXiv 1801.01401, the mixture of section 4, there a sum.
    Unlike the cubic kernel of KID, of the same paper, it is bounded, so that a few far images do not decide, and
    characteristic, so that images which are right on average but too much alike are told from real ones.

    Args:
        first: features without unit, (n, F).
        second: features without unit, (m, F).

    Returns:
        float64 (n, m) in (0, 1].
    """
    between = cdist(first, second, "sqeuclidean") / (2.0 * first.shape[1])
    kernels = [(1.0 + between / shape) ** -shape for shape in _SHAPES]
    return np.asarray(np.mean(kernels, axis=0))


def joint_distance(generated: Floats, real: Floats, weights: Floats) -> float:
    """The squared maximum mean discrepancy of (image, label) pairs, without bias, when both sides share their labels.

    Source: Gretton et al. 2012 (JMLR 13, 723-773), the U-statistic of paired samples, with the kernel
    ``rational_quadratic_kernel`` times ``weights``. Differs from it in: the sum is divided by the mean weight of two
    different rows, a constant of the labels, so that the number is a mean over pairs of like label and does not
    shrink with the number of labels.

    Args:
        generated: features without unit (n, F); row i was generated at the label of row i of ``real``.
        real: features without unit (n, F).
        weights: the label kernel, (n, n).

    Returns:
        A number in (-2, 2) that is 0 on average where both come from one conditional distribution, and larger
        otherwise; by chance it can be below 0.
    """
    across = rational_quadratic_kernel(generated, real)
    within = rational_quadratic_kernel(generated, generated) + rational_quadratic_kernel(real, real)
    # A row and its partner share a label and are thus no independent draws, so the diagonal of all four is left out.
    apart = weights * ~np.eye(len(weights), dtype=bool)
    return float((apart * (within - across - across.T)).sum() / apart.sum())


def relative_spread(generated: Floats, real: Floats, weights: Floats) -> float | None:
    """Mean distance of two generated images of like label, relative to that of two real ones; 1 is as diverse as real.

    Args:
        generated: features (n, F) at the labels of ``real``.
        real: features (n, F).
        weights: the label kernel, (n, n).

    Returns:
        At least 0; None where real images of like label are all the same.
    """
    spread, wanted = (float((weights * cdist(features, features)).sum()) for features in (generated, real))
    return spread / wanted if wanted else None
