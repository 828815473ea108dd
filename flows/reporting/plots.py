"""Plots of the results over seeds, and histograms of density ratios and teacher errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.transforms import blended_transform_factory

from flows.reporting.drawing import ACCENT, COLOURS, DATA_COLOURS, Plot, bin_edges, draw, make_logarithmic
from flows.reporting.results import Summary
from flows.reporting.wording import higher_is_better, metric_words, plain_data, plural, variant_words

_ROW_PIXELS = 44
#: Rows beyond which those of one method share a line.
_MANY = 10
_METHOD_PIXELS = 42


def results_plot(summaries: Sequence[Summary], teacher: Mapping[str, Any] | None, key: str = "results") -> Plot | None:
    """One dot a seed, a tick at the mean, a bar of one standard deviation, and the teacher as a line.

    Args:
        summaries: of one figure.
        teacher: the teacher's entry with that figure, or None.
        key: unique within the page.
    """
    if not summaries:
        return None
    kinds = list(dict.fromkeys(row.data for row in summaries))
    if len(summaries) > _MANY and len(kinds) > 1:
        return by_method_plot(summaries, teacher, key)
    spoken = "; ".join(f"{row.student}, {row.words}: mean {row.mean:.4g}" for row in summaries)
    paint, height = results_painter(summaries, teacher)
    svg = draw(key, f"Test results of every seed. {spoken}.", paint, width=410, height=height)
    return Plot(
        "Every seed", svg, (("grey", "a dot a seed, a tick at the mean, a bar of \N{PLUS-MINUS SIGN} one deviation"),)
    )


def results_painter(
    summaries: Sequence[Summary], teacher: Mapping[str, Any] | None
) -> tuple[Callable[[Axes], None], int]:
    """What draws ``results_plot`` on an axes, and the height that it wants in CSS pixels.

    Args:
        summaries: of one figure, at least one.
        teacher: the teacher's entry with that figure, or None.
    """
    several = len({row.student for row in summaries}) > 1
    first = summaries[0]
    reference = None if teacher is None else teacher["value"]
    # Names stand on the side where the teacher's line is not.
    teacher_left = reference is not None and reference < np.mean([row.mean for row in summaries])
    arrow = "more is better" if higher_is_better(first.metric) else "less is better"

    def paint(axes: Axes) -> None:
        for place, row in enumerate(summaries):
            colour = ACCENT if row.best else COLOURS["muted"]
            middle = -float(place)
            if row.std:
                axes.plot([row.mean - row.std, row.mean + row.std], [middle] * 2, color=colour, alpha=0.35, lw=4)
            axes.plot([row.mean] * 2, [middle - 0.16, middle + 0.16], color=colour, lw=1.5)
            axes.plot(row.values, [middle] * len(row.values), "o", color=colour, ms=4.5, mew=0, alpha=0.85)
            name = f"{row.student} \N{MIDDLE DOT} {row.words}" if several else row.words
            place_text = blended_transform_factory(axes.transAxes, axes.transData)
            side = (1, "right") if teacher_left else (0, "left")
            axes.text(side[0], middle + 0.3, name, transform=place_text, va="center", ha=side[1], color=COLOURS["ink"])
        if reference is not None:
            _teacher_line(axes, reference, left=teacher_left)
        axes.set_ylim(0.5 - len(summaries), 0.85)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.margins(x=0.05)
        unit = f" [{first.unit}]" if first.unit else ""
        axes.set_xlabel(f"test {metric_words(first.metric)}{unit} ({arrow})")

    return paint, _ROW_PIXELS * len(summaries) + 60


def by_method_plot(summaries: Sequence[Summary], teacher: Mapping[str, Any] | None, key: str) -> Plot:
    """One line a student and method, with the kinds of data in colours of their own, each a little lower.

    Args:
        summaries: of one figure, at least one.
        teacher: the teacher's entry with that figure, or None.
        key: unique within the page.
    """
    kinds = list(dict.fromkeys(row.data for row in summaries))
    lines = list(dict.fromkeys((row.student, row.shown) for row in summaries))
    called = {(row.student, row.shown): variant_words(row.method, row.label) for row in summaries}
    several = len({student for student, _ in lines}) > 1
    first = summaries[0]
    reference = None if teacher is None else teacher["value"]
    teacher_left = reference is not None and reference < np.mean([row.mean for row in summaries])
    arrow = "more is better" if higher_is_better(first.metric) else "less is better"

    def paint(axes: Axes) -> None:
        place_text = blended_transform_factory(axes.transAxes, axes.transData)
        side = (1, "right") if teacher_left else (0, "left")
        for place, (student, shown) in enumerate(lines):
            words = called[student, shown]
            name = f"{student} \N{MIDDLE DOT} {words}" if several else words
            axes.text(side[0], 0.3 - place, name, transform=place_text, va="center", ha=side[1], color=COLOURS["ink"])
        for row in summaries:
            middle = -lines.index((row.student, row.shown)) - 0.26 * kinds.index(row.data)
            colour = COLOURS[DATA_COLOURS[row.data]]
            if row.std:
                axes.plot([row.mean - row.std, row.mean + row.std], [middle] * 2, color=colour, alpha=0.35, lw=3)
            axes.plot([row.mean] * 2, [middle - 0.11, middle + 0.11], color=colour, lw=1.5)
            axes.plot(row.values, [middle] * len(row.values), "o", color=colour, ms=3.5, mew=0, alpha=0.85)
        if reference is not None:
            _teacher_line(axes, reference, left=teacher_left)
        axes.set_ylim(0.4 - len(lines), 0.85)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.margins(x=0.05)
        unit = f" [{first.unit}]" if first.unit else ""
        axes.set_xlabel(f"test {metric_words(first.metric)}{unit} ({arrow})")

    spoken = "; ".join(f"{row.student}, {row.words}: mean {row.mean:.4g}" for row in summaries)
    height = _METHOD_PIXELS * len(lines) + 60
    svg = draw(key, f"Test results of every seed. {spoken}.", paint, width=410, height=height)
    legend = [(DATA_COLOURS[kind], plain_data(kind)) for kind in kinds]
    return Plot("Every seed", svg, (*legend, ("grey", "a dot a seed, a tick at the mean, a bar of ± one deviation")))


def _teacher_line(axes: Axes, value: float, *, left: bool) -> None:
    axes.axvline(value, color=COLOURS["series-2"], lw=1, ls=(0, (4, 3)))
    axes.annotate(
        "teacher",
        (value, 0.62),
        xytext=(4 if left else -4, 0),
        textcoords="offset points",
        ha="left" if left else "right",
        va="center",
        color=COLOURS["series-2"],
    )


def ratio_plot(
    ratios: npt.NDArray[np.float64], accepted: npt.NDArray[np.bool_], bounds: npt.NDArray[np.float64]
) -> Plot | None:
    """Histogram of the density ratio of all draws and of the accepted ones, with the bound of the rejection."""
    finite = np.isfinite(ratios)
    if not finite.any():
        return None
    values, chosen = ratios[finite], accepted[finite]

    def paint(axes: Axes) -> None:
        edges, geometric = bin_edges(values)
        _histogram(axes, values, chosen, edges)
        if geometric:
            make_logarithmic(axes, vertical=False)
        _marks(axes, bounds, "bound")
        axes.set_xlabel("density ratio")
        axes.set_ylabel("draws")

    spoken = f"Histogram of the density ratio of {plural(values.size, 'draw')}, of which {chosen.sum()} were accepted."
    legend = (("grey", "all draws"), ("series-1", "accepted"), ("series-2", "bound (range over labels)"))
    if np.unique(bounds).size < 2:
        legend = (*legend[:2], ("series-2", "bound"))
    return Plot("Density ratio", draw("density-ratio", spoken, paint, width=410, height=240), legend)


def error_plot(
    key: str,
    title: str,
    errors: npt.NDArray[np.float64],
    kept: npt.NDArray[np.bool_],
    thresholds: npt.NDArray[np.float64],
    legend: tuple[tuple[str, str], ...],
    *,
    edges: tuple[npt.NDArray[np.float64], bool],
    small: bool = False,
) -> Plot:
    """Histogram of the teacher's error on candidates and on kept ones, with the threshold.

    Args:
        key: unique within the page.
        title: what the histogram is of.
        errors: (N,) errors.
        kept: (N,) whether each candidate was kept.
        thresholds: one threshold, or one a label, of which the range is shown.
        legend: (colour name, text) pairs.
        edges: from ``bin_edges``; shared by plots that are compared.
        small: whether it is one of many beside each other.
    """

    def paint(axes: Axes) -> None:
        _histogram(axes, errors, kept, edges[0])
        if edges[1]:
            make_logarithmic(axes, vertical=False)
        _marks(axes, thresholds, "")
        if small:
            axes.set_yticks([])
            axes.spines["left"].set_visible(False)
        else:
            axes.set_xlabel("teacher error")
            axes.set_ylabel("candidates")

    spoken = f"Histogram of the teacher's error, {title}: {kept.sum()} of {plural(errors.size, 'candidate')} kept."
    sizes = {"width": 200, "height": 110} if small else {"width": 410, "height": 240}
    return Plot(title, draw(key, spoken, paint, **sizes), legend)


def _histogram(
    axes: Axes, values: npt.NDArray[np.float64], chosen: npt.NDArray[np.bool_], edges: npt.NDArray[np.float64]
) -> None:
    # Values beyond the shown range count in the outermost bins, so that the bars add up.
    inside = np.clip(values, edges[0], edges[-1])
    axes.stairs(np.histogram(inside, edges)[0], edges, fill=True, color=COLOURS["grey"], alpha=0.55, lw=0)
    axes.stairs(np.histogram(inside[chosen], edges)[0], edges, fill=True, color=ACCENT, alpha=0.85, lw=0)
    axes.set_ylim(bottom=0)


def _marks(axes: Axes, places: npt.NDArray[np.float64], name: str) -> None:
    finite = places[np.isfinite(places)]
    if not finite.size:
        return
    low, high = float(finite.min()), float(finite.max())
    if low < high:
        axes.axvspan(low, high, color=COLOURS["series-2"], alpha=0.18, lw=0)
    for place in {low, high}:
        axes.axvline(place, color=COLOURS["series-2"], lw=1, ls=(0, (4, 3)))
    if name:
        axes.annotate(
            name,
            (low, 1),
            xycoords=("data", "axes fraction"),
            xytext=(-4, -2),
            textcoords="offset points",
            ha="right",
            va="top",
            color=COLOURS["series-2"],
        )
