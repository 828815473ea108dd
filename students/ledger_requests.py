"""The requests of a ledger: how one is kept until it is answered, read again and given up."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from students.ledger_tables import forget

Images = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Request:
    """What is sent at once, as it has to be sent again if no answer comes.

    Args:
        key: sent along; equal for equal requests.
        stage: that asked first.
        artifact: that it was asked for.
        encoding: form in which it travels.
        digests: of its images, in order.
        images: as they are sent, uint8 (n, C, H, W).
    """

    key: str
    stage: str
    artifact: str
    encoding: str
    digests: Sequence[bytes]
    images: Images

    def keep(self, connection: sqlite3.Connection, owner: str) -> None:
        """Reserves its images for a process."""
        connection.execute(
            "INSERT INTO requests (key, owner, stage, artifact, encoding, shape, images) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                self.key,
                owner,
                self.stage,
                self.artifact,
                self.encoding,
                json.dumps(self.images.shape),
                self.images.tobytes(),
            ),
        )
        connection.executemany(
            "INSERT INTO reserved (digest, key, place) VALUES (?, ?, ?)",
            [(digest, self.key, number) for number, digest in enumerate(self.digests)],
        )

    @classmethod
    def kept(cls, connection: sqlite3.Connection, key: str) -> Request:
        """The request of a key that is kept."""
        stage, artifact, encoding, shape, data = connection.execute(
            "SELECT stage, artifact, encoding, shape, images FROM requests WHERE key = ?", (key,)
        ).fetchone()
        digests = [
            bytes(row[0])
            for row in connection.execute("SELECT digest FROM reserved WHERE key = ? ORDER BY place", (key,))
        ]
        images = np.frombuffer(data, np.uint8).reshape(json.loads(shape))
        return cls(key, stage, artifact, encoding, digests, images)

    def count(self, connection: sqlite3.Connection) -> None:
        """Counts its images as paid for and forgets it."""
        connection.execute(
            "INSERT INTO totals (stage, artifact, paid) VALUES (?, ?, ?) "
            "ON CONFLICT (stage, artifact) DO UPDATE SET paid = paid + excluded.paid",
            (self.stage, self.artifact, len(self.digests)),
        )
        forget(connection, self.key)

    def give_up(self, connection: sqlite3.Connection) -> None:
        """Counts its images as paid for, as they may have been, and never uses its key again."""
        connection.execute("INSERT INTO given_up (key) VALUES (?)", (self.key,))
        self.count(connection)


def waits_for(connection: sqlite3.Connection, key: str, digests: Iterable[bytes]) -> bool:
    """Whether a request asks for one of the images."""
    wanted = set(digests)
    rows = connection.execute("SELECT digest FROM reserved WHERE key = ?", (key,))
    return any(bytes(row[0]) in wanted for row in rows)


def unused_key(connection: sqlite3.Connection, teacher: str, digests: Sequence[bytes]) -> str:
    """The key of a new request: the first of its keys that was not given up."""
    attempt = 0
    while True:
        key = request_key(teacher, digests, attempt)
        if not connection.execute("SELECT 1 FROM given_up WHERE key = ?", (key,)).fetchone():
            return key
        attempt += 1


def request_key(teacher: str, digests: Iterable[bytes], attempt: int = 0) -> str:
    """The idempotency key of a request: SHA-256 of the teacher's name and the digests of the images, in order.

    Args:
        teacher: its name.
        digests: of images.
        attempt: how many requests for just these images were given up before.
    """
    suffix = f"attempt {attempt}".encode() if attempt else b""
    return hashlib.sha256(teacher.encode() + b"".join(digests) + suffix).hexdigest()
