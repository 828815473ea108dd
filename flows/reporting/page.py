"""The page: everything computed elsewhere, put into the template."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from data.labels import LabelSpace
from flows.reporting import wording
from flows.reporting.assessment import assessment_section
from flows.reporting.audit import audit_section
from flows.reporting.calls import stage_calls
from flows.reporting.curves import shared_curves, student_curves
from flows.reporting.effects_matrix import effects_matrix
from flows.reporting.fidelity import fidelity_section
from flows.reporting.filtering import coverage_note
from flows.reporting.grids import make_grids
from flows.reporting.groups import Group
from flows.reporting.inputs import ReportInputs
from flows.reporting.plots import results_plot
from flows.reporting.provenance import artifacts_of, package_groups, source_words
from flows.reporting.rendering import render
from flows.reporting.results import Summary
from flows.reporting.samples import Samples, density_plot, funnel, label_tables, picture_pools, teacher_plots
from flows.reporting.sampling import sampling_notes
from flows.reporting.stopping import stopped_note
from flows.reporting.table import AxesTable, axes_table, results_table
from flows.reporting.tuning import tuning_section
from flows.reporting.verdict import VERDICTS, effects
from students.evaluation import OF_RANGE

#: Comparisons beyond which they stand in a table of a row a method.
_MANY = 12


def render_page(
    inputs: ReportInputs,
    headlines: Sequence[Group],
    axes: Sequence[Group],
    squared: Sequence[Group],
    sentences: Sequence[str],
) -> str:
    """The whole page as HTML; every value passes through Jinja's escaping.

    Args:
        inputs: what the report is made from.
        headlines: results of whole labels, at least one group.
        axes: results of the single axes of vectors.
        squared: root mean squared errors of values.
        sentences: what helped, by each figure.
    """
    samples = Samples(inputs)
    space = samples.space
    tables = label_tables(samples)
    artifacts = artifacts_of(inputs)
    total_seconds = sum(artifact.seconds or 0.0 for artifact in artifacts)
    return render(
        "template.html.j2",
        name=inputs.name,
        sentences=[wording.unbroken(sentence) for sentence in sentences],
        facts=_facts(samples, headlines[0], artifacts),
        results=[_results(group, space, several=len(headlines) > 1) for group in headlines],
        error_tables=_error_tables(axes, squared, space),
        calls=stage_calls(inputs),
        assessment=assessment_section(inputs, headlines[0].summaries),
        several=len({row.student for row in headlines[0].summaries}) > 1,
        notes=_notes(headlines, samples, stopped_note(inputs.students)),
        grids=make_grids(picture_pools(samples), space) if space is not None else [],
        space=space,
        tuning=tuning_section(inputs, total_seconds),
        density=density_plot(samples),
        errors=teacher_plots(samples),
        label_tables=tables,
        sampling=[wording.unbroken(note) for note in sampling_notes(samples.sampling if samples.subsampled else [])],
        funnel=wording.unbroken(funnel(tables[0][1] if tables else [], inputs.metric("synthetic", "kept"))),
        ratio_fault=samples.ratio_fault,
        coverage=wording.unbroken(coverage_note(samples.selection)),
        fidelity=fidelity_section(inputs),
        audit=audit_section(inputs),
        shared_curves=shared_curves(inputs),
        student_curves=student_curves(inputs.students),
        config=yaml.safe_dump(dict(inputs.config), sort_keys=False, allow_unicode=True),
        artifacts=artifacts,
        packages=package_groups(artifacts),
        total_seconds=total_seconds,
        licence=None if samples.real is None else samples.real.license,
        source=source_words(inputs.config, samples.real),
    )


def _results(group: Group, space: LabelSpace | None, *, several: bool) -> dict[str, Any]:
    """One figure's table, effects and plot; with a title where there are several figures."""
    key = f"results-{group.metric}" if several else "results"
    many = len(effects(group.summaries)) > _MANY
    return {
        "key": key,
        "title": _title(group, space) if several else "",
        "rows": results_table(group.summaries, group.teacher),
        "metric": _metric(group),
        "effects": [] if many else _effects(group.summaries),
        "matrix": effects_matrix(group.summaries) if many else None,
        "plot": results_plot(group.summaries, group.teacher, key),
    }


