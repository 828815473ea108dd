"""The draws of some labels: put into order, and filled up where rejection accepted too few."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from data.random import RESAMPLING, Seeds, uniform_from_seeds
from filters.rejection import Calibration, resample

Images = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.bool_]
#: (labels, seeds) to images.
Sample = Callable[[npt.NDArray[Any], Seeds], Images]
#: What a label gets that has too few accepted images when its draws are spent.
Fallback = Literal["resample", "none", "error"]
#: How a label came to its images.
Outcome = Literal["rejection", "resampled", "not subsampled"]

EXAMPLES = 12
REJECTED_EXAMPLES = 8


@dataclass(frozen=True)
class Draws:
    """Draws in the order of (label, draw number), up to each label's last accepted one.

    Args:
        groups: place of each draw's label among the labels that were drawn, (n,).
        labels: label of each draw, (n, ...).
        seeds: seed of each draw, (n,).
        ratios: density ratio of each draw, (n,), calibrated: the mean of its label's burn-in is 1.
        accepted: which are accepted, bool (n,).
        images: images of the accepted ones, (a, C, H, W).
        examples: number of the draws, among those here, whose images are in ``example_images``, (e,).
        example_images: images of the first draws of every label, and of its first rejected ones, (e, C, H, W).
        calibration: scale and bound of every label; None without subsampling.
        bounds: M of every label at its last draw, (k,).
        rounds: how often each label was drawn from, (k,).
        outcomes: how each label came to its images, one a label.
    """

    groups: npt.NDArray[np.int64]
    labels: npt.NDArray[Any]
    seeds: Seeds
    ratios: npt.NDArray[np.float32]
    accepted: Rows
    images: Images
    examples: npt.NDArray[np.int64]
    example_images: Images
    calibration: Calibration | None
    bounds: npt.NDArray[np.float64]
    rounds: npt.NDArray[np.int64]
    outcomes: list[Outcome]


@dataclass(frozen=True)
class Round:
    """What one round drew, sorted by label; all columns are of its n draws.

    Args:
        groups: place of each draw's label, (n,).
        draw: number of each draw in its label, from 0, (n,).
        seeds: seed of each draw, (n,).
        ratios: density ratios as they come from the network, (n,).
        chances: probabilities of acceptance, (n,).
        passed: which are accepted, bool (n,).
        shown: which may be examples, bool (n,).
        passed_images: images of the accepted ones.
        shown_images: images of the possible examples.
    """

    groups: npt.NDArray[np.int64]
    draw: npt.NDArray[np.int64]
    seeds: Seeds
    ratios: npt.NDArray[np.float32]
    chances: npt.NDArray[np.float64]
    passed: Rows
    shown: Rows
    passed_images: Images
    shown_images: Images


def collect(
    rounds: list[Round],
    labels: npt.NDArray[Any],
    sample: Sample,
    *,
    per_label: int,
    fallback: Fallback,
    calibration: Calibration | None,
    running_maximum: bool,
    tell_examples: bool,
) -> Draws:
    """Puts all rounds into the order of (label, draw number), and fills up labels with too few accepted images.

    Resampling takes the missing images from the draws that were not accepted. These follow p_g (1 - w / M), so that
    they are weighted by w / (1 - w / M) to follow w p_g, as the accepted ones do.

    Args:
        rounds: at least one.
        labels: the labels that were drawn, (k, ...).
        sample: makes images again that were not kept.
        per_label: images that every label gets; each has as many draws at least.
        fallback: what labels with fewer accepted draws get.
        calibration: scale and bound of every label; None without subsampling.
        running_maximum: whether M rises with the draws.
        tell_examples: whether there are examples.
    """
    count = len(labels)
    groups, draw, seeds, ratios, chances, passed, shown = (
        np.concatenate([getattr(item, name) for item in rounds])
        for name in ("groups", "draw", "seeds", "ratios", "chances", "passed", "shown")
    )
    order = np.lexsort((draw, groups))
    kept, shown_places = _places(passed)[order], _places(shown)[order]
    groups, draw, seeds, ratios, chances, passed = (
        column[order] for column in (groups, draw, seeds, ratios, chances, passed)
    )
    calibrated = ratios if calibration is None else ratios * calibration.scale[groups]
    # A label's draws after its last accepted image that is needed do not count.
    before = np.cumsum(passed) - passed
    starts = np.searchsorted(groups, np.arange(count))
    counted = before - before[starts][groups] < per_label
    accepted = passed & counted
    found = np.bincount(groups[accepted], minlength=count)
    short = found < per_label
    if short.any() and fallback == "none":
        accepted = np.where(short[groups], draw < per_label, accepted)
    elif short.any():
        pool = short[groups] & ~passed
        # Where a bound is lowered, w / M may be 1 and more; such draws are accepted and not in the pool.
        weights = calibrated[pool] / (1.0 - chances[pool])
        uniforms = uniform_from_seeds(seeds[pool], 1, RESAMPLING)[:, 0]
        accepted[pool] = resample(weights, groups[pool], per_label - found, uniforms)
    # Each round has kept its own first rejected draws; only the first of all rounds are examples.
    example = example_draws(groups, draw, passed) & counted & tell_examples
    places, again = kept[accepted], kept[accepted] < 0
    images = np.concatenate([item.passed_images for item in rounds])[places]
    if again.any():
        images[again] = sample(labels[groups[accepted][again]], seeds[accepted][again])
    bounds = np.ones(count) if calibration is None else calibration.bound.copy()
    if running_maximum and calibration is not None:
        np.maximum.at(bounds, groups[counted], calibrated[counted])
    return Draws(
        groups=groups[counted],
        labels=labels[groups[counted]],
        seeds=seeds[counted],
        ratios=calibrated[counted].astype(np.float32),
        accepted=accepted[counted],
        images=images,
        examples=np.flatnonzero(example[counted]),
        example_images=np.concatenate([item.shown_images for item in rounds])[shown_places[example]],
        calibration=calibration,
        bounds=bounds,
        rounds=np.sum([np.bincount(item.groups, minlength=count) > 0 for item in rounds], axis=0),
        outcomes=[_outcome(place, short, fallback, calibration) for place in range(count)],
    )


def example_draws(groups: npt.NDArray[np.int64], draw: npt.NDArray[np.int64], passed: Rows) -> Rows:
    """Which draws may be examples: the first of every label, and its first rejected ones. ``groups`` is sorted."""
    rejected = ~passed
    before: npt.NDArray[np.int64] = np.cumsum(rejected) - rejected.astype(np.int64)
    rank: npt.NDArray[np.int64] = before - before[np.searchsorted(groups, groups)]
    shown: Rows = (draw < EXAMPLES) | (rejected & (rank < REJECTED_EXAMPLES))
    return shown


def _outcome(place: int, short: Rows, fallback: Fallback, calibration: Calibration | None) -> Outcome:
    if calibration is None or not calibration.usable[place]:
        return "not subsampled"
    if short[place]:
        return "not subsampled" if fallback == "none" else "resampled"
    return "rejection"


def _places(chosen: Rows) -> npt.NDArray[np.int64]:
    """Place of each chosen row among the chosen ones; -1 for the others."""
    return np.where(chosen, np.cumsum(chosen) - 1, -1)
