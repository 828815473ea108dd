"""Results of the students: a row a trained student and figure, a summary a student, method and data; all pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from flows.reporting.inputs import StudentRun
from flows.reporting.wording import ALONE, higher_is_better, plain_words, steps_words
from students.evaluation import Figure


@dataclass(frozen=True)
class Result:
    """One figure of a trained student; ``value`` is on the test split, in ``unit``; ``of`` is its axis, if any.

    ``steps`` are those taken, and ``allowed`` those of the configuration, where it stopped early. ``live`` says that
    the teacher was run in every step.
    """

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
    of: str = ""
    allowed: int | None = None
    live: bool = False
    label: str = ""

    @property
    def shown(self) -> str:
        """What tells its method from the others of the run."""
        return self.label or self.method

    @property
    def budget(self) -> int:
        """Steps that it could take; those of one budget are compared."""
        return self.steps if self.allowed is None else self.allowed

    def to_dict(self) -> dict[str, Any]:
        """The row of ``results`` in report.json."""
        names = ("student", "method", "data", "seed", "steps", "metric", "value", "unit", "teacher_calls", "validation")
        return {name: getattr(self, name) for name in names} | {"method": self.shown}


@dataclass(frozen=True)
class Summary:
    """One figure of a student, method, data and number of steps over its seeds.

    ``difference`` is the mean less the mean of the same student alone, in the metric's own direction (for an
    error, a negative difference is the better one); None for the student alone, or where there is none.
    ``best`` marks the best mean of each student. ``name`` says what the student was trained with, where method and
    data do not; ``label`` what this variant of the method is called. ``steps`` are those allowed, ``taken`` those that
    each seed took.
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
    of: str = ""
    name: str = ""
    live: bool = False
    label: str = ""
    taken: tuple[int, ...] = ()

    @property
    def shown(self) -> str:
        """What tells its method from the others of the run."""
        return self.label or self.method

    @property
    def steps_words(self) -> str:
        """Steps taken, and of how many where some seeds stopped early."""
        return steps_words(self.taken, self.steps)

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
        return self.name or plain_words(self.method, self.data, self.label)

    def to_dict(self) -> dict[str, Any]:
        """The row of ``summary`` in report.json."""
        names = ("student", "method", "data", "steps", "metric", "unit", "teacher_calls")
        numbers = {"mean": self.mean, "std": self.std, "seeds": len(self.seeds)}
        rest = {"validation": self.validation, "difference": self.difference, "best": self.best}
        told = {"method": self.shown, "words": self.words, "steps_taken": list(self.taken)}
        return {name: getattr(self, name) for name in names} | told | numbers | rest


def recorded_figures(metrics: Mapping[str, Any]) -> tuple[Figure, ...]:
    """The figures of a trained model as its stage's metrics hold them, the first one first; none if there are none."""
    if "figures" in metrics:
        return tuple(Figure(**figure) for figure in metrics["figures"])
    value = metrics.get("test", metrics.get("value"))
    return () if value is None else (Figure(metrics.get("metric", ""), float(value), metrics.get("unit", "")),)


def validated(metrics: Mapping[str, Any], figure: Figure) -> float | None:
    """The figure on validation; None where it was not recorded, as for single axes."""
    value = None if figure.of else metrics.get(f"validation_{figure.metric}", metrics.get("validation"))
    return None if value is None else float(value)


def collect_results(students: Sequence[StudentRun]) -> list[Result]:
    """One row a trained student and figure, read from the manifests' metrics, in the order given."""
    return [_result(run, figure) for run in students for figure in recorded_figures(run.manifest["metrics"])]


def _result(run: StudentRun, figure: Figure) -> Result:
    metrics: Mapping[str, Any] = run.manifest["metrics"]
    parameters = metrics.get("parameters")
    return Result(
        student=run.student,
        method=run.method,
        data=run.data,
        seed=int(run.seed),
        steps=int(metrics["steps"]),
        metric=figure.metric,
        value=figure.value,
        unit=figure.unit,
        teacher_calls=int(metrics.get("teacher_calls", 0)),
        validation=validated(metrics, figure),
        parameters=None if parameters is None else int(parameters),
        of=figure.of,
        allowed=_allowed_steps(run.manifest) if metrics.get("stopped_early") else None,
        live="teacher" in run.manifest.get("inputs", {}),
        label=run.label,
    )


def _allowed_steps(manifest: Mapping[str, Any]) -> int | None:
    """Steps of the configuration that a student was trained with."""
    training = manifest.get("config", {}).get("distill", {}).get("training", {})
    return None if "steps" not in training else int(training["steps"])


def summarise(results: Sequence[Result]) -> list[Summary]:
    """Means over seeds, by figure, then by student, in order of appearance; the student alone first.

    Results of different numbers of steps are never averaged together; one that stopped early counts with the steps
    that it was allowed.
    """
    groups: dict[tuple[str, str, str, str, str, int], list[Result]] = {}
    for result in results:
        key = (result.metric, result.of, result.student, result.shown, result.data, result.budget)
        groups.setdefault(key, []).append(result)
    figures = list(dict.fromkeys((result.metric, result.of) for result in results))
    students = list(dict.fromkeys(result.student for result in results))
    summaries = [_summary(sorted(group, key=lambda result: result.seed)) for group in groups.values()]
    summaries.sort(key=lambda row: (figures.index((row.metric, row.of)), students.index(row.student), not row.alone))
    return [_placed(row, [other for other in summaries if _same_figure(row, other)]) for row in summaries]


def _same_figure(row: Summary, other: Summary) -> bool:
    return (row.metric, row.of, row.student) == (other.metric, other.of, other.student)


def _summary(group: Sequence[Result]) -> Summary:
    first = group[0]
    validations = [result.validation for result in group if result.validation is not None]
    return Summary(
        student=first.student,
        method=first.method,
        data=first.data,
        steps=first.budget,
        metric=first.metric,
        unit=first.unit,
        seeds=tuple(result.seed for result in group),
        values=tuple(result.value for result in group),
        teacher_calls=max(result.teacher_calls for result in group),
        validation=float(np.mean(validations)) if validations else None,
        of=first.of,
        live=first.live,
        label=first.label,
        taken=tuple(result.steps for result in group),
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
    alone = [other for other in summaries if _same_figure(row, other) and other.alone]
    same = [other for other in alone if other.steps == row.steps]
    return next(iter(same or alone), None)


def teacher_summary(manifest: Mapping[str, Any] | None, metric: str = "", of: str = "") -> dict[str, Any] | None:
    """The teacher's entry of report.json; None if the run has no teacher.

    Args:
        manifest: the teacher's manifest.
        metric: of the figure that is wanted; empty for the first.
        of: its axis, if it has one.
    """
    if manifest is None:
        return None
    metrics: Mapping[str, Any] = manifest["metrics"]
    found = recorded_figures(metrics)
    chosen = [figure for figure in found if (figure.metric, figure.of) == (metric, of)] if metric else found[:1]
    steps = metrics.get("steps")
    return {
        "fingerprint": manifest.get("fingerprint"),
        "metric": chosen[0].metric if chosen else metric or metrics.get("metric"),
        "unit": chosen[0].unit if chosen else metrics.get("unit"),
        "value": chosen[0].value if chosen else None,
        "validation": validated(metrics, chosen[0]) if chosen else metrics.get("validation"),
        "parameters": metrics.get("parameters"),
        "steps": None if steps is None else int(steps),
        "figures": [asdict(figure) | {"validation": validated(metrics, figure)} for figure in found],
    }