def _error_tables(
    axes: Sequence[Group], squared: Sequence[Group], space: LabelSpace | None
) -> list[tuple[str, str, AxesTable]]:
    """Key, title and table of the errors that stand beside the results; those that the run has."""
    whole = "" if space is None or not space.dimensions else space.dimensions[0].name
    tables = (
        ("axes", "Mean absolute error of each axis", axes_table(axes)),
        ("squared", "Root mean squared error", axes_table(squared, whole)),
    )
    return [(key, title, table) for key, title, table in tables if table is not None]


def _title(group: Group, space: LabelSpace | None) -> str:
    part = "class" if group.metric == "accuracy" else "value" if space is None else space.dimensions[0].name
    return f"{part[:1].upper()}{part[1:]}: {wording.metric_words(group.metric)}"


def _metric(group: Group) -> str:
    words = wording.metric_words(group.metric or "result")
    return f"{words} [{group.unit}]" if group.unit else words


def _facts(samples: Samples, group: Group, artifacts: list[Any]) -> list[tuple[str, str]]:
    summaries, teacher = group.summaries, group.teacher
    facts = []
    if samples.real is not None:
        splits = " / ".join(wording.count(samples.split_rows(split)) for split in (0, 1, 2))
        facts.append(("train / validation / test", splits))
        shape = samples.real.columns["images"].shape
        facts.append(
            ("images", f"{shape[2]} \N{MULTIPLICATION SIGN} {shape[3]}, {'grey' if shape[1] == 1 else 'colour'}")
        )
    skipped = next((item.manifest["metrics"].get("skipped", 0) for item in artifacts if item.name == "prepare"), 0)
    if skipped:
        facts.append(("images left out, as they cannot be read", wording.count(skipped)))
    if teacher is not None and teacher["parameters"]:
        facts.append(("teacher parameters", wording.count(teacher["parameters"])))
    if samples.synthetic is not None:
        facts.append(("synthetic images kept", wording.count(len(samples.synthetic))))
    # Of several lists, one with and one without the teacher's answers, all are as long.
    mixed = max((int(artifact.manifest.get("metrics", {}).get("mixes", 0)) for artifact in artifacts), default=0)
    if mixed:
        facts.append(("mixed images", wording.count(mixed)))
    if summaries:
        facts.append(("seeds", str(max(len(row.seeds) for row in summaries))))
    facts.append(("time of all stages", wording.duration(sum(artifact.seconds or 0.0 for artifact in artifacts))))
    return facts


def _notes(headlines: Sequence[Group], samples: Samples, stopped: Sequence[str]) -> list[str]:
    summaries = headlines[0].summaries
    if not summaries:
        return []
    notes = []
    steps = sorted({row.steps for row in summaries})
    if len(steps) == 1:
        took = "was allowed" if stopped else "took"
        notes.append(
            f"Every student {took} the same {wording.count(steps[0])} optimiser steps; "
            "runs of one seed share their initial weights."
        )
    else:
        known = ", ".join(wording.count(step) for step in steps)
        notes.append(f"The students took different numbers of optimiser steps ({known}): compare with care.")
    notes += stopped
    notes.append(
        "Mean ± sample standard deviation over seeds; the difference is to the same student alone. "
        "The weights were chosen on the validation split; the test split was read once, at the end."
    )
    if any(row.live for row in summaries):
        notes.append("Live: the teacher was run in every step, too, which no count of answers shows.")
    if len(headlines) > 1:
        notes.append(
            "One number chose the weights: the share of wrong classes in percent plus the mean absolute error in "
            "percent of its range."
        )
    if headlines[0].unit == OF_RANGE:
        notes.append(
            "Percent of range: the error of each axis over the length of its range, as the mean over the axes."
        )
    tests = samples.split_rows(2)
    if tests and summaries[0].unit == "%":
        notes.append(f"The test split has {wording.count(tests)} images: one image is {100 / tests:.2f} points.")
    return notes


def _effects(summaries: Sequence[Summary]) -> list[dict[str, Any]]:
    places = wording.decimals(max((abs(row.mean) for row in summaries), default=1.0))
    return [
        {
            "name": comparison.name,
            "student": comparison.student,
            "difference": wording.difference_words(comparison.difference, summaries[0].unit, places),
            "half_width": wording.number(comparison.half_width, places),
            "verdict": comparison.verdict,
            "words": VERDICTS[comparison.verdict],
        }
        for comparison in effects(summaries)
    ]
