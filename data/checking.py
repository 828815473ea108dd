"""Checks the structure of a set's file and takes from it where the columns lie.

Only here is a file opened with HDF5 for reading, and no column is read through it: the reader maps the file at the
offsets found here. Whatever could lead elsewhere or needs code to decode is refused.
"""

from __future__ import annotations

import json
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

# An attribute longer than this is no description of a set.
_ATTRIBUTE_BYTES = 1 << 26


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
    """Checks a file's structure and attributes, and finds its columns.

    Raises:
        DataError: one sentence that names the file, the item and the remedy.
    """
    check_regular(path)
    # Without a lock a set can be read from read-only media; a set is never changed in place.
    with _as_data_error(path), h5py.File(path, "r", locking=False) as file:
        attributes = _read_attributes(path, file)
        label_space = _read_label_space(path, attributes)
        extents = dict(_read_group(path, file.id, ""))
        columns = {name: extent for name, extent in extents.items() if "/" not in name}
        digests = {name.partition("/")[2]: extent for name, extent in extents.items() if "/" in name}
    layout = {name: (extent.dtype, extent.shape) for name, extent in columns.items()}
    rows = check_layout(str(attributes["kind"]), label_space, layout, str(path))
    if set(digests) != set(columns):
        _refuse(path, DIGESTS, f"must have one data set for each column, got {', '.join(sorted(digests)) or 'none'}")
    wanted = (-(-rows // BLOCK_ROWS), DIGEST_BYTES)
    for name, extent in digests.items():
        if extent.dtype != np.uint8 or extent.shape != wanted:
            _refuse(path, f"{DIGESTS}/{name}", f"must be uint8 {wanted}, got {extent.dtype.name} {extent.shape}")
    _check_extents(path, extents)
    return Header(
        kind=str(attributes["kind"]),
        label_space=label_space,
        provenance=_parse(path, "provenance", attributes),
        license=str(attributes["license"]),
        content_sha256=str(attributes["content_sha256"]),
        rows=rows,
        columns=columns,
        digests=digests,
    )


def _refuse(path: Path, item: str, fault: str, remedy: str = "write the set again") -> NoReturn:
    raise DataError(f"{path}: {item} {fault}; {remedy}.")


@contextmanager
def _as_data_error(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, MemoryError) as error:
        reason = str(error).strip("'\n ").partition("\n")[0] or type(error).__name__
        raise DataError(
            f"{path}: the file cannot be read as HDF5 ({reason}); it is damaged or no set: restore or write it again."
        ) from error


def _read_attributes(path: Path, file: h5py.File) -> dict[str, str | int]:
    names = [h5py.h5a.open(file.id, index=index).name for index in range(min(h5py.h5a.get_num_attrs(file.id), 64))]
    found = {name.decode("utf-8"): h5py.h5a.open(file.id, name) for name in names}
    values: dict[str, str | int] = {}
    for name in ("format", "schema_version", *ATTRIBUTES):
        if name not in found:
            _refuse(path, f"attribute {name}", "is missing", "the file is no complete Stillhouse set, write it again")
        values[name] = _read_attribute(path, name, found[name])
        if name == "format" and values[name] != FORMAT:
            _refuse(path, "attribute format", f"must be '{FORMAT}', got {values[name]!r}", "give a Stillhouse set")
        if name == "schema_version" and values[name] != SCHEMA_VERSION:
            _refuse(
                path, "attribute schema_version", f"must be {SCHEMA_VERSION}, got {values[name]}", "upgrade Stillhouse"
            )
    if extra := sorted(set(found) - set(ATTRIBUTES)):
        _refuse(path, f"attribute {extra[0]!r}", "is not part of the format", "remove it")
    for name, wanted in (("complete", 1), ("block_rows", BLOCK_ROWS)):
        if values[name] != wanted:
            _refuse(path, f"attribute {name}", f"must be {wanted}, got {values[name]}")
    recorded = _parse(path, "attribute_digests", values)
    actual = json.loads(attribute_digests(values))
    for name in sorted(set(recorded) | set(actual)):
        if recorded.get(name) != actual.get(name):
            _refuse(path, f"attribute {name}", "does not have its recorded digest", "restore or write the set again")
    return values


def _read_attribute(path: Path, name: str, attribute: h5py.h5a.AttrID) -> str | int:
    kind = attribute.get_type()
    wanted = ATTRIBUTES[name]
    is_text = kind.get_class() == h5py.h5t.STRING and not kind.is_variable_str()
    is_number = kind.equal(h5py.h5t.STD_I64LE)
    if attribute.shape != () or not (is_text if wanted is str else is_number):
        _refuse(path, f"attribute {name}", f"must be one {'string of fixed length' if wanted is str else 'int64'}")
    if kind.get_size() > _ATTRIBUTE_BYTES:
        _refuse(path, f"attribute {name}", f"must have at most {_ATTRIBUTE_BYTES} bytes, got {kind.get_size()}")
    value = np.empty((), kind.dtype)
    attribute.read(value)
    if wanted is int:
        return int(value)
    # NumPy drops the NUL bytes that pad a string of fixed length.
    return bytes(value[()]).decode("utf-8")


def _parse(path: Path, name: str, attributes: Mapping[str, str | int]) -> dict[str, Any]:
    try:
        value = json.loads(str(attributes[name]))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: attribute {name} must be JSON ({error}); write the set again.") from error
    if not isinstance(value, dict):
        _refuse(path, f"attribute {name}", "must be a JSON object")
    return value


def _read_label_space(path: Path, attributes: Mapping[str, str | int]) -> LabelSpace:
    value = _parse(path, "label_space", attributes)
    try:
        described = [value, *value.get("axes", [])]
        texts = [*value.get("names", []), *(item[key] for item in described for key in ("name", "unit") if key in item)]
        if not all(isinstance(text, str) for text in texts):
            _refuse(path, "attribute label_space", "must have names that are strings")
        return LabelSpace.from_dict(value)
    except (DataError, TypeError) as error:
        raise DataError(
            f"{path}: attribute label_space must be a label space ({error}); write the set again."
        ) from error


def _read_group(path: Path, group: h5py.h5g.GroupID, prefix: str) -> Iterator[tuple[str, Extent]]:
    count = group.get_num_objs()
    if count > len(COLUMNS) + 1:
        _refuse(path, prefix or "the root group", f"must have at most {len(COLUMNS) + 1} members, got {count}")
    for raw in [group.get_objname_by_idx(index) for index in range(count)]:
        name = raw.decode("utf-8")
        item = prefix + name
        if name not in COLUMNS and item != DIGESTS:
            _refuse(path, repr(item), "is not part of the format", "remove it")
        if group.links.get_info(raw).type != h5py.h5l.TYPE_HARD:
            _refuse(path, item, "is a link to another place", "copy the data into the file")
        member = h5py.h5o.open(group, raw)
        if h5py.h5a.get_num_attrs(member):
            _refuse(path, item, "must have no attributes", "remove them")
        if item == DIGESTS:
            if not isinstance(member, h5py.h5g.GroupID):
                _refuse(path, item, "must be a group")
            yield from _read_group(path, member, f"{DIGESTS}/")
        elif isinstance(member, h5py.h5d.DatasetID):
            yield item, _read_extent(path, item, member)
        else:
            _refuse(path, item, "must be a data set")


def _read_extent(path: Path, item: str, dataset: h5py.h5d.DatasetID) -> Extent:
    properties = dataset.get_create_plist()
    if properties.get_layout() != h5py.h5d.CONTIGUOUS or properties.get_nfilters():
        _refuse(path, item, "must be contiguous and without filters", "unpack it, e.g. by h5repack -l CONTI -f NONE")
    if properties.get_external_count():
        _refuse(path, item, "keeps its bytes in another file", "copy the data into the file")
    kind = dataset.get_type()
    dtype = next((np.dtype(name) for name in DTYPES if kind.equal(h5py.h5t.py_create(np.dtype(name)))), None)
    if dtype is None:
        _refuse(path, item, f"must be of a plain little-endian type ({', '.join(DTYPES)})", "convert it")
    if dataset.get_space().get_simple_extent_type() != h5py.h5s.SIMPLE or not dataset.shape:
        _refuse(path, item, "must be an array, rows first")
    extent = Extent(dtype, tuple(dataset.shape), dataset.get_offset() or 0)
    if extent.size != dataset.get_storage_size():
        _refuse(path, item, f"must store {extent.size} bytes, got {dataset.get_storage_size()}")
    if extent.size and (extent.offset <= 0 or extent.offset % 8):
        _refuse(path, item, f"must lie at a multiple of 8 bytes in the file, got {extent.offset}")
    return extent


def _check_extents(path: Path, extents: Mapping[str, Extent]) -> None:
    end, before = 0, "the beginning"
    for item, extent in sorted(extents.items(), key=lambda pair: pair[1].offset):
        if not extent.size:
            continue
        if extent.offset < end:
            _refuse(path, item, f"must not share bytes with {before}")
        end, before = extent.offset + extent.size, item
        if end > path.stat().st_size:
            _refuse(path, item, f"ends at byte {end}, past the end of the file", "the file is cut short, copy it again")
