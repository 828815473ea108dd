"""The ledger: every answer that a teacher was asked for is on the disk before it is used, and is never asked for twice.

One SQLite file a teacher. An image is known by the SHA-256 of its shape and bytes. Before a request is sent, its images
are reserved in a transaction that checks the budget; the request itself is kept with the reservation, so that
whoever finds a reservation of a process that has died can send exactly the same request, under the same key, again.
A server that honours the key charges for it once.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from data.errors import StageError, StillhouseError
from students.ledger_file import connect, create, fold, guarded
from students.ledger_owner import Owner
from students.ledger_requests import Images, Request, unused_key, waits_for
from students.ledger_tables import checksum, forget, lookup, reserved, spent, transaction

Outputs = npt.NDArray[np.float32]

#: (images uint8 (n, C, H, W), key of the request, its encoding) to outputs float32 (n, R).
Send = Callable[[Images, str, str], Outputs]

_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 0.02, 0.5


class RefusedError(StageError):
    """A request that was turned down at its first try, so that this try was not paid for.

    Args:
        message: one sentence.
        final: whether the request itself was refused, so that it would be refused again; not the address or the token.
    """

    def __init__(self, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.final = final


class Ledger:
    """The record of one teacher, for one process; others may use the same file at the same time.

    Args:
        folder: where ledgers lie.
        identity: which teacher it is, JSON-ready; decides the file.
        stage: name of the stage that asks, for the report.
        artifact: fingerprint of what is being made, for the report.
        max_calls: images that may be asked for in all; None for no limit.
        request_images: most images a request.
        encoding: form of new requests; one that is sent again keeps its own.
        give_up_unanswered: whether requests that others have left unanswered are not sent again: their images count as
            spent, and are asked for in new requests under new keys.
        warn: told what a person should know, one sentence.

    Raises:
        DataError: if the file is damaged or belongs to another teacher.
        StageError: if it is locked by another program.
    """

    def __init__(
        self,
        folder: Path,
        identity: Mapping[str, Any],
        *,
        stage: str,
        artifact: str = "",
        max_calls: int | None = None,
        request_images: int = 64,
        encoding: str = "",
        give_up_unanswered: bool = False,
        warn: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self.identity = json.dumps(identity, sort_keys=True, separators=(",", ":"))
        self.name = hashlib.sha256(self.identity.encode()).hexdigest()
        self.path = ledger_path(folder, identity)
        self.stage = stage
        self.artifact = artifact
        self.max_calls = max_calls
        self.request_images = request_images
        self.encoding = encoding
        self.give_up_unanswered = give_up_unanswered
        self._warn = warn
        create(self.path, self.identity)
        self._owner = Owner(self.path)
        #: Keys that are being sent; any other one of this owner was left behind, as when the disk was full.
        self._in_flight: set[str] = set()
        self._claiming = threading.Lock()
        #: Keys that failed here, and are tried again only for who needs their images.
        self._failed: set[str] = set()

    def __enter__(self) -> Ledger:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes it."""
        self.close()

    def close(self) -> None:
        """Lets other processes take over what this one has left unfinished, and leaves one whole file."""
        self._owner.close()
        # Nothing is lost where that fails, as in a damaged file or on a full disk; what was raised before says more.
        with suppress(StillhouseError):
            fold(self.path)

    def ask(
        self,
        images: Images,
        send: Send,
        *,
        variant: str = "",
        prepare: Callable[[Images], Images] = lambda images: images,
    ) -> Outputs:
        """The outputs for images: those that are known, and new ones, paid for and recorded before they are returned.

        Requests that a dead process left unfinished are sent again first, under their old keys. If one of these fails,
        the others and the images that are in none of them are asked for all the same; then the failure is raised, if
        its images are among those of the call. Images that a living process is just asking for are waited for.

        Args:
            images: uint8 (n, C, H, W); one may stand there several times and is asked for once.
            send: asks the teacher; it may raise ``RefusedError`` if nothing was paid.
            variant: what images become before they are sent; an image is known by its own bytes and by this.
            prepare: makes that of them, uint8 (n, C', H', W').

        Returns:
            float32 (n, R).

        Raises:
            StageError: if the budget does not allow it; or what ``send`` raises.
            DataError: if the file is damaged.
        """
        digests = image_digests(images, variant)
        place: dict[bytes, int] = {}
        for row, digest in enumerate(digests):
            place.setdefault(digest, row)
        failures: dict[str, StillhouseError] = {}
        with self._connection() as connection:
            known = lookup(connection, place, self.path)
            if len(known) < len(place):
                self._finish_abandoned(connection, send, place.keys() - known.keys(), failures)
            wait = _FIRST_WAIT_SECONDS
            while True:
                known |= lookup(connection, [digest for digest in place if digest not in known], self.path)
                missing = [digest for digest in place if digest not in known]
                if not missing:
                    break
                free = self._unreserved(connection, missing)
                if free:
                    self._check_budget(connection, len(free), len(free))
                    for start in range(0, len(free), self.request_images):
                        chunk = free[start : start + self.request_images]
                        rows = [place[digest] for digest in chunk]
                        self._request(connection, chunk, images[rows], prepare, send, len(free) - start)
                    continue
                for key, error in failures.items():
                    if waits_for(connection, key, missing):
                        raise error
                # All others are being asked for by someone: wait for the answers, or for the end of that process.
                time.sleep(wait)
                wait = min(2 * wait, _LONGEST_WAIT_SECONDS)
                self._finish_abandoned(connection, send, set(missing), failures)
        return np.stack([known[digest] for digest in digests]) if digests else np.empty((0, 0), np.float32)

    def known(self, images: Images, variant: str = "") -> npt.NDArray[np.bool_]:
        """Which images it has answers for, (n,); asks for nothing."""
        digests = image_digests(images, variant)
        with self._connection() as connection:
            found = lookup(connection, dict.fromkeys(digests), self.path)
        return np.array([digest in found for digest in digests], bool)

    def unspent(self, digests: Sequence[bytes]) -> list[bytes]:
        """Those of the images that are still to be paid for: neither answered nor reserved."""
        with self._connection() as connection:
            found = lookup(connection, digests, self.path)
            taken = self._kept(connection, digests)
        return [digest for digest in digests if digest not in found and digest not in taken]

    def _kept(self, connection: sqlite3.Connection, digests: Sequence[bytes]) -> set[bytes]:
        """Those of the images that are reserved and will not be given up: what is, is spent and yet to be paid for."""
        taken = reserved(connection, digests)
        if not self.give_up_unanswered:
            return taken
        living = [
            key
            for key, owner in connection.execute("SELECT key, owner FROM requests WHERE owner <> ''").fetchall()
            if key in self._in_flight or (owner != self._owner.name and self._owner.lives(owner))
        ]
        return {digest for digest in taken if any(waits_for(connection, key, (digest,)) for key in living)}

    def require(self, new: int) -> None:
        """Checks the budget before anything is asked for.

        Args:
            new: images that are still to be paid for.

        Raises:
            StageError: if it does not allow so many.
        """
        with self._connection() as connection:
            self._check_budget(connection, new, new)

    def paid(self) -> int:
        """Images that were paid for in the making of this artifact, over all its attempts."""
        with self._connection() as connection:
            row = connection.execute(
                "SELECT SUM(paid) FROM totals WHERE stage = ? AND artifact = ?", (self.stage, self.artifact)
            ).fetchone()
        return int(row[0] or 0)

    def spent(self) -> tuple[int, int]:
        """Images that were answered or given up, and images that are reserved, over all runs."""
        with self._connection() as connection:
            return spent(connection)

    def _request(
        self,
        connection: sqlite3.Connection,
        digests: Sequence[bytes],
        images: Images,
        prepare: Callable[[Images], Images],
        send: Send,
        left: int,
    ) -> None:
        """Reserves images, asks for them and records the answers; reserves less where another process was faster."""
        prepared = prepare(images)
        request = None
        try:
            with transaction(connection):
                there = lookup(connection, digests, self.path)
                taken = reserved(connection, digests)
                rows = [row for row, digest in enumerate(digests) if digest not in there and digest not in taken]
                if not rows:
                    return
                self._check_budget(connection, len(rows), left)
                mine = [digests[row] for row in rows]
                key = unused_key(connection, self.name, mine)
                request = Request(key, self.stage, self.artifact, self.encoding, mine, prepared[rows])
                self._in_flight.add(key)
                request.keep(connection, self._owner.name)
            self._send(connection, request, send)
        except RefusedError:
            if request is not None:
                with transaction(connection):
                    # Unless another process has taken it over in the meantime.
                    if connection.execute(
                        "SELECT 1 FROM requests WHERE key = ? AND owner = ''", (request.key,)
                    ).fetchone():
                        forget(connection, request.key)
            raise
        finally:
            if request is not None:
                self._in_flight.discard(request.key)

    def _send(self, connection: sqlite3.Connection, request: Request, send: Send) -> None:
        digests = request.digests
        try:
            outputs = np.ascontiguousarray(send(request.images, request.key, request.encoding), "<f4")
            if outputs.ndim != 2 or len(outputs) != len(digests) or not np.isfinite(outputs).all():
                raise ValueError(
                    f"outputs must be finite, one row for each of {len(digests)} images, got {outputs.shape}."
                )
            with transaction(connection):
                self._check_columns(connection, outputs.shape[1])
                connection.executemany(
                    "INSERT INTO answers (digest, outputs, checksum) VALUES (?, ?, ?)",
                    [
                        (digest, row.tobytes(), checksum(digest, row.tobytes()))
                        for digest, row in zip(digests, outputs, strict=True)
                    ],
                )
                request.count(connection)
        except BaseException:
            # It may have been paid for, now or at an earlier try: whoever comes next sends it again under the same key.
            with transaction(connection):
                connection.execute("UPDATE requests SET owner = '' WHERE key = ?", (request.key,))
            raise

    def _finish_abandoned(
        self,
        connection: sqlite3.Connection,
        send: Send,
        missing: set[bytes],
        failures: dict[str, StillhouseError],
    ) -> None:
        """Sends the requests of processes that are gone again, exactly as they were, each under its own key.

        Args:
            connection: to the ledger.
            send: asks the teacher.
            missing: images that are waited for.
            failures: what failed in this call, by key; it is added to.
        """
        for key, owner in connection.execute("SELECT key, owner FROM requests ORDER BY rowid").fetchall():
            if key in failures or (key in self._failed and not waits_for(connection, key, missing)):
                continue
            if owner and owner != self._owner.name and self._owner.lives(owner):
                continue
            with self._claiming:
                if key in self._in_flight:
                    continue
                self._in_flight.add(key)
            try:
                self._finish(connection, key, owner, send)
            except StillhouseError as error:
                self._failed.add(key)
                failures[key] = error
                if not waits_for(connection, key, missing):
                    self._warn(str(error))
            finally:
                self._in_flight.discard(key)

    def _finish(self, connection: sqlite3.Connection, key: str, owner: str, send: Send) -> None:
        with transaction(connection):
            changed = connection.execute(
                "UPDATE requests SET owner = ? WHERE key = ? AND owner = ?", (self._owner.name, key, owner)
            )
            if changed.rowcount != 1:  # another process was faster, or it is done
                return
            request = Request.kept(connection, key)
            if self.give_up_unanswered:
                request.give_up(connection)
        count = f"a request for {len(request.digests)} images that was left unanswered before"
        if self.give_up_unanswered:
            self._warn(f"{self.stage}: {count} is given up; its images count as spent and are asked for anew.")
            return
        try:
            self._send(connection, request, send)
        except RefusedError as error:
            if not error.final:
                raise self._unanswered(count, error, request) from error
            with transaction(connection):
                if not connection.execute("SELECT 1 FROM requests WHERE key = ? AND owner = ''", (key,)).fetchone():
                    return
                request.give_up(connection)
            self._warn(
                f"{self.stage}: {count} is given up, as it is refused now ({error}); its images count as spent, as "
                "they may have been, and are asked for anew."
            )
        except StillhouseError as error:
            raise self._unanswered(count, error, request) from error

    def _unanswered(self, count: str, error: StillhouseError, request: Request) -> StillhouseError:
        way = ""
        if request.encoding:  # of an endpoint
            way = (
                " It keeps its size and its key until it is answered; with teacher.give_up_unanswered: true its images "
                f"count as spent and are asked for anew, at most {self.request_images} a request."
            )
        return StageError(f"{self.stage}: {count} still fails: {error}{way}")

    def _unreserved(self, connection: sqlite3.Connection, digests: Sequence[bytes]) -> list[bytes]:
        taken = reserved(connection, digests)
        return [digest for digest in digests if digest not in taken]

    def _check_budget(self, connection: sqlite3.Connection, new: int, wanted: int) -> None:
        """Whether ``new`` images may be asked for; ``wanted`` are, with those that follow."""
        if self.max_calls is None:
            return
        used = sum(spent(connection))
        left = max(self.max_calls - used, 0)
        if new > left:
            raise StageError(
                f"{self.stage}: teacher.max_calls must allow {wanted} more images, but of {self.max_calls} {used} are "
                f"spent and {left} are left; none of these {wanted} was asked for. Raise teacher.max_calls to at least "
                f"{used + wanted}, or ask for fewer images; answers that were paid for stay in the ledger."
            )

    def _check_columns(self, connection: sqlite3.Connection, columns: int) -> None:
        connection.execute("INSERT OR IGNORE INTO facts (name, value) VALUES ('columns', ?)", (str(columns),))
        known = int(connection.execute("SELECT value FROM facts WHERE name = 'columns'").fetchone()[0])
        if known != columns:
            raise StageError(
                f"{self.stage}: the teacher must give {known} outputs an image, as in all its earlier answers, "
                f"got {columns}; if another model answers now, name it by teacher.version."
            )

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with guarded(self.path), closing(connect(self.path)) as connection:
            yield connection


def ledger_path(folder: Path, identity: Mapping[str, Any]) -> Path:
    """The file of a teacher's ledger in ``folder``."""
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return folder / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.sqlite"


def calls_by_stage(path: Path) -> dict[str, int]:
    """Images that were paid for, by the stage that asked first; nothing for a file that is not there.

    Args:
        path: of a ledger.
    """
    if not path.is_file():
        return {}
    with guarded(path), closing(connect(path)) as connection:
        rows = connection.execute("SELECT stage, SUM(paid) FROM totals GROUP BY stage ORDER BY stage").fetchall()
    return {str(stage): int(paid) for stage, paid in rows}


def image_digests(images: Images, variant: str = "") -> list[bytes]:
    """SHA-256 of the shape and the bytes of each image, (n, C, H, W) to n times 32 bytes.

    Args:
        images: as they are before anything is made of them: what a resize gives is not the same to the last bit
            everywhere.
        variant: what they become before they are sent.
    """
    shape = f"uint8 {'x'.join(map(str, images.shape[1:]))}{f' as {variant}' if variant else ''}\n".encode()
    return [hashlib.sha256(shape + np.ascontiguousarray(image).tobytes()).digest() for image in images]
