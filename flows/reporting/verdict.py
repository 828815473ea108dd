"""What helped, in plain words, and whether it is more than the noise between seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.special import stdtrit

from flows.reporting.results import Summary, baseline
from flows.reporting.wording import (
    ALONE,
    decimals,
    difference_words,
    higher_is_better,
    mean_and_deviation,
    number,
    plain_words,
    plural,
    unit_words,
)

Verdict = Literal["better", "worse", "noise", "unknown"]
_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Comparison:
    """Difference of two means with its 95 % interval; the interval is None where noise cannot be judged."""

    name: str
    student: str
    difference: float
    half_width: float | None
    verdict: Verdict


def compare(row: Summary, reference: Summary, name: str = "") -> Comparison:
    """Difference of two summaries, and whether it exceeds the noise between seeds.

    Student's t interval: of the paired differences where both have the same seeds (they share their initial
    weights), otherwise Welch's with the smaller of the two degrees of freedom. It covers the noise of training,
    not that of the test split, which both share.
    """
    difference = row.mean - reference.mean
    half_width = _half_width(row, reference)
    verdict: Verdict
    if half_width is None:
        verdict = "unknown"
    elif difference == 0 or abs(difference) <= half_width:
        verdict = "noise"
    else:
        verdict = "better" if (difference > 0) == higher_is_better(row.metric) else "worse"
    return Comparison(name, row.student, difference, half_width, verdict)


def _half_width(row: Summary, reference: Summary) -> float | None:
    fewest = min(len(row.values), len(reference.values))
    if fewest < 2:
        return None
    if row.seeds == reference.seeds:
        deviation = np.std(np.subtract(row.values, reference.values), ddof=1) / np.sqrt(fewest)
    else:
        deviation = np.sqrt(sum(np.var(side.values, ddof=1) / len(side.values) for side in (row, reference)))
    return float(stdtrit(fewest - 1, 0.5 + _CONFIDENCE / 2) * deviation)


def effects(summaries: Sequence[Summary]) -> list[Comparison]:
    """What each part brought: every method against labels alone, and synthetic data with every method."""
    comparisons = []
    for row in summaries:
        for other in summaries:
            if (row.student, row.steps) != (other.student, other.steps):
                continue
            if row.data == other.data and other.method in ALONE and row.method not in ALONE:
                name = plain_words(row.method, "real")
                where = "" if row.data == "real" else ", both on real + synthetic"
                comparisons.append(compare(row, other, f"{name} against labels only{where}"))
            elif row.method == other.method and row.data != "real" and other.data == "real":
                name = "labels only" if row.method in ALONE else plain_words(row.method, "real")
                comparisons.append(compare(row, other, f"synthetic data added, with {name}"))
    return comparisons


def sentence(summaries: Sequence[Summary], teacher: Mapping[str, Any] | None) -> str:
    """One sentence on what helped, honest where the difference is within the noise."""
    if not summaries:
        return "No student was trained in this run."
    students = list(dict.fromkeys(row.student for row in summaries))
    clauses = [_clause([row for row in summaries if row.student == student]) for student in students]
    if len(students) > 1:
        clauses = [f"for {student}, {_inner(clause)}" for student, clause in zip(students, clauses, strict=True)]
    text = "; ".join(clauses)
    if teacher is not None and teacher["value"] is not None:
        text += f"; the teacher reaches {_value(summaries[0], teacher['value'])}"
    return f"{text[0].upper()}{text[1:]}."


def _clause(rows: Sequence[Summary]) -> str:
    others = [row for row in rows if not row.alone]
    choose = max if higher_is_better(rows[0].metric) else min
    if not others:
        alone = choose(rows, key=lambda row: row.mean)
        return f"Only the student alone was trained and reaches {_shown(alone)}, with nothing to compare it with"
    best = choose(others, key=lambda row: row.mean)
    reference = baseline(best, rows)
    name = _name(best.words)
    if reference is None:
        return f"The best result is {_shown(best)} with {name}; no student alone was trained to compare it with"
    comparison = compare(best, reference)
    change = difference_words(comparison.difference, best.unit, _places(best))
    seeds = plural(min(len(best.seeds), len(reference.seeds)), "seed")
    figures = f"{_shown(best)} against {_shown(reference)} for the student alone"
    lead = name if len(others) == 1 else f"the best of {len(others)} alternatives, {name},"
    if comparison.verdict == "better":
        return f"{name[0].upper()}{name[1:]} helped: {figures} ({change}, beyond the noise of {seeds})"
    if comparison.verdict == "worse":
        return f"Nothing helped: {lead} reaches {figures} ({change}, beyond the noise of {seeds})"
    if comparison.verdict == "noise":
        return f"No clear gain: {lead} reaches {figures}, and {change} is within the noise of {seeds}"
    return (
        f"With a single seed the noise is unknown: {lead} reaches {figures} ({change}), which may or may not be chance"
    )


def _inner(clause: str) -> str:
    return clause if clause[:2].isupper() else f"{clause[0].lower()}{clause[1:]}"


def _name(words: str) -> str:
    return "training on real + synthetic images" if words == "real + synthetic" else words


def _places(row: Summary) -> int:
    return decimals(row.mean)


def _shown(row: Summary) -> str:
    return f"{mean_and_deviation(row.mean, row.std, _places(row))}{unit_words(row.unit)}"


def _value(row: Summary, value: float) -> str:
    return f"{number(value, _places(row))}{unit_words(row.unit)}"
