"""Durable files: written beside, flushed to the disk, renamed into place; and a look at a file before it is opened."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any

from data.errors import DataError


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


def write_json(path: Path, value: Any) -> None:
    """Writes ``value`` as readable JSON, durably."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")
    replace_durably(temporary, path)


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
