"""What a person sees while stages run, and when they are done."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from data.store import Store
from data.workspace import ProgressReporter
from flows.plan import Node
from flows.reporting.wording import higher_is_better, plain_words, steps_words, unit_words

if TYPE_CHECKING:
    from flows.execute import Outcome

_COLOURS = {"ran": "green", "resumed": "cyan", "cached": "bright_black"}


class Display:
    """Progress on standard error: a line for every finished stage, a bar for the one that works.

    Args:
        stages: number of stages of the run.
        quiet: whether only warnings are shown.
    """

    def __init__(self, stages: int, *, quiet: bool) -> None:
        self.console = Console(file=sys.stderr, quiet=quiet, highlight=False)
        self._stages = stages
        self._finished = 0
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("[bright_black]{task.fields[numbers]}"),
            console=self.console,
            transient=True,
            disable=quiet or not self.console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Display:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def progress(self, node: Node) -> ProgressReporter:
        """A reporter that draws a bar for each task of a stage."""

        def report(task: str, done: int, total: int, numbers: Mapping[str, float]) -> None:
            name = f"{node.key}: {task}"
            if name not in self._tasks:
                self._tasks[name] = self._bar.add_task(name, total=total, numbers="")
            shown = " ".join(f"{key} {value:.3g}" for key, value in numbers.items())
            self._bar.update(self._tasks[name], completed=done, total=total, numbers=shown)
            if done >= total:
                self._bar.remove_task(self._tasks.pop(name))

        return report

    def warn(self, sentence: str) -> None:
        """Prints what a stage finds odd; shown in quiet too, as it goes to standard error."""
        warnings = Console(file=sys.stderr, highlight=False) if self.console.quiet else self.console
        warnings.print(f"[yellow]warning[/] {escape(sentence)}", soft_wrap=True)

    def done(self, outcome: Outcome) -> None:
        """Prints the line of a finished stage."""
        self._finished += 1
        colour = _COLOURS[outcome.state]
        self.console.print(
            f"[bright_black]{self._finished:3}/{self._stages}[/] {outcome.node.key:44} "
            f"[{colour}]{outcome.state:8}[/] {outcome.seconds:7.1f} s"
        )


def show_summary(summary: Mapping[str, Any], report_fingerprint: str, store: Store) -> None:
    """Prints the result table of a run and where its report lies."""
    import json

    console = Console(highlight=False)
    artifact = store.find("report", report_fingerprint)
    if artifact is not None:
        show_results(console, json.loads(artifact.path("report.json").read_text(encoding="utf-8")))
    _show_end(console, summary)


def show_ablation_summary(summary: Mapping[str, Any], ablation: Mapping[str, Any]) -> None:
    """Prints the table of an ablation and where its page lies."""
    console = Console(highlight=False)
    show_ablation(console, ablation)
    _show_end(console, summary)


def _show_end(console: Console, summary: Mapping[str, Any]) -> None:
    states = [stage["state"] for stage in summary["stages"]]
    counts = ", ".join(f"{states.count(state)} {state}" for state in ("ran", "resumed", "cached") if state in states)
    console.print(f"Run {summary['run']}: {counts} in {summary['seconds']:.1f} s.", soft_wrap=True)
    if summary["report"]:
        console.print(f"Report: {summary['report']}", soft_wrap=True)


def show_ablation(console: Console, ablation: Mapping[str, Any]) -> None:
    """Prints the tables of an ablation, one a student and figure, and what they say."""
    tables: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in ablation["arms"]:
        tables.setdefault((row["student"], row["metric"]), []).append(row)
    for (student, metric), rows in tables.items():
        unit = rows[0]["unit"]
        table = Table(title=escape(f"{ablation['name']}: {student}"))
        table.add_column("trained on")
        for name in (f"{metric} [{unit}]" if unit else metric, "to alone", "to row above", "images"):
            table.add_column(escape(name), justify="right", no_wrap=True)
        for row in rows:
            deviation = "" if row["std"] is None else f" ± {row['std']:.2f}"
            changes = (_change(row, suffix) for suffix in ("", "_to_previous"))
            table.add_row(row["words"], f"{row['mean']:.2f}{deviation}", *changes, str(row["images"] or ""))
        console.print(table)
    console.print("* beyond the noise between seeds (95 %)")
    console.print(ablation["sentence"])
    _show_notes(console, ablation.get("stopped", ()))
    for arm, why in ablation["left_out"].items():
        console.print(f"Without '{arm}': {why}.")


def _change(row: Mapping[str, Any], suffix: str) -> str:
    difference, half_width = row[f"difference{suffix}"], row[f"half_width{suffix}"]
    if difference is None:
        return ""
    mark = "*" if row[f"verdict{suffix}"] in ("better", "worse") else " "
    noise = "" if half_width is None else f" ± {half_width:.2f}"
    return f"{difference:+.2f}{noise}{mark}"


def show_results(console: Console, report: Mapping[str, Any]) -> None:
    """Prints the tables of a report, one for every figure of whole labels, and its verdict."""
    rows: dict[str, list[Mapping[str, Any]]] = {}
    for row in report["summary"]:
        rows.setdefault(row["metric"], []).append(row)
    for place, (metric, own) in enumerate(rows.items() or [(report["metric"], [])]):
        console.print(_table(report["run"] if place == 0 else None, metric, own, report["teacher"]))
    console.print(report["sentence"])
    _show_notes(console, report.get("stopped", ()))
    if report.get("assessment"):
        _show_notes(console, _assessed(report["assessment"], report["summary"]))


def _show_notes(console: Console, notes: Sequence[str]) -> None:
    for note in notes:
        console.print(note, markup=False)


def _words(row: Mapping[str, Any]) -> str:
    """What a row's students were trained with."""
    return str(row.get("words") or plain_words(row["method"], row["data"]))


