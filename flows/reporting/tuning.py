"""The report's section on tuning: what the short student runs gave, and what was chosen from them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from flows.reporting.drawing import ACCENT, COLOURS, Plot, draw
from flows.reporting.inputs import ReportInputs
from flows.reporting.wording import (
    count,
    decimals,
    duration,
    higher_is_better,
    metric_words,
    number,
    plural,
    share,
    unbroken,
    unit_words,
)


@dataclass(frozen=True)
class TuningSection:
    """All that the section shows.

    Args:
        intro: which runs were made.
        choices: a sentence for each choice.
        against_alone: how the choice compares with the student alone.
        cost: what the runs took.
        plots: a curve for each choice.
    """

    intro: str
    choices: tuple[str, ...]
    against_alone: str
    cost: str
    plots: tuple[Plot, ...]


def tuning_section(inputs: ReportInputs, total_seconds: float) -> TuningSection | None:
    """The section of a run; None where nothing was tuned.

    Args:
        inputs: what the report is made from.
        total_seconds: time of all stages.
    """
    path = inputs.file("tuning", "tuning.json")
    if path is None:
        return None
    found = json.loads(path.read_text(encoding="utf-8"))
    student = inputs.config["distill"]["students"][0]["name"]
    methods = inputs.config["distill"].get("methods") or [{}]
    method = methods[0].get("label") or found["method"]
    names = [name for name in ("quantile", "count") if name in found]
    seeds = plural(len(found["seeds"]), "seed")
    return TuningSection(
        intro=(
            f"Each setting trained the student {student} with {method} for "
            f"{plural(found['steps'], 'step')} with {seeds}; its score is {_metric(found)} on the validation rows. "
            "Runs of one seed share initial weights and real batches. Of the settings within one standard error of the "
            "best mean, the one nearest to the default side is taken: the largest quantile, the smallest count. "
            "Few seeds tell large differences only (docs/filters/tuning.md)."
        ),
        choices=tuple(unbroken(_choice(name, found)) for name in names),
        against_alone=unbroken(_against_alone(found)),
        cost=_cost(found, names, inputs.manifests["tuning"], total_seconds),
        plots=tuple(_plot(name, found) for name in names),
    )


def _metric(found: Mapping[str, Any]) -> str:
    if found["metric"] == "error":
        return "the share of wrong classes in % plus the error of the value in % of its range"
    return metric_words(found["metric"])


def _choice(name: str, found: Mapping[str, Any]) -> str:
    choice = found[name]
    rows = choice["rows"]
    best = (max if higher_is_better(found["metric"]) else min)(rows, key=lambda row: row["mean"])
    chosen = next(row for row in rows if row["value"] == choice["chosen"])
    what = f"{name.capitalize()} {_setting(name, chosen)} was chosen"
    skipped = choice.get("skipped", [])
    left_out = f" (left out as they lose a class: {', '.join(f'{value:g}' for value in skipped)})" if skipped else ""
    ties = [row for row in rows if row["mean"] == best["mean"] and row is not chosen]
    if chosen["mean"] == best["mean"] and ties:
        side = "largest" if name == "quantile" else "smallest"
        return (
            f"{what}: its mean, {_value(chosen['mean'], found)}, is the best together with that of "
            f"{', '.join(_setting(name, row) for row in ties)}, and it is the {side}{left_out}."
        )
    if chosen["mean"] == best["mean"]:
        return f"{what}: it has the best mean, {_value(chosen['mean'], found)}{left_out}."
    return (
        f"{what}: its mean of {_value(chosen['mean'], found)} lies within one standard error "
        f"({_difference(choice['standard_error'], found)}) of the best, {_value(best['mean'], found)} at "
        f"{_setting(name, best)}{left_out}."
    )


def _setting(name: str, row: Mapping[str, Any]) -> str:
    return f"{row['value']:g}" if name == "quantile" else count(row["value"])


def _value(value: float, found: Mapping[str, Any]) -> str:
    return f"{number(value, decimals(found['alone']['mean']))}{unit_words(found['unit'])}"


def _difference(value: float, found: Mapping[str, Any]) -> str:
    """A difference or its error; those of percentages are points."""
    unit = " points" if found["unit"] == "%" else unit_words(found["unit"])
    return f"{number(value, decimals(found['alone']['mean']))}{unit}"


def _against_alone(found: Mapping[str, Any]) -> str:
    gain, error = found["gain"], found["standard_error"]
    figures = f"difference {_difference(abs(gain), found)}, standard error {_difference(error, found)}"
    verdict = "better than" if gain > error else "worse than" if gain < -error else "not to be told from"
    alone = _value(found["alone"]["mean"], found)
    return f"In these runs it is {verdict} the student alone, which has {alone} ({figures})."


def _cost(found: Mapping[str, Any], names: Sequence[str], manifest: Mapping[str, Any], total_seconds: float) -> str:
    seconds = float(manifest["seconds"])
    part = f", {share(seconds / total_seconds)} of the time of all stages" if total_seconds else ""
    return unbroken(f"The short runs took {duration(seconds)}{part}.")


def _plot(name: str, found: Mapping[str, Any]) -> Plot:
    rows = found[name]["rows"]
    chosen = [row["value"] for row in rows].index(found[name]["chosen"])
    means = [row["mean"] for row in rows]

    def paint(axes: Axes) -> None:
        axes.axvspan(chosen - 0.3, chosen + 0.3, color=ACCENT, alpha=0.12, lw=0)
        axes.plot(range(len(rows)), means, color=COLOURS["ink"], lw=1.2)
        for place, row in enumerate(rows):
            colour = ACCENT if place == chosen else COLOURS["muted"]
            axes.plot([place] * len(row["values"]), row["values"], "o", color=colour, ms=4.5, mew=0, alpha=0.85)
            axes.plot([place - 0.12, place + 0.12], [row["mean"]] * 2, color=colour, lw=1.8)
        axes.axhline(found["alone"]["mean"], color=COLOURS["series-2"], lw=1, ls=(0, (4, 3)))
        labels = [_setting(name, row) for row in rows]
        if name == "count":
            labels = [f"{label}\n{100 * row['share']:g} %" for label, row in zip(labels, rows, strict=True)]
        axes.set_xticks(range(len(rows)), labels)
        axes.set_xlim(-0.5, len(rows) - 0.5)
        everything = np.array([*found["alone"]["values"], *(value for row in rows for value in row["values"])])
        margin = 0.08 * float(np.ptp(everything)) or 0.5
        axes.set_ylim(everything.min() - margin, everything.max() + margin)
        axes.set_xlabel("quantile" if name == "quantile" else "synthetic images, and share of those kept")
        unit = f" [{found['unit']}]" if found["unit"] else ""
        axes.set_ylabel(f"validation {metric_words(found['metric'])}{unit}")

    spoken = "; ".join(f"{_setting(name, row)}: mean {row['mean']:.4g}" for row in rows)
    svg = draw(f"tuning-{name}", f"Short runs by {name}. {spoken}.", paint, width=410, height=240)
    legend = (("grey", "one seed each, bar: mean"), ("series-1", "chosen"), ("series-2", "student alone"))
    return Plot("Quantile of the teacher's filter" if name == "quantile" else "Number of images", svg, legend)
