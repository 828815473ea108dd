"""Digests of a set: SHA-256 over its content, XXH3 over blocks of rows and over attributes.

The content digest (SHA-256) names the set, whatever the layout of the file. The block digests (XXH3-128, Collet,
https://xxhash.com) are fast and say where a bit has flipped; HDF5 itself does not notice one.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

from data.schema import canonical_json

Digest = npt.NDArray[np.uint8]

#: Bytes of a column that are held at a time; a block of large images is far more.
PIECE_BYTES = 1 << 25


class ContentDigest:
    """SHA-256 over names, types, shapes and bytes of columns, taken in sorted order of their names."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def begin(self, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        """Starts a column: one line of JSON, ``["images","uint8",[10,3,32,32]]`` and a line feed."""
        self._digest.update(f"{canonical_json([name, dtype.name, list(shape)])}\n".encode())

    def update(self, block: npt.NDArray[Any]) -> None:
        """Adds the next rows of the column, row-major and little-endian."""
        self._digest.update(_raw(block).data)

    def hexdigest(self) -> str:
        """The digest of all that was added, hexadecimal."""
        return self._digest.hexdigest()


class BlockDigest:
    """XXH3-128 (seed 0, canonical big-endian form) of the bytes of some rows, which may come in pieces."""

    def __init__(self) -> None:
        self._digest = xxhash.xxh3_128()

    def update(self, piece: npt.NDArray[Any]) -> None:
        """Adds the next rows, row-major and little-endian."""
        self._digest.update(_raw(piece).data)

    def digest(self) -> Digest:
        """The digest of all that was added, uint8, shape (16,)."""
        return np.frombuffer(self._digest.digest(), np.uint8)


def block_digest(block: npt.NDArray[Any]) -> Digest:
    """``BlockDigest`` of rows that are all at hand, uint8, shape (16,)."""
    digest = BlockDigest()
    digest.update(block)
    return digest.digest()


def pieces(start: int, stop: int, row_bytes: int) -> Iterator[tuple[int, int]]:
    """First row, and row after the last, of pieces of at most ``PIECE_BYTES`` (and at least a row) of some rows.

    Args:
        start: the first row.
        stop: the row after the last.
        row_bytes: bytes of a row.
    """
    step = max(1, PIECE_BYTES // max(1, row_bytes))
    for first in range(start, stop, step):
        yield first, min(first + step, stop)


def bytes_a_row(dtype: np.dtype[Any], shape: tuple[int, ...]) -> int:
    """Bytes of one row of a column of that type and shape, rows first."""
    return dtype.itemsize * math.prod(shape[1:])


def attribute_digests(attributes: Mapping[str, str | int]) -> str:
    """JSON of the XXH3-128 of every attribute but itself, hexadecimal; a number counts as its decimal digits."""
    return canonical_json(
        {
            name: xxhash.xxh3_128(str(value).encode()).hexdigest()
            for name, value in attributes.items()
            if name != "attribute_digests"
        }
    )


def _raw(block: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    return np.ascontiguousarray(block).reshape(-1).view(np.uint8)
