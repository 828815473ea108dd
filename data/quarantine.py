"""Asks a child process what HDF5 finds in a file from elsewhere, and believes nothing of what it says.

The child has no standard output or error, no environment but where libraries lie, no plugins and a session of its own.
Whatever happens to it (it crashes, hangs, runs out of memory, talks nonsense) becomes one sentence that names the file.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

from data.errors import DataError, StageError

# Address space that a request may take beyond that of an idle child: this, and twice the file's length up to a bound.
# HDF5 takes memory as a damaged file claims to need it.
MEMORY = 64 << 20
MEMORY_FOR_LENGTH = 192 << 20
CPU_SECONDS = 20
_ANSWER_BYTES = 1 << 26
_START_SECONDS = 60.0
_SENTENCE = 1000
_ROOT = Path(__file__).resolve().parents[1]
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from data.untrusted_child import main; sys.exit(main())"
)


class Quarantine:
    """A child process that opens files with HDF5, each one in a fork of its own; started when it is first asked.

    To be used in a ``with``; not to be shared between threads.

    Args:
        cpu_seconds: that a request may compute; it may take five times as long by the clock.
    """

    def __init__(self, cpu_seconds: int = CPU_SECONDS) -> None:
        self.cpu_seconds = cpu_seconds
        #: By how many bytes the resident memory of the last request grew at most, pages of files included.
        self.grown = 0
        #: Whether the kernel keeps requests from other files; None before the first one.
        self.landlock: bool | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._socket: socket.socket | None = None

    def __enter__(self) -> Self:
        """Nothing is started yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Ends the child and all that it may have started."""
        self.close()

    def close(self) -> None:
        """Ends the child and all that it may have started; the next request starts another one."""
        process, self._process = self._process, None
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        # After a fork the child is still that of the process that started it.
        if process is not None and self._owner == os.getpid():
            # Its group: a request that hangs is a fork of it.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def ask(
        self,
        request: str,
        where: str,
        source: int,
        *,
        targets: Sequence[int] = (),
        memory: int = 0,
        file_bytes: int = 0,
        cpu_seconds: int = 0,
        **values: Any,
    ) -> Any:
        """Lets the child serve one request.

        Args:
            request: its name, a key of ``data.untrusted_child.REQUESTS``.
            where: the file, for messages.
            source: descriptor of the file, open for reading.
            targets: descriptors of files that it writes.
            memory: bytes of address space beyond the usual.
            file_bytes: length to which it may write a file.
            cpu_seconds: that it may compute beyond the usual.
            values: the rest of the request, JSON-ready.

        Returns:
            What it answered, any JSON; the caller checks it.

        Raises:
            DataError: if it refuses the file, or gives no answer.
        """
        cpu_seconds += self.cpu_seconds
        memory += MEMORY + min(2 * os.fstat(source).st_size, MEMORY_FOR_LENGTH)
        limits = {"memory": memory, "file_bytes": file_bytes, "cpu_seconds": cpu_seconds}
        message = json.dumps({"request": request, "where": where, **limits, **values}).encode()
        try:
            data, ended = self._exchange(message, [source, *targets], 5 * cpu_seconds, where)
        except BaseException:
            # An answer that nobody took would be that to the next request.
            self.close()
            raise
        if ended:
            _refuse(where, f"its check ended by {_name(ended)}, without an answer")
        return _judge(data, where)

    def _exchange(self, message: bytes, files: Sequence[int], seconds: int, where: str) -> tuple[bytes, int]:
        asked = self._started()
        with ExitStack() as closing:
            # A request may be longer than a message, as names in a file may be.
            try:
                request = os.memfd_create("request", os.MFD_CLOEXEC)
                closing.callback(os.close, request)
                view = memoryview(message)
                while view:
                    view = view[os.write(request, view) :]
                answers, answer = os.pipe()
            except OSError as error:
                raise StageError(f"{where}: cannot be checked ({error}); free memory or close files.") from error
            closing.callback(os.close, answers)
            try:
                socket.send_fds(asked, [b"request"], [request, answer, *files])
            except OSError as error:
                raise StageError(
                    f"{where}: the process that checks files cannot be asked ({error}); try again."
                ) from error
            finally:
                os.close(answer)
            return self._read(asked, answers, time.monotonic() + seconds, where)

    def _started(self) -> socket.socket:
        if self._process is not None and (self._owner != os.getpid() or self._process.poll() is not None):
            # It is another process's since a fork, or somebody has ended it between two requests.
            self.close()
        if self._socket is None:
            mine, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            paths = [str(_ROOT), *(path for path in sys.path if path)]
            # Only what finding shared libraries may need; no plugins, and one thread so that it can be forked.
            kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
            with other:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", "-B", "-c", _START, json.dumps(paths)],
                    stdin=other.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd="/",
                    env={**kept, "HDF5_PLUGIN_PRELOAD": "::", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
                    start_new_session=True,
                )
            self._socket, self._owner = mine, os.getpid()
            # It greets when its imports are done, so that a slow start is not a file's fault.
            greeting = mine.recv(256) if _wait([mine.fileno()], time.monotonic() + _START_SECONDS) else b""
            self.landlock = greeting == b"ready, Landlock"
            if not greeting:
                self.close()
                raise StageError(
                    "the process that checks files from elsewhere does not start; "
                    "see what `python -c 'import data.untrusted_child'` says."
                )
        return self._socket

    def _read(self, asked: socket.socket, answers: int, deadline: float, where: str) -> tuple[bytes, int]:
        """The answer, and how the request's process ended."""
        data = bytearray()
        ended: tuple[int, int] | None = None
        os.set_blocking(answers, False)
        try:
            # Not until the pipe has no writer: a process that another thread has forked may hold it open.
            while ended is None:
                ready = _wait([answers, asked.fileno()], deadline)
                if not ready:
                    _refuse(where, "its check took too long")
                if asked.fileno() in ready:
                    status, grown = map(int, json.loads(asked.recv(256)))
                    ended = status, grown
                while piece := _read_some(answers):
                    data += piece
                    if len(data) > _ANSWER_BYTES:
                        _refuse(where, f"its check answers more than {_ANSWER_BYTES >> 20} MiB")
                if ended is None and piece is not None and not _wait([asked.fileno()], deadline):
                    _refuse(where, "its check took too long")
        except (OSError, ValueError, TypeError) as error:
            raise _refusal(where, "its check broke off") from error
        self.grown = ended[1]
        return bytes(data), ended[0]


