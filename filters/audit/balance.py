"""How evenly a synthetic set is spread over the labels, beside the training rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


def balance(
    synthetic: npt.NDArray[np.integer], training: npt.NDArray[np.integer], names: Sequence[str]
) -> dict[str, Any]:
    """Counts of two sets in groups of labels, and how even the first is.

    Args:
        synthetic: group of each synthetic image, 0 .. G - 1, (M,), M at least 1.
        training: group of each training image, (N,), N at least 1.
        names: the G groups in words.

    Returns:
        JSON-ready: ``groups`` (label, synthetic, training) that either set has; of the groups that training has,
        ``smallest`` and ``largest`` (label, share of the synthetic images) and their ``ratio``, None where the
        smallest is empty; ``entropy`` of the synthetic shares over the logarithm of the number of groups that either
        set has (1 is even), and ``training_entropy``; ``missing``, the groups that training has and the other lacks;
        ``total_variation`` of the two mixes of labels, 0 to 1.
    """
    made = np.bincount(synthetic, minlength=len(names))
    real = np.bincount(training, minlength=len(names))
    shares, wanted = made / made.sum(), real / real.sum()
    seen = np.flatnonzero(made + real).tolist()
    trained = np.flatnonzero(real).tolist()
    least, most = min(trained, key=lambda k: shares[k]), max(trained, key=lambda k: shares[k])
    return {
        "groups": [{"label": names[k], "synthetic": int(made[k]), "training": int(real[k])} for k in seen],
        "smallest": {"label": names[least], "share": float(shares[least])},
        "largest": {"label": names[most], "share": float(shares[most])},
        "ratio": float(shares[most] / shares[least]) if shares[least] else None,
        "entropy": normalised_entropy(shares[seen]),
        "training_entropy": normalised_entropy(wanted[seen]),
        "missing": [names[k] for k in trained if not made[k]],
        "total_variation": float(np.abs(shares - wanted).sum() / 2),
    }


def normalised_entropy(shares: npt.NDArray[np.floating[Any]]) -> float:
    """Entropy of shares that sum to 1 over the logarithm of their number: 1 is even; one share alone counts as even."""
    if len(shares) < 2:
        return 1.0
    there = shares[shares > 0]
    return float(-(there * np.log(there)).sum() / np.log(len(shares)))
