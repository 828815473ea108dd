"""Arrays in .npy and .npz files, mapped and never held whole; headers are compared with the files' sizes first."""

from __future__ import annotations

import math
import os
import struct
import tempfile
import zipfile
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from data.errors import DataError
from data.file_digests import cache_folder

_LOCAL_HEADER = struct.Struct("<4s22xHH")
_LOCAL_MAGIC = b"PK\x03\x04"
_AXES = 8


def open_array(path: Path, key: str | None = None) -> npt.NDArray[Any]:
    """Maps an array of numbers, read-only.

    Members of an .npz file that are stored as they are are mapped where they lie; a compressed one is unpacked into a
    file without a name, which ends with the process.

    Args:
        path: an .npy file, or an .npz file.
        key: name of the array in an .npz file; not used for .npy.

    Returns:
        The array, of any number type, in the byte order of the file.

    Raises:
        DataError: if it is no such file, holds Python objects, or is shorter or longer than its header says.
    """
    try:
        with path.open("rb") as file:
            start = file.read(len(npy.MAGIC_PREFIX))
            if start == npy.MAGIC_PREFIX:
                return _map(file, 0, path.stat().st_size, str(path))
            if start[: len(_LOCAL_MAGIC)] == _LOCAL_MAGIC and key is not None:
                return _member(path, file, key)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); check its name and who may.") from error
    raise DataError(f"{path}: must be an .npy or .npz file; write it with np.save.")


def names_in(path: Path) -> list[str]:
    """Names of the arrays in an .npz file; none for a file of another kind.

    Raises:
        DataError: if it cannot be read.
    """
    try:
        if not zipfile.is_zipfile(path):
            return []
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: cannot be read ({error}); check its name, or write it again.") from error


def _member(path: Path, file: BinaryIO, key: str) -> npt.NDArray[Any]:
    try:
        with zipfile.ZipFile(file) as archive:
            info = next((info for info in archive.infolist() if info.filename in (key, f"{key}.npy")), None)
            if info is None:
                raise DataError(
                    f"{path}: must hold an array '{key}', got {', '.join(names_in(path)) or 'none'}; name it so."
                )
            where = f"{path}: array '{key}'"
            if info.compress_type == zipfile.ZIP_STORED:
                file.seek(info.header_offset)
                magic, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
                if magic != _LOCAL_MAGIC:
                    raise DataError(f"{where}: must lie where the file's directory says; write the file again.")
                first = info.header_offset + _LOCAL_HEADER.size + name_bytes + extra_bytes
                return _map(file, first, info.file_size, where)
            return _unpacked(archive, info, where)
    except (zipfile.BadZipFile, struct.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise DataError(f"{path}: must be a whole .npz file ({error}); write it again.") from error


def _unpacked(archive: zipfile.ZipFile, info: zipfile.ZipInfo, where: str) -> npt.NDArray[Any]:
    with scratch_file() as target:
        free = _free(target)
        if info.file_size > free:
            raise DataError(
                f"{where}: takes {info.file_size:,} bytes unpacked, but {free:,} are free; save it with np.savez."
            )
        with archive.open(info) as packed:
            # No more than the directory tells, however much the packed bytes would give.
            left = info.file_size
            while block := packed.read(min(1 << 20, left) or 1):
                left -= len(block)
                if left < 0:
                    raise DataError(f"{where}: unpacks to more than the file says; write the file again.")
                target.write(block)
        target.flush()
        return _map(target, 0, info.file_size, where)


def scratch_file() -> IO[bytes]:
    """A file without a name, which ends with its last user: in the cache folder, as /tmp may lie in memory."""
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryFile(dir=cache_folder())
    except (OSError, RuntimeError):
        # The latter where nothing tells a home folder.
        return tempfile.TemporaryFile()


def _free(file: IO[bytes]) -> int:
    status = os.fstatvfs(file.fileno())
    return status.f_bavail * status.f_frsize


def _map(file: IO[bytes], start: int, size: int, where: str) -> npt.NDArray[Any]:
    """Maps the array whose header begins at ``start`` and which ends ``size`` bytes later."""
    file.seek(start)
    try:
        version = npy.read_magic(file)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        if version not in ((1, 0), (2, 0), (3, 0)):
            raise ValueError(f"version {version}")
        shape, column_major, dtype = read(file)
    except (ValueError, EOFError, OverflowError, SyntaxError, TypeError) as error:
        said = " ".join(str(error).split())[:120]
        raise DataError(f"{where}: must begin with a whole NumPy header ({said}); write it again.") from error
    if dtype.hasobject or dtype.names is not None or dtype.kind not in "uifb":
        raise DataError(f"{where}: must hold plain numbers, got {dtype}; convert it before saving.")
    told = math.prod(shape) * dtype.itemsize
    there = start + size - file.tell()
    if len(shape) > _AXES or min(shape, default=0) < 0 or told != there:
        raise DataError(
            f"{where}: must hold the {told:,} bytes of its shape {shape}, got {there:,}; copy or write it again."
        )
    if start + size > os.fstat(file.fileno()).st_size:
        raise DataError(f"{where}: must lie within its file, but ends behind it; copy or write the file again.")
    if not told:
        return np.empty(shape, dtype)
    return np.memmap(file, dtype, "r", file.tell(), shape, "F" if column_major else "C")
