"""The report's section on teacher and students: agreement, calibration, robustness, size and latency."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data.labels import LabelSpace
from flows.reporting.assessment_plots import Way, reliability_plots, severity_plots
from flows.reporting.drawing import Plot
from flows.reporting.inputs import ReportInputs
from flows.reporting.results import Summary
from flows.reporting.wording import count, mean_and_deviation, metric_words, number, size, unbroken

Row = tuple[str, str, tuple[str, ...]]


@dataclass(frozen=True)
class AssessmentSection:
    """All that the section shows; a row is its words, its student (empty for the teacher), and a cell a column.

    Args:
        skipped: what was not measured, and why.
        size_columns: of the table of networks.
        sizes: parameters, bytes, multiply-adds and latency, a row the teacher and every student network.
        size_note: how latency was measured; empty if it was not.
        columns: of the table of ways of training, each with what it means.
        rows: the teacher, where it was measured, then every student, method and data.
        note: what the columns are.
        reliability: plots of confidence and accuracy.
        severities: plots of results by severity, a corruption each.
        severity_legend: of them all.
        figure: what they show.
        shown: which ways of training the plots show.
    """

    skipped: tuple[str, ...]
    size_columns: tuple[str, ...]
    sizes: tuple[Row, ...]
    size_note: str
    columns: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]
    note: str
    reliability: tuple[Plot, ...]
    severities: tuple[Plot, ...]
    severity_legend: tuple[tuple[str, str], ...]
    figure: str
    shown: str


def read_assessment(inputs: ReportInputs) -> dict[str, Any] | None:
    """What report.json says of the assessment; None if the stage was not part of the run."""
    path = inputs.file("assess", "assess.json")
    if path is None:
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    times = inputs.file("assess", "latency.json")
    latency = None if times is None else json.loads(times.read_text(encoding="utf-8"))
    names = ("test_images", "corrupted_images", "bins", "corruptions", "severities", "skipped", "teacher", "summary")
    return {**{name: found[name] for name in names}, "label_space": found["label_space"], "latency": latency}


def assessment_section(inputs: ReportInputs, summaries: Sequence[Summary]) -> AssessmentSection | None:
    """The section of a run; None if the stage was not part of it.

    Args:
        inputs: what the report is made from.
        summaries: of the first figure; the plots show the student alone and the best of each.
    """
    found = read_assessment(inputs)
    if found is None:
        return None
    space = LabelSpace.from_dict(found["label_space"])
    figures = _columns(found, space)
    called = {(run.student, run.shown, run.data): run.words for run in inputs.students}
    chosen = _shown(found, summaries, called)
    sizes, size_columns = _sizes(found)
    severities, legend = severity_plots(chosen, found["corruptions"])
    return AssessmentSection(
        skipped=tuple(found["skipped"]),
        size_columns=size_columns,
        sizes=tuple(sizes),
        size_note=unbroken(_size_note(found["latency"])),
        columns=tuple((title, meaning) for title, meaning, _ in figures),
        rows=tuple(_rows(found, figures, called)),
        note=unbroken(_note(found, space)),
        reliability=tuple(reliability_plots(chosen)) if space.has_classes else (),
        severities=tuple(severities),
        severity_legend=legend,
        figure=_first(metric_words(summaries[0].metric)) if summaries else "",
        shown="The plots show the teacher, each student alone and the best way of training it.",
    )


Column = tuple[str, str, tuple[str | int, ...]]


def _columns(found: Mapping[str, Any], space: LabelSpace) -> list[Column]:
    """Title of each column, what it means, and where its number lies in an entry."""
    columns: list[Column] = []
    if found["teacher"] is not None:
        if space.has_classes:
            columns.append(("Agreement [%]", "images whose first guess is the teacher's", ("agreement", "top1")))
            columns.append(
                ("KL [nats]", "mean divergence of the student from the teacher", ("agreement", "divergence"))
            )
        for place, axis in enumerate(space.dimensions):
            title = _titled(axis.name, "from teacher", axis.unit, several=len(space.dimensions) > 1)
            columns.append((title, "root mean square of the difference", ("agreement", "values", place, "rmse")))
    if space.has_classes:
        columns.append(("ECE [%]", "expected calibration error; 0 is best", ("calibration", "ece")))
        columns.append(("NLL [nats]", "negative log-likelihood; less is better", ("calibration", "nll")))
    for place, axis in enumerate(space.dimensions):
        title = _titled(axis.name, "bias", axis.unit, several=len(space.dimensions) > 1)
        columns.append((title, "mean signed error", ("calibration", "residuals", place, "bias")))
    if found["corruptions"]:
        for metric in found["summary"][0]["robustness"] if found["summary"] else ():
            unit = (
                "%"
                if metric == "accuracy"
                else space.dimensions[0].unit
                if len(space.dimensions) == 1
                else "% of range"
            )
            words = {"accuracy": ("Accuracy", "drop"), "mae": ("Error", "rise")}[metric]
            unit = f" [{unit}]" if unit else ""
            columns.append(
                (f"{words[0]}, corrupted{unit}", "mean over the corruptions", ("robustness", metric, "mean"))
            )
            columns.append((f"Its {words[1]}", "against images as they are", ("robustness", metric, "drop")))
    return columns


def _titled(name: str, what: str, unit: str, *, several: bool) -> str:
    words = f"{name} {what}" if several else what
    return f"{_first(words)}{f' [{unit}]' if unit else ''}"


def _first(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}"


def _at(entry: Mapping[str, Any], path: tuple[str | int, ...]) -> Any:
    value: Any = entry
    for key in path:
        if value is None:
            return None
        value = value[key]
    return value


#: What the students of a way of training were trained with, by student, method or its label, and data.
Called = Mapping[tuple[str, str, str], str]


def _way(entry: Mapping[str, Any]) -> tuple[str, str, str]:
    return entry["student"], entry["method"], entry["data"]


def _rows(found: Mapping[str, Any], columns: Sequence[Column], called: Called) -> list[Row]:
    """The teacher and every way of training; the numbers of a column have the same decimals."""
    entries = [*([] if found["teacher"] is None else [("teacher", "", found["teacher"])])]
    entries += [(called[_way(row)], row["student"], row) for row in found["summary"]]
    cells = []
    for _, _, path in columns:
        values = [_at(entry, path) for _, _, entry in entries]
        places = _places(max((abs(_mean(value)) for value in values if value is not None), default=1.0))
        cells.append([_cell(value, places) for value in values])
    return [(words, student, own) for (words, student, _), own in zip(entries, zip(*cells, strict=True), strict=True)]


def _mean(value: Any) -> float:
    return float(value["mean"] if isinstance(value, Mapping) else value)


def _cell(value: Any, places: int) -> str:
    if isinstance(value, Mapping):
        return mean_and_deviation(value["mean"], value["std"], places)
    return number(value, places)


def _places(largest: float) -> int:
    return 1 if largest >= 10 else 2 if largest >= 0.1 else 3


def _sizes(found: Mapping[str, Any]) -> tuple[list[Row], tuple[str, ...]]:
    """The table of networks: students of the same network have the same numbers, but rows of their own."""
    batches = (found["latency"] or {}).get("batches", {})
    columns = ["Parameters", "Weights", "Multiply-adds"]
    own_teacher = found["teacher"] is not None and found["teacher"]["size"] is not None
    for batch in batches:
        columns += [f"Time of {_images(batch)}"] + (
            [f"As fast as the teacher, at {_images(batch)}"] if own_teacher else []
        )
    rows: list[Row] = []
    known = {"": found["teacher"]["size"]} if own_teacher else {}
    known |= {entry["student"]: entry["size"] for entry in found["summary"]}
    for name, own in known.items():
        cells = [count(own["parameters"]), size(own["bytes"]), count(own["multiply_adds"])]
        for times in batches.values():
            timed = times["students"].get(name) if name else times["teacher"]
            cells += _latency_cells(timed, compared=own_teacher, itself=not name)
        rows.append((name or "teacher", name, tuple(cells)))
    return rows, tuple(columns)


def _latency_cells(timed: Mapping[str, Any] | None, *, compared: bool, itself: bool) -> list[str]:
    """Time, and how many times as fast as the teacher, whose own row says nothing there."""
    if timed is None:
        return ["—"] * (1 + compared)
    cells = [_milliseconds(timed["seconds"]["median"])]
    if itself:
        return [*cells, ""]
    if compared:
        speed = timed["speedup"]
        places = 1 if speed["median"] >= 10 else 2
        middle, low, high = (number(speed[name], places) for name in ("median", "low", "high"))
        cells.append(f"{middle} × ({low}–{high})")
    return cells


def _milliseconds(seconds: float) -> str:
    value = 1000 * seconds
    return f"{number(value, 3 if value < 1 else 2 if value < 10 else 1)} ms"


def _images(batch: str) -> str:
    return "1 image" if batch == "1" else f"{count(int(batch))} images"


def _size_note(latency: Mapping[str, Any] | None) -> str:
    if not latency or not latency["batches"]:
        return ""
    where = latency["device"]
    number_format = {"bfloat16": "bf16", "float16": "fp16"}.get(latency["precision"], latency["precision"])
    if where == "cpu":
        where = f"cpu with {latency['threads']} thread{'' if latency['threads'] == 1 else 's'}"
    return (
        f"Median of {count(latency['repeats'])} forward passes on {where} in {number_format}, all networks by "
        "turns in one process; times as fast as the teacher in the same turn, with quartiles. Multiply-adds are those "
        "of one image."
    )


def _note(found: Mapping[str, Any], space: LabelSpace) -> str:
    sentences = [f"Measured on the {count(found['test_images'])} test images, mean ± sample deviation over seeds."]
    if space.has_classes:
        sentences.append(
            f"ECE: distance between confidence and accuracy in {found['bins']} bins of equal width; agreement and "
            "divergence compare with the teacher and not with the labels."
        )
    if space.dimensions:
        sentences.append("Bias: prediction less label.")
    if found["corruptions"]:
        names = ", ".join(name.replace("_", " ") for name in found["corruptions"])
        severities = ", ".join(map(str, found["severities"]))
        sentences.append(
            f"Corrupted: {names}, at severities {severities} of 5, in the manner of CIFAR-10-C; the drop or rise is "
            "how much worse the result gets."
        )
        if found["corrupted_images"] < found["test_images"]:
            sentences.append(
                f"Corruption was measured on {count(found['corrupted_images'])} of the test images, drawn by the seed, "
                "and its drop or rise is against the same ones: an estimate."
            )
    return " ".join(sentences)


def _shown(found: Mapping[str, Any], summaries: Sequence[Summary], called: Called) -> list[Way]:
    """The ways that the plots draw: the teacher, and of every student the one alone and the best."""
    several = len({row.student for row in summaries}) > 1
    wanted = {(row.student, row.shown, row.data): row.best for row in summaries if row.best or row.alone}
    ways = [] if found["teacher"] is None else [Way("teacher", "", found["teacher"], best=False)]
    for entry in found["summary"]:
        key = _way(entry)
        if key in wanted:
            words = called[key]
            name = f"{entry['student']}, {words}" if several else words
            ways.append(Way(name, entry["student"], entry, best=wanted[key]))
    return ways
