"""Reads the papers' HDF5 files by role: labels and row numbers at once, images row by row from a map."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data.errors import DataError
from data.files import FileState
from data.foreign.layouts import LAYOUTS, Layout, recognise
from data.quarantine import Quarantine
from data.reading import release_pages
from data.sources import check_rows
from data.untrusted import unpack_arrays

_ROWS_A_TAKE = 512
_COPIED_BYTES = 1 << 26


@dataclass(frozen=True)
class _State:
    """A file as it lay on the disk when it was looked at; part of cache keys, so that a changed file is read anew."""

    path: Path
    file: FileState


@dataclass(frozen=True, eq=False)
class PublishedFile:
    """A recognised file with its labels; of its images nothing is read until they are asked for.

    Pickling keeps the path alone; another process recognises the file for itself.

    Args:
        layout: what it was recognised as.
        small_arrays: labels and row numbers by the names of their arrays, read-only.
        among: layouts that will do.
        reader: who reads it, for messages.
        state: of the file when it was recognised; what is read later must be of the same.
    """

    layout: Layout
    small_arrays: Mapping[str, npt.NDArray[Any]]
    among: tuple[str, ...]
    reader: str
    state: FileState

    def __len__(self) -> int:
        """Number of rows of all parts."""
        return len(self.layout)

    def column(self, role: str) -> npt.NDArray[Any]:
        """One number a row, of all parts one after another and in the file's own type, shape (N,).

        Raises:
            DataError: if a part has no such array, or one with several numbers a row.
        """
        if not self.layout.has(role):
            raise DataError(
                f"{self.layout.path}: must have {role} for {self.reader}, got a file without; give another file."
            )
        found = []
        for part in self.layout.parts.values():
            values = self.array(part.keys[role])
            if values.size != part.rows:
                raise DataError(
                    f"{self.layout.path}: {part.keys[role]} must have one number for each of {part.rows} rows, got the "
                    f"shape {values.shape}; try source.kind hdf5."
                )
            found.append(values.reshape(-1))
        return np.concatenate(found)

    def array(self, key: str) -> npt.NDArray[Any]:
        """An array by its name in the file, read-only.

        Raises:
            DataError: if it cannot be read.
        """
        if key in self.small_arrays:
            return self.small_arrays[key]
        return unpack_arrays(self.layout.path, [key], unchanged=self.state)[key]

    def row_numbers(self, key: str, part: str) -> npt.NDArray[np.int64]:
        """Rows that an array of row numbers of a part names, counted among all rows of the file, int64 (n,).

        Raises:
            DataError: if they are no integers, name a row twice, or one that the part does not have.
        """
        numbers, found = self.array(key), self.layout.parts[part]
        item = f"{self.layout.path}: {key}"
        if numbers.dtype.kind not in "iu" or numbers.ndim != 1:
            raise DataError(
                f"{item} must be one-dimensional integers, got {numbers.dtype.name} {numbers.shape}; convert it."
            )
        if numbers.size and (numbers.min() < 0 or numbers.max() >= found.rows):
            raise DataError(
                f"{item} must name rows 0..{found.rows - 1}, got {numbers.min()}..{numbers.max()}; it belongs to "
                "another file, or counts from 1: correct it."
            )
        if len(np.unique(numbers)) != len(numbers):
            raise DataError(f"{item} must name no row twice, got {len(numbers)} numbers of fewer rows; correct it.")
        return numbers.astype(np.int64) + found.start

    def images(self, rows: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
        """The images of ``rows``, in that order, uint8 (n, C, H, W), copied from a map.

        Raises:
            DataError: if a row lies outside the file, or the images cannot be unpacked.
        """
        numbers = check_rows(rows, len(self), str(self.layout.path))
        found = np.empty((len(numbers), *self.layout.image_shape), np.uint8)
        for name, part in self.layout.parts.items():
            stored = self._maps[name]
            here = np.flatnonzero((numbers >= part.start) & (numbers < part.start + part.rows))
            # In the order of the file, so that a block lies close together on the disk and in memory.
            here = here[np.argsort(numbers[here], kind="stable")]
            for first in range(0, len(here), _ROWS_A_TAKE):
                places = here[first : first + _ROWS_A_TAKE]
                block = stored[numbers[places] - part.start]
                found[places] = block if self.layout.axes == "NCHW" else block.transpose(0, 3, 1, 2)
                release_pages(stored)
        return found

    def notes(self) -> tuple[str, ...]:
        """What a person should know of how the file was understood: arrays that nobody reads."""
        ignored = self.layout.ignored
        if not ignored:
            return ()
        return (f"{self.layout.path.name}: {', '.join(ignored)} {'is' if len(ignored) == 1 else 'are'} not read.",)

    @cached_property
    def _maps(self) -> dict[str, npt.NDArray[np.uint8]]:
        """The images of each part; they stay on the disk, unpacked once, as long as this object lives."""
        keys = {name: part.keys["images"] for name, part in self.layout.parts.items()}
        arrays = unpack_arrays(self.layout.path, list(keys.values()), unchanged=self.state)
        for name, key in keys.items():
            if arrays[key].shape[0] != self.layout.parts[name].rows:
                raise DataError(f"{self.layout.path}: {key} has changed since the file was recognised; run again.")
        return {name: arrays[key] for name, key in keys.items()}

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles the path and what was asked for."""
        return open_published, (self.layout.path, self.among, self.reader)


def open_published(path: Path | str, among: Collection[str] = LAYOUTS, reader: str = "this command") -> PublishedFile:
    """Recognises a file and reads its labels; images are read when they are asked for.

    Args:
        path: an HDF5 file.
        among: names of the layouts that will do.
        reader: who asks, for messages, e.g. "source rc49".

    Raises:
        DataError: as ``recognise``.
    """
    # A link that a person names is followed; what the file itself links to is not.
    state = _state(Path(path).expanduser().resolve())
    layout, small_arrays = _open(state, tuple(among), reader)
    return PublishedFile(layout, small_arrays, tuple(among), reader, state.file)


def _state(path: Path) -> _State:
    try:
        found = path.stat()
    except OSError as error:
        raise DataError(f"{path} cannot be found ({error.strerror}); check the path.") from error
    return _State(path, FileState.of(found))


# Planning makes a source several times, and asks each for its label space and image shape.
@lru_cache(maxsize=16)
def _open(state: _State, among: tuple[str, ...], reader: str) -> tuple[Layout, dict[str, npt.NDArray[Any]]]:
    # One process for both: to start one takes longer than to read labels.
    with Quarantine() as quarantine:
        layout = recognise(state.path, among, reader=reader, quarantine=quarantine)
        unpacked = unpack_arrays(state.path, layout.small_arrays(), quarantine, unchanged=state.file)
    # Copies, so that no unpacked file is kept on the disk for them; but a map of what is no list of labels at all.
    found = {key: np.array(values) if values.nbytes <= _COPIED_BYTES else values for key, values in unpacked.items()}
    for values in found.values():
        values.flags.writeable = False
    return layout, found
