"""Plots of the assessment: confidence and accuracy, and results by severity of each corruption."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from flows.reporting.drawing import COLOURS, SERIES, Plot, draw
from flows.reporting.wording import metric_words

#: Bins with fewer predictions than this share are left out: a few images say little.
_LEAST_SHARE = 0.005


@dataclass(frozen=True)
class Way:
    """What a line stands for: its words, its student (empty for the teacher), its entry, and if it is the best."""

    words: str
    student: str
    entry: Mapping[str, Any]
    best: bool

    @property
    def colour(self) -> str:
        """The teacher and the best have their colours in all plots."""
        if not self.student:
            return "series-2"
        return "series-1" if self.best else "grey"


def reliability_plots(ways: Sequence[Way]) -> list[Plot]:
    """Accuracy over confidence, a plot a student, with the teacher; the diagonal is as sure as right."""
    plots = []
    for place, student in enumerate(dict.fromkeys(way.student for way in ways if way.student)):
        lines = [way for way in ways if way.student in ("", student)]

        def paint(axes: Axes, lines: Sequence[Way] = lines) -> None:
            axes.plot([0, 100], [0, 100], color=COLOURS["rule"], lw=1)
            lowest = 100.0
            for way in lines:
                bins = way.entry["calibration"]["reliability"]
                total = sum(bin["count"] for bin in bins)
                points = [
                    (100 * bin["confidence"], 100 * bin["accuracy"])
                    for bin in bins
                    if bin["count"] > _LEAST_SHARE * total
                ]
                lowest = min(lowest, *(min(point) for point in points))
                axes.plot(*zip(*points, strict=True), "o-", color=COLOURS[way.colour], ms=4, mew=0)
            low = max(0.0, lowest - 4)
            axes.set_xlim(low, 101)
            axes.set_ylim(low, 101)
            axes.set_xlabel("confidence [%]")
            axes.set_ylabel("accuracy [%]")

        title = "Confidence and accuracy" + (
            f": {student}" if len({way.student for way in ways if way.student}) > 1 else ""
        )
        spoken = "; ".join(f"{way.words}: expected calibration error {_ece(way):.1f} %" for way in lines)
        svg = draw(f"reliability-{place}", f"{title}. {spoken}.", paint, width=410, height=300)
        legend = tuple((way.colour, way.words) for way in lines)
        plots.append(Plot(title, svg, (*legend, ("rule", "as sure as right"))))
    return plots


def _ece(way: Way) -> float:
    value = way.entry["calibration"]["ece"]
    return float(value["mean"] if isinstance(value, Mapping) else value)


def severity_plots(ways: Sequence[Way], corruptions: Sequence[str]) -> tuple[list[Plot], tuple[tuple[str, str], ...]]:
    """The first figure over the severity, a small plot a corruption on one scale, and the legend of them all.

    Severity 0 is the image as it is.
    """
    ways = [way for way in ways if way.entry["robustness"] is not None]
    if not ways:
        return [], ()
    metric = next(iter(ways[0].entry["robustness"]))
    curves = {
        corruption: [_curve(way.entry["robustness"][metric], corruption) for way in ways] for corruption in corruptions
    }
    everything = np.concatenate([values for lines in curves.values() for _, values in lines])
    margin = 0.06 * float(np.ptp(everything)) or 0.5
    several = len({way.student for way in ways if way.student}) > 1
    colours = _distinct(ways) if several else [way.colour for way in ways]
    legend = tuple(zip(colours, (way.words for way in ways), strict=True))
    plots = []
    for corruption, lines in curves.items():

        def paint(axes: Axes, lines: Sequence[tuple[Any, Any]] = lines) -> None:
            for place, (severities, values) in enumerate(lines):
                style = "-" if colours[place] not in colours[:place] else "--"
                axes.plot(severities, values, "o", ls=style, color=COLOURS[colours[place]], ms=3, mew=0)
            axes.set_ylim(everything.min() - margin, everything.max() + margin)
            axes.set_xticks(lines[0][0])
            axes.set_xlabel("severity")

        title = corruption.replace("_", " ")
        ends = "; ".join(
            f"{way.words}: {values[0]:.4g} to {values[-1]:.4g}" for way, (_, values) in zip(ways, lines, strict=True)
        )
        spoken = f"{metric_words(metric)} under {title} by severity. {ends}."
        svg = draw(f"severity-{corruption}", spoken, paint, width=180, height=140)
        plots.append(Plot(title, svg))
    return plots, legend


def _distinct(ways: Sequence[Way]) -> list[str]:
    """Colours of the ways of several students; that of the teacher is kept for it."""
    others = [name for name in SERIES if name != "series-2"]
    students = [way for way in ways if way.student]
    return [others[students.index(way) % len(others)] if way.student else way.colour for way in ways]


def _curve(figure: Mapping[str, Any], corruption: str) -> tuple[list[int], list[float]]:
    by = figure["by"][corruption]
    points = sorted([(0, figure["clean"]), *((int(severity), value) for severity, value in by.items())])
    values = [float(value["mean"] if isinstance(value, Mapping) else value) for _, value in points]
    return [severity for severity, _ in points], values
