"""Takes from a process what it will not need: memory, time, new files, other files, the network.

Limits of the system (setrlimit), and Landlock (Salaün, Linux 5.13, https://docs.kernel.org/userspace-api/landlock.html)
where the kernel has it. No process gets back what it has given away.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from collections.abc import Sequence
from pathlib import Path

_PR_SET_NO_NEW_PRIVS = 38
# The same numbers on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_RULE_PATH_BENEATH = 1
_EXECUTE, _WRITE_FILE, _READ_FILE = 1 << 0, 1 << 1, 1 << 2
# How many rights over files each version of Landlock knows; a kernel refuses a right that it does not know.
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}
_TCP_RIGHTS = 0b11
_SIGNALS_AND_SOCKETS = 0b11


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("rights", ctypes.c_uint64), ("descriptor", ctypes.c_int32))


def limit(memory: int, file_bytes: int, cpu_seconds: int) -> None:
    """Sets limits of the system for this process.

    Args:
        memory: bytes of address space beyond what it has now.
        file_bytes: length to which it may write a file.
        cpu_seconds: of computing until it is killed; five times as long by the clock.
    """
    for name, value in (
        (resource.RLIMIT_AS, _address_space() + memory),
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
    ):
        # A limit that somebody has set lower stays.
        hard = resource.getrlimit(name)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        # A second later it is killed if it does not end by SIGXCPU.
        last = value + 1 if name == resource.RLIMIT_CPU and hard == resource.RLIM_INFINITY else value
        resource.setrlimit(name, (value, last))
    # Should nobody be left who waits for this process.
    signal.alarm(5 * cpu_seconds)


def _address_space() -> int:
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[0]
    return int(pages) * resource.getpagesize()


def landlock_version() -> int:
    """Which version of Landlock the kernel has; 0 without."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    return max(0, int(libc.syscall(_CREATE_RULESET, None, 0, 1)))


def confine(readable: Sequence[int], writable: Sequence[int]) -> bool:
    """Leaves this process no file but those of some descriptors, no TCP, no program to start, no signal to others.

    Descriptors that are open stay open. Does what the kernel can.

    Args:
        readable: descriptors of files that it may open again for reading.
        writable: likewise for reading and writing.

    Returns:
        Whether the kernel has Landlock.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    version = landlock_version()
    if version < 1:
        return False
    files = (1 << _FILE_RIGHTS.get(version, 16)) - 1
    rules = _Ruleset(files, _TCP_RIGHTS if version >= 4 else 0, _SIGNALS_AND_SOCKETS if version >= 6 else 0)
    # A kernel takes only as much of the structure as it knows.
    size = 8 if version < 4 else 16 if version < 6 else 24
    ruleset = libc.syscall(_CREATE_RULESET, ctypes.byref(rules), size, 0)
    if ruleset < 0:
        return False
    for descriptors, rights in ((readable, _READ_FILE), (writable, _READ_FILE | _WRITE_FILE)):
        for descriptor in descriptors:
            rule = _PathBeneath(rights & files, descriptor)
            if libc.syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, ctypes.byref(rule), 0):
                os.close(ruleset)
                return False
    done = bool(libc.syscall(_RESTRICT_SELF, ruleset, 0) == 0)
    os.close(ruleset)
    return done
