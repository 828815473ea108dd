"""A time limit for a whole request, however slowly its parts come: at the end of it the connection is cut."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any


class Watch:
    """The limit of one request.

    Args:
        deadline: that it belongs to.
    """

    def __init__(self, deadline: Deadline) -> None:
        self.passed = False
        self._deadline = deadline

    def trace(self, event: str, info: dict[str, Any]) -> None:
        """Told by the HTTP library what happens; learns of new connections."""
        if event == "connection.connect_tcp.complete":
            self._deadline.connected(info["return_value"].get_extra_info("socket"))
            if self.passed:
                self._deadline.cut()

    def end(self) -> None:
        """Cuts the connection."""
        self.passed = True
        self._deadline.cut()


class Deadline:
    """Time limits for the requests of one client, which sends one at a time.

    The library's own limits hold for each wait alone, so that a server that sends a byte now and then is never late.
    """

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def of(self, seconds: float) -> Iterator[Watch]:
        """Cuts the connection if what is done inside takes longer.

        Args:
            seconds: until then.
        """
        watch = Watch(self)
        timer = threading.Timer(seconds, watch.end)
        timer.daemon = True
        timer.start()
        try:
            yield watch
        except BaseException:
            # The library closes its end of a connection that it does not go on with; the duplicate must not keep it.
            self.cut()
            raise
        finally:
            timer.cancel()
            timer.join()

    def connected(self, connection: socket.socket) -> None:
        """Takes note of the connection that is used from now on."""
        # A duplicate: TLS takes the original away, and what is cut must not be another connection of the same number.
        with self._lock:
            self._forget()
            self._socket = connection.dup()

    def cut(self) -> None:
        """Ends the connection for both sides, which wakes whoever waits for it."""
        with self._lock, contextlib.suppress(OSError):  # it may have ended by itself
            if self._socket is not None:
                self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Forgets the connection."""
        with self._lock:
            self._forget()

    def _forget(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
