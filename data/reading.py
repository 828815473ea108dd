"""Reads a set: opened and checked once, then batches are gathered from a memory map at the speed of memory."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data.checking import Extent, read_header
from data.digests import ContentDigest, block_digest
from data.errors import DataError
from data.labels import LabelSpace
from data.schema import BLOCK_ROWS, DIGESTS, SCHEMA_VERSION, blocks, check_values


@dataclass(frozen=True, eq=False)
class Selected:
    """Rows of an array that are taken only when they are asked for, so that a subset of a set is never held whole.

    ``data.writing.write_set`` takes it in the place of an array.

    Args:
        array: rows first, mostly a column over a memory map, (N, ...).
        rows: row numbers in 0 .. N - 1, int64 (n,); a row may stand there twice.

    Raises:
        ValueError: if rows are no integers or lie outside the array.
    """

    array: npt.NDArray[Any]
    rows: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        """Checks the rows once, so that none of them fails in the middle of a file."""
        _check_rows(self.rows, len(self.array))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self.array.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, ...), rows first."""
        return (len(self.rows), *self.array.shape[1:])

    def __len__(self) -> int:
        """Number of selected rows."""
        return len(self.rows)

    def __getitem__(self, places: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Copies the selected rows at integer places in 0 .. n - 1, (m,) to (m, ...)."""
        return np.take(self.array, self.rows[places], axis=0)


@dataclass(frozen=True, eq=False)
class ImageSet:
    """A set of images with its labels and outputs, or of any other kind, read from one file.

    Pickling keeps the path and the content digest alone; another process opens the file for itself.

    Args:
        path: the file.
        kind: what the set is, a key of ``KINDS``.
        label_space: what its labels mean.
        provenance: how it was made, JSON-ready.
        license: SPDX expression.
        content_sha256: digest of the columns, hexadecimal.
        columns: read-only arrays over a memory map, rows first, by name.
    """

    path: Path
    kind: str
    label_space: LabelSpace
    provenance: dict[str, Any]
    license: str
    content_sha256: str
    columns: dict[str, npt.NDArray[Any]]

    def __len__(self) -> int:
        """Number of rows."""
        return len(next(iter(self.columns.values())))

    def take(self, column: str, rows: npt.NDArray[np.integer]) -> npt.NDArray[Any]:
        """Copies rows of a column, in the order asked for; a row may be asked for twice.

        Args:
            column: name of the column.
            rows: integer row numbers in 0 .. N - 1, shape (n,).

        Returns:
            Shape (n, ...), the type of the column.

        Raises:
            DataError: if the set has no such column.
            ValueError: if rows are no integers or lie outside the set.
        """
        if column not in self.columns:
            raise DataError(f"{self.path}: must have the column '{column}', got {', '.join(self.columns)}.")
        _check_rows(rows, len(self))
        # The range is checked, so "clip" never clips; it spares NumPy a buffered copy.
        return np.take(self.columns[column], rows.astype(np.int64, copy=False), axis=0, mode="clip")

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles the path and the content digest."""
        return _open_again, (self.path, self.content_sha256)


def release_pages(values: npt.NDArray[Any] | Selected) -> None:
    """Takes the pages of a column that were read out of this process's resident memory; they can be read again.

    The whole file is released, not the column alone. Does nothing for an array in memory, and where the platform
    cannot do it.
    """
    owner: Any = values.array if isinstance(values, Selected) else values
    while owner is not None and not isinstance(owner, np.memmap):
        owner = getattr(owner, "base", None)
    # Pages of any other mode may hold what is in no file.
    if owner is not None and owner.mode == "r" and isinstance(owner.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        owner.base.madvise(mmap.MADV_DONTNEED)


def _check_rows(rows: npt.NDArray[np.integer], count: int) -> None:
    if rows.dtype.kind not in "iu":
        raise ValueError(f"rows must be integers, got {rows.dtype.name}; turn a mask into row numbers first.")
    if rows.size and (rows.min() < 0 or rows.max() >= count):
        raise ValueError(f"rows must lie in 0..{count - 1}, got {rows.min()}..{rows.max()}.")


def open_set(path: Path | str) -> ImageSet:
    """Opens a set: checks its structure, attributes and values, and maps its columns.

    The bytes of images are not read; ``verify_set`` does that.

    Raises:
        DataError: one sentence that names the file, the item and the remedy.
    """
    return _open(Path(path))[0]


def verify_set(path: Path | str) -> dict[str, Any]:
    """Reads every byte of a set and compares all digests.

    Returns:
        Counts of what was found whole: rows, columns, blocks, bytes; with path, kind and content digest.

    Raises:
        DataError: naming what is damaged, e.g. "images rows 4096..8191".
    """
    found, digests = _open(Path(path))
    content = ContentDigest()
    damaged: list[tuple[str, int, int]] = []
    for name, values in sorted(found.columns.items()):
        content.begin(name, values.dtype, values.shape)
        for start, stop in blocks(len(found)):
            content.update(values[start:stop])
            if not np.array_equal(block_digest(values[start:stop]), digests[name][start // BLOCK_ROWS]):
                damaged.append((name, start, stop))
            release_pages(values)
    whole = content.hexdigest() == found.content_sha256
    for name, start, stop in damaged:
        # If the content is as recorded, it is the block's digest that has changed.
        item = f"{DIGESTS}/{name} row {start // BLOCK_ROWS}" if whole else f"{name} rows {start}..{stop - 1}"
        raise DataError(f"{path}: {item} is damaged: it does not fit its digest; restore or write the set again.")
    if not whole:
        raise DataError(f"{path}: attribute content_sha256 is not that of the columns; write the set again.")
    return {
        "path": str(path),
        "kind": found.kind,
        "rows": len(found),
        "columns": len(found.columns),
        "blocks": sum(len(digest) for digest in digests.values()),
        "bytes": sum(values.nbytes for values in found.columns.values()),
        "content_sha256": found.content_sha256,
    }


def describe_set(path: Path | str) -> dict[str, Any]:
    """What a person who meets a set for the first time wants to know, JSON-ready.

    Returns:
        ``format_version``, ``kind``, ``rows``, ``columns`` (type, shape, bytes), ``label_space``, ``labels``,
        ``license``, ``content_sha256`` and ``provenance``. For each label column ``labels`` tells by kind: class, the
        rows of each class; scalar, the smallest and largest label; vector, those of each axis; class+scalar, the rows
        of each class with its smallest and largest value.

    Raises:
        DataError: if the file is no whole set.
    """
    found = open_set(path)
    return {
        "path": str(path),
        "format_version": SCHEMA_VERSION,
        "kind": found.kind,
        "rows": len(found),
        "columns": {
            name: {"dtype": values.dtype.name, "shape": list(values.shape), "bytes": values.nbytes}
            for name, values in found.columns.items()
        },
        "label_space": found.label_space.to_dict(),
        "labels": {
            name: _count(found.columns[name], found.label_space)
            for name in ("labels", "condition")
            if name in found.columns
        },
        "license": found.license,
        "content_sha256": found.content_sha256,
        "provenance": found.provenance,
    }


def _count(labels: npt.NDArray[Any], label_space: LabelSpace) -> dict[str, Any]:
    if label_space.kind == "class":
        counts = np.bincount(labels, minlength=label_space.classes)
        return {name: int(count) for name, count in zip(label_space.names, counts, strict=True)}
    if label_space.kind == "scalar":
        return _range(labels)
    if label_space.kind == "vector":
        return {axis.name: _range(labels[:, number]) for number, axis in enumerate(label_space.axes)}
    mine = [labels[labels[:, 0] == number, 1] for number in range(label_space.classes)]
    return {name: {"rows": len(values), **_range(values)} for name, values in zip(label_space.names, mine, strict=True)}


def _range(values: npt.NDArray[Any]) -> dict[str, float]:
    return {"minimum": float(values.min()), "maximum": float(values.max())} if values.size else {}


def _open(path: Path) -> tuple[ImageSet, dict[str, npt.NDArray[np.uint8]]]:
    header = read_header(path)
    try:
        # One map for all columns: each map holds a file descriptor, and a hundred parts may be open at once.
        whole = np.asarray(np.memmap(path, np.uint8, "r"))
        columns = {name: _view(whole, extent) for name, extent in sorted(header.columns.items())}
        digests = {name: _view(whole, extent) for name, extent in header.digests.items()}
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: the file cannot be mapped ({error}); was it replaced just now? open it again."
        ) from error
    for name, values in columns.items():
        if name != "images":
            for start, stop in blocks(header.rows):
                check_values(name, values[start:stop], header.label_space, f"{path}: {name} rows {start}..{stop - 1}")
                release_pages(values)
    found = ImageSet(
        path=path,
        kind=header.kind,
        label_space=header.label_space,
        provenance=header.provenance,
        license=header.license,
        content_sha256=header.content_sha256,
        columns=columns,
    )
    return found, digests


def _view(whole: npt.NDArray[np.uint8], extent: Extent) -> npt.NDArray[Any]:
    view = whole[extent.offset : extent.offset + extent.size].view(extent.dtype).reshape(extent.shape)
    view.flags.writeable = False
    return view


def _open_again(path: Path, content_sha256: str) -> ImageSet:
    found = open_set(path)
    if found.content_sha256 != content_sha256:
        raise DataError(f"{path}: the set was replaced by another one since it was opened; open it again.")
    return found
