"""Durable files: written beside, flushed to the disk, renamed into place; and a look at a file before it is opened."""

from __future__ import annotations

import fcntl
import glob
import hashlib
import json
import os
import secrets
import stat
import time
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from data.errors import DataError

#: A file younger than this may be one whose writer has not locked it yet.
_NEW_SECONDS = 60.0


def fsync_folder(folder: Path) -> None:
    """Makes renames inside ``folder`` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def fsync_file(path: Path) -> None:
    """Makes the contents of ``path`` durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def replace_durably(temporary: Path, path: Path) -> None:
    """Renames a finished temporary file to ``path``; after a crash either the old or the new file is there, whole."""
    fsync_file(temporary)
    os.replace(temporary, path)
    fsync_folder(path.parent)


def create_beside(path: Path) -> tuple[int, Path]:
    """A new, empty file ``NAME.<12 hexadecimal digits>.tmp`` in the folder of ``path``, which no other writer has.

    What killed writers of the same name have left is removed: files that nobody holds locked and that are no longer
    new. The file is locked as long as its descriptor is open.

    Returns:
        Its descriptor, open for reading and writing, and its path.
    """
    # A name has at most 255 bytes.
    name = os.fsdecode(os.fsencode(path.name)[:200])
    for leftover in path.parent.glob(f"{glob.escape(name)}.{'[0-9a-f]' * 12}.tmp"):
        _remove_unheld(leftover)
    while True:
        temporary = path.with_name(f"{name}.{secrets.token_hex(6)}.tmp")
        with suppress(FileExistsError):
            descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            # Some network file systems have no locks; there nothing is removed.
            with suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor, temporary


def _remove_unheld(leftover: Path) -> None:
    """Removes a temporary file that nobody holds locked, unless it is new; where there are no locks it stays."""
    with suppress(OSError):
        descriptor = os.open(leftover, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if time.time() - os.fstat(descriptor).st_mtime > _NEW_SECONDS:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                leftover.unlink()
        finally:
            os.close(descriptor)


class FileState(NamedTuple):
    """By what a file is known again: another one, or other bytes in it, have another state."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, found: os.stat_result) -> FileState:
        """The state that ``os.stat`` or ``os.fstat`` tells."""
        return cls(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def write_json(path: Path, value: Any) -> None:
    """Writes ``value`` as readable JSON, durably."""
    text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n"
    descriptor, temporary = create_beside(path)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        replace_durably(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal, read in pieces of 4 MiB."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def check_regular(path: Path) -> None:
    """Refuses what is no regular file, without opening it: a FIFO would block, a symbolic link leads elsewhere.

    Raises:
        DataError: if ``path`` is missing or no regular file.
    """
    try:
        mode = os.lstat(path).st_mode
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: the file cannot be found ({error}); check its name.") from error
    if not stat.S_ISREG(mode):
        raise DataError(f"{path}: must be a regular file, no link, folder or pipe; give the file itself.")


def path_within(folder: Path, name: str) -> Path:
    """The path of a file that a table names, if it stays in the folder and no folder on its way is a link.

    Args:
        folder: where the file must lie.
        name: relative to it, with slashes.

    Raises:
        DataError: if the name leads elsewhere; the sentence has neither file nor remedy.
    """
    pure = PurePosixPath(name)
    if not pure.parts or pure.is_absolute() or ".." in pure.parts or "\0" in name:
        raise DataError(f"files must be named relative to the folder and lie in it, got {name!r}")
    path = folder
    for part in pure.parts[:-1]:
        path = path / part
        if path.is_symlink():
            raise DataError(f"{name!r} must not lead over a link, but {path} is one")
    return folder / pure


def processors() -> int:
    """Processors that this process may use, at least 1; the number of threads that read or decode files."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
