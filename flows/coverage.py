"""What the teacher's filter keeps of each class, bin or cell of the labels, and where that is too little."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from data.labels import LabelSpace
from filters.teacher_filter import LEAST_ROWS
from flows.label_bins import BINS, Groups, axis_bins

#: A class or bin has lost coverage where its kept share is below this part of the overall one.
LEAST_PART = 0.5
_NAMED = 3

Row = dict[str, Any]


def kept_shares(groups: Groups, names: Sequence[str], kept: npt.NDArray[np.integer]) -> list[Row]:
    """How many candidates of each group there are, and are kept; JSON-ready.

    Args:
        groups: group of each candidate, (n,).
        names: the groups in words.
        kept: numbers of the candidates that are kept.

    Returns:
        One row a group that has candidates: label (the group in words), candidates, kept, share.
    """
    totals = np.bincount(groups, minlength=len(names)).tolist()
    counts = np.bincount(groups[kept], minlength=len(names)).tolist()
    return [
        {"label": name, "candidates": total, "kept": count, "share": count / total}
        for name, total, count in zip(names, totals, counts, strict=True)
        if total
    ]


def axis_shares(
    labels: npt.NDArray[Any], kept: npt.NDArray[np.integer], space: LabelSpace, count: int = BINS
) -> list[Row]:
    """The same for the bins of each continuous dimension; rows have also the axis.

    Args:
        labels: a column of the label space, (n, ...).
        kept: numbers of the candidates that are kept.
        space: what labels mean.
        count: bins of a dimension.
    """
    values = space.continuous_part(labels)
    rows = []
    for place, axis in enumerate(space.dimensions):
        bins, names = axis_bins(values[:, place], axis, count)
        rows += [{"axis": axis.name, **row} for row in kept_shares(bins, names, kept)]
    return rows


def lost_coverage(rows: Sequence[Mapping[str, Any]], overall: float) -> list[Mapping[str, Any]]:
    """The rows that have lost coverage, the least share first.

    A row has where nothing of it is kept, or where it has at least ``LEAST_ROWS`` candidates, enough to tell, and less
    than half of the overall share of them is kept.

    Args:
        rows: from ``kept_shares`` or ``axis_shares``.
        overall: kept share of all candidates.
    """
    lost = [
        row
        for row in rows
        if not row["kept"] or (row["candidates"] >= LEAST_ROWS and row["share"] < LEAST_PART * overall)
    ]
    return sorted(lost, key=lambda row: (row["share"], -row["candidates"]))


def coverage_sentence(lost: Sequence[Mapping[str, Any]], overall: float, scope: str, space: LabelSpace) -> str:
    """What the filter has lost and what to do about it, in one sentence; empty if nothing is lost.

    Args:
        lost: from ``lost_coverage``.
        overall: kept share of all candidates.
        scope: where the quantile was taken.
        space: what labels mean.
    """
    if not lost:
        return ""
    named = [f"{row['kept']} of {row['candidates']} of {_named(row)}" for row in lost[:_NAMED]]
    more = f" and less than half of its share of {len(lost) - _NAMED} more" if len(lost) > _NAMED else ""
    return (
        f"the teacher's filter keeps {100 * overall:.0f} % of all candidates but only {', '.join(named)}{more}; "
        f"{_remedy(scope, space)} synthetic.quantile."
    )


def _named(row: Mapping[str, Any]) -> str:
    return f"{row['axis']} {row['label']}" if "axis" in row else str(row["label"])


def _remedy(scope: str, space: LabelSpace) -> str:
    wider = "per_class" if space.kind == "class" else "per_window"
    return "raise" if scope == wider else f"set synthetic.scope to {wider}, or raise"
