"""Labelled images that are arrays of numbers, from NumPy or HDF5 files: checks, axes, labels and parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from data.errors import DataError
from data.labels import LabelSpace
from data.mapped_rows import MappedRows, fits_in_memory
from data.sources import check_rows
from data.sources._labelling import Value, make_pool, make_space, outside, some

# Most classes that plain numbers may stand for: a column of ages or of row numbers is no column of classes.
_MOST_CLASSES = 100_000
#: A row here and there brings up to 2 MiB around it into memory, where the system keeps files in large pages.
_ROWS_A_TAKE = 64


@dataclass(frozen=True)
class Labels:
    """Checked labels.

    Args:
        space: what they mean.
        labels: a column of the space.
        pool: what rows may serve for.
    """

    space: LabelSpace
    labels: npt.NDArray[Any]
    pool: npt.NDArray[np.uint8]


def read_rows(
    stored: npt.NDArray[np.uint8], layout: str, rows: npt.NDArray[np.integer], where: str
) -> npt.NDArray[np.uint8]:
    """Images of ``rows``, in that order, (n, C, H, W), of an array that may be mapped and larger than memory.

    Args:
        stored: the images as stored, rows first.
        layout: order of their axes.
        rows: int (n,).
        where: name of the data set, for messages.

    Raises:
        DataError: if a row lies outside.
    """
    from data.reading import release_pages

    numbers = check_rows(rows, len(stored), where)
    images = np.empty((len(numbers), *image_shape_of(stored.shape, layout)), np.uint8)
    mapped = MappedRows.of(stored)
    if mapped is not None and not fits_in_memory(mapped.nbytes):
        mapped.read_singly()
    # In the order of the file, which is that of the disk.
    order = np.argsort(numbers, kind="stable")
    for first in range(0, len(order), _ROWS_A_TAKE):
        places = order[first : first + _ROWS_A_TAKE]
        block = stored[numbers[places]]
        if layout == "NHW":
            block = block[:, None]
        images[places] = block.transpose(0, 3, 1, 2) if layout == "NHWC" else block
        release_pages(stored)
    return images


def image_shape_of(shape: tuple[int, ...], layout: str) -> tuple[int, int, int]:
    """(C, H, W) of images that are stored in a shape."""
    if layout == "NHW":
        return 1, shape[1], shape[2]
    return (shape[3], shape[1], shape[2]) if layout == "NHWC" else (shape[1], shape[2], shape[3])


def check_images(dtype: np.dtype[Any], shape: tuple[int, ...], layout: str, where: str) -> None:
    """Refuses what are no images of bytes in the layout that is told.

    Raises:
        DataError: with how to convert them.
    """
    if dtype != np.uint8:
        convert = (
            "if they lie in 0..1, save np.rint(images * 255).astype(np.uint8)"
            if dtype.kind == "f"
            else "save images.astype(np.uint8) if they lie in 0..255"
        )
        raise DataError(f"{where}: images must be uint8 of 0 to 255, got {dtype.name}; {convert}.")
    if len(shape) != len(layout) or 0 in shape:
        fitting = {3: "NHW", 4: "NCHW or NHWC"}.get(len(shape))
        remedy = f"set source.layout to {fitting}" if fitting and len(shape) != len(layout) else "save it again"
        raise DataError(f"{where}: images must be an array of axes {layout}, got shape {shape}; {remedy}.")
    channels, others = image_shape_of(shape, layout)[0], {"NCHW": "NHWC", "NHWC": "NCHW"}.get(layout, "")
    if others and channels > 4 >= image_shape_of(shape, others)[0]:
        raise DataError(
            f"{where}: images of shape {shape} would have {channels} channels as {layout}; "
            f"set source.layout to {others}."
        )


def make_labels(
    rows: int,
    classes: npt.NDArray[Any] | None,
    class_names: Sequence[str],
    values: Sequence[Value],
    numbers: npt.NDArray[Any],
    split: npt.NDArray[Any] | None,
    where: str,
) -> Labels:
    """Checks labels and split of images, and joins them.

    Args:
        rows: number N of images.
        classes: class numbers (N,), any number type; None without.
        class_names: in the order of the numbers; empty calls each by its number.
        values: the continuous labels, L of them.
        numbers: their numbers (N, L).
        split: 0 training, 1 validation, 2 test, (N,); None leaves it open.
        where: name of the data set, for messages.

    Raises:
        DataError: naming the array and the row that cannot be used.
    """
    whole = None if classes is None else _whole(classes, rows, "labels of classes", where)
    names = None if whole is None else _names(whole, class_names, where)
    columns = np.asarray(numbers, np.float64).reshape(-1, len(values)) if values else np.zeros((rows, 0))
    if len(columns) != rows:
        raise DataError(f"{where}: must have one label an image, got {len(columns)} for {rows}; save both again.")
    for value, column in zip(values, columns.T, strict=True):
        bad = np.flatnonzero(~np.isfinite(column))
        if bad.size:
            raise DataError(
                f"{where}: {value.shown} must be a finite number, got {column[bad[0]]} in row {bad[0]}"
                f"{f' and {bad.size - 1:,} more' if bad.size > 1 else ''}; leave such rows out."
            )
    space = make_space(names, values, columns, where)
    for axis, column in zip(space.dimensions, columns.T, strict=True):
        bad = outside(axis, column)
        if bad.size:
            raise DataError(
                f"{where}: {axis.name} must lie between {axis.describe(axis.minimum)} and "
                f"{axis.describe(axis.maximum)}, got {column[bad[0]]:g} in row {bad[0]}"
                f"{f' and {bad.size - 1:,} more' if bad.size > 1 else ''}; correct them, or source.values."
            )
    parts = None if split is None else _whole(split, rows, "the split", where)
    if parts is not None and parts.size and (parts.min() < 0 or parts.max() > 2):
        row = int(np.flatnonzero((parts < 0) | (parts > 2))[0])
        raise DataError(
            f"{where}: the split must be 0 training, 1 validation or 2 test, got {parts[row]} in row {row}; correct it."
        )
    return Labels(space, space.join(whole, columns), make_pool(parts, rows))


def _whole(values: npt.NDArray[Any], rows: int, noun: str, where: str) -> npt.NDArray[np.int64]:
    """A column of whole numbers, int64 (N,)."""
    column = np.asarray(values)
    if column.ndim == 2 and column.shape[1] == 1:
        column = column[:, 0]
    if column.shape != (rows,):
        raise DataError(f"{where}: {noun} must be one number an image, ({rows},), got {column.shape}; save both again.")
    if column.dtype.kind == "f" and column.size and np.abs(column).max() >= 2**53:
        row = int(np.abs(column).argmax())
        raise DataError(f"{where}: {noun} must be whole numbers, got {column[row]:g} in row {row}; correct them.")
    if column.dtype.kind == "f" and not (np.isfinite(column).all() and (column == np.floor(column)).all()):
        row = int(np.flatnonzero(~np.isfinite(column) | (column != np.floor(column)))[0])
        raise DataError(f"{where}: {noun} must be whole numbers, got {column[row]} in row {row}; correct them.")
    return column.astype(np.int64)


def _names(classes: npt.NDArray[np.int64], given: Sequence[str], where: str) -> tuple[str, ...]:
    count = len(given) or (int(classes.max()) + 1 if classes.size else 0)
    if classes.size and (classes.min() < 0 or classes.max() >= count):
        row = int(np.flatnonzero((classes < 0) | (classes >= count))[0])
        raise DataError(
            f"{where}: labels of classes must lie in 0..{count - 1}, got {classes[row]} in row {row}; "
            f"{'name every class in source.classes' if given else 'number classes from 0'}."
        )
    if count > _MOST_CLASSES:
        raise DataError(
            f"{where}: must have at most {_MOST_CLASSES:,} classes, got numbers up to {count - 1}; "
            "if they are values, name them in source.values."
        )
    if len(set(given)) != len(given):
        twice = next(name for place, name in enumerate(given) if name in given[:place])
        raise DataError(f"{where}: source.classes must have distinct names, got '{twice}' twice; correct it.")
    names = tuple(given) or tuple(map(str, range(count)))
    empty = np.flatnonzero(np.bincount(classes, minlength=count) == 0)
    if empty.size:
        called = [f"{place} ('{names[place]}')" if given else str(place) for place in empty.tolist()]
        raise DataError(
            f"{where}: each class 0..{count - 1} must have images, but none has the label {some(called)}; number "
            f"classes from 0{' as source.classes names them' if given else ''}, without gaps."
        )
    return names