def _assessed(assessment: Mapping[str, Any], summary: Sequence[Mapping[str, Any]]) -> list[str]:
    """One sentence on size, agreement and calibration of the best way of training each student."""
    best = {(row["student"], row["method"], row["data"]): _words(row) for row in summary if row["best"]}
    units = {row["metric"]: unit_words(row["unit"]) for row in summary}
    lines = []
    for row in assessment["summary"]:
        way = (row["student"], row["method"], row["data"])
        if way in best:
            words = [f"{row['size']['parameters']:,} parameters"]
            if "top1" in (row["agreement"] or {}):
                words.append(f"agrees with the teacher on {row['agreement']['top1']['mean']:.1f} % of the test images")
            if "ece" in row["calibration"]:
                words.append(f"calibration error {row['calibration']['ece']['mean']:.1f} %")
            for metric, found in (row["robustness"] or {}).items():
                words.append(f"{metric} {found['mean']['mean']:.2f}{units.get(metric, '')} on corrupted images")
            lines.append(f"{row['student']}, {best[way]}: {', '.join(words)}.")
    return lines


def _table(
    title: str | None, metric: str, rows: Sequence[Mapping[str, Any]], teacher: Mapping[str, Any] | None
) -> Table:
    """The teacher, then every student, method and data, with mean and deviation over seeds."""
    unit = rows[0]["unit"] if rows else ""
    measured = escape(f"{metric} [{unit}]") if unit else metric
    less = None if higher_is_better(metric) else f"{metric}: less is better"
    table = Table(title=title, caption=less)
    for name in ("student", "trained with"):
        table.add_column(name)
    for name in (measured, "seeds", "steps", "change"):
        table.add_column(name, justify="right", no_wrap=True)
    known = teacher or {}
    values = {figure["metric"]: figure["value"] for figure in known.get("figures", ()) if not figure["of"]}
    value = values.get(metric, known.get("value"))
    # A teacher that is paid by the image is not measured on the test images.
    table.add_row("teacher", "", "not measured" if value is None else f"{value:.2f}", "", "", "")
    for row in rows:
        deviation = "" if row["std"] is None else f" ± {row['std']:.2f}"
        difference = "" if row["difference"] is None else f"{row['difference']:+.2f}"
        table.add_row(
            row["student"],
            _words(row),
            f"{row['mean']:.2f}{deviation}",
            str(row["seeds"]),
            steps_words(row.get("steps_taken", ()), row["steps"]).replace("\N{NARROW NO-BREAK SPACE}", ""),
            difference,
        )
    return table
