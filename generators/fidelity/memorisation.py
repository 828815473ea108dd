"""Whether generated images are copies of training images."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from generators.fidelity.torch_fidelity_metrics import Features

#: A generated image counts as near if it is nearer to a training image than this share of held-out real images.
QUANTILE = 0.05
_BLOCK = 1024


def nearest_distances(features: Features, reference: Features) -> npt.NDArray[np.float64]:
    """Euclidean distance of each row of (n, F) to the nearest row of (m, F), float64 (n,)."""
    squares = (np.asarray(reference, np.float64) ** 2).sum(axis=1)
    nearest = np.empty(len(features))
    for start in range(0, len(features), _BLOCK):
        rows = np.asarray(features[start : start + _BLOCK], np.float64)
        between = (rows**2).sum(axis=1)[:, None] + squares[None, :] - 2.0 * rows @ reference.T.astype(np.float64)
        # The nearest one again without cancellation, so that a copy has distance 0.
        nearest[start : start + len(rows)] = np.linalg.norm(rows - reference[between.argmin(axis=1)], axis=1)
    return nearest


def audit_memorisation(generated: Features, held_out: Features, training: Features) -> dict[str, Any]:
    """How near generated images lie to training images, compared with real images that were never trained on.

    The limit is the 5 % quantile of the held-out images' distances to their nearest training image. If generated
    images were fresh draws, 5 % of them would lie below it, give or take sqrt(0.05 · 0.95 (1/n + 1/m)). The verdict
    calls more than three such deviations above 5 % too near. Images that are merely typical are near as well; so it
    is a reason to look at the images, no proof of copying.

    Args:
        generated: features (n, F).
        held_out: features (m, F) of real images that neither generator nor feature network has seen.
        training: features of the generator's training images.

    Returns:
        JSON-ready: ``value``, the share of generated images below the limit; ``expected``, 0.05; ``tolerated``, the
        share from which the verdict changes; ``limit``; median distances of both; ``near``, whether it is too near;
        ``verdict``, in words.
    """
    made, fresh = nearest_distances(generated, training), nearest_distances(held_out, training)
    limit = float(np.quantile(fresh, QUANTILE))
    share = float(np.mean(made < limit))
    tolerated = QUANTILE + 3 * float(np.sqrt(QUANTILE * (1 - QUANTILE) * (1 / len(made) + 1 / len(fresh))))
    near = share > tolerated
    verdict = (
        f"{100 * share:.1f} % of the generated images lie nearer to a training image than all but "
        f"{100 * QUANTILE:.0f} % of the held-out real images do. Fresh real images would give "
        f"{100 * QUANTILE:.0f} %, by chance up to {100 * tolerated:.1f} %: "
    ) + ("look at them, they may be copies." if near else "no sign of copying.")
    return {
        "value": share,
        "expected": QUANTILE,
        "tolerated": tolerated,
        "limit": limit,
        "median_generated": float(np.median(made)),
        "median_held_out": float(np.median(fresh)),
        "near": near,
        "verdict": verdict,
    }
