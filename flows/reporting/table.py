"""The result table as text, for the page and for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flows.reporting.groups import Group
from flows.reporting.results import Summary, baseline
from flows.reporting.verdict import Verdict, compare
from flows.reporting.wording import count, decimals, difference_words, mean_and_deviation, number, plain_data


@dataclass(frozen=True)
class TableRow:
    """A row of the result table; ``kind`` is teacher or student, ``verdict`` is on the difference if there is one."""

    kind: str
    student: str
    words: str
    data: str
    method: str
    value: str
    seeds: str
    difference: str
    steps: str
    teacher_calls: str
    validation: str
    best: bool = False
    verdict: Verdict | None = None


def results_table(summaries: Sequence[Summary], teacher: Mapping[str, Any] | None) -> list[TableRow]:
    """Rows of the result table: the teacher, then every summary; numbers are in the summaries' unit.

    Args:
        summaries: from ``summarise``.
        teacher: from ``teacher_summary``, or None.
    """
    places = decimals(max((abs(row.mean) for row in summaries), default=1.0))
    rows = []
    if teacher is not None:
        rows.append(
            TableRow(
                kind="teacher",
                student="teacher",
                words="teacher",
                data="real",
                method="",
                value=number(teacher["value"], places),
                seeds="1",
                difference="",
                steps=count(teacher["steps"]),
                teacher_calls="",
                validation=number(teacher["validation"], places),
            )
        )
    return rows + [_student_row(row, summaries, places) for row in summaries]


@dataclass(frozen=True)
class AxesTable:
    """Errors of the single axes: a column an axis, with its unit; a row the teacher and every way of training.

    A row is its words, its student (empty for the teacher), and its cells.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, str, tuple[str, ...]], ...]


def axes_table(axes: Sequence[Group], whole: str = "") -> AxesTable | None:
    """The table of the axes of vector labels, or of the one value that a label has; None where there is none.

    Args:
        axes: one group an axis, with the same students in the same order.
        whole: title of a column that is of no axis of a vector.
    """
    if not axes:
        return None
    places = [decimals(max(abs(row.mean) for row in group.summaries)) for group in axes]
    rows = []
    if axes[0].teacher is not None:
        cells = (number((group.teacher or {}).get("value"), place) for group, place in zip(axes, places, strict=True))
        rows.append(("teacher", "", tuple(cells)))
    for summaries in zip(*(group.summaries for group in axes), strict=True):
        values = (mean_and_deviation(row.mean, row.std, place) for row, place in zip(summaries, places, strict=True))
        rows.append((summaries[0].words, summaries[0].student, tuple(values)))
    names = [group.of or whole for group in axes]
    columns = tuple(f"{name} [{group.unit}]" if group.unit else name for name, group in zip(names, axes, strict=True))
    return AxesTable(columns, tuple(rows))


def _student_row(row: Summary, summaries: Sequence[Summary], places: int) -> TableRow:
    alone = baseline(row, summaries)
    return TableRow(
        kind="student",
        student=row.student,
        words=row.words,
        data=plain_data(row.data),
        method=row.shown,
        value=mean_and_deviation(row.mean, row.std, places),
        seeds=str(len(row.seeds)),
        difference="" if row.difference is None else difference_words(row.difference, row.unit, places),
        steps=row.steps_words,
        teacher_calls=f"{count(row.teacher_calls)} + live" if row.live else count(row.teacher_calls),
        validation=number(row.validation, places),
        best=row.best,
        verdict=None if alone is None or row.alone else compare(row, alone, summaries).verdict,
    )
