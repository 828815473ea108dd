"""Groups of labels for counts and thresholds: classes, bins of a value, cells of several."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt

from data.labels import Axis, LabelSpace

#: Bins of one axis, and about as many cells of several.
BINS = 18

Groups = npt.NDArray[np.int64]


def axis_bins(values: npt.NDArray[np.floating[Any]], axis: Axis, count: int = BINS) -> tuple[Groups, list[str]]:
    """Equal bins over the range of an axis; what lies outside counts to the first or the last.

    Args:
        values: in the axis's unit, (n,).
        axis: whose range is binned.
        count: number of bins.

    Returns:
        Bin of each value, int64 (n,), and the bins in words.
    """
    edges = np.linspace(axis.minimum, axis.maximum, count + 1)
    bins = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, count - 1)
    names = [f"{edges[k]:g} to {edges[k + 1]:g} {axis.unit}".strip() for k in range(count)]
    return np.asarray(bins, np.int64), names


def label_groups(labels: npt.NDArray[Any], space: LabelSpace) -> tuple[Groups, list[str]]:
    """The class of each label; its bin, for scalars; its cell of a grid of bins, for vectors.

    Args:
        labels: a column of the label space, (n, ...).
        space: what labels mean.

    Returns:
        Group of each label, int64 (n,), and the groups in words.
    """
    if space.has_classes:
        return space.class_part(labels), list(space.names)
    if space.kind == "scalar":
        return axis_bins(labels, space.dimensions[0])
    each = max(2, round(BINS ** (1 / len(space.axes))))
    binned = [axis_bins(labels[:, place], axis, each) for place, axis in enumerate(space.axes)]
    groups = np.ravel_multi_index([bins for bins, _ in binned], [each] * len(binned))
    words = [[f"{axis.name} {name}" for name in names] for axis, (_, names) in zip(space.axes, binned, strict=True)]
    return np.asarray(groups, np.int64), [", ".join(parts) for parts in itertools.product(*words)]


def kept_shares(labels: npt.NDArray[Any], kept: npt.NDArray[np.integer], space: LabelSpace) -> list[dict[str, Any]]:
    """How many labels of each bin of each continuous dimension there are, and are kept; JSON-ready.

    Args:
        labels: a column of the label space, (n, ...).
        kept: numbers of the rows that are kept.
        space: what labels mean.

    Returns:
        One row a bin that has labels: axis, label (the bin in words), candidates, kept.
    """
    rows = []
    values = space.continuous_part(labels)
    for place, axis in enumerate(space.dimensions):
        bins, names = axis_bins(values[:, place], axis)
        totals = np.bincount(bins, minlength=len(names)).tolist()
        counts = np.bincount(bins[kept], minlength=len(names)).tolist()
        rows += [
            {"axis": axis.name, "label": name, "candidates": total, "kept": count}
            for name, total, count in zip(names, totals, counts, strict=True)
            if total
        ]
    return rows
