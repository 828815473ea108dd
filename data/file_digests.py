"""SHA-256 digests of files, remembered on disk, so that planning a run reads no file of a data set twice."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import stat
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

from data.errors import DataError
from data.files import processors

#: A file that changed less than this ago may change again within one tick of its clock: it is not remembered.
SETTLE_SECONDS = 2.0
# Seconds for which a process waits for another one that writes.
_PATIENCE_SECONDS = 5.0
# Files looked up and committed at a time: a run that is killed keeps what it has read.
_FILES_AT_A_TIME = 1024
_PIECE = 1 << 20
_TABLE = (
    "CREATE TABLE IF NOT EXISTS digests (path BLOB PRIMARY KEY, state TEXT NOT NULL, sha256 TEXT NOT NULL) "
    "WITHOUT ROWID"
)


def cache_folder() -> Path:
    """Where the product keeps what can be made again: ``$XDG_CACHE_HOME/stillhouse``, or ``~/.cache/stillhouse``.

    Raises:
        RuntimeError: if neither the environment nor the system tells a home folder.
    """
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stillhouse"


def digest_of(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal; read only if the file has changed since it was last asked for.

    Changed means: another size, time of change, or inode at its real path. The memory is a file in the cache folder,
    safe for several processes; a broken one is made anew, and one that cannot be written only costs time.

    Raises:
        DataError: if the file is missing, no regular file, or cannot be read.
    """
    return _digests([path])[0]


def digest_of_files(root: Path, paths: Sequence[Path | str]) -> str:
    """SHA-256 over the names, relative to ``root``, and the digests of files, in the given order; hexadecimal.

    Args:
        root: a folder; where it lies changes nothing.
        paths: files within it, as paths below it or relative to it.

    Raises:
        DataError: as ``digest_of``, or if a path does not lie below ``root``.
    """
    total = hashlib.sha256()
    for first in range(0, len(paths), _FILES_AT_A_TIME):
        names = [_relative(root, path) for path in paths[first : first + _FILES_AT_A_TIME]]
        for name, digest in zip(names, _digests([os.path.join(root, name) for name in names]), strict=True):
            encoded = os.fsencode(name.replace(os.sep, "/"))
            # The length first: no two lists of names give the same bytes.
            total.update(len(encoded).to_bytes(8, "little") + encoded + bytes.fromhex(digest))
    return total.hexdigest()


def _relative(root: Path, path: Path | str) -> str:
    if not os.path.isabs(path) and not isinstance(path, Path):
        return path
    try:
        return str(Path(path).relative_to(root))
    except ValueError as error:
        raise DataError(f"{path}: must lie in {root}; give a path within it.") from error


def _digests(paths: Sequence[Path | str]) -> list[str]:
    """Digests in the order of the paths."""
    found: dict[int, str] = {}
    folders: dict[str, str] = {}
    looked = [_look(path, folders) for path in paths]
    places, states = [place for place, _ in looked], [state for _, state in looked]
    for place, (state, digest) in _remembered(places):
        if state == states[place]:
            found[place] = digest
    missing = [place for place in range(len(paths)) if place not in found]
    if missing:
        with ThreadPoolExecutor(min(processors(), len(missing))) as threads:
            read = list(threads.map(lambda place: _read(paths[place]), missing))
        for place, (_, digest) in zip(missing, read, strict=True):
            found[place] = digest
        _remember([(places[place], *known) for place, known in zip(missing, read, strict=True) if known[0]])
    return [found[place] for place in range(len(paths))]


def _state(status: os.stat_result) -> str:
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino} {status.st_dev}"


def _look(path: Path | str, folders: dict[str, str]) -> tuple[bytes, str]:
    """The real path of a file, and its state; folders are resolved once."""
    folder, name = os.path.split(path)
    if folder not in folders:
        folders[folder] = os.path.realpath(folder)
    place = os.path.join(folders[folder], name)
    try:
        status = os.lstat(place)
        if stat.S_ISLNK(status.st_mode):
            place = os.path.realpath(place)
            status = os.stat(place)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: the file cannot be found ({error}); check its name.") from error
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{path}: must be a regular file, no folder or pipe; give the file itself.")
    return os.fsencode(place), _state(status)


def _read(path: Path | str) -> tuple[str, str]:
    """The state of a file and its digest; the state is empty if the file changed meanwhile, or only just before."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb", buffering=0) as file:
            before = os.fstat(file.fileno())
            while block := file.read(_PIECE):
                digest.update(block)
            after = os.fstat(file.fileno())
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error}); check who may read it.") from error
    settled = time.time() - max(after.st_mtime, after.st_ctime) >= SETTLE_SECONDS
    return _state(after) if settled and _state(before) == _state(after) else "", digest.hexdigest()


def _open() -> sqlite3.Connection | None:
    """The memory; None where there can be none."""
    try:
        path = cache_folder() / "digests.sqlite"
    except RuntimeError:
        return None
    for attempt in (1, 2):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            memory = sqlite3.connect(path, timeout=_PATIENCE_SECONDS)
        except (OSError, sqlite3.Error):
            return None
        try:
            memory.execute(_TABLE)
            memory.execute("SELECT path, state, sha256 FROM digests LIMIT 1").fetchone()
            return memory
        except sqlite3.OperationalError as error:
            memory.close()
            # A table of another form is broken, too; a memory that is busy or read-only is not.
            if "no such column" not in str(error):
                return None
        except sqlite3.DatabaseError:
            memory.close()
        if attempt == 1:
            _drop(path)
    return None


def _drop(path: Path) -> None:
    """Removes a broken memory; another process that has it open goes on with what it holds."""
    for name in (path, path.with_name(path.name + "-journal")):
        with suppress(OSError):
            name.unlink(missing_ok=True)


def _remembered(places: Sequence[bytes]) -> Iterator[tuple[int, tuple[str, str]]]:
    memory = _open()
    if memory is None:
        return
    with closing(memory), suppress(sqlite3.Error):
        for place, path in enumerate(places):
            row = memory.execute("SELECT state, sha256 FROM digests WHERE path = ?", (path,)).fetchone()
            if row is not None:
                yield place, row


def _remember(rows: Sequence[tuple[bytes, str, str]]) -> None:
    memory = _open() if rows else None
    if memory is None:
        return
    # A memory that cannot be written costs time, nothing else.
    with closing(memory), suppress(sqlite3.Error), memory:
        memory.executemany("INSERT OR REPLACE INTO digests VALUES (?, ?, ?)", rows)
