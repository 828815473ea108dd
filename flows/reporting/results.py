"""Results of the students: one row a trained student, one summary a student, method and data; all pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from flows.reporting.inputs import StudentRun
from flows.reporting.wording import ALONE, higher_is_better, plain_words


@dataclass(frozen=True)
class Result:
    """What one trained student reached; ``value`` is on the test split, in ``unit``."""

    student: str
    method: str
    data: str
    seed: int
    steps: int
    metric: str
    value: float
    unit: str
    teacher_calls: int
    validation: float | None = None
    parameters: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """The row of ``results`` in report.json."""
        names = ("student", "method", "data", "seed", "steps", "metric", "value", "unit", "teacher_calls", "validation")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Summary:
    """Results of one student, method, data and number of steps over its seeds.

    ``difference`` is the mean less the mean of the same student alone, in the metric's own direction (for an
    error, a negative difference is the better one); None for the student alone, or where there is none.
    ``best`` marks the best mean of each student.
    """

    student: str
    method: str
    data: str
    steps: int
    metric: str
    unit: str
    seeds: tuple[int, ...]
    values: tuple[float, ...]
    teacher_calls: int
    validation: float | None
    difference: float | None = None
    best: bool = False

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return float(np.mean(self.values))

    @property
    def std(self) -> float | None:
        """Sample standard deviation over seeds; None for one seed."""
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else None

    @property
    def alone(self) -> bool:
        """Whether this is the student trained on real data and labels only."""
        return self.method in ALONE and self.data == "real"

    @property
    def words(self) -> str:
        """What the student was trained with, in plain words."""
        return plain_words(self.method, self.data)

    def to_dict(self) -> dict[str, Any]:
        """The row of ``summary`` in report.json."""
        names = ("student", "method", "data", "steps", "metric", "unit", "teacher_calls")
        numbers = {"mean": self.mean, "std": self.std, "seeds": len(self.seeds)}
        rest = {"validation": self.validation, "difference": self.difference, "best": self.best}
        return {name: getattr(self, name) for name in names} | numbers | rest


def collect_results(students: Sequence[StudentRun]) -> list[Result]:
    """One row a trained student, read from the manifests' metrics, in the order given."""
    return [_result(run) for run in students]


def _result(run: StudentRun) -> Result:
    metrics: Mapping[str, Any] = run.manifest["metrics"]
    validation, parameters = metrics.get("validation"), metrics.get("parameters")
    return Result(
        student=run.student,
        method=run.method,
        data=run.data,
        seed=int(run.seed),
        steps=int(metrics["steps"]),
        metric=str(metrics["metric"]),
        value=float(metrics["value"]),
        unit=str(metrics["unit"]),
        teacher_calls=int(metrics.get("teacher_calls", 0)),
        validation=None if validation is None else float(validation),
        parameters=None if parameters is None else int(parameters),
    )


def summarise(results: Sequence[Result]) -> list[Summary]:
    """Means over seeds, by student in order of appearance; the student alone first.

    Results of different numbers of steps are never averaged together.
    """
    groups: dict[tuple[str, str, str, int], list[Result]] = {}
    for result in results:
        groups.setdefault((result.student, result.method, result.data, result.steps), []).append(result)
    students = list(dict.fromkeys(result.student for result in results))
    summaries = [_summary(sorted(group, key=lambda result: result.seed)) for group in groups.values()]
    summaries.sort(key=lambda row: (students.index(row.student), not row.alone))
    return [_placed(row, [other for other in summaries if other.student == row.student]) for row in summaries]


def _summary(group: Sequence[Result]) -> Summary:
    first = group[0]
    validations = [result.validation for result in group if result.validation is not None]
    return Summary(
        student=first.student,
        method=first.method,
        data=first.data,
        steps=first.steps,
        metric=first.metric,
        unit=first.unit,
        seeds=tuple(result.seed for result in group),
        values=tuple(result.value for result in group),
        teacher_calls=max(result.teacher_calls for result in group),
        validation=float(np.mean(validations)) if validations else None,
    )


def _placed(row: Summary, rivals: Sequence[Summary]) -> Summary:
    alone = baseline(row, rivals)
    ranked = sorted(rivals, key=lambda rival: rival.mean, reverse=higher_is_better(row.metric))
    return replace(
        row,
        difference=None if alone is None or row.alone else row.mean - alone.mean,
        best=len(rivals) > 1 and ranked[0] is row,
    )


def baseline(row: Summary, summaries: Sequence[Summary]) -> Summary | None:
    """The same student alone, at the same number of steps where there is one."""
    alone = [other for other in summaries if other.student == row.student and other.alone]
    same = [other for other in alone if other.steps == row.steps]
    return next(iter(same or alone), None)


def teacher_summary(manifest: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The teacher's entry of report.json; None if the run has no teacher."""
    if manifest is None:
        return None
    metrics: Mapping[str, Any] = manifest["metrics"]
    value = metrics.get("test", metrics.get("value"))
    steps = metrics.get("steps")
    return {
        "fingerprint": manifest.get("fingerprint"),
        "metric": metrics.get("metric"),
        "unit": metrics.get("unit"),
        "value": None if value is None else float(value),
        "validation": metrics.get("validation"),
        "parameters": metrics.get("parameters"),
        "steps": None if steps is None else int(steps),
    }
