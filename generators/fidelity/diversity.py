"""How much images of like label differ from each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import pdist

from data.errors import DataError
from generators.fidelity.figures import Measured
from generators.fidelity.groups import Group
from generators.fidelity.torch_fidelity_metrics import Features

#: Images a group whose pairs are measured, at most.
_MOST = 500


def relative_diversity(generated: Features, real: Features, groups: Sequence[Group]) -> Measured:
    """Mean distance of two generated images of one group, relative to that of two real ones.

    Args:
        generated: features (n, F).
        real: features (m, F).
        groups: classes or label windows.

    Returns:
        Mean and deviation over groups of the ratio: 1 is as diverse as real, 0 is one image again and again.

    Raises:
        DataError: if no group has two generated and two different real images.
    """
    ratios = []
    for group in groups:
        if len(group.generated) < 2 or len(group.real) < 2:
            continue
        spread, wanted = (
            float(pdist(features[rows[:: -(-len(rows) // _MOST)]]).mean())
            for features, rows in ((generated, group.generated), (real, group.real))
        )
        if wanted > 0:
            ratios.append(spread / wanted)
    if not ratios:
        raise DataError(
            "diversity must have 2 generated and 2 different real images of one label; raise fidelity.images or "
            "prepare.validation_images."
        )
    return Measured(float(np.mean(ratios)), float(np.std(ratios, ddof=1)) if len(ratios) > 1 else None)


def class_entropy(logits: npt.NDArray[np.floating[Any]], groups: Sequence[npt.NDArray[np.int64]]) -> Measured:
    """Mean entropy of the classes that a classifier sees in the images of one label window.

    Source: the diversity of CcGAN (Ding et al., 2021, arXiv 2011.07466). Differs from it in: the correction of
    Miller & Madow for small counts, (classes seen - 1) / (2 images), so that windows of different counts compare.

    Args:
        logits: (n, K).
        groups: row numbers of each window.

    Returns:
        Mean and deviation over windows, in nats; log K is the most.

    Raises:
        DataError: if all windows are empty.
    """
    entropies = []
    for rows in groups:
        if len(rows):
            counts = np.bincount(logits[rows].argmax(axis=1))
            shares = counts[counts > 0] / len(rows)
            entropies.append(float(-(shares * np.log(shares)).sum()) + (len(shares) - 1) / (2 * len(rows)))
    if not entropies:
        raise DataError("the entropy of classes must have images in some label window; raise fidelity.images.")
    return Measured(float(np.mean(entropies)), float(np.std(entropies, ddof=1)) if len(entropies) > 1 else None)
