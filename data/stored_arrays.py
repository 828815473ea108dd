"""Numeric data sets of any HDF5 file: which there are, where each one lies, and a plain copy of a packed one.

For files of other layouts than ours. Runs in the child process of ``data.untrusted``; refuses what leads out of the
file, needs code to decode, or unpacks to far more than is stored.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, NoReturn

import h5py
import numpy as np

from data.checking import as_data_error, is_addressable
from data.errors import DataError
from data.schema import DIGESTS, FORMAT, Shape

#: Types that are kept; big-endian ones become little-endian in the copy.
NUMBERS = ("|i1", "<i2", "<i4", "<i8", "|u1", "<u2", "<u4", "<u8", "<f2", "<f4", "<f8")
#: More members than this has no file of images.
MEMBERS = 1000
_FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32, h5py.h5z.FILTER_LZF}
_CHUNK_BYTES = 1 << 26
# Images of one colour pack well, but not a whole set of them.
_MOST_UNPACKED = 200
_SMALL_BYTES = 1 << 26
_BLOCK_BYTES = 1 << 25
_NAMES_TOLD = 8
_FORMAT_BYTES = 64


@dataclass(frozen=True)
class Place:
    """What a data set holds, and where.

    Args:
        dtype: name of the type, one of ``NUMBERS``.
        shape: rows first.
        offset: of the first byte, if the values lie in the file as they are; None if they must be unpacked.
    """

    dtype: str
    shape: Shape
    offset: int | None = None


def is_set(name: str, where: str) -> bool:
    """Whether a file says, in any way, that it is a set of this project's format; it is not checked further.

    It is wide on purpose: what it takes for a set is verified, what it does not is read without digests.
    """
    with as_data_error(where), h5py.File(name, "r", locking=False) as file:
        if file.id.links.exists(DIGESTS.encode()):
            return True
        if any(h5py.h5a.exists(file.id, name) for name in (b"attribute_digests", b"content_sha256")):
            return True
        if not h5py.h5a.exists(file.id, b"format"):
            return False
        attribute = h5py.h5a.open(file.id, b"format")
        kind = attribute.get_type()
        if attribute.shape != () or kind.get_class() != h5py.h5t.STRING or kind.is_variable_str():
            return False
        if kind.get_size() > _FORMAT_BYTES:
            return False
        value = np.empty((), kind.dtype)
        attribute.read(value)
        return bytes(value[()]).lstrip().lower().startswith(FORMAT.encode())


def list_places(name: str, where: str) -> dict[str, Place]:
    """The numeric data sets of the root group and of its groups ("group/name"); all else is passed over."""
    with as_data_error(where), h5py.File(name, "r", locking=False) as file:
        return dict(_walk(where, file.id, "", MEMBERS))


def find_places(name: str, where: str, wanted: list[str], size: int) -> dict[str, Place]:
    """Where each of the named data sets lies.

    Args:
        name: what HDF5 opens.
        where: the file, for messages.
        wanted: names, with "/" for one in a group.
        size: length of the file in bytes.

    Raises:
        DataError: naming the data set that is missing or not to be trusted.
    """
    with as_data_error(where), h5py.File(name, "r", locking=False) as file:
        return {item: _find(where, file, item, size)[1] for item in wanted}


def copy_array(name: str, where: str, item: str, size: int, place: Place, target: BinaryIO) -> None:
    """Unpacks one data set into a file that has its length already, little-endian and row-major.

    Raises:
        DataError: if it cannot be unpacked, or is not what was found before.
    """
    with as_data_error(where, item), h5py.File(name, "r", locking=False) as file:
        dataset, found = _find(where, file, item, size)
        if (found.dtype, found.shape) != (place.dtype, place.shape):
            _refuse(where, item, "has changed since the file was checked")
        out = np.memmap(target, place.dtype, "r+", shape=place.shape)
        chunk = dataset.chunks or (1,) * len(place.shape)
        for block in _blocks(place.shape, chunk, out.itemsize):
            dataset.read_direct(out, block, block)


def _walk(where: str, group: h5py.h5g.GroupID, prefix: str, most: int) -> Iterator[tuple[str, Place]]:
    count = group.get_num_objs()
    if count > most:
        _refuse(where, prefix.rstrip("/") or "the root group", f"must have at most {most} members, got {count}")
    for raw in [group.get_objname_by_idx(index) for index in range(count)]:
        # A link may lead anywhere; it is not followed.
        if group.links.get_info(raw).type != h5py.h5l.TYPE_HARD:
            continue
        name = prefix + raw.decode("utf-8")
        member = h5py.h5o.open(group, raw)
        if isinstance(member, h5py.h5d.DatasetID):
            dtype = _number_type(member)
            if dtype is not None and _is_array(member) and is_addressable(tuple(member.shape), np.dtype(dtype)):
                yield name, Place(dtype, tuple(member.shape))
        elif isinstance(member, h5py.h5g.GroupID) and not prefix:
            yield from _walk(where, member, f"{name}/", most)


def _number_type(dataset: h5py.h5d.DatasetID) -> str | None:
    kind = dataset.get_type()
    for name in NUMBERS:
        little = np.dtype(name)
        if any(kind.equal(h5py.h5t.py_create(dtype)) for dtype in (little, little.newbyteorder(">"))):
            return name
    return None


def _is_array(dataset: h5py.h5d.DatasetID) -> bool:
    return dataset.get_space().get_simple_extent_type() == h5py.h5s.SIMPLE and len(dataset.shape) > 0


def _find(where: str, file: h5py.File, item: str, size: int) -> tuple[h5py.Dataset, Place]:
    member: Any = file.id
    for part in item.split("/"):
        raw = part.encode()
        # Whether a link is there; where it leads is not looked at.
        if not isinstance(member, h5py.h5f.FileID | h5py.h5g.GroupID) or not part or not member.links.exists(raw):
            there = ", ".join(repr(key) for key in itertools.islice(file, _NAMES_TOLD)) or "nothing"
            _refuse(where, item, f"is missing, this file has {there}", "give another file")
        if member.links.get_info(raw).type != h5py.h5l.TYPE_HARD:
            _refuse(where, item, "is a link to another place", "copy the data into the file")
        member = h5py.h5o.open(member, raw)
    if not isinstance(member, h5py.h5d.DatasetID):
        _refuse(where, item, "must be a data set")
    properties = member.get_create_plist()
    layout = properties.get_layout()
    if layout == h5py.h5d.VIRTUAL or properties.get_external_count():
        _refuse(where, item, "keeps its values in another file", "copy the data into the file")
    filters = [properties.get_filter(place)[0] for place in range(properties.get_nfilters())]
    if not set(filters) <= _FILTERS:
        _refuse(where, item, f"must be packed by gzip, lzf or not at all, got the filters {filters}")
    dtype = _number_type(member)
    if dtype is None or not _is_array(member):
        _refuse(where, item, f"must be an array of numbers ({', '.join(NUMBERS)}), rows first")
    dataset = h5py.Dataset(member)
    shape = tuple(member.shape)
    if not is_addressable(shape, np.dtype(dtype)):
        _refuse(where, item, f"must have sides whose product fits a memory, got {shape}")
    unpacked, stored = math.prod(shape) * np.dtype(dtype).itemsize, member.get_storage_size()
    if layout == h5py.h5d.CHUNKED and unpacked:
        chunk = dataset.chunks
        if math.prod(chunk) * np.dtype(dtype).itemsize > _CHUNK_BYTES:
            _refuse(where, item, f"must have chunks of at most {_CHUNK_BYTES >> 20} MiB, got {chunk}")
        chunks = math.prod(-(-length // side) for length, side in zip(shape, chunk, strict=True))
        if member.get_num_chunks() != chunks:
            _refuse(where, item, f"must store {chunks} chunks, got {member.get_num_chunks()}")
        if unpacked > _SMALL_BYTES and unpacked > _MOST_UNPACKED * stored:
            _refuse(where, item, f"unpacks {stored} bytes to {unpacked}, as no images do")
    elif stored != unpacked:
        _refuse(where, item, f"must store {unpacked} bytes, got {stored}")
    if stored > size:
        _refuse(where, item, f"stores {stored} bytes in a file of {size}")
    offset = member.get_offset() if layout == h5py.h5d.CONTIGUOUS and not filters else None
    # Another order of bytes, or values astride, cannot be mapped as they are.
    if offset is not None and (offset % 8 or not member.get_type().equal(h5py.h5t.py_create(np.dtype(dtype)))):
        offset = None
    return dataset, Place(dtype, shape, offset if unpacked else None)


def _blocks(shape: Shape, chunk: Shape, itemsize: int) -> Iterator[tuple[slice, ...]]:
    """Cuts an array into whole chunks, as many together as fit into some MiB, so that each chunk is unpacked once."""
    sides = list(chunk)
    for axis in reversed(range(len(shape))):
        sides[axis] = 1
        room = max(1, _BLOCK_BYTES // (math.prod(sides) * itemsize)) // chunk[axis] * chunk[axis]
        sides[axis] = min(max(room, chunk[axis]), shape[axis])
        if sides[axis] < shape[axis]:
            break
    starts = [range(0, length, side) for length, side in zip(shape, sides, strict=True)]
    for corner in itertools.product(*starts):
        yield tuple(slice(start, start + side) for start, side in zip(corner, sides, strict=True))


def _refuse(where: str, item: str, fault: str, remedy: str = "write the file again") -> NoReturn:
    raise DataError(f"{where}: {item} {fault}; {remedy}.")
