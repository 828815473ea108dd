"""A gap between two distributions, estimated from below by a classifier that tells their samples apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

#: Weight of the data against the penalty on the classifier's weights; small, as there may be few images.
_C = 0.1
_FOLDS = 5
_SPLITS = 20
#: Fewest samples a side: two of each fold, and halves for the null level.
LEAST_SAMPLES = 4 * _FOLDS

Features = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Gap:
    """A lower estimate of a total variation distance.

    Args:
        value: 2 x balanced accuracy - 1; below 0 by chance where there is nothing to tell apart.
        error: its standard error, from the number of samples judged.
    """

    value: float
    error: float


def two_sample_gap(first: Features, second: Features, seed: int) -> Gap:
    """Total variation distance of two distributions, from below, by samples of them.

    For any classifier, share recognised of the one + share recognised of the other - 1 is at most the total variation
    distance, with equality for the best one. Here it is a logistic regression on the features and their squares (so
    that it sees a lack of spread too), both standardised. Each sample is judged by the classifier of the other folds,
    so the estimate has no bias upwards, as long as no sample repeats another of its side.

    Source: classifier two-sample tests, Lopez-Paz and Oquab, 2017, arXiv 1610.06545. Differs from the paper in:
    balanced accuracy, cross-fitting in place of one split, and a distance in place of a test.

    Args:
        first: (n, P), n at least ``LEAST_SAMPLES``.
        second: (m, P), m at least ``LEAST_SAMPLES``.
        seed: of the folds.

    Raises:
        ValueError: if there are too few samples.
    """
    if min(len(first), len(second)) < LEAST_SAMPLES:
        raise ValueError(f"samples must be at least {LEAST_SAMPLES} a side, got {len(first)} and {len(second)}.")
    rng = np.random.default_rng(seed)
    features = np.concatenate([first, second]).astype(np.float64)
    side = np.repeat([0, 1], [len(first), len(second)])
    fold = np.concatenate([rng.permutation(len(part)) % _FOLDS for part in (first, second)])
    right = np.empty(len(side), bool)
    for number in range(_FOLDS):
        held = fold == number
        right[held] = _classify(features[~held], side[~held], features[held]) == side[held]
    shares = [float(right[side == number].mean()) for number in (0, 1)]
    variance = sum(share * (1 - share) / len(part) for share, part in zip(shares, (first, second), strict=True))
    return Gap(sum(shares) - 1.0, float(np.sqrt(variance)))


def null_gaps(samples: Features, seed: int) -> npt.NDArray[np.float64]:
    """What ``two_sample_gap`` finds between random halves of one sample: its noise where there is no gap.

    Args:
        samples: (n, P), n at least 2 x ``LEAST_SAMPLES``.
        seed: of the halves.

    Returns:
        Of 20 ways to halve, float64 (20,).
    """
    rng = np.random.default_rng(seed)
    found = []
    for number in range(_SPLITS):
        order = rng.permutation(len(samples))
        half = len(samples) // 2
        found.append(two_sample_gap(samples[order[:half]], samples[order[half : 2 * half]], seed + number).value)
    return np.array(found)


def _classify(features: Features, side: npt.NDArray[np.int64], asked: Features) -> npt.NDArray[np.int64]:
    """Sides of ``asked``, by a logistic regression that weighs both sides the same."""
    from sklearn.linear_model import LogisticRegression

    mean, spread = features.mean(axis=0), features.std(axis=0)
    there = spread > 1e-9 * (1 + np.abs(mean))
    if not there.any():
        return np.zeros(len(asked), np.int64)
    linear, wanted = ((part[:, there] - mean[there]) / spread[there] for part in (features, asked))
    centre, width = np.square(linear).mean(axis=0), np.square(linear).std(axis=0) + 1e-9
    # A far sample must not rule by its square alone.
    known, new = (np.hstack([part, np.clip((part**2 - centre) / width, -3, 3)]) for part in (linear, wanted))
    model = LogisticRegression(C=_C, class_weight="balanced", max_iter=2000)
    return np.asarray(model.fit(known, side).predict(new), np.int64)
