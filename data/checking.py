"""Checks the structure of a set's file and takes from it where the columns lie.

Two halves: ``read_structure`` asks HDF5 for attributes and places, ``check_structure`` judges what it said and calls no
HDF5. For a file of our own both run in one process; for one from elsewhere the first half runs in a child
(``data.untrusted``). No column is read through HDF5: the reader maps the file at the offsets found here. Whatever
could lead elsewhere or needs code to decode is refused.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import h5py
import numpy as np

from data.digests import attribute_digests
from data.errors import DataError
from data.files import check_regular
from data.json_objects import ATTRIBUTE_BYTES, parse_object
from data.labels import LabelSpace
from data.schema import (
    ATTRIBUTES,
    BLOCK_ROWS,
    COLUMNS,
    DIGEST_BYTES,
    DIGESTS,
    DTYPES,
    FORMAT,
    SCHEMA_VERSION,
    Shape,
    check_layout,
)

Attributes = Mapping[str, str | int]

#: What a license expression is made of.
SPDX = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+:() -]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
# A set has ten; a newer version may have more.
_MOST_ATTRIBUTES = 64


@dataclass(frozen=True)
class Extent:
    """Where a data set lies in its file.

    Args:
        dtype: type of the values.
        shape: rows first.
        offset: of the first byte in the file; 0 if there are no bytes.
    """

    dtype: np.dtype[Any]
    shape: Shape
    offset: int

    @property
    def size(self) -> int:
        """Length in bytes."""
        size = self.dtype.itemsize
        for length in self.shape:
            size *= length
        return size


@dataclass(frozen=True)
class Header:
    """All that a file says about a set, apart from the values of its columns."""

    kind: str
    label_space: LabelSpace
    provenance: dict[str, Any]
    license: str
    content_sha256: str
    rows: int
    columns: Mapping[str, Extent]
    digests: Mapping[str, Extent]


def read_header(path: Path) -> Header:
    """Checks the structure and attributes of a file of our own, and finds its columns.

    Raises:
        DataError: one sentence that names the file, the item and the remedy.
    """
    check_regular(path)
    attributes, extents = read_structure(str(path), str(path))
    return check_structure(str(path), attributes, extents, path.stat().st_size)


def read_structure(name: str, where: str) -> tuple[dict[str, str | int], dict[str, Extent]]:
    """Reads root attributes and places of all data sets, and refuses what has no place in the format.

    Args:
        name: what HDF5 opens.
        where: the file, for messages.

    Raises:
        DataError: one sentence that names the file, the item and the remedy.
    """
    # Without a lock a set can be read from read-only media; a set is never changed in place.
    with as_data_error(where), h5py.File(name, "r", locking=False) as file:
        return _read_attributes(where, file), dict(_read_group(where, file.id, ""))


def check_structure(where: str, attributes: Attributes, extents: Mapping[str, Extent], size: int) -> Header:
    """Judges what ``read_structure`` found: values of attributes, their digests, the layout, places within the file.

    Args:
        where: the file, for messages.
        attributes: all of ``ATTRIBUTES``, each of its type.
        extents: of all data sets by name; those of digests under "digests/NAME".
        size: length of the file in bytes.

    Raises:
        DataError: one sentence that names the file, the item and the remedy.
    """
    for name in ("format", "schema_version"):
        _check_format(where, name, attributes[name])
    for name, number in (("complete", 1), ("block_rows", BLOCK_ROWS)):
        if attributes[name] != number:
            _refuse(where, f"attribute {name}", f"must be {number}, got {attributes[name]}")
    recorded = parse_object(where, "attribute_digests", attributes["attribute_digests"])
    actual = json.loads(attribute_digests(attributes))
    for name in sorted(set(recorded) | set(actual)):
        if recorded.get(name) != actual.get(name):
            _refuse(where, f"attribute {name}", "does not have its recorded digest", "restore or write the set again")
    if not SPDX.fullmatch(str(attributes["license"])):
        _refuse(where, "attribute license", f"must be an SPDX expression, got {str(attributes['license'])[:100]!r}")
    if not _SHA256.fullmatch(str(attributes["content_sha256"])):
        _refuse(where, "attribute content_sha256", "must be 64 hexadecimal digits")
    label_space = _read_label_space(where, attributes)
    columns = {name: extent for name, extent in extents.items() if "/" not in name}
    digests = {name.partition("/")[2]: extent for name, extent in extents.items() if "/" in name}
    layout = {name: (extent.dtype, extent.shape) for name, extent in columns.items()}
    rows = check_layout(str(attributes["kind"]), label_space, layout, where)
    if set(digests) != set(columns):
        _refuse(where, DIGESTS, f"must have one data set for each column, got {', '.join(sorted(digests)) or 'none'}")
    wanted = (-(-rows // BLOCK_ROWS), DIGEST_BYTES)
    for name, extent in digests.items():
        if extent.dtype != np.uint8 or extent.shape != wanted:
            _refuse(where, f"{DIGESTS}/{name}", f"must be uint8 {wanted}, got {extent.dtype.name} {extent.shape}")
    _check_extents(where, extents, size)
    return Header(
        kind=str(attributes["kind"]),
        label_space=label_space,
        provenance=parse_object(where, "provenance", attributes["provenance"]),
        license=str(attributes["license"]),
        content_sha256=str(attributes["content_sha256"]),
        rows=rows,
        columns=columns,
        digests=digests,
    )


def _refuse(where: str, item: str, fault: str, remedy: str = "write the set again") -> NoReturn:
    raise DataError(f"{where}: {item} {fault}; {remedy}.")


@contextmanager
def as_data_error(where: str, item: str = "the file") -> Iterator[None]:
    """Turns whatever h5py raises for a damaged file into one sentence."""
    try:
        yield
    except (OSError, RuntimeError, LookupError, ValueError, ArithmeticError) as error:
        raise unreadable(where, error, item) from error
    except (TypeError, AttributeError, MemoryError, SystemError) as error:
        raise unreadable(where, error, item) from error


def unreadable(where: str, error: BaseException, item: str = "the file") -> DataError:
    """The sentence for a file that HDF5 cannot read."""
    reason = str(error).strip("'\n ").partition("\n")[0] or type(error).__name__
    return DataError(
        f"{where}: {item} cannot be read as HDF5 ({reason}); it is damaged or no set: restore or write it again."
    )


def _read_attributes(where: str, file: h5py.File) -> dict[str, str | int]:
    with as_data_error(where, "the list of attributes"):
        count = h5py.h5a.get_num_attrs(file.id)
        if count > _MOST_ATTRIBUTES:
            _refuse(where, "the root group", f"must have at most {_MOST_ATTRIBUTES} attributes, got {count}")
        names = [h5py.h5a.open(file.id, index=index).name for index in range(count)]
        found = {name.decode("utf-8"): name for name in names}
    values: dict[str, str | int] = {}
    for name in ("format", "schema_version", *ATTRIBUTES):
        if name not in found:
            _refuse(where, f"attribute {name}", "is missing", "the file is no complete Stillhouse set, write it again")
        with as_data_error(where, f"attribute {name}"):
            values[name] = _read_attribute(where, name, h5py.h5a.open(file.id, found[name]))
        # Before all else: of a newer version anything may be unknown.
        _check_format(where, name, values[name])
    if extra := sorted(set(found) - set(ATTRIBUTES)):
        _refuse(where, f"attribute {extra[0]!r}", "is not part of the format", "remove it")
    return values


def _check_format(where: str, name: str, value: str | int) -> None:
    if name == "format" and value != FORMAT:
        _refuse(where, "attribute format", f"must be '{FORMAT}', got {value!r}", "give a Stillhouse set")
    if name == "schema_version" and value != SCHEMA_VERSION:
        _refuse(where, "attribute schema_version", f"must be {SCHEMA_VERSION}, got {value}", "upgrade Stillhouse")


def _read_attribute(where: str, name: str, attribute: h5py.h5a.AttrID) -> str | int:
    kind = attribute.get_type()
    wanted = ATTRIBUTES[name]
    is_text = kind.get_class() == h5py.h5t.STRING and not kind.is_variable_str()
    is_number = kind.equal(h5py.h5t.STD_I64LE)
    if attribute.shape != () or not (is_text if wanted is str else is_number):
        _refuse(where, f"attribute {name}", f"must be one {'string of fixed length' if wanted is str else 'int64'}")
    if kind.get_size() > ATTRIBUTE_BYTES:
        _refuse(where, f"attribute {name}", f"must have at most {ATTRIBUTE_BYTES} bytes, got {kind.get_size()}")
    value = np.empty((), kind.dtype)
    attribute.read(value)
    if wanted is int:
        return int(value)
    # NumPy drops the NUL bytes that pad a string of fixed length.
    return bytes(value[()]).decode("utf-8")


def _read_label_space(where: str, attributes: Attributes) -> LabelSpace:
    value = parse_object(where, "label_space", attributes["label_space"])
    try:
        # The letters of a text are no names.
        if not all(isinstance(value.get(key, []), list) for key in ("names", "axes")):
            raise ValueError("must have lists of names and axes")
        described = [value, *value.get("axes", [])]
        texts = [*value.get("names", []), *(item[key] for item in described for key in ("name", "unit") if key in item)]
        if not all(isinstance(text, str) for text in texts):
            raise ValueError("must have names that are strings")
        ends = [item[key] for item in described for key in ("minimum", "maximum") if key in item]
        if any(isinstance(end, bool) for end in ends):
            raise ValueError("must have ranges of numbers")
        return LabelSpace.from_dict(value)
    except (DataError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise DataError(
            f"{where}: attribute label_space must be a label space ({error}); write the set again."
        ) from error


def _read_group(where: str, group: h5py.h5g.GroupID, prefix: str) -> Iterator[tuple[str, Extent]]:
    with as_data_error(where, f"the list of members of {prefix.rstrip('/') or 'the root group'}"):
        count = group.get_num_objs()
        if count > len(COLUMNS) + 1:
            _refuse(where, prefix or "the root group", f"must have at most {len(COLUMNS) + 1} members, got {count}")
        names = [group.get_objname_by_idx(index) for index in range(count)]
        texts = [raw.decode("utf-8") for raw in names]
    for raw, name in zip(names, texts, strict=True):
        item = prefix + name
        if name not in COLUMNS and item != DIGESTS:
            _refuse(where, repr(item), "is not part of the format", "remove it")
        with as_data_error(where, item):
            if group.links.get_info(raw).type != h5py.h5l.TYPE_HARD:
                _refuse(where, item, "is a link to another place", "copy the data into the file")
            member = h5py.h5o.open(group, raw)
            if h5py.h5a.get_num_attrs(member):
                _refuse(where, item, "must have no attributes", "remove them")
        if item == DIGESTS:
            if not isinstance(member, h5py.h5g.GroupID):
                _refuse(where, item, "must be a group")
            yield from _read_group(where, member, f"{DIGESTS}/")
        elif isinstance(member, h5py.h5d.DatasetID):
            with as_data_error(where, item):
                extent = _read_extent(where, item, member)
            yield item, extent
        else:
            _refuse(where, item, "must be a data set")


def _read_extent(where: str, item: str, dataset: h5py.h5d.DatasetID) -> Extent:
    properties = dataset.get_create_plist()
    if properties.get_layout() != h5py.h5d.CONTIGUOUS or properties.get_nfilters():
        _refuse(where, item, "must be contiguous and without filters", "unpack it, e.g. by h5repack -l CONTI -f NONE")
    if properties.get_external_count():
        _refuse(where, item, "keeps its bytes in another file", "copy the data into the file")
    kind = dataset.get_type()
    dtype = next((np.dtype(name) for name in DTYPES if kind.equal(h5py.h5t.py_create(np.dtype(name)))), None)
    if dtype is None:
        _refuse(where, item, f"must be of a plain little-endian type ({', '.join(DTYPES)})", "convert it")
    if dataset.get_space().get_simple_extent_type() != h5py.h5s.SIMPLE or not dataset.shape:
        _refuse(where, item, "must be an array, rows first")
    extent = Extent(dtype, tuple(dataset.shape), dataset.get_offset() or 0)
    if extent.size != dataset.get_storage_size():
        _refuse(where, item, f"must store {extent.size} bytes, got {dataset.get_storage_size()}")
    return extent


def is_addressable(shape: Shape, dtype: np.dtype[Any]) -> bool:
    """Whether NumPy can have such an array; of an empty one it multiplies the other sides all the same."""
    return math.prod(side or 1 for side in shape) * dtype.itemsize < 1 << 63


def _check_extents(where: str, extents: Mapping[str, Extent], size: int) -> None:
    end, before = 0, "the beginning"
    for item, extent in extents.items():
        if not is_addressable(extent.shape, extent.dtype):
            _refuse(where, item, f"must have sides whose product fits a memory, got {extent.shape}")
    for item, extent in sorted(extents.items(), key=lambda pair: pair[1].offset):
        if not extent.size:
            continue
        if extent.offset <= 0 or extent.offset % 8:
            _refuse(where, item, f"must lie at a multiple of 8 bytes in the file, got {extent.offset}")
        if extent.offset < end:
            _refuse(where, item, f"must not share bytes with {before}")
        end, before = extent.offset + extent.size, item
        if end > size:
            _refuse(where, item, f"ends at byte {end}, past the end of the file", "it is cut short, copy it again")
