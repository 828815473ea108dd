"""Reads a set: opened and checked once, then batches are gathered from a memory map at the speed of memory."""

from __future__ import annotations

import mmap
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data.checking import Extent, Header, read_header
from data.digests import BlockDigest, ContentDigest, bytes_a_row, pieces
from data.errors import DataError
from data.labels import LabelSpace
from data.schema import BLOCK_ROWS, DIGESTS, blocks, check_values


@dataclass(frozen=True, eq=False)
class Selected:
    """Rows of an array that are taken only when they are asked for, so that a subset of a set is never held whole.

    ``data.writing.write_set`` takes it in the place of an array.

    Args:
        array: rows first, mostly a column over a memory map, (N, ...).
        rows: row numbers in 0 .. N - 1, int64 (n,); a row may stand there twice.
        of: the set and the name of the column that the array is, so that pickling keeps the file's name and the rows
            alone; see ``ImageSet.select``.

    Raises:
        ValueError: if rows are no integers or lie outside the array.
    """

    array: npt.NDArray[Any]
    rows: npt.NDArray[np.int64]
    of: tuple[ImageSet, str] | None = None

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

    def __getitem__(self, places: npt.NDArray[np.int64] | slice) -> npt.NDArray[Any]:
        """Copies the selected rows at integer places in 0 .. n - 1, (m,) to (m, ...), or those of a slice."""
        return np.take(self.array, self.rows[places], axis=0)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles the set and the rows; the array itself where it is of no set."""
        if self.of is None:
            return Selected, (self.array, self.rows)
        return _select_again, (*self.of, self.rows)


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
        trusted: whether the file is our own, so that HDF5 may parse it in another process that opens it again.
    """

    path: Path
    kind: str
    label_space: LabelSpace
    provenance: dict[str, Any]
    license: str
    content_sha256: str
    columns: dict[str, npt.NDArray[Any]]
    trusted: bool = True

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

    def select(self, column: str, rows: npt.NDArray[np.int64] | None = None) -> Selected:
        """Rows of a column, all by default, that are read when they are asked for, also by another process.

        Raises:
            DataError: if the set has no such column.
            ValueError: if rows are no integers or lie outside the set.
        """
        if column not in self.columns:
            raise DataError(f"{self.path}: must have the column '{column}', got {', '.join(self.columns)}.")
        chosen = np.arange(len(self)) if rows is None else rows
        return Selected(self.columns[column], chosen, (self, column))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles the path and the content digest."""
        return _open_again, (self.path, self.content_sha256, self.trusted)


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
        # It is advice: where the kernel refuses it, as for pages that are locked in memory, they stay.
        with suppress(OSError):
            owner.base.madvise(mmap.MADV_DONTNEED)


def _check_rows(rows: npt.NDArray[np.integer], count: int) -> None:
    if rows.dtype.kind not in "iu":
        raise ValueError(f"rows must be integers, got {rows.dtype.name}; turn a mask into row numbers first.")
    if rows.size and (rows.min() < 0 or rows.max() >= count):
        raise ValueError(f"rows must lie in 0..{count - 1}, got {rows.min()}..{rows.max()}.")


def open_set(path: Path | str) -> ImageSet:
    """Opens a set of our own: checks its structure, attributes and values, and maps its columns.

    The bytes of images are not read; ``verify_set`` does that. HDF5 parses the file in this process: a file that
    somebody else made is opened by ``data.untrusted.open_untrusted``.

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
    return verify_opened(*_open(Path(path)))


def verify_opened(found: ImageSet, digests: dict[str, npt.NDArray[np.uint8]]) -> dict[str, Any]:
    """Reads every byte of an open set and compares all digests; see ``verify_set``."""
    content = ContentDigest()
    damaged: list[tuple[str, int, int]] = []
    for name, values in sorted(found.columns.items()):
        content.begin(name, values.dtype, values.shape)
        row_bytes = bytes_a_row(values.dtype, values.shape)
        for start, stop in blocks(len(found)):
            digest = BlockDigest()
            for first, last in pieces(start, stop, row_bytes):
                content.update(values[first:last])
                digest.update(values[first:last])
                release_pages(values)
            if not np.array_equal(digest.digest(), digests[name][start // BLOCK_ROWS]):
                damaged.append((name, start, stop))
    whole = content.hexdigest() == found.content_sha256
    for name, start, stop in damaged:
        # If the content is as recorded, it is the block's digest that has changed.
        item = f"{DIGESTS}/{name} row {start // BLOCK_ROWS}" if whole else f"{name} rows {start}..{stop - 1}"
        raise DataError(f"{found.path}: {item} is damaged: it does not fit its digest; restore or write the set again.")
    if not whole:
        raise DataError(f"{found.path}: attribute content_sha256 is not that of the columns; write the set again.")
    return {
        "path": str(found.path),
        "kind": found.kind,
        "rows": len(found),
        "columns": len(found.columns),
        "blocks": sum(len(digest) for digest in digests.values()),
        "bytes": sum(values.nbytes for values in found.columns.values()),
        "content_sha256": found.content_sha256,
    }


def _open(path: Path) -> tuple[ImageSet, dict[str, npt.NDArray[np.uint8]]]:
    header = read_header(path)
    try:
        # One map for all columns: each map holds a file descriptor, and a hundred parts may be open at once.
        whole = np.asarray(np.memmap(path, np.uint8, "r"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: the file cannot be mapped ({error}); was it replaced just now? open it again."
        ) from error
    return assemble_set(path, header, whole)


def assemble_set(
    path: Path, header: Header, whole: npt.NDArray[np.uint8], *, trusted: bool = True
) -> tuple[ImageSet, dict[str, npt.NDArray[np.uint8]]]:
    """A set, and the digests of its blocks, from its header and a map of the whole file.

    Raises:
        DataError: if a column ends past the end of the map, or a value is none that its column may have.
    """
    extents = [*header.columns.values(), *header.digests.values()]
    if max((extent.offset + extent.size for extent in extents), default=0) > len(whole):
        raise DataError(f"{path}: the file was cut short just now; open it again.")
    columns = {name: _view(whole, extent) for name, extent in sorted(header.columns.items())}
    digests = {name: _view(whole, extent) for name, extent in header.digests.items()}
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
        trusted=trusted,
    )
    return found, digests


def _view(whole: npt.NDArray[np.uint8], extent: Extent) -> npt.NDArray[Any]:
    view = whole[extent.offset : extent.offset + extent.size].view(extent.dtype).reshape(extent.shape)
    view.flags.writeable = False
    return view


def _open_again(path: Path, content_sha256: str, trusted: bool) -> ImageSet:
    if trusted:
        found = open_set(path)
    else:
        from data.untrusted import open_untrusted

        found = open_untrusted(path)
    if found.content_sha256 != content_sha256:
        raise DataError(f"{path}: the set was replaced by another one since it was opened; open it again.")
    return found


def _select_again(found: ImageSet, column: str, rows: npt.NDArray[np.int64]) -> Selected:
    return found.select(column, rows)
