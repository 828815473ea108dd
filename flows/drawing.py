"""Draws images of some labels and accepts them by their density ratio, until each label has enough.

What is accepted depends on the seed, the label's number and the draw's number alone: not on how many draws a round
takes, which labels share a shard, or where a run was interrupted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from data.errors import StageError
from data.random import ACCEPTANCE, Seeds, derive_seed, row_seeds, uniform_from_seeds
from filters.rejection import Calibration, acceptance, calibrate, running_bounds
from flows.draws import Draws, Fallback, Images, Round, Sample, collect, example_draws

#: (images, labels) to density ratios.
Ratio = Callable[[Images, npt.NDArray[Any]], npt.NDArray[np.float32]]

#: Draws of one chunk of a label: as many as the burn-in may have, and more than 4,096 images with the largest
#: ``max_draws`` may take. With the most images that a label may have, its chunks end before the next label begins.
_DRAWS_OF_A_CHUNK = 1 << 20
_DRAWS_OF_A_LABEL = 1 << 32
_MOST_DRAWS_A_ROUND = 4096
#: Networks run on whole blocks of this many rows, so that fewer draws cost as much.
_BLOCK_ROWS = 256


@dataclass(frozen=True)
class Rules:
    """How images are accepted.

    Args:
        burn_in: first draws of a label, which calibrate its ratio.
        bound: what bounds the ratio: "quantile" of the burn-in, or the "running_maximum" of the paper.
        bound_quantile: quantile of the calibrated ratio that bounds it.
        least_acceptance: the quantile is lowered until this share of the burn-in is accepted.
        max_draws: most draws an accepted image, on average over a label.
        fallback: what a label gets that has too few accepted images by then, see ``collect``; a label whose ratio is
            0 in the whole burn-in gets its first draws, unless this is "error".
    """

    burn_in: int
    bound: Literal["quantile", "running_maximum"] = "quantile"
    bound_quantile: float = 0.99
    least_acceptance: float = 0.0
    max_draws: int = 50
    fallback: Fallback = "resample"

    def calibrate(self, ratios: npt.NDArray[np.float32], groups: npt.NDArray[np.int64], count: int) -> Calibration:
        """The calibration of ``count`` labels by the ratios of their burn-in, (n,), where ``groups`` tells the label.

        The running maximum starts from the largest ratio of the burn-in, whatever ``least_acceptance`` is.
        """
        if self.bound == "running_maximum":
            return calibrate(ratios, groups, count, 1.0)
        return calibrate(ratios, groups, count, self.bound_quantile, self.least_acceptance)


def draw_labels(
    labels: npt.NDArray[Any],
    numbers: npt.NDArray[np.int64],
    sample: Sample,
    ratio: Ratio | None,
    rules: Rules,
    *,
    per_label: int,
    seed: int,
    describe: Callable[[Any], str],
    chunk: int = 0,
    calibration: Calibration | None = None,
) -> Draws:
    """Draws until every label has ``per_label`` accepted images, or has spent its draws.

    Source: cDR-RS (Ding et al. 2023). Differs from it: see ``filters.rejection``; and the burn-in's draws may be
    accepted too, by the bound that they set.

    Args:
        labels: the labels, all different, a column of their space, (k, ...).
        numbers: number of each label in the whole run, (k,); with the draw's number it makes the seed.
        sample: makes images.
        ratio: rates images; None accepts every draw.
        rules: how images are accepted.
        per_label: accepted images a label.
        seed: of the run.
        describe: a label in words, for messages.
        chunk: part of the labels' images; each has draws of its own, and chunk 0 has the burn-in.
        calibration: that of the same labels by their burn-in; needed for the ratio in other chunks than 0.

    Raises:
        StageError: if a label has too few accepted images and the fallback is "error".
        ValueError: if there is a ratio to calibrate without a burn-in.
    """
    count = len(labels)
    burn_in = rules.burn_in if ratio is not None and chunk == 0 else 0
    if ratio is not None and not burn_in and calibration is None:
        raise ValueError(f"calibration must be that of the burn-in for chunk {chunk}, got none.")
    most = max(burn_in, rules.max_draws * per_label)
    drawn, found = np.zeros(count, np.int64), np.zeros(count, np.int64)
    wanted = np.full(count, burn_in) if burn_in else _next_round(found, drawn, per_label, most, calibration)
    reached: npt.NDArray[np.float64] | None = None if calibration is None else calibration.bound
    rounds: list[Round] = []
    while wanted.any():
        groups, draw = np.repeat(np.arange(count), wanted), _ranges(drawn, wanted)
        seeds = _seeds(seed, numbers[groups], draw, chunk)
        images = sample(labels[groups], seeds)
        ratios, chances = np.ones(len(groups), np.float32), np.ones(len(groups))
        if ratio is not None:
            ratios = ratio(images, labels[groups])
            if calibration is None:
                calibration = rules.calibrate(ratios, groups, count)
            bounds = None
            if rules.bound == "running_maximum":
                reached = calibration.bound.copy() if reached is None else reached.copy()
                bounds = running_bounds(ratios, groups, calibration, reached)
                np.maximum.at(reached, groups, bounds)
            chances = acceptance(ratios, groups, calibration, bounds)
        passed = uniform_from_seeds(seeds, 1, ACCEPTANCE)[:, 0] <= chances
        shown = example_draws(groups, draw, passed)
        rounds.append(Round(groups, draw, seeds, ratios, chances, passed, shown, images[passed], images[shown]))
        drawn += wanted
        found += np.bincount(groups[passed], minlength=count)
        if rules.fallback == "error":
            _refuse(labels, found, drawn, per_label, most, calibration, describe)
        wanted = _next_round(found, drawn, per_label, most, calibration)
    return collect(
        rounds,
        labels,
        sample,
        per_label=per_label,
        fallback=rules.fallback,
        calibration=calibration,
        running_maximum=rules.bound == "running_maximum",
        tell_examples=chunk == 0,
    )


def burn_in_calibration(
    label: npt.NDArray[Any], number: int, sample: Sample, ratio: Ratio, rules: Rules, seed: int
) -> Calibration:
    """The calibration that ``draw_labels`` makes of one label in chunk 0, with no image kept.

    Args:
        label: a column of one label, (1, ...).
        number: its number in the whole run.
        sample: makes images.
        ratio: rates images.
        rules: how images are accepted.
        seed: of the run.
    """
    ratios = []
    for start in range(0, rules.burn_in, _MOST_DRAWS_A_ROUND):
        draw = np.arange(start, min(start + _MOST_DRAWS_A_ROUND, rules.burn_in))
        labels = np.repeat(label, len(draw), axis=0)
        ratios.append(ratio(sample(labels, _seeds(seed, np.full(len(draw), number), draw, 0)), labels))
    return rules.calibrate(np.concatenate(ratios), np.zeros(rules.burn_in, np.int64), 1)


def _seeds(seed: int, numbers: npt.NDArray[np.int64], draw: npt.NDArray[np.int64], chunk: int) -> Seeds:
    return row_seeds(derive_seed(seed, "draw"), numbers * _DRAWS_OF_A_LABEL + chunk * _DRAWS_OF_A_CHUNK + draw)


def _ranges(starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """start, start + 1, ... for every start, ``lengths`` of them each, one after the other."""
    ends = np.cumsum(lengths)
    return np.arange(ends[-1]) - np.repeat(ends - lengths, lengths) + np.repeat(starts, lengths)


def _next_round(
    found: npt.NDArray[np.int64],
    drawn: npt.NDArray[np.int64],
    per_label: int,
    most: int,
    calibration: Calibration | None,
) -> npt.NDArray[np.int64]:
    """Draws of every label that its rate of acceptance so far asks for; 0 for labels that have enough, or spent all."""
    missing = np.maximum(per_label - found, 0)
    expected = np.ones(len(found)) if calibration is None else calibration.acceptance
    rate = np.where(drawn > 0, np.maximum(found, 1) / np.maximum(drawn, 1), expected)
    wanted = np.minimum(np.ceil(missing / rate).astype(np.int64), most - drawn)
    wanted[missing == 0] = 0
    share = min(1.0, _MOST_DRAWS_A_ROUND / max(int(wanted.sum()), 1))
    wanted = np.ceil(wanted * share).astype(np.int64)
    # What the last block has room for is drawn, too: networks take as long for a part of a block.
    spare = -int(wanted.sum()) % _BLOCK_ROWS
    room = np.where(wanted > 0, most - drawn - wanted, 0)
    if spare and room.any():
        more = np.minimum(room, -(-spare // np.count_nonzero(room)))
        # Labels in their order, until the block is full.
        wanted += np.minimum(more, np.maximum(spare - (np.cumsum(more) - more), 0))
    return wanted


def _refuse(
    labels: npt.NDArray[Any],
    found: npt.NDArray[np.int64],
    drawn: npt.NDArray[np.int64],
    per_label: int,
    most: int,
    calibration: Calibration | None,
    describe: Callable[[Any], str],
) -> None:
    """Names a label without a usable ratio, or one that has spent its draws.

    Raises:
        StageError: if there is one.
    """
    remedy = "train the generator or the ratio longer, or set candidates.fallback to resample or none"
    if calibration is not None and not calibration.usable.all():
        name = describe(labels[int(np.flatnonzero(~calibration.usable)[0])])
        raise StageError(f"candidates: the density ratio of {name} is zero in its whole burn-in; {remedy}.")
    spent = (found < per_label) & (drawn >= most)
    if spent.any():
        first = int(np.flatnonzero(spent)[0])
        raise StageError(
            f"candidates: {describe(labels[first])} has {found[first]} of {per_label} images accepted after "
            f"{drawn[first]} draws; {remedy}, or raise candidates.max_draws."
        )
