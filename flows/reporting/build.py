"""Writes a report: report.html for people, report.json for programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from data.files import replace_durably, write_json
from flows.reporting.assessment import read_assessment
from flows.reporting.calls import stage_calls
from flows.reporting.groups import SQUARED, axis_groups, group_results, headline_groups, squared_groups
from flows.reporting.inputs import ReportInputs
from flows.reporting.page import render_page
from flows.reporting.provenance import artifacts_of
from flows.reporting.results import collect_results, summarise, teacher_summary
from flows.reporting.stopping import stopped_note
from flows.reporting.verdict import effects, sentences


def build_report(inputs: ReportInputs, folder: Path) -> dict[str, Any]:
    """Writes ``report.html`` and ``report.json`` into a folder; the same inputs give the same bytes.

    Args:
        inputs: the run's configuration, artifacts and manifests.
        folder: where the two files go; made if it is absent.

    Returns:
        The object of report.json: run, metric and unit (of the first figure), sentence, teacher, results, summary
        and effects (of every figure of whole labels), axes (summaries of the single axes of vectors), squared (of the
        root mean squared errors), stopped (who stopped early), calls (teacher answers by stage), assessment, stages.

    Raises:
        DataError: if an image set of the run is missing a column or damaged.
    """
    results = collect_results(inputs.students)
    manifest = inputs.manifests.get("teacher")
    groups = group_results(summarise(results), manifest)
    headlines, axes, squared = headline_groups(groups), axis_groups(groups), squared_groups(groups)
    words = sentences(headlines)
    first = headlines[0]
    report = {
        "run": inputs.name,
        "metric": first.metric or None,
        "unit": first.unit if first.metric else None,
        "sentence": " ".join(words),
        "teacher": teacher_summary(manifest),
        "results": [result.to_dict() for result in results if not result.of and result.metric != SQUARED],
        "summary": [row.to_dict() for group in headlines for row in group.summaries],
        "axes": [row.to_dict() | {"of": group.of} for group in axes for row in group.summaries],
        "squared": [row.to_dict() | {"of": group.of} for group in squared for row in group.summaries],
        "effects": [
            effect.to_dict() | {"metric": group.metric} for group in headlines for effect in effects(group.summaries)
        ],
        "stopped": stopped_note(inputs.students),
        "calls": stage_calls(inputs).to_dict(),
        "assessment": read_assessment(inputs),
        "stages": [artifact.to_dict() for artifact in artifacts_of(inputs)],
    }
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / "report.html.tmp"
    temporary.write_text(render_page(inputs, headlines, axes, squared, words), encoding="utf-8")
    replace_durably(temporary, folder / "report.html")
    write_json(folder / "report.json", report)
    return report
