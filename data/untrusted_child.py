"""The process in which HDF5 parses files from elsewhere; ``data.quarantine`` starts it and asks.

Each request is served by a fork that has limits of its own and ends with its answer: what one file does to HDF5 does
not reach the next. The answer is JSON on a pipe; the parent believes none of it.
"""

from __future__ import annotations

import json
import mmap  # noqa: F401, what is confined can import nothing, and NumPy's maps need it
import os
import signal
import socket
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from data.checking import Extent, read_structure, unreadable
from data.confinement import confine, landlock_version, limit
from data.errors import DataError
from data.stored_arrays import Place, copy_array, find_places, is_set, list_places

MESSAGE_BYTES = 256
DESCRIPTORS = 200


def _structure(name: str, request: dict[str, Any], targets: Sequence[int]) -> object:
    attributes, extents = read_structure(name, request["where"])
    return [attributes, {item: _extent(extent) for item, extent in extents.items()}]


def _extent(extent: Extent) -> tuple[str, tuple[int, ...], int]:
    return extent.dtype.str, extent.shape, extent.offset


def _is_set(name: str, request: dict[str, Any], targets: Sequence[int]) -> object:
    return is_set(name, request["where"])


def _list(name: str, request: dict[str, Any], targets: Sequence[int]) -> object:
    return {item: asdict(place) for item, place in list_places(name, request["where"]).items()}


def _find(name: str, request: dict[str, Any], targets: Sequence[int]) -> object:
    found = find_places(name, request["where"], request["names"], request["size"])
    return {item: asdict(place) for item, place in found.items()}


def _copy(name: str, request: dict[str, Any], targets: Sequence[int]) -> object:
    for target, (item, dtype, shape) in zip(targets, request["places"], strict=True):
        with os.fdopen(target, "r+b") as file:
            copy_array(name, request["where"], item, request["size"], Place(dtype, tuple(shape)), file)
    return True


REQUESTS: dict[str, Callable[[str, dict[str, Any], Sequence[int]], object]] = {
    "structure": _structure,
    "is_set": _is_set,
    "list": _list,
    "find": _find,
    "copy": _copy,
}


def _serve(descriptors: list[int]) -> None:
    asked, answer, source, *targets = descriptors
    with os.fdopen(asked, "rb") as file:
        file.seek(0)
        request = json.loads(file.read())
    try:
        limit(request["memory"], request["file_bytes"], request["cpu_seconds"])
        confine([source], targets)
        reply = {"answer": REQUESTS[request["request"]](f"/proc/self/fd/{source}", request, targets)}
    except DataError as error:
        reply = {"refused": str(error)}
    except Exception as error:  # whatever a damaged file leads to, it is the file's fault
        reply = {"refused": str(unreadable(request["where"], error))}
    data = memoryview(json.dumps(reply).encode())
    while data:
        data = data[os.write(answer, data) :]


def main() -> None:
    """Serves requests from the socket that is standard input, until it is closed."""
    # Whatever whoever started this ignores or holds back: without these nobody could be waited for, or ended.
    for number in (signal.SIGCHLD, signal.SIGALRM, signal.SIGXCPU):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    usual = _resident_in_fork()
    with socket.socket(fileno=os.dup(0)) as asked:
        asked.send(b"ready, Landlock" if landlock_version() else b"ready")
        while True:
            message, descriptors, _, _ = socket.recv_fds(asked, MESSAGE_BYTES, DESCRIPTORS)
            if not message:
                return
            child = os.fork()
            if not child:
                try:
                    asked.close()
                    os.close(0)
                    _serve(descriptors)
                    os._exit(0)
                finally:
                    os._exit(1)
            for descriptor in descriptors:
                os.close(descriptor)
            _, status, usage = os.wait4(child, 0)
            grown = max(0, usage.ru_maxrss - usual) * 1024
            asked.send(json.dumps([os.waitstatus_to_exitcode(status), grown]).encode())


def _resident_in_fork() -> int:
    """Most KiB that a fork which does nothing has resident."""
    child = os.fork()
    if not child:
        os._exit(0)
    return os.wait4(child, 0)[2].ru_maxrss
