"""The joint distance of a set of generated images that is larger than the set of real ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from data.errors import DataError
from data.labels import LabelSpace
from generators.fidelity.figures import Measured
from generators.fidelity.kernels import FeatureScale, joint_distance, label_kernel
from generators.fidelity.matching import Rows, occurrences

#: Real images that are looked at, at most: the distance is a sum over all pairs.
_MOST = 2000

Features = npt.NDArray[np.floating[Any]]


def paired_distance(
    generated: Features,
    real: Features,
    real_labels: npt.NDArray[Any],
    partners: Rows,
    label_space: LabelSpace,
    seed: int,
) -> Measured:
    """The joint kernel distance (``joint_distance``) of images and labels, the mean over sets of generated images.

    Args:
        generated: features (n, F), each of an image at the label of its partner.
        real: features (m, F) of held-out images.
        real_labels: their labels, (m, ...).
        partners: rows of ``real``, (n,).
        label_space: what labels mean.
        seed: chooses 2000 real images, if there are more.

    Returns:
        Mean and deviation over sets: the first generated image of every partner, the second of every one, and so on.

    Raises:
        DataError: if no two partners have a like label.
    """
    chosen = np.random.default_rng(seed).permutation(len(real))[:_MOST]
    scale = FeatureScale.of(real)
    ranks = occurrences(partners)
    allowed = np.isin(partners, chosen)
    sets = [np.flatnonzero(allowed & (ranks == rank)) for rank in range(int(ranks.max()) + 1)]
    fullest = max(len(rows) for rows in sets)
    values = []
    for rows in sets:
        weights = label_kernel(real_labels[partners[rows]], label_space)
        # A last set that is hardly begun would say more of its few images than the others of all theirs.
        if 2 * len(rows) >= fullest and weights.sum() > np.trace(weights):
            values.append(joint_distance(scale(generated[rows]), scale(real[partners[rows]]), weights))
    if not values:
        raise DataError(
            f"the joint distance must have 2 real images of like label, got none among {len(real)} images; "
            f"raise prepare.validation_images."
        )
    return Measured(float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None)
