"""What each part brought, where many methods are compared: a row a method, a column a comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flows.reporting.results import Summary
from flows.reporting.verdict import Verdict, compare
from flows.reporting.wording import (
    ALONE,
    added_data,
    decimals,
    difference_words,
    number,
    plain_data,
    variant_words,
)

_SHORT: Mapping[Verdict, str] = {"better": "better", "worse": "worse", "noise": "noise", "unknown": "unknown"}


@dataclass(frozen=True)
class Cell:
    """A difference, half of its interval, and the verdict; all empty where there is nothing to compare."""

    difference: str = ""
    half_width: str = ""
    verdict: str = ""
    words: str = ""


@dataclass(frozen=True)
class EffectsMatrix:
    """Titles of the columns, and rows of a method, its student and its cells."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, str, tuple[Cell, ...]], ...]


def effects_matrix(summaries: Sequence[Summary]) -> EffectsMatrix:
    """What the method adds to labels alone on each kind of data, and what other data than real ones add to the method.

    Args:
        summaries: of one figure.
    """
    kinds = list(dict.fromkeys(row.data for row in summaries))
    columns = [f"Method added, {plain_data(kind)}" for kind in kinds]
    more = [kind for kind in kinds if kind != "real"] if "real" in kinds else []
    columns += [f"{added_data(kind).capitalize()} added" for kind in more]
    places = decimals(max((abs(row.mean) for row in summaries), default=1.0))

    alone = [row.shown for row in summaries if row.method in ALONE]
    called = {row.shown: variant_words(row.method, row.label) for row in summaries}

    def found(student: str, methods: Sequence[str], data: str, steps: int | None = None) -> Summary | None:
        own = [row for row in summaries if row.student == student and row.shown in methods and row.data == data]
        return next((row for row in own if steps in (None, row.steps)), None)

    def cell(row: Summary | None, other: Summary | None) -> Cell:
        if row is None or other is None:
            return Cell()
        made = compare(row, other, summaries)
        return Cell(
            difference_words(made.difference, row.unit, places),
            number(made.half_width, places),
            made.verdict,
            _SHORT[made.verdict],
        )

    rows = []
    for student, method in dict.fromkeys((row.student, row.shown) for row in summaries):
        cells = []
        for kind in kinds:
            own = found(student, (method,), kind)
            labels = None if own is None or method in alone else found(student, alone, kind, own.steps)
            cells.append(cell(own, labels))
        for kind in more:
            own = found(student, (method,), kind)
            cells.append(cell(own, None if own is None else found(student, (method,), "real", own.steps)))
        rows.append((called[method], student, tuple(cells)))
    return EffectsMatrix(tuple(columns), tuple(rows))
