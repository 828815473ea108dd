"""Training curves from the stages' logs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from data.workspace import read_log
from flows.reporting.drawing import COLOURS, Plot, draw, log_scaled, make_logarithmic, series_colour
from flows.reporting.inputs import ReportInputs, StudentRun
from flows.reporting.wording import plain_words

Curve = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]
_HIDDEN = {"step", "learning_rate", "seconds"}
_MOST_POINTS = 400


def shared_curves(inputs: ReportInputs) -> list[Plot]:
    """Curves of the teacher, the generator (and its label embedding) and the density ratio."""
    plots = []
    for stage, pattern, noun in (
        ("teacher", "training.jsonl", "Teacher"),
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
            [
                (column.replace("_", " "), series_colour(index), [curves[column]])
                for index, column in enumerate(columns)
            ],
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


def student_curves(students: Sequence[StudentRun]) -> list[Plot]:
    """Loss and validation curves, one panel a student network, one colour a way of training, one line a seed."""
    plots = []
    for place, student in enumerate(dict.fromkeys(run.student for run in students)):
        losses: dict[str, list[Curve]] = {}
        validations: dict[str, list[Curve]] = {}
        for run in (run for run in students if run.student == student):
            words = plain_words(run.method, run.data)
            curves = _curves(read_log(run.folder / "training.jsonl"))
            if "validation" in curves:
                validations.setdefault(words, []).append(curves["validation"])
            loss = _total(curves)
            if loss is not None:
                losses.setdefault(words, []).append(loss)
        for name, lines in (("validation", validations), ("loss", losses)):
            if lines:
                series = [(words, series_colour(index), seeds) for index, (words, seeds) in enumerate(lines.items())]
                plots.append(_plot(f"student-{place}-{name}", f"{student}: {name}", series))
    return plots


def _total(curves: Mapping[str, Curve]) -> Curve | None:
    if "loss" in curves:
        return curves["loss"]
    parts = [curve for name, curve in curves.items() if not name.startswith("validation")]
    parts = [curve for curve in parts if curve[0].shape == parts[0][0].shape]
    if not parts:
        return None
    return parts[0][0], np.sum([values for _, values in parts], axis=0)


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


def _plot(key: str, title: str, series: Sequence[tuple[str, str, list[Curve]]]) -> Plot:
    def paint(axes: Axes) -> None:
        for _, colour, lines in series:
            for steps, values in lines:
                marker = "o" if steps.size == 1 else ""
                width = 1.2 if len(lines) == 1 else 0.9
                axes.plot(steps, values, marker=marker, color=COLOURS[colour], lw=width, alpha=0.9, ms=3)
        everything = np.concatenate([values for _, _, lines in series for _, values in lines])
        if log_scaled(everything):
            make_logarithmic(axes, vertical=True)
        axes.set_xlabel("step")

    spoken = f"{title} over training steps: {', '.join(name for name, _, _ in series)}."
    legend = tuple((colour, name) for name, colour, _ in series) if len(series) > 1 else ()
    return Plot(title, draw(key, spoken, paint, width=340, height=210), legend)
