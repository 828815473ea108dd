"""Lets HDF5 write a file through Python, beside its place, so that a full disk is an error and no crash.

HDF5 2.0 crashes when it closes a file after a write of its own has failed. So it writes through an object of Python
that never fails: the first error is kept, what follows is thrown away, and the error is raised once HDF5 is done.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from data.errors import DataError
from data.files import create_beside, replace_durably


class Sink:
    """What HDF5 writes to: a file whose errors wait until they are asked for (``h5py.File(sink, "w")``).

    Args:
        file: opened for reading and writing, without a buffer.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._place = 0
        self._error: BaseException | None = None

    def check(self) -> None:
        """Raises the first error that there was; to be called between pieces, so that nobody goes on for nothing."""
        if self._error is not None:
            raise self._error

    def write(self, data: memoryview) -> int:
        """Writes all bytes at the current place, or none that count."""
        length = len(data)
        with self._keeping_errors():
            rest = memoryview(data).cast("B")
            while rest and self._error is None:
                written = os.pwrite(self._file.fileno(), rest, self._place)
                self._place += written
                rest = rest[written:]
        return length

    def read(self, size: int) -> bytes:
        """Bytes from the current place; zeros past the end and after an error."""
        found = b""
        with self._keeping_errors():
            while self._error is None and len(found) < size:
                piece = os.pread(self._file.fileno(), size - len(found), self._place + len(found))
                if not piece:
                    break
                found += piece
        return found.ljust(size, b"\0")

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Moves the place; relative to the end where HDF5 asks for the length."""
        with self._keeping_errors():
            start = {os.SEEK_SET: 0, os.SEEK_CUR: self._place}.get(whence)
            self._place = offset + (os.fstat(self._file.fileno()).st_size if start is None else start)
        return self._place

    def tell(self) -> int:
        """The current place."""
        return self._place

    def truncate(self, size: int | None = None) -> int:
        """Sets the length."""
        length = self._place if size is None else size
        with self._keeping_errors():
            if self._error is None:
                os.ftruncate(self._file.fileno(), length)
        return length

    def flush(self) -> None:
        """Nothing is held back."""

    @contextmanager
    def _keeping_errors(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:  # an interrupt, too, must not reach HDF5
            self._error = self._error or error


@contextmanager
def writing_beside(path: Path) -> Iterator[Sink]:
    """A sink beside ``path``, renamed to it at the end of the ``with``; removed if anything fails.

    Raises:
        DataError: if the file cannot be written.
    """
    temporary: Path | None = None
    try:
        descriptor, temporary = create_beside(path)
        with os.fdopen(descriptor, "r+b", buffering=0) as file:
            sink = Sink(file)
            try:
                yield sink
            finally:
                # Before what HDF5 made of it: the cause.
                sink.check()
        replace_durably(temporary, path)
        temporary = None
    except OSError as error:
        raise DataError(f"{path}: the file cannot be written ({error}); make room or choose another folder.") from error
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
