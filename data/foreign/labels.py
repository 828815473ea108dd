"""Labels of sets made elsewhere, brought into the form of a label space and checked against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from data.errors import DataError
from data.label_texts import find_class
from data.labels import LabelSpace

CLASS_COLUMNS = ("class", "class_name", "label")
VALUE_COLUMNS = ("value", "label")


def as_labels(values: npt.NDArray[Any], space: LabelSpace, where: str) -> npt.NDArray[Any]:
    """A column of the label space from numbers in their own units.

    Args:
        values: any integers or floats, (N, ...); (N, 1) will do for (N,).
        space: what they must mean.
        where: for messages.

    Raises:
        DataError: if the shape is another, or a label lies outside the space.
    """
    if values.dtype.kind not in "iuf":
        raise DataError(f"{where}: labels must be numbers, got {values.dtype.name}; convert them.")
    if values.ndim == 2 and values.shape[1] == 1 and space.label_shape == ():
        values = values[:, 0]
    # Checked before a cast could hide a fraction, or bring a huge number into the range.
    space.check(values, where)
    # A number that float32 does not reach becomes infinite, which no range holds.
    with np.errstate(over="ignore"):
        labels = np.asarray(values, space.dtype)
    check_ranges(labels, space, where)
    return labels


def check_ranges(labels: npt.NDArray[Any], space: LabelSpace, where: str) -> None:
    """Raises DataError if a value lies outside the range of its axis."""
    for axis, column in zip(space.dimensions, space.continuous_part(labels).T, strict=True):
        # Stored labels are float32, and so may be a little beyond an end that float32 does not have.
        outside = (column < np.float32(axis.minimum)) | (column > np.float32(axis.maximum))
        if outside.any():
            row = int(np.flatnonzero(outside)[0])
            raise DataError(
                f"{where}: {axis.name} must lie between {axis.describe(axis.minimum)} and "
                f"{axis.describe(axis.maximum)}, got {column[row]:g} in row {row}; leave such rows out."
            )


def labels_from_texts(columns: Mapping[str, Sequence[str]], space: LabelSpace, where: str) -> npt.NDArray[Any]:
    """A column of the label space from the columns of a CSV.

    A class, by number or name, is in the column ``class``, ``class_name`` or ``label``. A value is in the column of
    its axis's name; a single one may also be in ``value`` or ``label``, the i-th of a vector in ``label_i``, from 0.

    Args:
        columns: texts by the column's name in lower case, N each.
        space: what labels mean.
        where: for messages.

    Raises:
        DataError: if a column is missing, or a text is no label of the space.
    """
    classes = None
    if space.has_classes:
        # Beside a value, "label" is the value's.
        name, texts = _pick(columns, CLASS_COLUMNS if space.kind == "class" else CLASS_COLUMNS[:2], where)
        known = {text: find_class(text, space) for text in set(texts)}
        if unknown := sorted(text for text, found in known.items() if found is None):
            raise DataError(
                f"{where}: column {name} must hold class numbers 0..{space.classes - 1} or class names "
                f"({', '.join(space.names[:8])}{' ...' if space.classes > 8 else ''}), got '{unknown[0]}'."
            )
        classes = np.array([known[text] for text in texts], np.int64)
    values = []
    for place, axis in enumerate(space.dimensions):
        others = VALUE_COLUMNS if len(space.dimensions) == 1 else (f"label_{place}",)
        name, texts = _pick(columns, (axis.name.lower(), *others), where)
        try:
            values.append(np.array([float(text) for text in texts]))
        except ValueError as error:
            raise DataError(f"{where}: column {name} must hold numbers ({error}); correct it.") from error
    joined = np.stack(values, axis=1) if values else None
    return as_labels(_joined(classes, joined), space, where)


def _joined(classes: npt.NDArray[np.int64] | None, values: npt.NDArray[np.float64] | None) -> npt.NDArray[Any]:
    if classes is None or values is None:
        return np.asarray(classes if values is None else values)
    return np.column_stack([classes, values])


def _pick(columns: Mapping[str, Sequence[str]], names: Sequence[str], where: str) -> tuple[str, Sequence[str]]:
    name = next((name for name in names if name in columns), None)
    if name is None:
        raise DataError(f"{where}: must have a column {' or '.join(names)}, got {', '.join(columns) or 'none'}.")
    return name, columns[name]


def seeds_from(values: Sequence[Any] | npt.NDArray[Any] | None, count: int, where: str) -> npt.NDArray[np.uint64]:
    """Seeds uint64 (count,) of whole numbers or their texts; the row numbers where there are none.

    Raises:
        DataError: if they are not that many whole numbers of 0 .. 2**64 - 1.
    """
    if values is None:
        return np.arange(count, dtype=np.uint64)
    try:
        seeds = np.array([int(value) for value in values], np.uint64)
    except (ValueError, OverflowError, TypeError) as error:
        raise DataError(f"{where}: seeds must be whole numbers of 0 to 2**64 - 1 ({error}); correct them.") from error
    if len(seeds) != count:
        raise DataError(f"{where}: there must be one seed an image, got {len(seeds)} for {count}; leave them out.")
    return seeds
