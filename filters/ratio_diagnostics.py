"""Whether a density ratio knows anything: how it rates held-out real images and fresh generated ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from filters.rejection import effective_sample_size

Floats = npt.NDArray[np.floating[Any]]

#: Area under the curve above which real and generated images count as told apart completely.
TOLD_APART = 0.98
#: Relative spread of the generated images' ratios below which the ratio counts as constant.
CONSTANT = 0.02


def area_under_curve(fakes: Floats, reals: Floats) -> float:
    """Probability that a real image is rated above a generated one, ties counting half (Mann & Whitney, 1947).

    Args:
        fakes: ratings of generated images, (n,), n at least 1.
        reals: ratings of real images, (m,), m at least 1.
    """
    ordered = np.sort(fakes)
    below = np.searchsorted(ordered, reals, side="left") + np.searchsorted(ordered, reals, side="right")
    return float(np.mean(below) / (2 * len(ordered)))


def rate_held_out(fakes: Floats, reals: Floats) -> dict[str, float]:
    """What density ratios of validation images, and of fresh fakes at their labels, say of the ratio.

    Args:
        fakes: ratios of generated images, at least 0, (n,), n at least 1.
        reals: ratios of real images that it was not trained on, (m,), m at least 1.

    Returns:
        ``validation_fake_mean``: near 1 for a calibrated ratio.
        ``validation_real_mean``: of a true ratio the mean square over fakes, at least 1.
        ``validation_auc``: 0.5 where the ratio knows nothing, 1 where it tells every real image from every fake.
        ``validation_effective_share``: (sum w)^2 / (n sum w^2) of the fakes' ratios w, 1 where all weigh the same.
    """
    effective = effective_sample_size(fakes, np.zeros(len(fakes), np.int64), 1)[0]
    return {
        "validation_fake_mean": float(np.mean(fakes)),
        "validation_real_mean": float(np.mean(reals)),
        "validation_auc": area_under_curve(fakes, reals),
        "validation_effective_share": float(effective / len(fakes)),
    }


def fault(figures: dict[str, float], fakes: Floats, reals: int) -> str | None:
    """One sentence on a ratio that subsampling gains nothing from; None for a usable one.

    Args:
        figures: what ``rate_held_out`` gave.
        fakes: ratios of the generated images, (n,).
        reals: number of validation images that were rated.
    """
    mean, auc = figures["validation_fake_mean"], figures["validation_auc"]
    share = figures["validation_effective_share"]
    if not fakes.any():
        return (
            f"The density ratio is 0 for each of {len(fakes)} fresh generated images, so that nothing can be accepted "
            "by it; raise ratio.penalty_weight, or try ratio.activation softplus."
        )
    if auc > TOLD_APART:
        return (
            f"The density ratio rates a validation image above a generated one in {100 * auc:.1f}% of all pairs, and a "
            f"sample weighted by it is worth {100 * share:.0f}% of its images, so that few draws will carry all "
            "weight; train the generator longer, or choose other ratio.features or fewer ratio.steps."
        )
    if float(np.std(fakes)) < CONSTANT * mean:
        return (
            f"The density ratio is the same for all generated images (mean {mean:.3f}, deviation {np.std(fakes):.3f}), "
            "so that subsampling rejects at random; raise ratio.steps or ratio.learning_rate, "
            "lower ratio.penalty_weight, or choose other ratio.features."
        )
    # The deviation of the area where there is nothing to tell apart (Mann & Whitney, 1947).
    noise = float(np.sqrt((len(fakes) + reals + 1) / (12 * len(fakes) * reals)))
    if auc < 0.5 - 2 * noise:
        return (
            f"The density ratio rates a validation image above a generated one in only {100 * auc:.1f}% of all pairs, "
            "so that subsampling takes away the better images; lower ratio.steps, choose other ratio.features, "
            "or set candidates.subsample to false."
        )
    return None
