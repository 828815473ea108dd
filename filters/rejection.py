"""Rejection sampling by density ratios, and resampling where that accepts too few, for all labels at once.

Source: cDR-RS (Ding et al. 2023, arXiv 2103.11166), module M1 of cGAN-KD (arXiv 2104.03164). Differs from the paper in:
the ratio of each label is calibrated so that its mean over the generated burn-in is 1, as E_g[p_r / p_g] must be; the
bound M is a high quantile of the burn-in with the ratio clipped at it, unless the paper's running maximum is asked for,
which one outlier can ruin; a label whose ratio is 0 everywhere is not subsampled and does not loop for ever. Pure
functions of arrays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from data.errors import StageError
from filters.groups import group_mean, group_quantile, group_running_maximum

Floats = npt.NDArray[np.floating[Any]]
Groups = npt.NDArray[np.integer]


@dataclass(frozen=True)
class Calibration:
    """What turns raw ratios into probabilities of acceptance, one entry a label (group).

    Args:
        scale: factor that makes the mean ratio of the burn-in 1, (G,); 0 where ``usable`` is false.
        bound: M, the largest calibrated ratio that counts, (G,); above 0.
        usable: whether the label had a positive ratio in the burn-in, (G,); images of others are all accepted.
        effective_share: (sum w)^2 / (n sum w^2) of the clipped ratios w of the burn-in, in (0, 1], (G,); 0 where
            ``usable`` is false.
        acceptance: E[w] / M over the burn-in, the share of draws to be accepted, in (0, 1], (G,).
    """

    scale: npt.NDArray[np.float64]
    bound: npt.NDArray[np.float64]
    usable: npt.NDArray[np.bool_]
    effective_share: npt.NDArray[np.float64]
    acceptance: npt.NDArray[np.float64]


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
    clipped = np.minimum(calibrated, bound[groups])
    share = effective_sample_size(clipped, groups, group_count)
    counts = np.maximum(np.bincount(groups, minlength=group_count), 1)
    acceptance = np.where(usable, group_mean(clipped, groups, group_count) / bound, 1.0)
    return Calibration(scale, bound, usable, share / counts, acceptance)


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


def acceptance(
    ratios: Floats, groups: Groups, calibration: Calibration, bounds: Floats | None = None
) -> npt.NDArray[np.float64]:
    """Probability w / M with which each draw is accepted, for the calibrated ratio w; 1 or more where w is M or more.

    Args:
        ratios: density ratios, at least 0, (n,).
        groups: label index of each row, (n,).
        calibration: of the same labels.
        bounds: M of each row where it changes from draw to draw, (n,); None takes the calibration's.

    Returns:
        float64 (n,); 1 for labels that are not usable, which are not subsampled.

    Raises:
        StageError: if a ratio is negative or not finite.
    """
    _check(ratios)
    bound = calibration.bound[groups] if bounds is None else bounds
    return np.where(calibration.usable[groups], ratios * calibration.scale[groups] / bound, 1.0)


def running_bounds(
    ratios: Floats, groups: Groups, calibration: Calibration, reached: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """The paper's bound of each draw: the largest calibrated ratio of its label up to and with that draw.

    Source: cDR-RS. Differs from the paper in: the maximum rises with every draw, not with every batch, so that it does
    not depend on how draws are divided into batches.

    Args:
        ratios: density ratios of further draws, in the order of their numbers within each label, (n,).
        groups: label index of each row, never falling, (n,).
        calibration: of the same labels.
        reached: largest calibrated ratio of each label before these draws, that of the burn-in at least, (G,).

    Returns:
        float64 (n,).
    """
    return np.maximum(group_running_maximum(ratios * calibration.scale[groups], groups), reached[groups])


def resample(
    weights: Floats, groups: Groups, wanted: npt.NDArray[np.integer], uniforms: Floats
) -> npt.NDArray[np.bool_]:
    """Chooses rows of every label without replacement, each with a probability proportional to its weight.

    Source: Pareto sampling (Rosén 1997, "On sampling with probability proportional to size"): the rows with the
    smallest u / (1 - u) * (1 - p) / p, where p is the probability that is wanted. Taking rows one after another by
    weight (Efraimidis & Spirakis 2006) would flatten the weights wherever more than a few of the rows are taken.

    Args:
        weights: at least 0, (n,).
        groups: label index of each row, (n,).
        wanted: rows to choose of each label, at most as many as it has, (G,).
        uniforms: numbers in (0, 1), one a row, (n,).

    Returns:
        bool (n,); rows that would have to be taken more than once are taken, and rows of weight 0 only, at random,
        where a label has too few others.
    """
    shares = _inclusion(weights, groups, wanted)
    with np.errstate(divide="ignore"):
        keys = np.log(uniforms) - np.log1p(-uniforms) - np.log(shares) + np.log1p(-shares)
    order = np.lexsort((uniforms, keys, groups))
    counts = np.bincount(groups, minlength=len(wanted))
    rank = np.arange(len(groups)) - (np.cumsum(counts) - counts)[groups[order]]
    chosen = np.zeros(len(groups), np.bool_)
    chosen[order] = rank < wanted[groups[order]]
    return chosen


def _inclusion(weights: Floats, groups: Groups, wanted: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
    """Probabilities proportional to the weights of each label, at most 1, whose sum is ``wanted``."""
    count = len(wanted)
    certain = np.zeros(len(weights), np.bool_)
    while True:
        left = wanted - np.bincount(groups[certain], minlength=count)
        total = np.bincount(groups, weights=np.where(certain, 0.0, weights), minlength=count)
        with np.errstate(over="ignore"):
            factor = np.divide(left, total, out=np.zeros(count), where=total > 0.0)
        # A factor is infinite where all weights are next to 0; its rows are certain, and the next turn has none left.
        with np.errstate(over="ignore", invalid="ignore"):
            shares = np.where(certain, 1.0, weights * factor[groups])
        over = (shares >= 1.0) & ~certain
        if not over.any():
            return shares
        certain |= over


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
