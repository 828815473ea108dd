"""The page: everything computed elsewhere, put into the template."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from flows.reporting import wording
from flows.reporting.curves import shared_curves, student_curves
from flows.reporting.grids import make_grids
from flows.reporting.inputs import ReportInputs
from flows.reporting.plots import results_plot
from flows.reporting.provenance import artifacts_of, package_groups
from flows.reporting.results import Summary
from flows.reporting.samples import Samples, density_plot, funnel, label_rows, picture_pools, teacher_plots
from flows.reporting.table import results_table
from flows.reporting.verdict import effects

_HERE = Path(__file__).resolve().parent


def render_page(
    inputs: ReportInputs, summaries: list[Summary], teacher: Mapping[str, Any] | None, sentence: str
) -> str:
    """The whole page as HTML; every value passes through Jinja's escaping.

    Args:
        inputs: what the report is made from.
        summaries: means over seeds.
        teacher: the teacher's entry of report.json.
        sentence: what helped.
    """
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        number=wording.number, count=wording.count, share=wording.share, duration=wording.duration
    )
    samples = Samples(inputs)
    space = samples.space
    labels = label_rows(samples)
    artifacts = artifacts_of(inputs)
    return environment.get_template("template.html.j2").render(
        style=Markup((_HERE / "style.css").read_text(encoding="utf-8")),
        name=inputs.name,
        sentence=wording.unbroken(sentence),
        facts=_facts(samples, summaries, teacher, artifacts),
        rows=results_table(summaries, teacher),
        several=len({row.student for row in summaries}) > 1,
        metric=_metric(summaries, teacher),
        notes=_notes(summaries, samples),
        effects=_effects(summaries),
        results_plot=results_plot(summaries, teacher),
        grids=make_grids(picture_pools(samples), space) if space is not None else [],
        space=space,
        density=density_plot(samples),
        errors=teacher_plots(samples),
        label_rows=labels,
        funnel=wording.unbroken(funnel(labels)),
        shared_curves=shared_curves(inputs),
        student_curves=student_curves(inputs.students),
        config=yaml.safe_dump(dict(inputs.config), sort_keys=False, allow_unicode=True),
        artifacts=artifacts,
        packages=package_groups(artifacts),
        total_seconds=sum(artifact.seconds or 0.0 for artifact in artifacts),
        licence=None if samples.real is None else samples.real.license,
        source=_source(inputs, samples),
    )


def _metric(summaries: list[Summary], teacher: Mapping[str, Any] | None) -> str:
    metric, unit = (
        (summaries[0].metric, summaries[0].unit)
        if summaries
        else (str((teacher or {}).get("metric") or "result"), str((teacher or {}).get("unit") or ""))
    )
    return f"{wording.metric_words(metric)} [{unit}]" if unit else wording.metric_words(metric)


def _facts(
    samples: Samples, summaries: list[Summary], teacher: Mapping[str, Any] | None, artifacts: list[Any]
) -> list[tuple[str, str]]:
    facts = []
    if samples.real is not None:
        splits = " / ".join(wording.count(samples.split_rows(split)) for split in (0, 1, 2))
        facts.append(("train / validation / test", splits))
        shape = samples.real.columns["images"].shape
        facts.append(
            ("images", f"{shape[2]} \N{MULTIPLICATION SIGN} {shape[3]}, {'grey' if shape[1] == 1 else 'colour'}")
        )
    if teacher is not None and teacher["parameters"]:
        facts.append(("teacher parameters", wording.count(teacher["parameters"])))
    if samples.synthetic is not None:
        facts.append(("synthetic images kept", wording.count(len(samples.synthetic))))
    if summaries:
        facts.append(("seeds", str(max(len(row.seeds) for row in summaries))))
    facts.append(("time of all stages", wording.duration(sum(artifact.seconds or 0.0 for artifact in artifacts))))
    return facts


def _notes(summaries: list[Summary], samples: Samples) -> list[str]:
    if not summaries:
        return []
    notes = []
    steps = sorted({row.steps for row in summaries})
    if len(steps) == 1:
        notes.append(
            f"Every student took the same {wording.count(steps[0])} optimiser steps; "
            "runs of one seed share their initial weights."
        )
    else:
        known = ", ".join(wording.count(step) for step in steps)
        notes.append(f"The students took different numbers of optimiser steps ({known}): compare with care.")
    notes.append(
        "Mean ± sample standard deviation over seeds; the difference is to the same student alone. "
        "The weights were chosen on the validation split; the test split was read once, at the end."
    )
    tests = samples.split_rows(2)
    if tests and summaries[0].unit == "%":
        notes.append(f"The test split has {wording.count(tests)} images: one image is {100 / tests:.2f} points.")
    return notes


def _effects(summaries: list[Summary]) -> list[dict[str, Any]]:
    words = {
        "better": "better",
        "worse": "worse",
        "noise": "within the noise",
        "unknown": "noise unknown",
    }
    places = wording.decimals(max((abs(row.mean) for row in summaries), default=1.0))
    return [
        {
            "name": comparison.name,
            "student": comparison.student,
            "difference": wording.difference_words(comparison.difference, summaries[0].unit, places),
            "half_width": wording.number(comparison.half_width, places),
            "verdict": comparison.verdict,
            "words": words[comparison.verdict],
        }
        for comparison in effects(summaries)
    ]


def _source(inputs: ReportInputs, samples: Samples) -> str:
    section = inputs.config.get("source")
    kind = section.get("kind") if isinstance(section, Mapping) else section
    homepage = None if samples.real is None else samples.real.provenance.get("homepage")
    return ", ".join(str(part) for part in (kind, homepage) if part)