def _read_some(descriptor: int) -> bytes | None:
    """What there is to read; nothing at the end, None if there is nothing yet."""
    try:
        return os.read(descriptor, 1 << 20)
    except BlockingIOError:
        return None


def _wait(descriptors: Sequence[int], deadline: float) -> set[int]:
    """Those of the descriptors that can be read or have ended; none after the deadline."""
    ready = select.poll()
    for descriptor in descriptors:
        ready.register(descriptor, select.POLLIN)
    return {found for found, _ in ready.poll(max(0.0, deadline - time.monotonic()) * 1000)}


def _judge(data: bytes, where: str) -> Any:
    try:
        reply = json.loads(data)
    except (ValueError, RecursionError):
        reply = None
    if isinstance(reply, dict) and len(reply) == 1:
        if "answer" in reply:
            return reply["answer"]
        if isinstance(reply.get("refused"), str):
            raise DataError(one_line(reply["refused"], where))
    _refuse(where, "its check gave no answer that makes sense")


def one_line(text: str, where: str) -> str:
    """A sentence about a file from elsewhere, fit for a terminal and a log; names in it may be the file's own."""
    fault = text.removeprefix(where)
    plain = "".join(letter if letter.isprintable() else "?" for letter in fault)
    return where + (plain if len(plain) <= _SENTENCE else plain[:_SENTENCE] + " ...")


def _name(status: int) -> str:
    if -status in (signal.SIGXCPU, signal.SIGALRM):
        return "the limit of its time"
    return (
        signal.Signals(-status).name if -64 < status < 0 and -status in signal.valid_signals() else f"status {status}"
    )


def _refusal(where: str, fault: str) -> DataError:
    return DataError(f"{where}: {fault}; the file is damaged or hostile: get it again from where it comes.")


def _refuse(where: str, fault: str) -> NoReturn:
    raise _refusal(where, fault)
