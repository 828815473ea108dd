"""Rejection sampling by density ratios, for all labels at once.

Source: cDR-RS (Ding et al. 2023, arXiv 2104.03164, module M1). Differs from the paper in: the ratio of each label is
calibrated so that its mean over the generated burn-in is 1, as E_g[p_r / p_g] must be; the bound M is a high quantile
of the burn-in with the ratio clipped at it, not a running maximum that one outlier can ruin; a label whose ratio is 0
everywhere is reported and does not loop for ever. Pure functions of arrays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from data.errors import StageError
from filters.groups import group_mean, group_quantile

Floats = npt.NDArray[np.floating[Any]]
Groups = npt.NDArray[np.integer]
Fallback = Literal["keep", "drop", "error"]


@dataclass(frozen=True)
class Calibration:
    """What turns raw ratios into probabilities of acceptance, one entry a label (group).

    Args:
        scale: factor that makes the mean ratio of the burn-in 1, (G,); 0 where ``usable`` is false.
        bound: M, the largest calibrated ratio that counts, (G,); above 0.
        usable: whether the label had a positive ratio in the burn-in, (G,).
        effective_share: (sum w)^2 / (n sum w^2) of the clipped ratios w of the burn-in, in (0, 1], (G,); 0 where
            ``usable`` is false.
    """

    scale: npt.NDArray[np.float64]
    bound: npt.NDArray[np.float64]
    usable: npt.NDArray[np.bool_]
    effective_share: npt.NDArray[np.float64]


def calibrate(
    ratios: Floats, groups: Groups, group_count: int, quantile: float = 0.995, least_acceptance: float = 0.0
) -> Calibration:
    """Scale and bound of every label, from a burn-in of generated images.

    Where a few images carry nearly all the weight, a quantile still accepts next to nothing. ``least_acceptance``
    then lowers the bound: the target is flattened, and the cost of an accepted image stays limited.

    Args:
        ratios: density ratios of the burn-in, at least 0, (n,).
        groups: label index of each row, (n,), 0 .. group_count - 1.
        group_count: number of labels G.
        quantile: of the calibrated ratios; the bound M. In (0, 1].
        least_acceptance: share of the burn-in that is to be accepted at least, in [0, 1); a label in which a smaller
            share has any positive ratio accepts just that share.

    Returns:
        The calibration; a label with no row, or with ratios that are all 0, is not usable.

    Raises:
        StageError: if a ratio is negative or not finite.
        ValueError: if ``quantile`` is not in (0, 1].
    """
    if not 0.0 < quantile <= 1.0:
        raise ValueError(f"quantile must be in (0, 1], got {quantile}; try 0.995.")
    _check(ratios)
    mean = group_mean(ratios, groups, group_count)
    usable = mean > 0.0
    scale = np.divide(1.0, mean, out=np.zeros(group_count), where=usable)
    calibrated = ratios * scale[groups]
    bound = group_quantile(calibrated, groups, group_count, quantile)
    # Where most ratios are 0 the quantile may be 0 too: the largest ratio is then the only bound there is.
    bound = np.where(bound > 0.0, bound, group_quantile(calibrated, groups, group_count, 1.0))
    if least_acceptance > 0.0:
        bound = np.fmin(bound, _lowered_bound(calibrated, groups, group_count, least_acceptance))
    bound = np.where(usable, bound, 1.0)
    share = effective_sample_size(np.minimum(calibrated, bound[groups]), groups, group_count)
    counts = np.maximum(np.bincount(groups, minlength=group_count), 1)
    return Calibration(scale, bound, usable, share / counts)


def _lowered_bound(calibrated: Floats, groups: Groups, group_count: int, least: float) -> npt.NDArray[np.float64]:
    """The largest ratio w of each label for which mean(min(ratios, w)) / w is ``least`` or more.

    That share falls as w grows; where even the smallest positive ratio gives less, it is that ratio. NaN without any.
    """
    positive = calibrated > 0.0
    values, mine = calibrated[positive].astype(np.float64), groups[positive]
    order = np.lexsort((values, mine))
    values, mine = values[order], mine[order]
    counts = np.bincount(mine, minlength=group_count)
    starts = np.cumsum(counts) - counts
    totals = np.cumsum(values)
    below = totals - np.concatenate([[0.0], totals])[starts][mine]
    above = counts[mine] - (np.arange(len(values)) - starts[mine] + 1)
    rows = np.maximum(np.bincount(groups, minlength=group_count), 1)
    enough = (below + values * above) / (values * rows[mine]) >= least
    chosen = np.full(group_count, np.nan)
    np.fmin.at(chosen, mine, values)
    np.fmax.at(chosen, mine[enough], values[enough])
    return chosen


def accept(
    ratios: Floats, groups: Groups, uniforms: Floats, calibration: Calibration, fallback: Fallback = "keep"
) -> npt.NDArray[np.bool_]:
    """Which candidates are accepted: those with u <= min(w, M) / M for the calibrated ratio w.

    Args:
        ratios: density ratios, at least 0, (n,).
        groups: label index of each row, (n,).
        uniforms: numbers in (0, 1), one a row, (n,).
        calibration: of the same labels.
        fallback: what happens to labels that have no usable ratio: "keep" accepts all their rows (no subsampling),
            "drop" none, "error" raises.

    Returns:
        bool (n,).

    Raises:
        StageError: if a ratio is negative or not finite, or a label is not usable and ``fallback`` is "error".
    """
    _check(ratios)
    if fallback not in ("keep", "drop", "error"):
        raise ValueError(f"fallback must be 'keep', 'drop' or 'error', got '{fallback}'.")
    unusable = ~calibration.usable[groups]
    if fallback == "error" and unusable.any():
        raise StageError(
            f"the density ratio must be positive for some image of each label, got only zeros for label index "
            f"{', '.join(map(str, np.unique(groups[unusable])[:10]))}; try fallback 'keep' or train the ratio longer."
        )
    probability = ratios * calibration.scale[groups] / calibration.bound[groups]
    return np.where(unusable, fallback == "keep", uniforms <= probability)


def effective_sample_size(weights: Floats, groups: Groups, group_count: int) -> npt.NDArray[np.float64]:
    """(sum w)^2 / sum w^2 of each label (Kish, 1965), float64 (G,); 0 where all weights are 0.

    Args:
        weights: at least 0, (n,).
        groups: label index of each row, (n,).
        group_count: number of labels G.
    """
    total = np.bincount(groups, weights=weights, minlength=group_count)
    squares = np.bincount(groups, weights=np.square(weights, dtype=np.float64), minlength=group_count)
    return np.divide(total**2, squares, out=np.zeros(group_count), where=squares > 0.0)


def _check(ratios: Floats) -> None:
    bad = ~(np.isfinite(ratios) & (ratios >= 0.0))
    if bad.any():
        raise StageError(
            f"density ratios must be finite and at least 0, got {int(bad.sum())} of {len(ratios)} that are not; "
            f"train the ratio again with a lower learning rate."
        )
