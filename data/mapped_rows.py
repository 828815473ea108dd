"""Advice to the kernel about rows of a mapped file: which are read soon, which are done with, and no read-ahead.

A plain map reads ahead: a row of 3 kB taken at random from a cold file brings megabytes with it. Advice needs Linux or
another Unix; without it rows are read all the same.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

#: Bytes asked for at a time: the kernel cuts a longer wish down to the read-ahead of the disk, 128 KiB by default.
_AT_ONCE = 1 << 17


@dataclass(frozen=True, eq=False)
class MappedRows:
    """Where the rows of an array lie in a mapped file.

    Args:
        map: the map.
        offset: of the first row in the map, in bytes.
        row_bytes: bytes of a row.
        rows: number of rows.
    """

    map: mmap.mmap
    offset: int
    row_bytes: int
    rows: int

    @classmethod
    def of(cls, array: npt.NDArray[Any]) -> MappedRows | None:
        """The rows of a contiguous array over a read-only map; None for any other array, and without advice."""
        owner: Any = array
        while owner is not None and not isinstance(owner, np.memmap):
            owner = getattr(owner, "base", None)
        # A slice of a memory map is one too, whose base is the map that it was taken from.
        while isinstance(owner, np.memmap) and isinstance(owner.base, np.ndarray):
            owner = owner.base
        # Pages of any other mode may hold what is in no file.
        if owner is None or owner.mode != "r" or not isinstance(owner.base, mmap.mmap) or not array.flags.c_contiguous:
            return None
        if not hasattr(owner.base, "madvise") or not array.size:
            return None
        start = np.frombuffer(owner.base, np.uint8).__array_interface__["data"][0]
        return cls(owner.base, array.__array_interface__["data"][0] - start, array.nbytes // len(array), len(array))

    @property
    def nbytes(self) -> int:
        """Bytes of all rows."""
        return self.rows * self.row_bytes

    def read_singly(self) -> None:
        """No row brings others with it from now on; rows that are wanted together are then to be asked for."""
        self._advise(mmap.MADV_RANDOM, 0, self.rows)

    @contextmanager
    def exactly(self, first: int, last: int) -> Iterator[None]:
        """Inside, rows ``first`` .. ``last`` - 1 bring no others; afterwards the kernel reads ahead there again."""
        self._advise(mmap.MADV_RANDOM, first, last)
        try:
            yield
        finally:
            self._advise(mmap.MADV_NORMAL, first, last)

    def read_soon(self, first: int, last: int) -> None:
        """Has rows ``first`` .. ``last`` - 1 read while this process goes on."""
        begin, stop = self.offset + first * self.row_bytes, self.offset + last * self.row_bytes
        for start in range(begin - begin % mmap.PAGESIZE, stop, _AT_ONCE):
            self._advise_bytes(mmap.MADV_WILLNEED, start, min(start + _AT_ONCE, stop))

    def release(self, first: int, last: int) -> None:
        """Takes rows ``first`` .. ``last`` - 1 out of this process's resident memory; they can be read again."""
        self._advise(mmap.MADV_DONTNEED, first, last)

    def _advise(self, advice: int, first: int, last: int) -> None:
        self._advise_bytes(advice, self.offset + first * self.row_bytes, self.offset + last * self.row_bytes)

    def _advise_bytes(self, advice: int, start: int, stop: int) -> None:
        start -= start % mmap.PAGESIZE
        stop = min(stop, len(self.map))
        if stop > start:
            # It is advice: where the kernel refuses it (pages locked in memory, no memory for its own lists), rows are
            # read all the same.
            with suppress(OSError):
                self.map.madvise(advice, start, stop - start)


def free_memory() -> int | None:
    """Bytes that programs may still take on this machine and in this container, or None where that is not known."""
    known = [value for value in (_machine_memory(), _group_memory()) if value is not None]
    return min(known) if known else None


def _machine_memory() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return None


def _group_memory(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int | None:
    """What the limits of this process's control groups (version 2) leave; None where there is none.

    Pages of files count as used there, but are given back when memory is short.
    """
    try:
        name = next(line[3:] for line in own.read_text(encoding="utf-8").splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        return None
    left: list[int] = []
    folder = root / name.strip("/")
    # Inside a container the path may be one of the machine's; its own group is then the root.
    for group in dict.fromkeys([folder, *folder.parents, root]):
        if not group.is_relative_to(root):
            continue
        try:
            limit = (group / "memory.max").read_text(encoding="ascii").strip()
            if limit == "max":
                continue
            used = int((group / "memory.current").read_text(encoding="ascii"))
            lines = (group / "memory.stat").read_text(encoding="ascii").splitlines()
            files = sum(int(line.split()[1]) for line in lines if line.split()[0] in ("inactive_file", "active_file"))
            left.append(max(0, int(limit) - max(0, used - files)))
        except (OSError, ValueError, IndexError):
            continue
    return min(left, default=None)


def fits_in_memory(nbytes: int) -> bool:
    """Whether half of the free memory holds so many bytes; true where that is not known."""
    free = free_memory()
    return free is None or nbytes <= free // 2
