"""The file of a ledger: its tables, how it is opened, and what is said when SQLite cannot."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from data.errors import DataError, StageError

SCHEMA = 2
#: Longest wait for another process's transaction; these are short, as nothing is sent inside one.
LOCK_SECONDS = 60.0

_TABLES = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE answers (digest BLOB PRIMARY KEY, outputs BLOB NOT NULL, checksum BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE requests (
    key TEXT PRIMARY KEY, owner TEXT NOT NULL, stage TEXT NOT NULL, artifact TEXT NOT NULL,
    encoding TEXT NOT NULL, shape TEXT NOT NULL, images BLOB NOT NULL
);
CREATE TABLE reserved (digest BLOB PRIMARY KEY, key TEXT NOT NULL, place INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE given_up (key TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE INDEX reserved_by_key ON reserved (key);
CREATE TABLE totals (
    stage TEXT NOT NULL, artifact TEXT NOT NULL, paid INTEGER NOT NULL, PRIMARY KEY (stage, artifact)
) WITHOUT ROWID;
"""


def create(path: Path, identity: str) -> None:
    """Makes the file with its tables, if it is not there, and checks that it is that of this teacher.

    Raises:
        DataError: if it is damaged, of another version or of another teacher, or cannot be made.
        StageError: if it is locked.
    """
    from filelock import FileLock

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"the folder of ledgers {path.parent} cannot be made ({error.strerror}).") from error
    with guarded(path), FileLock(path.with_suffix(".lock")), closing(connect(path)) as connection:
        # Kept in the file. Asked for first, as setting it needs the whole file for a moment.
        if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("BEGIN IMMEDIATE")
        if connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0] == 0:
            for statement in _TABLES.split(";"):
                connection.execute(statement)
            connection.executemany(
                "INSERT INTO facts (name, value) VALUES (?, ?)", [("schema", str(SCHEMA)), ("identity", identity)]
            )
        connection.execute("COMMIT")
        _fold(connection)  # what a process that was killed has left beside the file
        facts = dict(connection.execute("SELECT name, value FROM facts").fetchall())
    if facts.get("schema") != str(SCHEMA) or facts.get("identity") != identity:
        raise DataError(
            f"ledger {path} must be of version {SCHEMA} and of this teacher, got version {facts.get('schema')} of "
            f"{facts.get('identity')}; move the file away."
        )


def connect(path: Path) -> sqlite3.Connection:
    """An open ledger: a commit is on the disk when it returns, and readers do not block writers."""
    connection = sqlite3.connect(path, timeout=LOCK_SECONDS, isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous = FULL")
    except BaseException:
        connection.close()
        raise
    return connection


def fold(path: Path) -> None:
    """Moves all that lies in the ``-wal`` file beside a ledger into the ledger, unless others are just using it."""
    with guarded(path), closing(connect(path)) as connection:
        _fold(connection)


def _fold(connection: sqlite3.Connection) -> None:
    # Tried once: whoever holds it now does it afterwards.
    connection.execute("PRAGMA busy_timeout = 0")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    connection.execute(f"PRAGMA busy_timeout = {int(1000 * LOCK_SECONDS)}")


@contextmanager
def guarded(path: Path) -> Iterator[None]:
    """Turns what SQLite raises into one sentence.

    Raises:
        DataError: if the file is damaged or cannot be used.
        StageError: if another program holds it for too long, or the disk is full.
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        words = str(error)
        if "locked" in words or "busy" in words:
            raise StageError(
                f"ledger {path} is locked by another program for more than {LOCK_SECONDS:g} s; end that program and "
                "run again, nothing is lost."
            ) from error
        if "full" in words:
            raise StageError(f"ledger {path}: the disk is full; make room and run again, nothing is lost.") from error
        raise DataError(f"ledger {path} cannot be used ({words}); check the file and its folder.") from error
    except sqlite3.DatabaseError as error:
        raise DataError(
            f"ledger {path} is damaged ({error}); put a copy of the file in its place, or move it away, and all that "
            "it holds is paid for anew."
        ) from error
