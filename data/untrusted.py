"""Reads HDF5 files that others made: HDF5 parses them in a child process, this process maps what was found.

libhdf5 has a steady flow of faults in memory safety, and a file can name other files, hang a reader or unpack to any
size. So no file from elsewhere is opened with h5py here. ``docs/untrusted.md`` says what this guards against, and what
not.
"""

from __future__ import annotations

import math
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np
import numpy.typing as npt

from data.checking import Extent, Header, check_structure, is_addressable
from data.errors import DataError
from data.files import FileState, check_regular
from data.json_objects import ATTRIBUTE_BYTES
from data.quarantine import Quarantine, one_line
from data.reading import ImageSet, assemble_set, verify_opened
from data.schema import ATTRIBUTES, COLUMNS, DIGESTS, DTYPES, Shape
from data.stored_arrays import MEMBERS, NUMBERS

_AXES = 32
_AT_ONCE = 100
# Disk space that stays free beside unpacked copies.
_SPARE_BYTES = 1 << 26
# For a chunk packed and unpacked, and the block that it goes to.
_UNPACKING_BYTES = 1 << 28
_UNPACKED_PER_SECOND = 10 << 20


@dataclass(frozen=True)
class StoredArray:
    """A numeric data set of a file.

    Args:
        dtype: type of the values, little-endian.
        shape: rows first.
    """

    dtype: np.dtype[Any]
    shape: Shape


def open_untrusted(path: Path | str, quarantine: Quarantine | None = None, *, verify: bool = False) -> ImageSet:
    """Opens a set of this project's format that somebody else made.

    Args:
        path: the file.
        quarantine: a process for several files; None starts one for this file alone.
        verify: whether every byte is read and compared with the digests; else the bytes of images are not read.

    Raises:
        DataError: one sentence that names the file, the item and the remedy.
    """
    found, digests = _open(Path(path), quarantine)
    if verify:
        verify_opened(found, digests)
    return found


def verify_untrusted(path: Path | str, quarantine: Quarantine | None = None) -> dict[str, Any]:
    """Reads every byte of a set that somebody else made and compares all digests.

    Returns:
        What ``data.reading.verify_set`` returns.

    Raises:
        DataError: one sentence that names the file, the item and the remedy.
    """
    return verify_opened(*_open(Path(path), quarantine))


def is_stillhouse_set(path: Path | str, quarantine: Quarantine | None = None) -> bool:
    """Whether a file says that it is a set of this project's format; it is not checked further.

    Raises:
        DataError: if it is no readable HDF5 file.
    """
    path = Path(path)
    with _opened(path) as file, _process(quarantine) as process:
        return process.ask("is_set", str(path), file.fileno()) is True


def list_arrays(path: Path | str, quarantine: Quarantine | None = None) -> dict[str, StoredArray]:
    """The numeric data sets of a file's root group and of its groups, by name ("name" or "group/name").

    What is no array of numbers, or lies behind a link, is passed over; ``unpack_arrays`` says why.

    Raises:
        DataError: if it is no readable HDF5 file.
    """
    path = Path(path)
    with _opened(path) as file, _process(quarantine) as process:
        places = _places(process.ask("list", str(path), file.fileno()), path)
    return {name: StoredArray(dtype, shape) for name, (dtype, shape, _) in places.items()}


def check_arrays(
    path: Path | str, names: Sequence[str], quarantine: Quarantine | None = None
) -> dict[str, StoredArray]:
    """Types and shapes of named data sets, checked as ``unpack_arrays`` does, but not unpacked.

    Raises:
        DataError: naming what is missing or cannot be trusted.
    """
    path = Path(path)
    with _opened(path) as file, _process(quarantine) as process:
        places = _find(path, file, process, names)
    return {name: StoredArray(dtype, shape) for name, (dtype, shape, _) in places.items()}


