"""FID, KID, precision, recall and the inception score by torch-fidelity, from features, with guards for few images.

The order is everywhere: generated first, real second.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from data.errors import DataError
from data.random import derive_seed
from generators.fidelity.extraction import need_torch_fidelity
from generators.fidelity.figures import Measured, need_images

Features = npt.NDArray[np.floating[Any]]
#: FID estimates a covariance: with fewer images a dimension than this its bias is larger than what it measures.
FID_IMAGES_A_DIMENSION = 2
#: KID has no bias, but subsets of fewer than half of this many images scatter too much to say anything.
KID_LEAST = 20
_KID_SUBSETS, _KID_LARGEST_SUBSET = 100, 1000
_MOST_PARTS = 10
#: Images a part of the inception score, at least; its value depends on the number of images a part.
_SCORE_PART = 500


def frechet_distance(generated: Features, real: Features) -> Measured:
    """FID: |m₁ - m₂|² + tr(S₁ + S₂ - 2 (S₁ S₂)^½) of the means m and covariances S of features.

    Source: Heusel et al., 2017, arXiv 1706.08500.

    Args:
        generated: (n, F).
        real: (m, F).

    Returns:
        At least 0 up to rounding; lower is better. It is biased upwards, the more so the fewer the images, so
        compare only figures of equal counts.

    Raises:
        DataError: if either side has fewer than 2 F images, or torch-fidelity is not installed.
    """
    need_torch_fidelity()
    dimensions = generated.shape[1]
    why = f"twice the {dimensions} dimensions of the features"
    need_images("FID", FID_IMAGES_A_DIMENSION * dimensions, why, len(generated), len(real))
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

    statistics = [fid_features_to_statistics(_tensor(features)) for features in (generated, real)]
    return Measured(float(fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID]))


def kernel_distance(generated: Features, real: Features, seed: int) -> Measured:
    """KID: the squared maximum mean discrepancy with the kernel (x · y / F + 1)³, without bias.

    Source: Bińkowski et al., 2018, arXiv 1801.01401. Differs from torch-fidelity's defaults in: a subset has half of
    the images of the smaller side, at most 1000, so that subsets differ and the deviation says something.

    Args:
        generated: (n, F).
        real: (m, F).
        seed: chooses the 100 subsets.

    Returns:
        Mean over subsets, 0 on average for images of one distribution (and then below 0 half of the time), and the
        deviation over subsets, which overlap: it is no standard error. Lower is better.

    Raises:
        DataError: if either side has fewer than 20 images, or torch-fidelity is not installed.
    """
    need_torch_fidelity()
    need_images("KID", KID_LEAST, "two subsets of 10", len(generated), len(real))
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric

    size = min(_KID_LARGEST_SUBSET, min(len(generated), len(real)) // 2)
    result = kid_features_to_metric(
        _tensor(generated),
        _tensor(real),
        kid_subsets=_KID_SUBSETS,
        kid_subset_size=size,
        rng_seed=_seed32(seed, "kid"),
        verbose=False,
    )
    return Measured(float(result[KEY_METRIC_KID_MEAN]), float(result[KEY_METRIC_KID_STD]))


def precision_recall(generated: Features, real: Features, seed: int, neighbours: int = 3) -> tuple[Measured, Measured]:
    """Improved precision and recall, by balls of the k-th nearest neighbour in feature space.

    Source: Kynkäänniemi et al., 2019, arXiv 1904.06991. A side with more images than the other is cut into parts of
    the other's number, at most 10, since recall grows with the number of generated images.

    Args:
        generated: (n, F).
        real: (m, F).
        seed: deals images into parts.
        neighbours: k.

    Returns:
        Precision, the share of generated images inside a ball of a real one (realism), and recall, the share of real
        images inside a ball of a generated one (coverage), each the mean and the deviation over parts, in [0, 1].

    Raises:
        DataError: if either side has fewer than k + 1 images, or torch-fidelity is not installed.
    """
    need_torch_fidelity()
    need_images(
        "precision and recall", neighbours + 1, f"neighbour number {neighbours} and itself", len(generated), len(real)
    )
    from torch_fidelity.metric_prc import KEY_METRIC_PRECISION, KEY_METRIC_RECALL, prc_features_to_metric

    size = min(len(generated), len(real))
    parts = min(_MOST_PARTS, max(len(generated), len(real)) // size)
    rng = np.random.default_rng(derive_seed(seed, "parts"))
    first, second = rng.permutation(len(generated)), rng.permutation(len(real))
    results = [
        prc_features_to_metric(
            _tensor(generated[_part(first, part, size)]),
            _tensor(real[_part(second, part, size)]),
            prc_neighborhood=neighbours,
            verbose=False,
        )
        for part in range(parts)
    ]
    precision, recall = (
        np.array([result[key] for result in results]) for key in (KEY_METRIC_PRECISION, KEY_METRIC_RECALL)
    )
    return _over_parts(precision), _over_parts(recall)


def _part(order: npt.NDArray[np.int64], part: int, size: int) -> npt.NDArray[np.int64]:
    """Rows of a part; all rows where there are too few for more than one."""
    return order[part * size : (part + 1) * size] if len(order) >= (part + 1) * size else order[:size]


def _over_parts(values: npt.NDArray[np.float64]) -> Measured:
    return Measured(float(values.mean()), float(values.std()) if len(values) > 1 else None)


def inception_score(logits: Features, seed: int) -> Measured:
    """The inception score, exp of the mean KL(p(class | image) ‖ p(class)), under any classifier.

    Source: Salimans et al., 2016, arXiv 1606.03498. It looks at generated images alone. Differs from torch-fidelity's
    defaults in: one part for every 500 images, at most 10, rather than 10 parts of however few images.

    Args:
        logits: (n, K) of generated images.
        seed: deals images into parts.

    Returns:
        Mean and deviation over parts, from 1 to K; higher is better.

    Raises:
        DataError: if there are fewer images than twice the classes, or torch-fidelity is not installed.
    """
    need_torch_fidelity()
    least = 2 * logits.shape[1]
    if len(logits) < least:
        raise DataError(
            f"the inception score must have at least {least} images (two a class of the classifier), got "
            f"{len(logits)}; raise fidelity.images."
        )
    from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, KEY_METRIC_ISC_STD, isc_features_to_metric

    parts = min(_MOST_PARTS, max(1, len(logits) // _SCORE_PART))
    result = isc_features_to_metric(_tensor(logits), splits=parts, rng_seed=_seed32(seed, "score"))
    deviation = float(result[KEY_METRIC_ISC_STD]) if parts > 1 else None
    return Measured(float(result[KEY_METRIC_ISC_MEAN]), deviation)


def _tensor(features: Features) -> torch.Tensor:
    # float64, because sums over all pairs lose the small differences that are looked for.
    return torch.from_numpy(np.array(features, np.float64))


def _seed32(seed: int, purpose: str) -> int:
    return derive_seed(seed, purpose) % 2**32
