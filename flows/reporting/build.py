"""Writes a report: report.html for people, report.json for programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from data.files import replace_durably, write_json
from flows.reporting.inputs import ReportInputs
from flows.reporting.page import render_page
from flows.reporting.provenance import artifacts_of
from flows.reporting.results import collect_results, summarise, teacher_summary
from flows.reporting.verdict import effects, sentence


def build_report(inputs: ReportInputs, folder: Path) -> dict[str, Any]:
    """Writes ``report.html`` and ``report.json`` into a folder; the same inputs give the same bytes.

    Args:
        inputs: the run's configuration, artifacts and manifests.
        folder: where the two files go; made if it is absent.

    Returns:
        The object of report.json: run, metric, unit, teacher, results, summary, effects, sentence, stages.

    Raises:
        DataError: if an image set of the run is missing a column or damaged.
    """
    results = collect_results(inputs.students)
    summaries = summarise(results)
    teacher = teacher_summary(inputs.manifests.get("teacher"))
    words = sentence(summaries, teacher)
    first: dict[str, Any] = results[0].to_dict() if results else dict(teacher or {})
    report = {
        "run": inputs.name,
        "metric": first.get("metric"),
        "unit": first.get("unit"),
        "sentence": words,
        "teacher": teacher,
        "results": [result.to_dict() for result in results],
        "summary": [row.to_dict() for row in summaries],
        "effects": [effect.to_dict() for effect in effects(summaries)],
        "stages": [artifact.to_dict() for artifact in artifacts_of(inputs)],
    }
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / "report.html.tmp"
    temporary.write_text(render_page(inputs, summaries, teacher, words), encoding="utf-8")
    replace_durably(temporary, folder / "report.html")
    write_json(folder / "report.json", report)
    return report
