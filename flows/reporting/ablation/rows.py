"""The numbers of an ablation: every arm by every figure, compared with the student alone and with the arm before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from flows.reporting.ablation.inputs import AblationInputs, Arm
from flows.reporting.groups import SQUARED
from flows.reporting.results import Summary, collect_results, summarise, teacher_summary
from flows.reporting.verdict import Comparison, compare
from flows.reporting.wording import higher_is_better


@dataclass(frozen=True)
class ArmRow:
    """One figure of one student in one arm.

    Args:
        arm: the arm.
        summary: over its seeds.
        against_alone: with the same student alone; None for that one itself.
        against_previous: with the arm before; None for the first.
    """

    arm: Arm
    summary: Summary
    against_alone: Comparison | None
    against_previous: Comparison | None

    def to_dict(self) -> dict[str, Any]:
        """The entry of ``arms`` in ablation.json."""
        row, arm = self.summary, self.arm
        return {
            "arm": arm.name,
            "words": arm.words,
            "student": row.student,
            "metric": row.metric,
            "unit": row.unit,
            "mean": row.mean,
            "std": row.std,
            "seeds": list(row.seeds),
            "values": list(row.values),
            **_comparison(self.against_alone, ""),
            **_comparison(self.against_previous, "_to_previous"),
            "images": arm.images,
            "acceptance": arm.acceptance,
            "kept_share": arm.kept_share,
            "teacher_calls": arm.teacher_calls,
            "steps": row.steps,
            "settings": dict(arm.settings),
        }


def _comparison(made: Comparison | None, suffix: str) -> dict[str, Any]:
    names = ("difference", "half_width", "verdict")
    return {f"{name}{suffix}": None if made is None else getattr(made, name) for name in names}


@dataclass(frozen=True)
class FigureRows:
    """All rows of one figure, by student and then by arm; the teacher's value of it, if it is known."""

    metric: str
    unit: str
    teacher: float | None
    rows: tuple[ArmRow, ...]

    @property
    def students(self) -> list[tuple[ArmRow, ...]]:
        """The rows of each student, the arms in order."""
        names = dict.fromkeys(row.summary.student for row in self.rows)
        return [tuple(row for row in self.rows if row.summary.student == name) for name in names]


def figure_rows(inputs: AblationInputs) -> list[FigureRows]:
    """Every figure of whole labels, the first one first.

    Args:
        inputs: arms whose students are the same, with the same seeds.
    """
    by_arm = {arm.name: _summaries(arm) for arm in inputs.arms}
    first = by_arm[inputs.arms[0].name]
    figures = dict.fromkeys((row.metric, row.unit) for row in first)
    students = list(dict.fromkeys(row.student for row in first))
    result = []
    for metric, unit in figures:
        rows: list[ArmRow] = []
        for student in students:
            chosen = [
                next(row for row in by_arm[arm.name] if (row.student, row.metric, row.unit) == (student, metric, unit))
                for arm in inputs.arms
            ]
            rows += _compared(inputs.arms, _marked(chosen))
        teacher = teacher_summary(inputs.manifests.get("teacher"), metric)
        result.append(FigureRows(metric, unit, None if teacher is None else teacher["value"], tuple(rows)))
    return result


def _summaries(arm: Arm) -> list[Summary]:
    rows = summarise(collect_results(arm.students))
    return [replace(row, name=arm.words) for row in rows if not row.of and row.metric != SQUARED]


def _marked(summaries: Sequence[Summary]) -> list[Summary]:
    choose = max if higher_is_better(summaries[0].metric) else min
    best = choose(summaries, key=lambda row: row.mean)
    return [replace(row, best=row is best) for row in summaries]


def _compared(arms: Sequence[Arm], summaries: Sequence[Summary]) -> list[ArmRow]:
    rows = []
    for place, (arm, summary) in enumerate(zip(arms, summaries, strict=True)):
        alone = previous = None
        if place:
            alone = compare(summary, summaries[0], summaries, arm.words)
            previous = compare(summary, summaries[place - 1], summaries, arm.words)
        rows.append(ArmRow(arm, summary, alone, previous))
    return rows
