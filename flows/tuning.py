"""How long short student runs are, and what they say: which setting is chosen, and whether synthetic images help.

Pure functions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from data.labels import LabelSpace
from flows.config import Config
from students.evaluation import OF_RANGE

#: Validation values of each setting, one a seed.
Table = Mapping[float, Sequence[float]]

#: Share of the students' optimiser steps that the short runs of ``tuning`` take together.
TUNING_SHARE = 0.12


def tuning_steps(config: Config) -> int:
    """Steps of one short student run of ``tuning``.

    With every seed there is one run for the real images alone, one for each quantile and one for each share; that of
    the whole has run with its quantile already, so that a little less than the budget may be spent.
    """
    if config.tuning.steps is not None:
        return config.tuning.steps
    distill, tuning = config.distill, config.tuning
    students = len(distill.students) * len(distill.methods) * len(distill.data) * len(distill.seeds)
    settings = 1
    if config.synthetic.quantile == "auto":
        settings += len(tuning.quantiles)
    if config.synthetic.count == "auto":
        settings += len(tuning.shares)
    runs = settings * len(tuning.seeds)
    return min(distill.training.steps, max(1, int(TUNING_SHARE * students * distill.training.steps / runs)))


def paired_error(values: Sequence[Sequence[float]]) -> float:
    """Standard error of the difference of two settings' means over the same seeds.

    The model is that of randomised blocks (Fisher, 1935): value = setting + seed + noise. What runs of one seed share,
    initial weights and real batches, drops out. The variance s^2 of the noise is pooled over all settings, since two or
    three seeds say little about that of one pair; the error is sqrt(2 s^2 / seeds). For two settings it is the standard
    error of the mean of their paired differences.

    Args:
        values: a row a setting, at least 2; a column a seed, at least 2.

    Raises:
        ValueError: if there are fewer.
    """
    table = np.array(values, np.float64)
    settings, seeds = table.shape
    if settings < 2 or seeds < 2:
        raise ValueError(f"a paired error must be of at least 2 settings and seeds, got {settings} and {seeds}.")
    noise = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0, keepdims=True) + table.mean()
    variance = float(np.sum(noise**2)) / ((settings - 1) * (seeds - 1))
    return float(np.sqrt(2.0 * variance / seeds))


def choose(table: Table, *, higher_is_better: bool) -> tuple[float, float]:
    """The first setting whose mean lies within one standard error of the best mean.

    Source: the one-standard-error rule of Breiman, Friedman, Olshen and Stone (Classification and Regression Trees,
    1984): of all settings that cannot be told from the best, the simplest.

    Differs from it in: the error is that of a paired difference (``paired_error``), and the simplest is the one nearest
    the default side: of quantiles the largest, which keeps most, and of counts the smallest, which costs least.

    Args:
        table: values of each setting, those to be preferred first.
        higher_is_better: whether a larger value is better.

    Returns:
        The chosen setting, and the standard error, which is 0 where there is no choice.
    """
    settings, values = list(table), list(table.values())
    error = paired_error(values) if len(values) > 1 else 0.0
    means = np.mean(values, axis=1)
    behind = means.max() - means if higher_is_better else means - means.min()
    return settings[int(np.flatnonzero(behind <= error)[0])], error


def advantage(first: Sequence[float], second: Sequence[float], *, higher_is_better: bool) -> float:
    """How much better the mean of the first setting is; below 0 where it is worse."""
    difference = float(np.mean(first)) - float(np.mean(second))
    return difference if higher_is_better else -difference


def described(values: Sequence[float]) -> dict[str, Any]:
    """Mean and sample standard deviation of a setting's values over at least two seeds, with the values; JSON-ready."""
    return {"mean": float(np.mean(values)), "std": float(np.std(values, ddof=1)), "values": list(map(float, values))}


def described_choice(table: Table, chosen: float, error: float, default: float | str | None) -> dict[str, Any]:
    """A choice with the values of all settings, which rise; JSON-ready."""
    rows = [{"value": setting, **described(table[setting])} for setting in sorted(table)]
    return {"chosen": chosen, "default": default, "standard_error": error, "rows": rows}


def score_unit(space: LabelSpace) -> str:
    """Unit of ``students.evaluation.score``; none for a class with a scalar, whose two percentages are added."""
    return {"class": "%", "scalar": space.unit, "vector": OF_RANGE}.get(space.kind, "")


def short_training(training: Mapping[str, Any], steps: int) -> dict[str, Any]:
    """Options of a short run: the same schedule in fewer steps, validated once, at the end.

    The last weights are judged: a mean over several late validations is hardly less noisy (docs/filters/tuning.md), and
    each of them costs time.

    Args:
        training: options of the whole training.
        steps: steps of the short run, at least 1.
    """
    warmup = round(training["warmup_steps"] * steps / training["steps"])
    short = {"steps": steps, "warmup_steps": min(warmup, steps - 1), "validate_every": steps, "select": "last"}
    return {**training, **short}
