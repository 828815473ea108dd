"""Draws images of some labels and accepts them by their density ratio, until each label has enough.

What is accepted depends on the seed, the label's number and the draw's number alone: not on how many draws a round
takes, which labels share a shard, or where a run was interrupted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from data.errors import StageError
from data.random import Seeds, derive_seed, row_seeds, uniform_from_seeds
from filters.rejection import Calibration, accept, calibrate

Images = npt.NDArray[np.uint8]
#: (labels, seeds) to images.
Sample = Callable[[npt.NDArray[Any], Seeds], Images]
#: (images, labels) to density ratios.
Ratio = Callable[[Images, npt.NDArray[Any]], npt.NDArray[np.float32]]

_MOST_DRAWS_A_ROUND = 16_384
_DRAWS_OF_ONE_LABEL = 1 << 32
_EXAMPLES = 12
_REJECTED_EXAMPLES = 8


@dataclass(frozen=True)
class Draws:
    """Draws in the order of (label, draw number), up to each label's last accepted one.

    Args:
        labels: label of each draw, (n, ...).
        seeds: seed of each draw, (n,).
        ratios: density ratio of each draw, (n,), calibrated: the mean of its label's burn-in is 1.
        accepted: which are accepted, bool (n,).
        images: images of the accepted ones, (a, C, H, W).
        examples: number of the draws, among those here, whose images are in ``example_images``, (e,).
        example_images: images of the first draws of every label, and of its first rejected ones, (e, C, H, W).
        calibration: scale and bound of every label; None without subsampling.
    """

    labels: npt.NDArray[Any]
    seeds: Seeds
    ratios: npt.NDArray[np.float32]
    accepted: npt.NDArray[np.bool_]
    images: Images
    examples: npt.NDArray[np.int64]
    example_images: Images
    calibration: Calibration | None


def draw_labels(
    labels: npt.NDArray[Any],
    numbers: npt.NDArray[np.int64],
    sample: Sample,
    ratio: Ratio | None,
    *,
    per_label: int,
    burn_in: int,
    bound_quantile: float,
    least_acceptance: float,
    max_draws: int,
    seed: int,
    describe: Callable[[Any], str],
) -> Draws:
    """Draws until every label has ``per_label`` accepted images.

    Source: cDR-RS (Ding et al. 2023). Differs from it: see ``filters.rejection``; and the burn-in's draws may be
    accepted too, since the bound is the same for them.

    Args:
        labels: the labels, all different, a column of their space, (k, ...).
        numbers: number of each label in the whole run, (k,); with the draw's number it makes the seed.
        sample: makes images.
        ratio: rates images; None accepts every draw.
        per_label: accepted images a label.
        burn_in: first draws of a label, which calibrate its ratio.
        bound_quantile: quantile of the calibrated ratio that bounds it.
        least_acceptance: the bound is lowered until this share of the burn-in is accepted.
        max_draws: most draws an accepted image, on average over a label.
        seed: of the run.
        describe: a label in words, for messages.

    Raises:
        StageError: if a label needs more draws than that.
    """
    base = derive_seed(seed, "draw")
    count = len(labels)
    most = max(burn_in, max_draws * per_label)
    drawn = np.zeros(count, np.int64)
    found = np.zeros(count, np.int64)
    wanted = np.full(count, burn_in if ratio is not None else per_label)
    calibration: Calibration | None = None
    rounds: list[tuple[npt.NDArray[Any], ...]] = []
    while True:
        groups = np.repeat(np.arange(count), wanted)
        draw = _ranges(drawn, wanted)
        seeds = row_seeds(base, numbers[groups] * _DRAWS_OF_ONE_LABEL + draw)
        images = sample(labels[groups], seeds)
        if ratio is None:
            ratios, passed = np.ones(len(groups), np.float32), np.ones(len(groups), np.bool_)
        else:
            ratios = ratio(images, labels[groups])
            if calibration is None:
                calibration = calibrate(ratios, groups, count, bound_quantile, least_acceptance)
            passed = accept(ratios, groups, uniform_from_seeds(seeds, 1, stream=1)[:, 0], calibration)
        shown = _shown(groups, draw, passed)
        rounds.append((groups, draw, seeds, ratios, passed, shown, images[passed], images[shown]))
        drawn += wanted
        found += np.bincount(groups[passed], minlength=count)
        if (found >= per_label).all():
            break
        exhausted = (found < per_label) & (drawn >= most)
        if exhausted.any():
            first = int(np.flatnonzero(exhausted)[0])
            raise StageError(
                f"candidates: {describe(labels[first])} has {found[first]} of {per_label} images accepted after "
                f"{drawn[first]} draws; raise ratio.penalty_weight (its ratio is zero nearly "
                f"everywhere), train the generator longer, or raise candidates.max_draws."
            )
        wanted = _next_round(found, drawn, per_label, most)
    return _collect(rounds, labels, per_label, calibration)


def _ranges(starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """start, start + 1, ... for every start, ``lengths`` of them each, one after the other."""
    ends = np.cumsum(lengths)
    return np.arange(ends[-1]) - np.repeat(ends - lengths, lengths) + np.repeat(starts, lengths)


def _next_round(
    found: npt.NDArray[np.int64], drawn: npt.NDArray[np.int64], per_label: int, most: int
) -> npt.NDArray[np.int64]:
    """Draws of every label that its rate of acceptance so far asks for, and a tenth more."""
    missing = np.maximum(per_label - found, 0)
    rate = np.maximum(found, 1) / drawn
    wanted = np.where(missing > 0, np.ceil(1.1 * missing / rate).astype(np.int64) + 8, 0)
    wanted = np.minimum(wanted, most - drawn)
    share = min(1.0, _MOST_DRAWS_A_ROUND / max(int(wanted.sum()), 1))
    return np.ceil(wanted * share).astype(np.int64)


def _collect(
    rounds: list[tuple[npt.NDArray[Any], ...]],
    labels: npt.NDArray[Any],
    per_label: int,
    calibration: Calibration | None,
) -> Draws:
    groups, draw, seeds, ratios, passed, shown, accepted_images, example_images = (
        np.concatenate(parts) for parts in zip(*rounds, strict=True)
    )
    # Everything in the order of (label, draw number), the images of accepted draws and of examples likewise.
    order = np.lexsort((draw, groups))
    accepted_order = np.argsort(_positions(passed, order), kind="stable")
    example_order = np.argsort(_positions(shown, order), kind="stable")
    groups, draw, seeds, ratios, passed, shown = (
        column[order] for column in (groups, draw, seeds, ratios, passed, shown)
    )
    # A label's draws after its last accepted image that is needed do not count.
    before = np.cumsum(passed) - passed
    starts = np.searchsorted(groups, np.arange(len(labels)))
    rank = before - before[starts][groups]
    counted = rank < per_label
    if calibration is not None:
        ratios = (ratios * calibration.scale[groups]).astype(np.float32)
    accepted = passed & counted
    # Each round has kept its own first rejected draws; only the first of all rounds are examples.
    example = _shown(groups, draw, passed) & counted
    return Draws(
        labels=labels[groups[counted]],
        seeds=seeds[counted],
        ratios=ratios[counted],
        accepted=accepted[counted],
        images=accepted_images[accepted_order][counted[passed]],
        examples=np.flatnonzero(example[counted]),
        example_images=example_images[example_order][example[shown]],
        calibration=calibration,
    )


def _shown(
    groups: npt.NDArray[np.int64], draw: npt.NDArray[np.int64], passed: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """Which draws may be examples: the first of every label, and its first rejected ones. ``groups`` is sorted."""
    rejected = ~passed
    before: npt.NDArray[np.int64] = np.cumsum(rejected) - rejected.astype(np.int64)
    rank: npt.NDArray[np.int64] = before - before[np.searchsorted(groups, groups)]
    shown: npt.NDArray[np.bool_] = (draw < _EXAMPLES) | (rejected & (rank < _REJECTED_EXAMPLES))
    return shown


def _positions(chosen: npt.NDArray[np.bool_], order: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Where each chosen row stands after the rows are put into ``order``."""
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    return places[chosen]
