"""A folder that is there whole or not at all: filled beside its place, flushed to the disk, then renamed."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data.errors import ConfigError, DataError
from data.files import fsync_file, fsync_folder

#: Beyond so many files the whole disk is flushed once, which is quicker than each file by itself.
_MOST_FLUSHED_FILES = 256


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder beside ``out`` to write in, which becomes ``out`` once the block ends without an error.

    Whatever ends the block early, nothing is left by the name of ``out``; a killed process may leave
    ``<out>.<digits>.tmp``.

    Args:
        out: the folder to make; must not exist.

    Raises:
        ConfigError: if ``out`` exists, or the folder around it does not.
        DataError: if something cannot be written.
    """
    check_absent(out)
    staging = out.with_name(f"{out.name}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        staging.mkdir()
        yield staging
        _flush(staging)
        check_absent(out)
        os.rename(staging, out)
        fsync_folder(out.parent)
    except OSError as error:
        raise DataError(f"{out}: cannot be written ({error}); make room or choose another folder.") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def check_absent(out: Path) -> None:
    """Raises ConfigError if ``out`` exists, be it a link that leads nowhere, or the folder around it does not."""
    if not out.parent.is_dir():
        raise ConfigError(f"out must lie in a folder that is there, got {out}; make {out.parent} first.")
    if os.path.lexists(out):
        raise ConfigError(f"out must be a new file or folder, but {out} exists; choose another name or remove it.")


def _flush(folder: Path) -> None:
    files, folders = [], []
    for place, _, names in os.walk(folder):
        folders.append(Path(place))
        files += [Path(place, name) for name in names]
    if len(files) > _MOST_FLUSHED_FILES and hasattr(os, "sync"):
        os.sync()
        return
    for file in files:
        fsync_file(file)
    for each in folders:
        fsync_folder(each)
