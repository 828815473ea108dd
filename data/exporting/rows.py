"""What a row of a set is called outside of this project: its split, its fields by name, its image as PNG."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from data.errors import DataError
from data.labels import LabelSpace
from data.reading import ImageSet, release_pages

#: Names of the splits 0, 1, 2 of a set; all rows of a set without splits are of the first.
SPLITS = ("train", "validation", "test")
#: Rows that are in memory at a time, and bytes of their pixels unless a single image has more.
BLOCK_ROWS, BLOCK_BYTES = 1024, 1 << 24

# Columns that have other names outside.
_OWN = ("images", "labels", "split")
# Columns that hold labels, too.
_LABELLED = ("condition", "other_labels")
# Names that the formats give to something else.
_TAKEN = ("class", "class_name", "file", "file_name", "filename", "image", "row", "split")


@dataclass(frozen=True)
class Field:
    """One value of a row, or a fixed number of them.

    Args:
        name: what it is called outside.
        column: the column that it comes from.
        part: which of the values of a row it is; None takes them all.
        names: class names, if the value is a class.
    """

    name: str
    column: str
    part: int | None = None
    names: tuple[str, ...] = ()

    def of(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The field of some rows of its column, (n, ...) to (n) or (n, K); classes become int64."""
        chosen = values if self.part is None else values[:, self.part]
        return chosen.astype(np.int64) if self.names else chosen


@dataclass(frozen=True)
class Block:
    """Some rows of a set.

    Args:
        rows: row numbers, int64 (n,).
        images: uint8 (n, C, H, W).
        values: a field's values by its name, (n,) or (n, K).
    """

    rows: npt.NDArray[np.int64]
    images: npt.NDArray[np.uint8]
    values: dict[str, npt.NDArray[Any]]


def label_column(found: ImageSet) -> str:
    """The column that holds the labels that go with the images.

    Raises:
        DataError: if the set holds no labelled images, or none that an image file can hold.
    """
    column = next((name for name in ("labels", "condition") if name in found.columns), None)
    if "images" not in found.columns or column is None:
        raise DataError(
            f"{found.path}: must be a set of images with labels, got kind '{found.kind}'; "
            "export the set that it belongs to."
        )
    channels = found.columns["images"].shape[1]
    if channels not in (1, 3):
        raise DataError(f"{found.path}: images must have 1 or 3 channels to become PNG files, got {channels}.")
    return column


def class_field(space: LabelSpace) -> str:
    """What the class of a label is called in forms of other programs, whose word for it a value may have, too."""
    return "label" if space.kind == "class" else "class"


def fields_of(found: ImageSet, class_name: str, *, flat: bool) -> tuple[Field, ...]:
    """The fields of a row: first those of its label, then all other columns, in ascending order of their names.

    Args:
        found: a set of images with labels.
        class_name: what the class of a label is called.
        flat: whether a column of several values a row becomes as many fields, ``name_0``, ``name_1`` and so on.

    Raises:
        DataError: if the set has no labelled images, or a dimension of its labels has a name that is taken.
    """
    column = label_column(found)
    if not len(found):
        raise DataError(f"{found.path}: must have at least one row to be exported, got none; name a set with some.")
    space = found.label_space
    fields = _label_fields(space, column, class_name)
    for name in sorted(found.columns):
        if name in _OWN or name == column:
            continue
        values = found.columns[name]
        if name in _LABELLED and space.label_shape and flat:
            fields += [
                Field(f"{name} {field.name}", name, field.part, field.names)
                for field in _label_fields(space, name, "class")
            ]
        elif name in _LABELLED and space.kind == "class":
            fields.append(Field(name, name, names=space.names))
        elif values.ndim > 1 and flat:
            fields += [Field(f"{name}_{part}", name, part) for part in range(values.shape[1])]
        else:
            fields.append(Field(name, name))
    _check_names(found, fields, class_name)
    return tuple(fields)


def _label_fields(space: LabelSpace, column: str, class_name: str) -> list[Field]:
    if space.kind == "class":
        return [Field(class_name, column, names=space.names)]
    if space.kind == "scalar":
        return [Field(space.name, column)]
    first = [Field(class_name, column, 0, space.names)] if space.has_classes else []
    return first + [Field(axis.name, column, len(first) + part) for part, axis in enumerate(space.dimensions)]


def _check_names(found: ImageSet, fields: list[Field], class_name: str) -> None:
    seen = {name for name in _TAKEN if name != class_name}
    for field in fields:
        name = field.name.strip().lower()
        if not name or name in seen:
            raise DataError(
                f"{found.path}: a dimension of the labels must have a name of its own to become a column, "
                f"got '{field.name}'; write the set with another name."
            )
        seen.add(name)


def rows_by_split(found: ImageSet) -> dict[str, npt.NDArray[np.int64]]:
    """Row numbers of every split that has rows, in ascending order."""
    if "split" not in found.columns:
        return {SPLITS[0]: np.arange(len(found))} if len(found) else {}
    parts = found.columns["split"]
    found_rows = {name: np.flatnonzero(parts == number) for number, name in enumerate(SPLITS)}
    return {name: rows for name, rows in found_rows.items() if len(rows)}


def blocks_of(found: ImageSet, rows: npt.NDArray[np.int64], fields: tuple[Field, ...]) -> Iterator[Block]:
    """The rows, block by block; what was read of the file is handed back to the system after each."""
    columns = {field.column for field in fields}
    size = max(1, min(BLOCK_ROWS, BLOCK_BYTES // int(np.prod(found.columns["images"].shape[1:]))))
    for start in range(0, len(rows), size):
        chosen = rows[start : start + size]
        taken = {name: found.take(name, chosen) for name in columns}
        images = found.take("images", chosen)
        release_pages(found.columns["images"])
        yield Block(chosen, images, {field.name: field.of(taken[field.column]) for field in fields})


def row_names(found: ImageSet, rows: npt.NDArray[np.int64]) -> list[str]:
    """Row numbers with as many digits as the last one has, so that names sort as rows do."""
    digits = len(str(max(len(found) - 1, 0)))
    return [f"{row:0{digits}d}" for row in rows.tolist()]


def texts(values: npt.NDArray[Any]) -> list[str]:
    """Numbers (n,) as the shortest texts that give the same numbers back in their own type."""
    found: list[str] = values.astype(str).tolist()
    return found


def numbers(values: npt.NDArray[Any]) -> list[Any]:
    """Numbers (n,) or (n, K) as Python numbers of as few digits as give the same number back in the array's type.

    Seeds become texts: they fill 64 bits without a sign, which readers of JSON cannot hold as numbers.
    """
    if values.dtype == np.uint64:
        return texts(values) if values.ndim == 1 else [texts(row) for row in values]
    if values.dtype.kind != "f":
        plain: list[Any] = values.tolist()
        return plain
    short: list[Any] = values.astype(str).astype(np.float64).tolist()
    return short


def png_of(image: npt.NDArray[np.uint8]) -> bytes:
    """An image uint8 (C, H, W), C = 1 or 3, as the bytes of a PNG file."""
    from PIL import Image

    pixels = image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0))
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
