"""Results that are compared with each other: one group for every figure that students are judged by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flows.reporting.results import Summary, teacher_summary

#: Root mean squared errors: beside a mean absolute error they tell whether few errors are large.
SQUARED = "rmse"


@dataclass(frozen=True)
class Group:
    """The summaries of one figure, and the teacher's entry with that figure.

    Args:
        metric: "accuracy", "mae" or "rmse"; empty where neither student nor teacher is known.
        unit: of the figure.
        of: the axis that the figure is of; empty for whole labels.
        summaries: of this figure alone.
        teacher: from ``teacher_summary``; None if the run has no teacher.
    """

    metric: str
    unit: str
    of: str
    summaries: tuple[Summary, ...]
    teacher: Mapping[str, Any] | None


def group_results(summaries: Sequence[Summary], teacher: Mapping[str, Any] | None) -> list[Group]:
    """One group a figure, in order of appearance; one group without summaries if no student was trained.

    Args:
        summaries: from ``summarise``.
        teacher: the teacher's manifest, or None.
    """
    if not summaries:
        known = teacher_summary(teacher)
        return [Group(str((known or {}).get("metric") or ""), str((known or {}).get("unit") or ""), "", (), known)]
    figures = dict.fromkeys((row.metric, row.unit, row.of) for row in summaries)
    return [
        Group(
            metric,
            unit,
            of,
            tuple(row for row in summaries if (row.metric, row.unit, row.of) == (metric, unit, of)),
            teacher_summary(teacher, metric, of),
        )
        for metric, unit, of in figures
    ]


def headline_groups(groups: Sequence[Group]) -> list[Group]:
    """The groups that are results of their own: those of whole labels."""
    return [group for group in groups if not group.of and group.metric != SQUARED]


def axis_groups(groups: Sequence[Group]) -> list[Group]:
    """The mean absolute errors of the single axes of vector labels."""
    return [group for group in groups if group.of and group.metric != SQUARED]


def squared_groups(groups: Sequence[Group]) -> list[Group]:
    """The root mean squared errors of values, which are shown beside the results and judge nothing."""
    return [group for group in groups if group.metric == SQUARED]
