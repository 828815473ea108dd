"""Writes an ablation: ablation.html for people, ablation.json for programs, ablation.png for a README."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from data.files import replace_durably, write_json
from flows.reporting.ablation.inputs import AblationInputs
from flows.reporting.ablation.page import render_ablation
from flows.reporting.ablation.rows import FigureRows, figure_rows
from flows.reporting.ablation.words import ablation_sentences
from flows.reporting.drawing import save_picture
from flows.reporting.plots import results_painter
from flows.reporting.provenance import Artifact
from flows.reporting.results import teacher_summary
from flows.reporting.stopping import stopped_note


def build_ablation(inputs: AblationInputs, folder: Path) -> dict[str, Any]:
    """Writes the page, the numbers and the plot into a folder; the same inputs give the same bytes.

    Args:
        inputs: the arms and what they are made from.
        folder: where the three files go.

    Returns:
        The object of ablation.json: name, sentence, method, steps, seeds, teacher, arms (one entry an arm, student
        and figure of whole labels), stopped (who stopped early), left_out (why, by arm), stages.
    """
    figures = figure_rows(inputs)
    sentences = ablation_sentences(figures)
    artifacts = [Artifact(name, manifest) for name, manifest in inputs.manifests.items()]
    first = figures[0].rows[0].summary
    result = {
        "name": inputs.name,
        "sentence": " ".join(sentences),
        "method": first.shown,
        "steps": first.steps,
        "seeds": list(first.seeds),
        "teacher": teacher_summary(inputs.manifests.get("teacher")),
        "arms": [row.to_dict() for figure in figures for row in figure.rows],
        "stopped": stopped_note([run for arm in inputs.arms for run in arm.students]),
        "left_out": dict(inputs.left_out),
        "stages": [artifact.to_dict() for artifact in artifacts],
    }
    temporary = folder / "ablation.html.tmp"
    temporary.write_text(render_ablation(inputs, figures, sentences, artifacts), encoding="utf-8")
    replace_durably(temporary, folder / "ablation.html")
    write_json(folder / "ablation.json", result)
    _save_plot(inputs.name, figures, folder / "ablation.png")
    return result


def _save_plot(name: str, figures: list[FigureRows], path: Path) -> None:
    panels = [
        results_painter(
            [row.summary for row in figure.rows], {"value": figure.teacher} if figure.teacher is not None else None
        )
        for figure in figures
    ]
    save_picture(path, f"{name}: what each step adds", panels, width=560)
