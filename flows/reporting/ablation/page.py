"""The page of an ablation: one table, one plot a figure, what the arms are, and where everything comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import yaml

from data.splitting import TEST
from flows.reporting.ablation.inputs import AblationInputs
from flows.reporting.ablation.rows import FigureRows
from flows.reporting.ablation.words import describe_arm, left_out_words
from flows.reporting.drawing import Plot
from flows.reporting.plots import results_plot
from flows.reporting.provenance import Artifact, package_groups, source_words
from flows.reporting.rendering import render
from flows.reporting.results import Summary
from flows.reporting.stopping import stopped_note
from flows.reporting.verdict import VERDICTS, Comparison
from flows.reporting.wording import (
    count,
    decimals,
    difference_words,
    duration,
    mean_and_deviation,
    metric_words,
    number,
    unbroken,
    unit_words,
)


def render_ablation(
    inputs: AblationInputs, figures: Sequence[FigureRows], sentences: Sequence[str], artifacts: Sequence[Artifact]
) -> str:
    """The whole page as HTML.

    Args:
        inputs: the arms.
        figures: from ``figure_rows``, at least one.
        sentences: what helped.
        artifacts: everything that the arms are made from.
    """
    space = inputs.real.label_space
    return render(
        "ablation/template.html.j2",
        name=inputs.name,
        sentences=[unbroken(sentence) for sentence in sentences],
        facts=_facts(inputs, figures, artifacts),
        measured=f"Test {_metric(figures[0])}" if len(figures) == 1 else "On the test split",
        several=len(figures[0].students) > 1,
        groups=[_group(figure, titled=len(figures) > 1) for figure in figures],
        notes=_notes(inputs, figures),
        plots=[_plot(figure, titled=len(figures) > 1) for figure in figures],
        arms=[(_unbroken(arm.words), unbroken(describe_arm(arm, space))) for arm in inputs.arms],
        left_out=[left_out_words(name, why) for name, why in inputs.left_out.items()],
        config=yaml.safe_dump(dict(inputs.config), sort_keys=False, allow_unicode=True),
        artifacts=artifacts,
        packages=package_groups(list(artifacts)),
        total_seconds=sum(artifact.seconds or 0.0 for artifact in artifacts),
        licence=inputs.real.license,
        source=source_words(inputs.config, inputs.real),
    )


def _unbroken(words: str) -> str:
    """The words of a row, whose plus sign never ends a line."""
    return words.replace("+ ", "+\N{NO-BREAK SPACE}")


def _metric(figure: FigureRows) -> str:
    return f"{metric_words(figure.metric)} [{figure.unit}]" if figure.unit else metric_words(figure.metric)


def _facts(
    inputs: AblationInputs, figures: Sequence[FigureRows], artifacts: Sequence[Artifact]
) -> list[tuple[str, str]]:
    first = figures[0].rows[0].summary
    images = sorted({arm.images for arm in inputs.arms[1:]})
    facts = [
        ("student" if len(figures[0].students) == 1 else "students", ", ".join(_students(figures[0]))),
        ("seeds", str(len(first.seeds))),
        ("optimiser steps of each", count(first.steps)),
        ("generated images of an arm", " to ".join(count(value) for value in dict.fromkeys((images[0], images[-1])))),
    ]
    for figure in figures:
        if figure.teacher is not None:
            value = f"{number(figure.teacher, decimals(figure.teacher))}{unit_words(figure.unit)}"
            facts.append((f"teacher's {metric_words(figure.metric)}", value))
    return [*facts, ("time of all stages", duration(sum(artifact.seconds or 0.0 for artifact in artifacts)))]


def _students(figure: FigureRows) -> list[str]:
    return list(dict.fromkeys(row.summary.student for row in figure.rows))


def _plot(figure: FigureRows, *, titled: bool) -> Plot | None:
    teacher = None if figure.teacher is None else {"value": figure.teacher}
    plot = results_plot([row.summary for row in figure.rows], teacher, f"arms-{figure.metric}")
    return replace(plot, title=f"Every seed: {metric_words(figure.metric)}") if plot and titled else plot


def _group(figure: FigureRows, *, titled: bool) -> dict[str, Any]:
    """The rows of one figure: every student in every arm."""
    rows = [
        {
            "words": _unbroken(row.arm.words),
            "student": row.summary.student,
            "first": place > 0 and row.arm.name == "alone",
            "value": mean_and_deviation(row.summary.mean, row.summary.std, decimals(row.summary.mean)),
            "best": row.summary.best,
            "comparisons": [_comparison(made, row.summary) for made in (row.against_alone, row.against_previous)],
            "arm": row.arm,
            "steps": row.summary.steps_words,
            "seeds": len(row.summary.seeds),
        }
        for place, row in enumerate(figure.rows)
    ]
    return {"title": _metric(figure) if titled else "", "rows": rows}


def _comparison(made: Comparison | None, summary: Summary) -> dict[str, str]:
    if made is None:
        return {"difference": "", "half_width": "", "verdict": "", "words": ""}
    places = decimals(summary.mean)
    return {
        "difference": difference_words(made.difference, summary.unit, places),
        "half_width": number(made.half_width, places),
        "verdict": made.verdict,
        "words": VERDICTS[made.verdict],
    }


def _notes(inputs: AblationInputs, figures: Sequence[FigureRows]) -> list[str]:
    first = figures[0].rows[0].summary
    notes = [
        "Each row has one step more than the row above it. All students took the same "
        f"{count(first.steps)} optimiser steps; those of one seed started from the same weights.",
        *stopped_note([run for arm in inputs.arms for run in arm.students]),
        "Mean ± sample standard deviation over seeds on the test split, which was read once for every student.",
        "Under each difference: half of its 95 % interval (Student's t on differences of runs with the same seed, "
        "their variance pooled over all arms that do not scatter out of line, not corrected for the number of "
        "comparisons). A difference inside the interval cannot be told from chance. The noise of the test split is not "
        "in it, nor that of another teacher, generator or sample of images: all arms share one of each.",
        "Teacher answers: as many as a row rests on, one a candidate where the teacher chose or labelled the images.",
    ]
    tests = int(np.count_nonzero(np.asarray(inputs.real.columns["split"]) == TEST))
    if tests and first.unit == "%":
        notes.append(f"The test split has {count(tests)} images: one image is {100 / tests:.2f} points.")
    return notes
