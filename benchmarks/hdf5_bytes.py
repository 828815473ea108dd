"""Checksums of HDF5's metadata: where they lie in a file, and how they are made right again after a change.

Superblock and object headers of version 2 end with Bob Jenkins' lookup3 hash of their bytes (HDF5 File Format
Specification 3.0, sections II.A, IV.A.1.b and VIII.A; Jenkins 2006, http://burtleburtle.net/bob/c/lookup3.c).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

_MASK = 0xFFFFFFFF
_CONTINUATION = 0x10
# Metadata of which the length is tried out: trees, heaps, lists of free space, indices of chunks.
_OTHERS = (b"BTHD", b"BTIN", b"BTLF", b"FRHP", b"FHIB", b"FSHD", b"FSSE", b"FAHD", b"FADB", b"EAHD", b"EAIB", b"EADB")
_LONGEST = 700


class Block(NamedTuple):
    """Bytes first .. last - 1, whose checksum stands at ``at``, behind them or among them."""

    first: int
    last: int
    at: int


def lookup3(data: bytes, start: int = 0) -> int:
    """Jenkins' ``hashlittle``, as HDF5 uses it.

    Args:
        data: any bytes.
        start: first value.

    Returns:
        32 bits.
    """
    length = len(data)
    a = b = c = (0xDEADBEEF + length + start) & _MASK
    if not length:
        return c
    padded = data + bytes(-length % 12)
    words = [int.from_bytes(padded[place : place + 4], "little") for place in range(0, len(padded), 4)]
    for place in range(0, len(words) - 3, 3):
        a, b, c = (a + words[place]) & _MASK, (b + words[place + 1]) & _MASK, (c + words[place + 2]) & _MASK
        a = ((a - c) ^ _turn(c, 4)) & _MASK
        c = (c + b) & _MASK
        b = ((b - a) ^ _turn(a, 6)) & _MASK
        a = (a + c) & _MASK
        c = ((c - b) ^ _turn(b, 8)) & _MASK
        b = (b + a) & _MASK
        a = ((a - c) ^ _turn(c, 16)) & _MASK
        c = (c + b) & _MASK
        b = ((b - a) ^ _turn(a, 19)) & _MASK
        a = (a + c) & _MASK
        c = ((c - b) ^ _turn(b, 4)) & _MASK
        b = (b + a) & _MASK
    a, b, c = (a + words[-3]) & _MASK, (b + words[-2]) & _MASK, (c + words[-1]) & _MASK
    c = ((c ^ b) - _turn(b, 14)) & _MASK
    a = ((a ^ c) - _turn(c, 11)) & _MASK
    b = ((b ^ a) - _turn(a, 25)) & _MASK
    c = ((c ^ b) - _turn(b, 16)) & _MASK
    a = ((a ^ c) - _turn(c, 4)) & _MASK
    b = ((b ^ a) - _turn(a, 14)) & _MASK
    return ((c ^ b) - _turn(b, 24)) & _MASK


def find_blocks(content: bytes) -> list[Block]:
    """The parts of a whole file that carry a checksum: superblock, object headers, trees, heaps, indices of chunks."""
    found = [Block(0, 44, 44)] if content[:8] == b"\x89HDF\r\n\x1a\n" and content[8] in (2, 3) else []
    for place in _places(content, b"OHDR"):
        found.extend(_header(content, place))
    found = [block for block in found if _holds(content, block)]
    for kind in _OTHERS:
        for place in _places(content, kind):
            tried = (Block(place, end, end) for end in range(place + 6, min(place + _LONGEST, len(content) - 4)))
            found.extend(itertools.islice((block for block in tried if _holds(content, block)), 1))
    for place in _places(content, b"FHDB"):
        # Among its first bytes, after the address of the heap and a place of some bytes in it.
        tried = (Block(place, place + (1 << size), place + 13 + bits) for size in range(9, 17) for bits in range(2, 9))
        found.extend(itertools.islice((block for block in tried if _holds(content, block)), 1))
    return found


def repair(content: bytearray, blocks: list[Block]) -> None:
    """Writes the checksums that the blocks of a changed file need, as far as they still lie in it."""
    for block in blocks:
        if max(block.last, block.at + 4) <= len(content):
            content[block.at : block.at + 4] = _checksum(content, block)


def _places(content: bytes, signature: bytes) -> Iterator[int]:
    place = content.find(signature)
    while place >= 0:
        yield place
        place = content.find(signature, place + 4)


def _checksum(content: bytes | bytearray, block: Block) -> bytes:
    data = bytearray(content[block.first : block.last])
    if block.at < block.last:
        data[block.at - block.first : block.at - block.first + 4] = bytes(4)
    return lookup3(bytes(data)).to_bytes(4, "little")


def _turn(value: int, bits: int) -> int:
    return ((value << bits) | (value >> (32 - bits))) & _MASK


def _holds(content: bytes, block: Block) -> bool:
    return _checksum(content, block) == content[block.at : block.at + 4]


def _header(content: bytes, place: int) -> Iterator[Block]:
    flags = content[place + 5]
    # Times, and limits of attributes, if they are kept.
    begin = place + 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
    width = 1 << (flags & 3)
    first = begin + width
    pieces = [(place, first, first + int.from_bytes(content[begin:first], "little"))]
    while pieces:
        start, at, end = pieces.pop()
        yield Block(start, end, end)
        head = 6 if flags & 4 else 4
        while at + head <= end:
            kind, size = content[at], int.from_bytes(content[at + 1 : at + 3], "little")
            if kind == _CONTINUATION:
                other = int.from_bytes(content[at + head : at + head + 8], "little")
                length = int.from_bytes(content[at + head + 8 : at + head + 16], "little")
                if content[other : other + 4] == b"OCHK":
                    pieces.append((other, other + 4, other + length - 4))
            at += head + size
