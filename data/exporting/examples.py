"""Which rows of a set show it best: a few of each class, or along the values of its labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from data.exporting.rows import label_column
from data.labels import Axis
from data.reading import ImageSet

#: Value of ``Examples.rows`` where a set has no such image.
MISSING = -1

_MOST_CLASSES, _EACH, _BINS = 20, 10, 10


@dataclass(frozen=True)
class Examples:
    """Rows of a set, laid out.

    Args:
        rows: row numbers, or ``MISSING``; int64 (R, S).
        left: R texts.
        top: S texts, or none.
    """

    rows: npt.NDArray[np.int64]
    left: tuple[str, ...]
    top: tuple[str, ...] = ()


def choose_examples(found: ImageSet) -> Examples:
    """The first images of each class; of each range of a value; of each pair of ranges, or of a class and a range.

    The first rows are as good as random ones, since sets are shuffled when they are written. A value has ten ranges, or
    one for each number where it takes no more than ten. At most 20 classes are shown, evenly chosen; of a vector the
    first two dimensions. Classes and ranges without images are left out.
    """
    space = found.label_space
    labels = found.columns[label_column(found)]
    there = np.unique(space.class_part(labels)) if space.has_classes else np.empty(0, np.int64)
    shown = np.linspace(0, len(there) - 1, min(len(there), _MOST_CLASSES)).round().astype(int)
    numbers = there[shown]
    names = tuple(space.names[number] for number in numbers)
    if space.kind == "class":
        return Examples(np.stack([_first(labels == number, _EACH) for number in numbers]), names)
    values = space.continuous_part(labels)
    first, left = _bins(values[:, 0], space.dimensions[0])
    if space.kind == "scalar":
        return _without_gaps(Examples(np.stack([_first(first == place, _EACH) for place in range(len(left))]), left))
    if space.kind == "class+scalar":
        classes, top = space.class_part(labels), left
        cells = [_cells(classes == number, first, len(top)) for number in numbers]
        return _without_gaps(Examples(np.stack(cells), names, top))
    second, top = _bins(values[:, 1], space.dimensions[1])
    cells = [_cells(first == place, second, len(top)) for place in range(len(left))]
    return _without_gaps(Examples(np.stack(cells), left, top))


def _bins(values: npt.NDArray[np.float64], axis: Axis) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    """The range that each value lies in, and a text for each range: its number, or its middle."""
    unit = {"": "", "degree": "°"}.get(axis.unit, f" {axis.unit}")
    distinct = np.unique(values)
    if len(distinct) <= _BINS:
        return np.searchsorted(distinct, values), tuple(f"{value:.4g}{unit}" for value in distinct)
    low, high = distinct[0], distinct[-1]
    width = (high - low) / _BINS
    numbers = np.clip(((values - low) / width).astype(np.int64), 0, _BINS - 1)
    digits = max(0, 1 - int(np.floor(np.log10(width))))
    return numbers, tuple(f"{low + (place + 0.5) * width:.{digits}f}{unit}" for place in range(_BINS))


def _cells(mask: npt.NDArray[np.bool_], bins: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    return np.array([_first(mask & (bins == place), 1)[0] for place in range(count)])


def _first(mask: npt.NDArray[np.bool_], count: int) -> npt.NDArray[np.int64]:
    rows = np.full(count, MISSING)
    chosen = np.flatnonzero(mask)[:count]
    rows[: len(chosen)] = chosen
    return rows


def _without_gaps(found: Examples) -> Examples:
    there = found.rows != MISSING
    left, top = there.any(axis=1), there.any(axis=0)
    return Examples(
        found.rows[left][:, top],
        tuple(text for text, kept in zip(found.left, left, strict=True) if kept),
        tuple(text for text, kept in zip(found.top, top, strict=False) if kept),
    )
