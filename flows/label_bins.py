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


def label_groups(labels: npt.NDArray[Any], space: LabelSpace, count: int = BINS) -> tuple[Groups, list[str]]:
    """The class of each label; its bin, for scalars; its cell of a grid of bins, for vectors.

    Args:
        labels: a column of the label space, (n, ...).
        space: what labels mean.
        count: bins of a scalar; about as many cells of a vector.

    Returns:
        Group of each label, int64 (n,), and the groups in words.
    """
    if space.has_classes:
        return space.class_part(labels), list(space.names)
    if space.kind == "scalar":
        return axis_bins(labels, space.dimensions[0], count)
    each = max(2, round(count ** (1 / len(space.axes))))
    binned = [axis_bins(labels[:, place], axis, each) for place, axis in enumerate(space.axes)]
    groups = np.ravel_multi_index([bins for bins, _ in binned], [each] * len(binned))
    words = [[f"{axis.name} {name}" for name in names] for axis, (_, names) in zip(space.axes, binned, strict=True)]
    return np.asarray(groups, np.int64), [", ".join(parts) for parts in itertools.product(*words)]


def label_windows(labels: npt.NDArray[Any], space: LabelSpace, count: int = BINS) -> tuple[Groups, list[str]]:
    """As ``label_groups``, but for a class with a scalar every class has bins of its own.

    Args:
        labels: a column of the label space, (n, ...).
        space: what labels mean.
        count: bins of a scalar; about as many cells of a vector.

    Returns:
        Group of each label, int64 (n,), and the groups in words.
    """
    if space.kind != "class+scalar":
        return label_groups(labels, space, count)
    bins, names = axis_bins(space.continuous_part(labels)[:, 0], space.dimensions[0], count)
    return space.class_part(labels) * count + bins, [f"{own}, {name}" for own in space.names for name in names]
