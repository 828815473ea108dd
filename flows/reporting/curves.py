"""Training curves from the stages' logs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from data.workspace import read_log
from flows.reporting.drawing import (
    COLOURS,
    DATA_COLOURS,
    SERIES,
    Plot,
    draw,
    log_scaled,
    make_logarithmic,
    series_colour,
)
from flows.reporting.inputs import ReportInputs, StudentRun
from flows.reporting.wording import ALONE, plain_data, variant_words

Curve = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]
_HIDDEN = {"step", "learning_rate", "seconds"}
_MOST_POINTS = 400


def shared_curves(inputs: ReportInputs) -> list[Plot]:
    """Curves of the teacher, the features, the generator (and its label embedding) and the density ratio."""
    plots = []
    for stage, pattern, noun in (
        ("teacher", "training.jsonl", "Teacher"),
        ("features", "*.jsonl", "Features"),
        ("generator", "embedding_*.jsonl", "Label embedding"),
        ("generator", "generator.jsonl", "Generator"),
        ("ratio", "*.jsonl", "Density ratio"),
    ):
        for path in inputs.files(stage, pattern):
            part = path.stem.removeprefix("embedding_") if stage == "generator" else path.stem
            name = noun if part in ("training", "generator", stage) else f"{noun} ({part.replace('_', ' ')})"
            plots += _log_plots(f"{stage}-{path.stem}", name, path)
    return plots


def _log_plots(key: str, name: str, path: Path) -> list[Plot]:
    curves = _curves(read_log(path))
    groups: dict[str, list[str]] = {}
    parts = [column for column in curves if _group(column, True) == "losses" and column != "loss"]
    if "loss" in curves and len(parts) == 1:
        # A total of one part is that part.
        del curves[parts[0]]
    for column in curves:
        groups.setdefault(_group(column, "loss" in curves), []).append(column)
    return [
        _plot(
            f"{key}-{place}",
            f"{name}: {group}",
            [(_words(column), series_colour(index), [curves[column]]) for index, column in enumerate(columns)],
        )
        for place, (group, columns) in enumerate(groups.items())
    ]


def _group(column: str, total: bool) -> str:
    """Title of the panel that a column belongs to; beside a total, what is neither real nor fake is a part of it."""
    if column.endswith(("_real", "_fake")) or column.startswith(("real_", "fake_")):
        return "real and fake"
    if column.startswith("validation"):
        return "validation"
    return "losses" if total or "loss" in column else column.replace("_", " ")


def _words(column: str) -> str:
    names = {"d": "discriminator", "g": "generator"}
    return " ".join(names.get(part, part) for part in column.split("_"))


def student_curves(students: Sequence[StudentRun]) -> list[Plot]:
    """Loss and validation curves, one colour a way of training, one line a seed.

    There is a panel a student network. Where it was trained in more ways than there are colours, there is a panel of
    the validation a method instead, on one scale, with the student alone beside it in grey; losses of different
    methods are not compared, so those are left out then.
    """
    plots = []
    for place, student in enumerate(dict.fromkeys(run.student for run in students)):
        runs = [run for run in students if run.student == student]
        curves = [(run, _curves(read_log(run.folder / "training.jsonl"))) for run in runs]
        if len({(run.shown, run.data) for run in runs}) > len(SERIES):
            plots += _method_panels(f"student-{place}", student, curves)
            continue
        for name in ("validation", "loss"):
            lines: dict[str, list[Curve]] = {}
            for run, columns in curves:
                if name in columns:
                    lines.setdefault(run.words, []).append(columns[name])
            if lines:
                series = [(words, series_colour(index), seeds) for index, (words, seeds) in enumerate(lines.items())]
                plots.append(_plot(f"student-{place}-{name}", f"{student}: {name}", series))
    return plots


def _method_panels(key: str, student: str, curves: Sequence[tuple[StudentRun, Mapping[str, Curve]]]) -> list[Plot]:
    """Validation curves, a panel a method, with a line a kind of data and the student alone in grey."""
    ways: dict[tuple[str, str], list[Curve]] = {}
    for run, columns in curves:
        if "validation" in columns:
            ways.setdefault((run.shown, run.data), []).append(columns["validation"])
    kinds = list(dict.fromkeys(data for _, data in ways))
    called = {run.shown: variant_words(run.method, run.label) for run, _ in curves}
    labels = {run.shown for run, _ in curves if run.method in ALONE}
    alone = next((seeds for (method, data), seeds in ways.items() if method in labels and data == "real"), None)
    limits = _settled([("", "", seeds) for seeds in ways.values()]) if ways else None
    plots = []
    for place, method in enumerate(dict.fromkeys(method for method, _ in ways)):
        own = [(data, ways[method, data]) for data in kinds if (method, data) in ways]
        title = f"{student}: {called[method]}"
        series = [] if alone is None or method in labels else [("student alone", "grey", alone)]
        series += [(plain_data(data), DATA_COLOURS[data], seeds) for data, seeds in own]
        plots.append(_plot(f"{key}-method-{place}", title, series, limits))
    return plots


def _curves(rows: Sequence[Mapping[str, Any]]) -> dict[str, Curve]:
    columns: dict[str, tuple[list[float], list[float]]] = {}
    for row in rows:
        for name, value in row.items():
            if name not in _HIDDEN and isinstance(value, int | float) and np.isfinite(value):
                steps, values = columns.setdefault(name, ([], []))
                steps.append(float(row.get("step", len(steps))))
                values.append(float(value))
    return {name: _thinned(np.array(steps), np.array(values)) for name, (steps, values) in columns.items()}


def _thinned(steps: npt.NDArray[np.float64], values: npt.NDArray[np.float64]) -> Curve:
    """At most ``_MOST_POINTS`` points, each the mean of neighbours."""
    if steps.size <= _MOST_POINTS:
        return steps, values
    starts = np.linspace(0, steps.size, _MOST_POINTS, endpoint=False).astype(int)
    counts = np.diff(np.append(starts, steps.size))
    return np.add.reduceat(steps, starts) / counts, np.add.reduceat(values, starts) / counts


def _plot(
    key: str,
    title: str,
    series: Sequence[tuple[str, str, list[Curve]]],
    limits: tuple[float, float] | None = None,
) -> Plot:
    def paint(axes: Axes) -> None:
        for _, colour, lines in series:
            several = len(lines) > 1
            for steps, values in lines:
                drawn = axes.plot(steps, values, marker="o" if steps.size == 1 else "", color=COLOURS[colour], ms=3)[0]
                drawn.set(linewidth=0.7 if several else 1.2, alpha=0.3 if several else 0.95)
            if several and len({len(steps) for steps, _ in lines}) == 1:
                mean = np.mean([values for _, values in lines], axis=0)
                axes.plot(lines[0][0], mean, color=COLOURS[colour], lw=1.5)
        everything = np.concatenate([values for _, _, lines in series for _, values in lines])
        if limits is not None:
            axes.set_ylim(*limits)
        elif log_scaled(everything):
            make_logarithmic(axes, vertical=True)
        elif len(series) > 1 and title.endswith("validation"):
            axes.set_ylim(*_settled(series))
        axes.set_xlabel("step")

    spoken = f"{title} over training steps: {', '.join(name for name, _, _ in series)}."
    legend = tuple((colour, name) for name, colour, _ in series) if len(series) > 1 else ()
    return Plot(title, draw(key, spoken, paint, width=340, height=210), legend)


def _settled(series: Sequence[tuple[str, str, list[Curve]]]) -> tuple[float, float]:
    """Limits that show the last three quarters of the steps, where ways of training differ by little."""
    curves = [curve for _, _, lines in series for curve in lines]
    late = np.concatenate([values[steps >= steps.max() / 4] for steps, values in curves])
    margin = 0.06 * float(np.ptp(late)) or 0.5
    return float(late.min()) - margin, float(late.max()) + margin