def unpack_arrays(
    path: Path | str,
    names: Sequence[str],
    quarantine: Quarantine | None = None,
    *,
    unchanged: FileState | None = None,
) -> dict[str, npt.NDArray[Any]]:
    """Read-only arrays of named data sets: over the file itself where it holds them plainly, else over unpacked copies.

    Copies lie in files without a name in ``$TMPDIR`` or /var/tmp, whose room comes back with the last array over them.

    Args:
        path: the file.
        names: of the data sets, "group/name" for one in a group.
        quarantine: a process for several files; None starts one for this file alone.
        unchanged: the state that the file must still have, as an earlier look told, so that all that was read of it
            is of one file.

    Raises:
        DataError: naming what is missing, cannot be trusted, or does not fit on the disk.
    """
    path = Path(path)
    with _opened(path, unchanged) as file, _process(quarantine) as process:
        size = os.fstat(file.fileno()).st_size
        places = _find(path, file, process, names)
        whole = _mapped(path, file)
        found: dict[str, npt.NDArray[Any]] = {}
        packed: list[str] = []
        for name, (dtype, shape, offset) in places.items():
            length = math.prod(shape) * dtype.itemsize
            if not length:
                found[name] = np.empty(shape, dtype)
            elif offset is None:
                packed.append(name)
            elif offset + length > size:
                _refuse(path, f"{name} ends past the end of the file")
            else:
                found[name] = whole[offset : offset + length].view(dtype).reshape(shape)
        if len(packed) > _AT_ONCE:
            _refuse(path, f"at most {_AT_ONCE} data sets are unpacked at once, got {len(packed)}", "ask for fewer")
        if packed:
            found |= _unpack(path, file, process, {name: places[name][:2] for name in packed}, size)
    for values in found.values():
        values.flags.writeable = False
    return {name: found[name] for name in names}


def _mapped(path: Path, file: BinaryIO) -> npt.NDArray[np.uint8]:
    try:
        return np.asarray(np.memmap(file, np.uint8, "r"))
    except (OSError, ValueError, MemoryError, OverflowError) as error:
        raise DataError(
            f"{path}: the file cannot be mapped ({error}); it may be longer than the address space that this process "
            "has (ulimit -v)."
        ) from error


def _find(
    path: Path, file: BinaryIO, process: Quarantine, names: Sequence[str]
) -> dict[str, tuple[np.dtype[Any], Shape, int | None]]:
    wanted = list(dict.fromkeys(names))
    size = os.fstat(file.fileno()).st_size
    places = _places(process.ask("find", str(path), file.fileno(), names=wanted, size=size), path)
    if set(places) != set(wanted):
        _refuse(path, "its check answers about other data sets")
    return places


def _unpack(
    path: Path, file: BinaryIO, process: Quarantine, wanted: Mapping[str, tuple[np.dtype[Any], Shape]], size: int
) -> dict[str, npt.NDArray[Any]]:
    lengths = {name: math.prod(shape) * dtype.itemsize for name, (dtype, shape) in wanted.items()}
    total = sum(lengths.values())
    folder = os.environ.get("TMPDIR") or ("/var/tmp" if os.access("/var/tmp", os.W_OK) else tempfile.gettempdir())
    targets: list[BinaryIO] = []
    try:
        free = os.statvfs(folder)
        if total + _SPARE_BYTES > free.f_bavail * free.f_frsize:
            _refuse(path, f"unpacks to {total:,} bytes, more than are free in {folder}", "set TMPDIR to a larger disk")
        for length in lengths.values():
            targets.append(tempfile.TemporaryFile(dir=folder))  # noqa: SIM115, a list of them is closed below
            # Room that is there now, so that writing through a map cannot fail later.
            os.posix_fallocate(targets[-1].fileno(), 0, length)
        process.ask(
            "copy",
            str(path),
            file.fileno(),
            targets=[target.fileno() for target in targets],
            memory=total + _UNPACKING_BYTES,
            file_bytes=max(lengths.values()),
            cpu_seconds=total // _UNPACKED_PER_SECOND,
            places=[[name, dtype.str, shape] for name, (dtype, shape) in wanted.items()],
            size=size,
        )
        for target, length in zip(targets, lengths.values(), strict=True):
            if os.fstat(target.fileno()).st_size != length:
                _refuse(path, "its check has changed the length of a copy")
        return {
            name: np.asarray(np.memmap(target, dtype, "r", shape=shape))
            for target, (name, (dtype, shape)) in zip(targets, wanted.items(), strict=True)
        }
    except (OSError, ValueError, MemoryError, OverflowError) as error:
        raise DataError(f"{path}: cannot be unpacked in {folder} ({error}); set TMPDIR to another folder.") from error
    finally:
        for target in targets:
            target.close()


