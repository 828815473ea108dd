"""Strict reader of idx files, the format of MNIST and Fashion-MNIST (http://yann.lecun.com/exdb/mnist), gz or not."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data.errors import DataError

_UNSIGNED_BYTE = 0x08


def read_idx(path: Path, shape_tail: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Reads an idx file of unsigned bytes.

    Args:
        path: the file; compressed if its name ends in .gz.
        shape_tail: what the sizes after the first must be, e.g. ``(28, 28)``, or ``()`` for labels.

    Returns:
        Its values, uint8, shape (N, *shape_tail), read-only.

    Raises:
        DataError: if the file cannot be read or is not exactly such a file.
    """
    content = _content(path)
    dimensions = 1 + len(shape_tail)
    header = 4 + 4 * dimensions
    if len(content) < header:
        raise DataError(f"{path}: an idx file must have a header of {header} bytes, got {len(content)}; {_AGAIN}")
    magic = (0, 0, _UNSIGNED_BYTE, dimensions)
    if tuple(content[:4]) != magic:
        raise DataError(
            f"{path}: must begin with the bytes {bytes(magic).hex(' ')} (idx, unsigned bytes, {dimensions} "
            f"dimensions), got {content[:4].hex(' ')}; {_AGAIN}"
        )
    shape = struct.unpack_from(f">{dimensions}I", content, 4)
    if shape[1:] != shape_tail:
        raise DataError(
            f"{path}: each entry must have the shape {shape_tail}, got {shape[1:]}; "
            "try the folder of the right data set."
        )
    expected = header + math.prod(shape)
    if len(content) != expected:
        raise DataError(f"{path}: must hold {expected} bytes by its header, got {len(content)}; {_AGAIN}")
    return np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape)


_AGAIN = "try to download the file again."


def _content(path: Path) -> bytes:
    try:
        if path.suffix == ".gz":
            with gzip.open(path, "rb") as file:
                return file.read()
        return path.read_bytes()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: must be a whole gzip file, got: {error}; {_AGAIN}") from error
    except OSError as error:
        raise DataError(f"{path}: must be readable, got: {error.strerror}; try to change its permissions.") from error
