"""What helped, in plain words, and whether it is more than the noise between seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from scipy.special import fdtri, stdtrit

from flows.reporting.groups import Group
from flows.reporting.results import Summary, baseline
from flows.reporting.wording import (
    ALONE,
    added_data,
    decimals,
    difference_words,
    higher_is_better,
    mean_and_deviation,
    metric_words,
    number,
    plain_data,
    plural,
    unit_words,
    variant_words,
)

Verdict = Literal["better", "worse", "noise", "unknown"]
#: Verdicts as a person reads them.
VERDICTS: Mapping[Verdict, str] = {
    "better": "better",
    "worse": "worse",
    "noise": "within the noise",
    "unknown": "noise unknown",
}
_CONFIDENCE = 0.95
#: Chance at which a variance like the others' is taken for an outlying one.
_OUTLYING = 0.01
#: Alternatives beyond which a sentence says of how many the best one is: the best of many is lucky, too.
_FEW = 4


@dataclass(frozen=True)
class Comparison:
    """Difference of two means with its 95 % interval; the interval is None where noise cannot be judged."""

    name: str
    student: str
    difference: float
    half_width: float | None
    verdict: Verdict

    def to_dict(self) -> dict[str, Any]:
        """The row of ``effects`` in report.json."""
        return asdict(self)


def compare(row: Summary, reference: Summary, summaries: Sequence[Summary], name: str = "") -> Comparison:
    """Difference of two means, and whether it exceeds the noise between seeds.

    Fisher's least significant difference (1935): Student's t interval with the variance over seeds pooled over all
    ways in which the same student was trained, since the few seeds of one way alone say little about its variance.
    Where all ways have the same seeds, runs of one seed are compared with each other: what a seed adds to all ways
    alike is then no part of the variance (the model of a randomised block design, the seeds its blocks; for two ways it
    is the paired t-test). A way whose variance is out of line with the others' is not pooled with them (see ``alike``);
    it is compared by the variance of the two alone. All this covers the noise of training, not that of the test split,
    which all share.

    Args:
        row: what is compared.
        reference: what it is compared with.
        summaries: all summaries; those of the same student are pooled.
        name: the comparison in words.
    """
    difference = row.mean - reference.mean
    own = [other for other in summaries if other.student == row.student]
    pool = alike(own)
    if row not in pool or reference not in pool:
        pool = [other for other in own if other in (row, reference)]
    paired = len({other.seeds for other in pool}) == 1 and len(pool) > 1
    half_width = _paired_half_width(pool) if paired else _half_width(row, reference, pool)
    verdict: Verdict
    if half_width is None:
        verdict = "unknown"
    elif difference == 0 or abs(difference) <= half_width:
        verdict = "noise"
    else:
        verdict = "better" if (difference > 0) == higher_is_better(row.metric) else "worse"
    return Comparison(name, row.student, difference, half_width, verdict)


def alike(pool: Sequence[Summary]) -> list[Summary]:
    """The rows whose variances over seeds can be pooled.

    Cochran's test (1941) for the largest variance, at 1 %, as in ISO 5725-2: while the largest one is more of their sum
    than chance would give, its row is left out. One method that comes and goes would otherwise hide what all others
    do. The critical share is that of equal numbers of seeds; rows of other numbers, and of one seed, are all kept.

    Args:
        pool: rows of one student and figure.
    """
    kept = list(pool)
    counts = {len(row.values) for row in kept}
    if len(counts) != 1 or min(counts) < 2:
        return kept
    freedom = min(counts) - 1
    while len(kept) > 2:
        variances = np.array([np.var(row.values, ddof=1) for row in kept])
        others = len(kept) - 1
        ratio = fdtri(freedom, others * freedom, 1.0 - _OUTLYING / len(kept))
        if not variances.max() > ratio / (ratio + others) * variances.sum():
            break
        kept.pop(int(variances.argmax()))
    return kept


def _half_width(row: Summary, reference: Summary, pool: Sequence[Summary]) -> float | None:
    freedom = sum(len(other.values) - 1 for other in pool)
    if freedom < 1:
        return None
    squares = sum(float(np.sum(np.square(np.subtract(other.values, other.mean)))) for other in pool)
    error = np.sqrt(squares / freedom * (1 / len(row.values) + 1 / len(reference.values)))
    return float(stdtrit(freedom, 0.5 + _CONFIDENCE / 2) * error)


def _paired_half_width(pool: Sequence[Summary]) -> float | None:
    values = np.array([row.values for row in pool], dtype=np.float64)
    ways, seeds = values.shape
    freedom = (ways - 1) * (seeds - 1)
    if freedom < 1:
        return None
    residuals = values - values.mean(axis=0) - values.mean(axis=1, keepdims=True) + values.mean()
    error = np.sqrt(float(np.sum(np.square(residuals))) / freedom * 2 / seeds)
    return float(stdtrit(freedom, 0.5 + _CONFIDENCE / 2) * error)


def effects(summaries: Sequence[Summary]) -> list[Comparison]:
    """What each part brought: every method against labels alone, and what was added to the real data with it."""
    comparisons = []
    for row in summaries:
        for other in summaries:
            if (row.student, row.steps) != (other.student, other.steps):
                continue
            name = variant_words(row.method, row.label)
            if row.data == other.data and other.method in ALONE and row.method not in ALONE:
                where = "" if row.data == "real" else f", both on {plain_data(row.data)}"
                against = variant_words(other.method, other.label)
                comparisons.append(compare(row, other, summaries, f"{name} against {against}{where}"))
            elif row.shown == other.shown and row.data != "real" and other.data == "real":
                added = f"{added_data(row.data)} data added, with {name}"
                comparisons.append(compare(row, other, summaries, added))
    return comparisons


def sentence(summaries: Sequence[Summary], teacher: Mapping[str, Any] | None) -> str:
    """One sentence on what helped by one figure, honest where the difference is within the noise."""
    if not summaries:
        return "No student was trained in this run."
    students = list(dict.fromkeys(row.student for row in summaries))
    clauses = [_clause([row for row in summaries if row.student == student]) for student in students]
    if len(students) > 1:
        clauses = [f"for {student}, {_inner(clause)}" for student, clause in zip(students, clauses, strict=True)]
    text = "; ".join(clauses)
    if teacher is not None and teacher["value"] is not None:
        text += f"; the teacher reaches {_value(summaries[0], teacher['value'])}"
        text += _worse_teacher(summaries, float(teacher["value"]))
    return f"{text[0].upper()}{text[1:]}."


def _worse_teacher(summaries: Sequence[Summary], value: float) -> str:
    """A clause on a teacher that is worse than students alone beyond their noise between seeds; empty if it is not.

    The teacher is one network, so that its value is a number; the mean of the student alone has Student's t interval,
    with the variance over seeds pooled over all ways of training that student.
    """
    found = []
    for student in dict.fromkeys(row.student for row in summaries):
        own = [row for row in summaries if row.student == student]
        alone = next((row for row in own if row.alone), None)
        pool = alike(own)
        if alone is not None and alone not in pool:
            pool = [alone]
        freedom = sum(len(row.values) - 1 for row in pool)
        if alone is None or freedom < 1:
            continue
        squares = sum(float(np.sum(np.square(np.subtract(row.values, row.mean)))) for row in pool)
        half_width = stdtrit(freedom, 0.5 + _CONFIDENCE / 2) * np.sqrt(squares / freedom / len(alone.values))
        difference = value - alone.mean
        if abs(difference) > half_width and (difference < 0) == higher_is_better(alone.metric):
            found.append((student, difference_words(difference, alone.unit, _places(alone))))
    if not found:
        return ""
    if len({row.student for row in summaries}) == 1:
        whom = f"the student alone ({found[0][1]})"
    else:
        whom = " and ".join(f"{name} alone ({words})" for name, words in found)
    return f", worse than {whom}: mend the teacher before its students"


def sentences(groups: Sequence[Group]) -> list[str]:
    """What helped, a sentence a figure; where there are several figures each sentence names its own."""
    if len(groups) == 1:
        return [sentence(groups[0].summaries, groups[0].teacher)]
    return [f"By {metric_words(group.metric)}, {_inner(sentence(group.summaries, group.teacher))}" for group in groups]


def _clause(rows: Sequence[Summary]) -> str:
    others = [row for row in rows if not row.alone]
    choose = max if higher_is_better(rows[0].metric) else min
    if not others:
        alone = choose(rows, key=lambda row: row.mean)
        return f"Only the student alone was trained, with {_figure(alone)}, so there is nothing to compare it with"
    best = choose(others, key=lambda row: row.mean)
    reference = baseline(best, rows)
    name = _name(best)
    if reference is None:
        return f"The best result is {_figure(best)} with {name}, and no student alone was trained to compare it with"
    comparison = compare(best, reference, rows)
    change = difference_words(comparison.difference, best.unit, _places(best))
    seeds = plural(min(len(best.seeds), len(reference.seeds)), "seed")
    figures = f"{_figure(best)} against {_shown(reference)} for the student alone"
    choice = name if len(others) == 1 else f"the best of {len(others)} alternatives, {name},"
    if comparison.verdict == "better":
        if len(others) > _FEW:
            name += f", the best of {len(others)} alternatives on the test images,"
        return f"{name[0].upper()}{name[1:]} helped: {figures} ({change}, beyond the noise of {seeds})"
    if comparison.verdict == "worse":
        return f"Nothing helped: {choice} gives {figures} ({change}, beyond the noise of {seeds})"
    if comparison.verdict == "noise":
        return f"No clear gain: {choice} gives {figures} ({change}, within the noise of {seeds})"
    return f"One seed cannot tell a gain from chance: {choice} gives {figures} ({change})"


def _inner(clause: str) -> str:
    return clause if clause[:2].isupper() else f"{clause[0].lower()}{clause[1:]}"


def _name(row: Summary) -> str:
    words = row.words
    if row.label and words.startswith(row.label):
        # A label is no word: its case stays where it begins a sentence.
        words = f"'{row.label}'{words.removeprefix(row.label)}"
    data = plain_data(row.data)
    if row.data != "real" and words == data:
        return f"training on {data} data"
    return f"{words} data" if row.data != "real" and words.endswith(data) else words


def _figure(row: Summary) -> str:
    return f"{'an' if row.metric == 'accuracy' else 'a'} {metric_words(row.metric)} of {_shown(row)}"


def _places(row: Summary) -> int:
    return decimals(row.mean)


def _shown(row: Summary) -> str:
    return f"{mean_and_deviation(row.mean, row.std, _places(row))}{unit_words(row.unit)}"


def _value(row: Summary, value: float) -> str:
    return f"{number(value, _places(row))}{unit_words(row.unit)}"
