"""Writes a set beside its place, with digests, and renames it once it is on the disk: it is there whole or not."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from data.digests import ContentDigest, attribute_digests, block_digest
from data.errors import DataError
from data.files import replace_durably
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
#: Rows taken at a time: a row here and there brings the pages around it into memory, too.
_ROWS_A_TAKE = 512
_SPDX = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+:() -]*")


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
            of rows is copied at a time, so that columns over a memory map, and ``Selected`` rows of them, are never
            held whole.
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
    return _write(path, [columns], kind, label_space, provenance, license, shuffle_seed)


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
    """Joins part files, in the order given, into one set; holds one block of rows in memory at a time.

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
    return _write(path, opened, kind, label_space, provenance, license, shuffle_seed)


def _write(
    path: Path,
    parts: Sequence[Columns],
    kind: str,
    label_space: LabelSpace,
    provenance: Mapping[str, Any],
    license: str,
    shuffle_seed: int | None,
) -> str:
    counts = [check_layout(kind, label_space, _layout_of(part), str(path)) for part in parts]
    starts = np.concatenate([[0], np.cumsum(counts)])
    rows = int(starts[-1])
    order = np.arange(rows) if shuffle_seed is None else shuffled_order(rows, shuffle_seed)
    layout = {name: (dtype, (rows, *shape[1:])) for name, (dtype, shape) in _layout_of(parts[0]).items()}
    attributes = _attributes(path, kind, label_space, provenance, license)
    temporary = path.with_name(path.name + ".tmp")
    try:
        temporary.unlink(missing_ok=True)
        with h5py.File(
            temporary,
            "x",
            libver=("v108", "v108"),
            alignment_threshold=1,
            alignment_interval=_ALIGNMENT_BYTES,
        ) as file:
            attributes["content_sha256"] = _write_columns(file, layout, parts, starts, order, label_space, path)
            attributes["attribute_digests"] = attribute_digests(attributes)
            for name, value in sorted(attributes.items()):
                if name != "complete":
                    _write_attribute(file, name, value)
            file.flush()
            _write_attribute(file, "complete", attributes["complete"])
        replace_durably(temporary, path)
    except OSError as error:
        raise DataError(f"{path}: the file cannot be written ({error}); make room or choose another folder.") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    return str(attributes["content_sha256"])


def _write_columns(
    file: h5py.File,
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
        for start, stop in blocks(shape[0]):
            block = _gather([part[name] for part in parts], starts, order[start:stop])
            check_values(name, block, label_space, f"{path}: {name} rows {start}..{stop - 1}")
            column[start:stop] = block
            content.update(block)
            digests[start // BLOCK_ROWS] = block_digest(block)
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
    for array, start, low, high in zip(arrays, starts, bounds[:-1], bounds[1:], strict=False):
        for first in range(low, high, _ROWS_A_TAKE):
            places = sorting[first : min(first + _ROWS_A_TAKE, high)]
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
    if not _SPDX.fullmatch(license):
        raise DataError(f"{path}: license must be an SPDX expression such as 'CC-BY-4.0', got {license!r}.")
    try:
        history = canonical_json(dict(provenance))
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: provenance must have a JSON form ({error}); leave out what has none.") from error
    return {
        "block_rows": BLOCK_ROWS,
        "complete": 1,
        "format": FORMAT,
        "kind": kind,
        "label_space": canonical_json(label_space.to_dict()),
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
