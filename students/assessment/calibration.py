"""Whether a model is right as often as it says, and how its errors of values are spread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from data.labels import LabelSpace
from students.assessment.agreement import Outputs, log_softmax

#: Of the signed errors of a value.
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class Bin:
    """Predictions of similar confidence.

    Args:
        low: lower edge, or the least confidence of a bin of equal mass.
        high: upper edge, or the greatest confidence.
        count: predictions.
        confidence: mean probability of the first guess; 0 in an empty bin.
        accuracy: share of right first guesses; 0 in an empty bin.
    """

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


def equal_width_bins(confidence: npt.NDArray[np.float64], right: npt.NDArray[np.bool_], count: int) -> tuple[Bin, ...]:
    """Bins of equal width over 0..1, (low, high]; a confidence of 0 lies in the first.

    Args:
        confidence: probability of the first guess, (N,).
        right: whether it is right, (N,).
        count: number of bins, at least 1.
    """
    edges = np.linspace(0.0, 1.0, count + 1)
    places = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, count - 1)
    sizes = np.bincount(places, minlength=count)
    sums = [np.bincount(places, weights=values, minlength=count) for values in (confidence, right)]
    means = [np.divide(total, sizes, out=np.zeros(count), where=sizes > 0) for total in sums]
    return tuple(
        Bin(
            float(edges[place]),
            float(edges[place + 1]),
            int(sizes[place]),
            float(means[0][place]),
            float(means[1][place]),
        )
        for place in range(count)
    )


def equal_mass_bins(confidence: npt.NDArray[np.float64], right: npt.NDArray[np.bool_], count: int) -> tuple[Bin, ...]:
    """Bins of equal numbers of predictions, sorted by confidence; fewer where there are fewer predictions."""
    order = np.argsort(confidence, kind="stable")
    return tuple(
        Bin(
            float(confidence[rows[0]]),
            float(confidence[rows[-1]]),
            len(rows),
            float(confidence[rows].mean()),
            float(right[rows].mean()),
        )
        for rows in np.array_split(order, min(count, len(order)))
    )


def expected_calibration_error(bins: tuple[Bin, ...]) -> float:
    """Mean distance between confidence and accuracy over all predictions, in 0..1.

    Naeini, Cooper and Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian Binning", 2015; of the first
    guess as in Guo et al., "On Calibration of Modern Neural Networks", 2017, arXiv 1706.04599, eq. 3. With bins of
    equal mass it is the adaptive error of Nguyen and O'Connor, 2015, arXiv 1508.05154.
    """
    total = sum(bin.count for bin in bins)
    return sum(bin.count * abs(bin.confidence - bin.accuracy) for bin in bins) / total


def negative_log_likelihood(logits: Outputs, classes: npt.NDArray[np.integer]) -> float:
    """Mean of -log p(label), in nats.

    Args:
        logits: (N, C), N at least 1.
        classes: (N,).
    """
    return float(-np.mean(log_softmax(logits)[np.arange(len(classes)), classes]))


def brier_score(logits: Outputs, classes: npt.NDArray[np.integer]) -> float:
    """Mean over images of the squared distance of the probabilities from the label, summed over classes, in 0..2.

    Brier, "Verification of Forecasts Expressed in Terms of Probability", 1950, eq. 2.

    Args:
        logits: (N, C), N at least 1.
        classes: (N,).
    """
    distance = np.exp(log_softmax(logits))
    distance[np.arange(len(classes)), classes] -= 1.0
    return float(np.mean(np.sum(np.square(distance), axis=1)))


def calibration(outputs: Outputs, labels: npt.NDArray[Any], label_space: LabelSpace, bins: int) -> dict[str, Any]:
    """How a model's confidence and errors relate to the truth, JSON-ready.

    Args:
        outputs: (N, K) logits, then predictions in their own units; N at least 1.
        labels: a column of the label space, N rows.
        label_space: decides what is measured.
        bins: number of bins.

    Returns:
        Where labels have a class ``ece`` and ``adaptive_ece`` in percent, ``nll`` in nats, ``brier`` in 0..2 and
        ``reliability``, the bins of equal width; ``residuals`` has an entry an axis with the mean signed error
        (``bias``) and its quantiles, prediction less label in the axis's ``unit``.

    Raises:
        ValueError: if the numbers of rows differ or are 0.
    """
    if len(outputs) != len(labels) or not len(labels):
        raise ValueError(f"outputs and labels must have the same rows, got {len(outputs)} and {len(labels)}.")
    classes = label_space.classes
    found: dict[str, Any] = {}
    if label_space.has_classes:
        logits, truth = outputs[:, :classes], label_space.class_part(labels)
        confidence, right = np.exp(log_softmax(logits)).max(axis=1), logits.argmax(axis=1) == truth
        table = equal_width_bins(confidence, right, bins)
        found = {
            "ece": 100.0 * expected_calibration_error(table),
            "adaptive_ece": 100.0 * expected_calibration_error(equal_mass_bins(confidence, right, bins)),
            "nll": negative_log_likelihood(logits, truth),
            "brier": brier_score(logits, truth),
            "reliability": [vars(bin) for bin in table],
        }
    errors = outputs[:, classes:].astype(np.float64) - label_space.continuous_part(labels)
    found["residuals"] = [
        {
            "axis": axis.name,
            "unit": axis.unit,
            "bias": float(errors[:, place].mean()),
            "quantiles": dict(zip(map(str, QUANTILES), np.quantile(errors[:, place], QUANTILES).tolist(), strict=True)),
        }
        for place, axis in enumerate(label_space.dimensions)
    ]
    return found
