"""Images of a set chosen at the labels of another, so that images are compared and not how often labels occur."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from data.labels import LabelSpace

Rows = npt.NDArray[np.int64]


def rows_at_labels(wanted: npt.NDArray[Any], labels: npt.NDArray[Any], label_space: LabelSpace) -> Rows:
    """One row for each wanted label: of its class, and of the nearest continuous value that is still free.

    Args:
        wanted: labels that rows are looked for at, (k, ...).
        labels: labels of the rows, (n, ...).
        label_space: of both.

    Returns:
        Row numbers, int64 (k,), all different; -1 where the class has no row left.
    """
    distinct, which, counts = np.unique(wanted, axis=0, return_inverse=True, return_counts=True)
    offered, asked = _normalised(labels, label_space), _normalised(distinct, label_space)
    classes, wanted_classes = (
        label_space.class_part(part) if label_space.has_classes else np.zeros(len(part), np.int64)
        for part in (labels, distinct)
    )
    free = np.ones(len(labels), bool)
    chosen = np.full(len(wanted), -1, np.int64)
    for place, count in enumerate(counts):
        open_rows = np.flatnonzero(free & (classes == wanted_classes[place]))
        distance = np.square(offered[open_rows] - asked[place]).sum(axis=1)
        rows = open_rows[np.argsort(distance, kind="stable")[:count]]
        free[rows] = False
        chosen[np.flatnonzero(which.reshape(-1) == place)[: len(rows)]] = rows
    return chosen


def _normalised(labels: npt.NDArray[Any], label_space: LabelSpace) -> npt.NDArray[np.float64]:
    """Continuous values on [0, 1], (n, L)."""
    low = np.array([axis.minimum for axis in label_space.dimensions])
    span = np.array([axis.maximum - axis.minimum for axis in label_space.dimensions])
    return np.asarray((label_space.continuous_part(labels) - low) / span)


def halves(labels: npt.NDArray[Any], label_space: LabelSpace) -> tuple[Rows, Rows]:
    """Pairs of rows of like label: neighbours in the order of the labels, and of one class.

    Args:
        labels: (n, ...).
        label_space: what labels mean.

    Returns:
        Row numbers of the first and of the second of each pair, int64 of equal length; the last row of a class of
        odd number is in neither.
    """
    keys: list[npt.NDArray[Any]] = list(label_space.continuous_part(labels).T)
    classes = label_space.class_part(labels) if label_space.has_classes else np.zeros(len(labels), np.int64)
    order = np.lexsort([*keys, classes])
    parts = np.split(order, np.flatnonzero(np.diff(classes[order])) + 1)
    first = np.concatenate([part[: len(part) // 2 * 2 : 2] for part in parts])
    second = np.concatenate([part[1 : len(part) // 2 * 2 : 2] for part in parts])
    return first, second


def occurrences(rows: Rows) -> Rows:
    """For each entry, how many earlier ones are equal, int64 (n,)."""
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    ranks = np.empty(len(rows), np.int64)
    ranks[order] = np.arange(len(rows)) - np.searchsorted(ordered, ordered)
    return ranks
