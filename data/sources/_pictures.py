"""Image files of a source, as rows: those that are kept, and those that are left out by choice."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from data.errors import DataError
from data.faults import Fault, UnreadableImages
from data.file_digests import digest_of_files
from data.sources import check_rows

# Paths of a million files would take much more memory than their names.
_FILES_AT_A_TIME = 1024
Damaged = Literal["error", "skip"]


@dataclass(frozen=True)
class Pictures:
    """Image files below a folder, one a row until some are left out.

    Args:
        where: name of the data set, for messages.
        root: the folder.
        names: file of every row, relative to it.
        lost: faults by row of files that are known to be missing or no files before any is opened.
        image_shape: (C, H, W).
        fit: what is done with images of another size, see ``read_image_files``.
        damaged: "error" refuses files when they are read; "skip" leaves out the rows of those that are lost or damaged.

    Raises:
        UnreadableImages: if all files are lost.
    """

    where: str
    root: Path
    names: Sequence[str]
    lost: Mapping[int, Fault]
    image_shape: tuple[int, int, int]
    fit: Any
    damaged: Damaged

    def __post_init__(self) -> None:
        if self.names and len(self.lost) == len(self.names):
            raise self._unreadable(list(self.lost.values()), "check source.folder")

    @cached_property
    def faults(self) -> dict[int, Fault]:
        """Why rows are left out, by row; reads every file where they are left out by choice."""
        from data.image_files import find_faults

        if self.damaged == "error":
            return {}
        there = [row for row in range(len(self.names)) if row not in self.lost]
        faults = dict(self.lost)
        for first in range(0, len(there), _FILES_AT_A_TIME):
            rows = there[first : first + _FILES_AT_A_TIME]
            files, names = self._files(rows)
            found = find_faults(files, self.image_shape, fit=self.fit, names=names)
            faults |= {rows[place]: fault for place, fault in found.items()}
        if len(faults) == len(self.names):
            raise self._unreadable(list(faults.values()), "check source.folder")
        return dict(sorted(faults.items()))

    @cached_property
    def kept(self) -> npt.NDArray[np.int64]:
        """The rows that are kept, int64 (M,)."""
        return np.setdiff1d(np.arange(len(self.names)), np.array(list(self.faults), np.int64))

    def names_of(self, rows: npt.NDArray[np.integer]) -> list[str]:
        """Names of kept rows, relative to the folder."""
        return [self.names[row] for row in self.kept[rows].tolist()]

    def skipped(self) -> tuple[Fault, ...]:
        """Files that are left out."""
        return tuple(self.faults.values())

    def read(self, rows: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
        """Images of kept rows, uint8 (n, C, H, W).

        Raises:
            UnreadableImages: naming all of them that cannot be read.
            DataError: if a row lies outside.
        """
        from data.image_files import read_image_files

        chosen = self.kept[check_rows(rows, len(self.kept), self.where)].tolist()
        files, names = self._files([row for row in chosen if row not in self.lost])
        try:
            images = read_image_files(files, self.image_shape, fit=self.fit, where=self.where, names=names)
        except UnreadableImages as error:
            lost = [self.lost[row] for row in chosen if row in self.lost]
            raise UnreadableImages([*lost, *error.faults], len(chosen), self.where, error.remedy) from error
        if len(files) < len(chosen):
            lost = [self.lost[row] for row in chosen if row in self.lost]
            raise UnreadableImages(lost, len(chosen), self.where, "put files there, or set source.damaged to skip")
        return images

    def _unreadable(self, faults: Sequence[Fault], remedy: str) -> UnreadableImages:
        return UnreadableImages(faults, len(self.names), self.where, remedy)

    def _files(self, rows: Sequence[int]) -> tuple[list[Path], list[str]]:
        names = [self.names[row] for row in rows]
        return [self.root / name for name in names], names

    def digest(self, *columns: npt.NDArray[Any]) -> str:
        """SHA-256 of the files with their names, and of columns with one value a row; hexadecimal."""
        there = [self.names[row] for row in range(len(self.names)) if row not in self.lost]
        total = hashlib.sha256(digest_of_files(self.root, there).encode())
        for row in sorted(self.lost):
            total.update(f"{row} lost".encode())
        for column in columns:
            total.update(f"{column.dtype.str} {column.shape}".encode() + np.ascontiguousarray(column).tobytes())
        return total.hexdigest()


def open_root(kind: str, folder: str) -> Path:
    """The folder of a source.

    Raises:
        DataError: if there is none.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        here = "" if root.is_absolute() else f", looked for in {Path.cwd()}, where the command was started"
        raise DataError(f"{kind}: source.folder must be a folder, got {folder}{here}; check its name.")
    return root
