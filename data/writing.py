"""Writes a set beside its place, with digests, and renames it once it is on the disk: it is there whole or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from data.checking import SPDX
from data.digests import BlockDigest, ContentDigest, attribute_digests, bytes_a_row, pieces
from data.errors import DataError
from data.hdf5_writing import Sink, writing_beside
from data.json_objects import ATTRIBUTE_BYTES, parse_object
from data.labels import LabelSpace
from data.random import derive_seed, row_seeds
from data.reading import Selected, open_set, release_pages, verify_set
from data.schema import (
    BLOCK_ROWS,
    DIGEST_BYTES,
    DIGESTS,
    FORMAT,
    SCHEMA_VERSION,
    Layout,
    blocks,
    canonical_json,
    check_layout,
    check_values,
)

#: Columns by name, in memory, over a memory map, or as rows of such an array that are read when they are written.
Columns = Mapping[str, npt.NDArray[Any] | Selected]

_ALIGNMENT_BYTES = 4096
#: Rows and bytes taken at a time: a row here and there brings the pages around it into memory, too, up to 2 MiB where
#: the system keeps files in large ones.
_ROWS_A_TAKE, _BYTES_A_TAKE = 64, 1 << 23


def shuffled_order(count: int, shuffle_seed: int) -> npt.NDArray[np.int64]:
    """The order in which rows are shuffled: row ``i`` of the set is row ``order[i]`` of the input; shape (count,).

    Every row gets a number by ``row_seeds`` and the rows are sorted by it, so that the order depends on no library.
    """
    return np.argsort(row_seeds(derive_seed("shuffle", shuffle_seed), np.arange(count)), kind="stable")


def write_set(
    path: Path,
    columns: Columns,
    *,
    kind: str,
    label_space: LabelSpace,
    provenance: Mapping[str, Any],
    license: str,
    shuffle_seed: int | None = None,
) -> str:
    """Writes arrays as one set, replacing what was at ``path``.

    Args:
        path: the file to write.
        columns: arrays by name, rows first, of exactly the type and shape that ``COLUMNS`` tells; no more than a block
            of rows, nor ``PIECE_BYTES``, is copied at a time, so that columns over a memory map, and ``Selected`` rows
            of them, are never held whole.
        kind: what the set is, a key of ``KINDS``.
        label_space: what its labels mean.
        provenance: how it was made, JSON-ready; no times and no paths, so that equal inputs give equal bytes.
        license: SPDX expression of what the rows may be used for.
        shuffle_seed: shuffles the rows; None keeps their order.

    Returns:
        The content digest (SHA-256, hexadecimal) of the set as written.

    Raises:
        DataError: if the columns are not those of the kind, or the file cannot be written.
    """
    return write_parts(path, [columns], kind, label_space, provenance, license, shuffle_seed)


def consolidate(
    parts: Sequence[Path],
    path: Path,
    *,
    kind: str,
    label_space: LabelSpace,
    provenance: Mapping[str, Any],
    license: str,
    shuffle_seed: int | None,
) -> str:
    """Joins part files, in the order given, into one set; holds ``PIECE_BYTES`` of rows in memory at a time.

    Every part is verified first, so that a damaged one does not get new digests.

    Args:
        parts: files written by ``write_set``, of one kind, label space and set of columns.
        path: the file to write.
        kind: what the set is and the parts are.
        label_space: what the labels mean, there and here.
        provenance: how it was made, JSON-ready.
        license: SPDX expression.
        shuffle_seed: shuffles all rows once; None keeps their order.

    Returns:
        The content digest of the set: that of ``write_set`` with the joined arrays.

    Raises:
        DataError: naming the part that is damaged or does not fit the first.
    """
    if not parts:
        raise DataError(f"{path}: must be joined from at least one part, got none.")
    opened: list[Columns] = []
    for part in parts:
        verify_set(part)
        found = open_set(part)
        if found.kind != kind or found.label_space.to_dict() != label_space.to_dict():
            raise DataError(f"{part}: must be a part of kind '{kind}' with the label space of the set; make it again.")
        first = opened[0] if opened else found.columns
        for name in sorted(set(first) | set(found.columns)):
            here, there = (columns[name].shape[1:] if name in columns else None for columns in (found.columns, first))
            if here != there:
                raise DataError(
                    f"{part}: {name} must be as in the first part, rows of shape {there}, got {here}; make it again."
                )
        opened.append(found.columns)
    return write_parts(path, opened, kind, label_space, provenance, license, shuffle_seed)


def write_parts(
    path: Path,
    parts: Sequence[Columns],
    kind: str,
    label_space: LabelSpace,
    provenance: Mapping[str, Any],
    license: str,
    shuffle_seed: int | None,
) -> str:
    """Writes the rows of several groups of columns, one after another, as one set; see ``write_set``.

    Args:
        path: the file to write.
        parts: at least one, all with the same columns, and rows of the same shape.
        kind: as there.
        label_space: as there.
        provenance: as there.
        license: as there.
        shuffle_seed: as there; shuffles the rows of all parts.

    Returns:
        The content digest of the set.

    Raises:
        DataError: as ``write_set``.
    """
    counts = [check_layout(kind, label_space, _layout_of(part), str(path)) for part in parts]
    starts = np.concatenate([[0], np.cumsum(counts)])
    rows = int(starts[-1])
    order = np.arange(rows) if shuffle_seed is None else shuffled_order(rows, shuffle_seed)
    layout = {name: (dtype, (rows, *shape[1:])) for name, (dtype, shape) in _layout_of(parts[0]).items()}
    attributes = _attributes(path, kind, label_space, provenance, license)
    with (
        writing_beside(path) as sink,
        h5py.File(
            sink,
            "w",
            libver=("v108", "v108"),
            alignment_threshold=1,
            alignment_interval=_ALIGNMENT_BYTES,
        ) as file,
    ):
        attributes["content_sha256"] = _write_columns(file, sink, layout, parts, starts, order, label_space, path)
        attributes["attribute_digests"] = attribute_digests(attributes)
        for name, value in sorted(attributes.items()):
            if name != "complete":
                _write_attribute(file, name, value)
        file.flush()
        _write_attribute(file, "complete", attributes["complete"])
    return str(attributes["content_sha256"])


def _write_columns(
    file: h5py.File,
    sink: Sink,
    layout: Layout,
    parts: Sequence[Columns],
    starts: npt.NDArray[np.int64],
    order: npt.NDArray[np.int64],
    label_space: LabelSpace,
    path: Path,
) -> str:
    content = ContentDigest()
    group = file.create_group(DIGESTS)
    for name, (dtype, shape) in sorted(layout.items()):
        column = _create(file, name, dtype, shape)
        digests = np.empty((-(-shape[0] // BLOCK_ROWS), DIGEST_BYTES), np.uint8)
        content.begin(name, dtype, shape)
        row_bytes = bytes_a_row(dtype, shape)
        for start, stop in blocks(shape[0]):
            digest = BlockDigest()
            for first, last in pieces(start, stop, row_bytes):
                rows = _gather([part[name] for part in parts], starts, order[first:last])
                check_values(name, rows, label_space, f"{path}: {name} rows {first}..{last - 1}")
                column[first:last] = rows
                sink.check()
                content.update(rows)
                digest.update(rows)
            digests[start // BLOCK_ROWS] = digest.digest()
        stored = _create(group, name, digests.dtype, digests.shape)
        if digests.size:
            stored[...] = digests
    return content.hexdigest()


def _gather(
    arrays: Sequence[npt.NDArray[Any] | Selected], starts: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]
) -> npt.NDArray[Any]:
    """Rows of the joined arrays, in the order asked for; each array is read once, in its own order, and released."""
    block = np.empty((len(rows), *arrays[0].shape[1:]), arrays[0].dtype)
    sorting = np.argsort(rows, kind="stable")
    bounds = np.searchsorted(rows[sorting], starts)
    step = max(1, min(_ROWS_A_TAKE, _BYTES_A_TAKE // max(1, bytes_a_row(block.dtype, block.shape))))
    for array, start, low, high in zip(arrays, starts, bounds[:-1], bounds[1:], strict=False):
        for first in range(low, high, step):
            places = sorting[first : min(first + step, high)]
            block[places] = array[rows[places] - start]
            release_pages(array)
    return block


def _create(group: h5py.Group, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> h5py.Dataset:
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.CONTIGUOUS)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    # Every byte is written below, so nothing is filled first.
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    properties.set_obj_track_times(False)
    space = h5py.h5s.create_simple(shape)
    return h5py.Dataset(h5py.h5d.create(group.id, name.encode(), h5py.h5t.py_create(dtype), space, properties))


def _attributes(
    path: Path, kind: str, label_space: LabelSpace, provenance: Mapping[str, Any], license: str
) -> dict[str, str | int]:
    if not SPDX.fullmatch(license):
        raise DataError(f"{path}: license must be an SPDX expression such as 'CC-BY-4.0', got {license!r}.")
    try:
        history = canonical_json(dict(provenance))
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: provenance must have a JSON form ({error}); leave out what has none.") from error
    space = canonical_json(label_space.to_dict())
    for name, text in (("label_space", space), ("provenance", history)):
        if len(text) > ATTRIBUTE_BYTES:
            raise DataError(f"{path}: {name} must have at most {ATTRIBUTE_BYTES} bytes, got {len(text)}; say less.")
        parse_object(str(path), name, text)
    return {
        "block_rows": BLOCK_ROWS,
        "complete": 1,
        "format": FORMAT,
        "kind": kind,
        "label_space": space,
        "license": license,
        "provenance": history,
        "schema_version": SCHEMA_VERSION,
    }


def _write_attribute(file: h5py.File, name: str, value: str | int) -> None:
    if isinstance(value, int):
        file.attrs.create(name, value, dtype="<i8")
    else:
        data = value.encode()
        file.attrs.create(name, data, dtype=h5py.string_dtype("utf-8", len(data)))


def _layout_of(columns: Columns) -> Layout:
    return {name: (values.dtype, values.shape) for name, values in columns.items()}