def _open(path: Path, quarantine: Quarantine | None) -> tuple[ImageSet, dict[str, npt.NDArray[np.uint8]]]:
    with _opened(path) as file:
        with _process(quarantine) as process:
            answer = process.ask("structure", str(path), file.fileno())
        try:
            header = _header(answer, path, os.fstat(file.fileno()).st_size)
            return assemble_set(path, header, _mapped(path, file), trusted=False)
        except DataError as error:
            raise DataError(one_line(str(error), str(path))) from error


@contextmanager
def _opened(path: Path, unchanged: FileState | None = None) -> Iterator[BinaryIO]:
    """A regular file, opened once: what is checked is what is mapped, whatever its name leads to meanwhile."""
    check_regular(path)
    try:
        # Without blocking, should it have become a FIFO just now.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        raise DataError(f"{path}: the file cannot be opened ({error}); check who may read it.") from error
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        before = os.fstat(descriptor)
        if unchanged is not None and FileState.of(before) != unchanged:
            _refuse(path, "was changed since it was looked at first", "run again when nobody writes to it")
        if not stat.S_ISREG(before.st_mode):
            _refuse(path, "must be a regular file, no link, folder or pipe", "give the file itself")
        if not before.st_size:
            _refuse(path, "the file cannot be read as HDF5 (it is empty)", "restore or write it again")
        yield file
        after = os.fstat(descriptor)
        # A file that was replaced has lost its name, which is a change of the file, too, but not of its bytes.
        renamed = before.st_nlink != after.st_nlink
        changed = FileState.of(before) != FileState.of(after)._replace(
            **({"ctime_ns": before.st_ctime_ns} if renamed else {})
        )
        if changed:
            _refuse(path, "was changed while it was checked", "open it again when nobody writes to it")


def _process(quarantine: Quarantine | None) -> Any:
    return Quarantine() if quarantine is None else nullcontext(quarantine)


def _header(answer: Any, path: Path, size: int) -> Header:
    """Takes the child's answer apart; a child that the file has taken over may answer anything."""
    try:
        attributes, extents = answer
        if set(attributes) != set(ATTRIBUTES) or not set(extents) <= {*COLUMNS, *(f"{DIGESTS}/{c}" for c in COLUMNS)}:
            raise ValueError
        for name, value in attributes.items():
            # Half a pair of surrogates has no bytes.
            if type(value) is not ATTRIBUTES[name] or len(str(value).encode()) > ATTRIBUTE_BYTES:
                raise ValueError
        found = {}
        for name, (dtype, shape, offset) in extents.items():
            if dtype not in DTYPES or not _is_size(offset):
                raise ValueError
            found[name] = Extent(np.dtype(dtype), _shape(shape), offset)
    except (ValueError, TypeError, AttributeError):
        _refuse(path, "its check gave no answer that makes sense")
    return check_structure(str(path), attributes, found, size)


def _places(answer: Any, path: Path) -> dict[str, tuple[np.dtype[Any], Shape, int | None]]:
    try:
        if type(answer) is not dict or len(answer) > MEMBERS * (MEMBERS + 1):
            raise ValueError
        found = {}
        for name, place in answer.items():
            dtype, shape, offset = place["dtype"], place["shape"], place["offset"]
            if dtype not in NUMBERS or not (offset is None or _is_size(offset)) or len(place) != 3:
                raise ValueError
            name.encode()
            found[name] = (np.dtype(dtype), _shape(shape), offset)
            if not is_addressable(*found[name][1::-1]):
                raise ValueError
    except (ValueError, TypeError, KeyError):
        _refuse(path, "its check gave no answer that makes sense")
    return found


def _shape(value: Any) -> Shape:
    if type(value) is not list or not 1 <= len(value) <= _AXES or not all(map(_is_size, value)):
        raise ValueError
    return tuple(value)


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 63


def _refuse(path: Path, fault: str, remedy: str = "get it again from where it comes") -> NoReturn:
    raise DataError(f"{path}: {fault}; {remedy}.")
