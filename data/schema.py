"""The HDF5 format, version 1, as tables: kinds, columns, attributes, and the checks that follow from them.

Writer and reader ask the same functions, so that what is written can be read. ``docs/data-format.md`` says the same
in words.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from data.errors import DataError
from data.labels import LabelSpace

FORMAT = "stillhouse"
SCHEMA_VERSION = 1
BLOCK_ROWS = 4096
DIGESTS = "digests"
DIGEST_BYTES = 16
# NumPy types that a column may have.
DTYPES = ("<f4", "<i8", "<u8", "|u1")

# Root attributes by the Python type of their value; every one is required and no other is allowed.
ATTRIBUTES: dict[str, type] = {
    "attribute_digests": str,
    "block_rows": int,
    "complete": int,
    "content_sha256": str,
    "format": str,
    "kind": str,
    "label_space": str,
    "license": str,
    "provenance": str,
    "schema_version": int,
}

Shape = tuple[int, ...]
Layout = Mapping[str, tuple[np.dtype[Any], Shape]]


@dataclass(frozen=True)
class Column:
    """What a column must hold.

    Args:
        dtype: NumPy type of the values; None for labels, whose type and shape the label space tells.
        axes: names of the axes after the rows, of columns that hold no labels; a number is the only length allowed.
        minimum: smallest value allowed, or None.
        maximum: largest value allowed, or None.
    """

    dtype: str | None
    axes: tuple[str, ...] = ()
    minimum: int | None = None
    maximum: int | None = None


COLUMNS: dict[str, Column] = {
    "accepted": Column("|u1", maximum=1),
    "box": Column("<i8", ("4",), minimum=0),
    "coefficient": Column("<f4", minimum=0, maximum=1),
    "condition": Column(None),
    "density_ratio": Column("<f4", minimum=0),
    "first": Column("<i8", minimum=0),
    "images": Column("|u1", ("C", "H", "W")),
    "labels": Column(None),
    "negative": Column("<i8", ("Q",), minimum=0),
    "other_labels": Column(None),
    "positive": Column("<i8", ("P",), minimum=0),
    "second": Column("<i8", minimum=0),
    "seed": Column("<u8"),
    "source_row": Column("<i8", minimum=0),
    "split": Column("|u1", maximum=2),
    "teacher_error": Column("<f4"),
    "teacher_outputs": Column("<f4", ("K",)),
    "view": Column("<i8", minimum=0),
}

# Columns that a set of each kind must have; it may have any other of COLUMNS as well.
KINDS: dict[str, tuple[str, ...]] = {
    "real": ("images", "labels", "split", "source_row"),
    "answers": ("teacher_outputs", "source_row"),
    "candidates": ("images", "labels", "condition", "seed", "density_ratio", "teacher_outputs", "teacher_error"),
    "draws": ("condition", "seed", "density_ratio", "accepted"),
    "examples": ("images", "condition", "seed", "density_ratio", "accepted"),
    "groups": ("positive", "negative"),
    "mixed": ("images", "labels", "other_labels", "coefficient", "first", "second"),
    "mixes": ("first", "second", "coefficient", "box"),
    "samples": ("images", "labels", "seed"),
    "synthetic": (
        "images",
        "labels",
        "condition",
        "teacher_outputs",
        "teacher_error",
        "density_ratio",
        "seed",
        "source_row",
    ),
}


def canonical_json(value: Any) -> str:
    """JSON with sorted keys, no spaces and ASCII only, so that equal values give equal bytes.

    Raises:
        ValueError: if a number is not finite.
        TypeError: if a value has no JSON form.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def check_layout(kind: str, label_space: LabelSpace, layout: Layout, where: str) -> int:
    """Checks names, types and shapes of the columns of a set.

    Args:
        kind: kind of the set, a key of ``KINDS``.
        label_space: what its labels mean.
        layout: type and shape of every column by name.
        where: the file, for messages.

    Returns:
        The number of rows.

    Raises:
        DataError: naming the column that is missing, unknown or of the wrong type or shape.
    """
    if kind not in KINDS:
        raise DataError(
            f"{where}: kind must be one of {', '.join(KINDS)}, got '{kind}'; write the set with one of them."
        )
    missing = [name for name in KINDS[kind] if name not in layout]
    if missing:
        raise DataError(
            f"{where}: a set of kind '{kind}' must have the columns {', '.join(KINDS[kind])}, "
            f"but '{missing[0]}' is missing; add it or write another kind."
        )
    rows: tuple[str, int] | None = None
    for name, (dtype, shape) in sorted(layout.items()):
        if name not in COLUMNS:
            raise DataError(f"{where}: columns must be among {', '.join(COLUMNS)}, got '{name}'; leave it out.")
        column = COLUMNS[name]
        if column.dtype is None:
            wanted, axes = label_space.dtype, tuple(map(str, label_space.label_shape))
            fits = len(shape) > 0 and shape[1:] == label_space.label_shape
        else:
            wanted, axes = np.dtype(column.dtype), column.axes
            fits = len(shape) == 1 + len(axes) and 0 not in shape[1:]
            # An axis that is a number must have that length; any other name stands for any length.
            fits = fits and all(
                axis == str(length) for axis, length in zip(axes, shape[1:], strict=True) if axis.isdigit()
            )
        if dtype != wanted or not fits:
            got = f"big-endian {dtype.name}" if dtype.str.startswith(">") else dtype.name
            written = ", ".join(("N", *axes)) + ("" if axes else ",")
            raise DataError(
                f"{where}: {name} must be {wanted.name} ({written}), got {got} {shape}; convert it before writing."
            )
        if name == "teacher_outputs" and shape[1] != label_space.outputs:
            raise DataError(
                f"{where}: teacher_outputs must have {label_space.outputs} columns for this label space, "
                f"got {shape[1]}; use the teacher of this label space."
            )
        if rows is None:
            rows = (name, shape[0])
        if shape[0] != rows[1]:
            raise DataError(
                f"{where}: all columns must have the same number of rows, but {rows[0]} has {rows[1]} "
                f"and {name} has {shape[0]}; write the set again."
            )
    return rows[1] if rows else 0


def check_values(name: str, values: npt.NDArray[Any], label_space: LabelSpace, where: str) -> None:
    """Checks the values of some rows of one column: labels in their space, floats finite, numbers in range.

    Raises:
        DataError: naming the column and its rows, as given by ``where``.
    """
    column = COLUMNS[name]
    if column.dtype is None:
        label_space.check(values, where)
        return
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise DataError(f"{where}: values must be finite, got {int(np.sum(~np.isfinite(values)))} that are not.")
    if values.size == 0:
        return
    if column.minimum is not None and values.min() < column.minimum:
        raise DataError(f"{where}: values must be at least {column.minimum}, got {values.min()}.")
    if column.maximum is not None and values.max() > column.maximum:
        raise DataError(f"{where}: values must be at most {column.maximum}, got {values.max()}.")


def blocks(rows: int) -> Iterator[tuple[int, int]]:
    """First row, and row after the last, of every block of ``BLOCK_ROWS`` rows; the last block may be shorter."""
    for start in range(0, rows, BLOCK_ROWS):
        yield start, min(start + BLOCK_ROWS, rows)
