"""Who asks through a ledger, and whether a process that has begun to ask still lives."""

from __future__ import annotations

import uuid
from pathlib import Path


class Owner:
    """One user of a ledger, alive as long as its process holds a lock on a file beside the ledger.

    Args:
        ledger: path of it.
    """

    def __init__(self, ledger: Path) -> None:
        from filelock import FileLock

        self.name = uuid.uuid4().hex
        self._ledger = ledger
        self._alive = FileLock(self._path(self.name))
        self._alive.acquire()

    def close(self) -> None:
        """Lets others take over what it has left unfinished."""
        self._alive.release()
        self._path(self.name).unlink(missing_ok=True)

    def lives(self, name: str) -> bool:
        """Whether another one lives: the operating system frees its lock when its process ends."""
        from filelock import FileLock, Timeout

        path = self._path(name)
        lock = FileLock(path, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            return True
        lock.release()
        path.unlink(missing_ok=True)
        return False

    def _path(self, name: str) -> Path:
        return self._ledger.with_name(f"{self._ledger.stem}.{name}.alive")
