"""The tables of a ledger: what is asked of them and written into them, inside a transaction of the caller."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data.errors import DataError

#: Digests that are looked up in one statement.
_LOOKED_UP = 500


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Takes the write lock at once, so that what is read inside still holds when it is acted upon."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def lookup(
    connection: sqlite3.Connection, digests: Iterable[bytes], path: Path
) -> dict[bytes, npt.NDArray[np.float32]]:
    """The outputs (R,) of the images that were answered, by their digest.

    Raises:
        DataError: if one does not have its checksum.
    """
    found: dict[bytes, npt.NDArray[np.float32]] = {}
    for digest, outputs, told in _in_chunks(connection, "SELECT digest, outputs, checksum FROM answers", digests):
        if checksum(digest, outputs) != told:
            raise DataError(
                f"ledger {path} is damaged: an answer does not have its checksum; put a copy of the file in its place, "
                "or move it away, and all that it holds is paid for anew."
            )
        found[digest] = np.frombuffer(outputs, "<f4")
    return found


def reserved(connection: sqlite3.Connection, digests: Iterable[bytes]) -> set[bytes]:
    """Those of the images that somebody is asking for."""
    return {row[0] for row in _in_chunks(connection, "SELECT digest FROM reserved", digests)}


def _in_chunks(connection: sqlite3.Connection, select: str, digests: Iterable[bytes]) -> Iterator[Any]:
    wanted = list(digests)
    for start in range(0, len(wanted), _LOOKED_UP):
        chunk = wanted[start : start + _LOOKED_UP]
        marks = ",".join("?" * len(chunk))
        yield from connection.execute(f"{select} WHERE digest IN ({marks})", chunk)


def spent(connection: sqlite3.Connection) -> tuple[int, int]:
    """Images that were answered, and images that are reserved."""
    row = connection.execute(
        "SELECT (SELECT COALESCE(SUM(paid), 0) FROM totals), (SELECT COUNT(*) FROM reserved)"
    ).fetchone()
    return int(row[0]), int(row[1])


def forget(connection: sqlite3.Connection, key: str) -> None:
    """Removes a request and its reservations."""
    connection.execute("DELETE FROM reserved WHERE key = ?", (key,))
    connection.execute("DELETE FROM requests WHERE key = ?", (key,))


def checksum(digest: bytes, outputs: bytes) -> bytes:
    """What tells a flipped bit of an answer, or one that stands at another image."""
    return hashlib.sha256(digest + outputs).digest()[:8]
