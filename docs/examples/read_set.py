"""Reads a set with h5py and NumPy alone, and checks its content digest: ``python read_set.py set.h5``."""

import hashlib
import json
import sys

import h5py
import numpy as np


def read_set(path):
    """The root attributes of a file, and its columns as maps of the file."""
    with h5py.File(path, "r", locking=False) as file:
        header = {name: v.decode() if isinstance(v, bytes) else int(v) for name, v in file.attrs.items()}
        items = [item for item in file.values() if isinstance(item, h5py.Dataset)]
        places = {item.name[1:]: (item.id.get_offset(), item.dtype, item.shape) for item in items}
    if [header.get(name) for name in ("format", "schema_version", "complete")] != ["stillhouse", 1, 1]:
        raise ValueError(f"{path} is no complete set of version 1")
    columns, digest = {}, hashlib.sha256()
    for name, (offset, dtype, shape) in sorted(places.items()):
        columns[name] = np.memmap(path, dtype, "r", offset, shape) if all(shape) else np.empty(shape, dtype)
        digest.update(json.dumps([name, dtype.name, shape], separators=(",", ":")).encode() + b"\n")
        digest.update(columns[name].reshape(-1).view(np.uint8))
    if digest.hexdigest() != header["content_sha256"]:
        raise ValueError(f"{path} is damaged")
    return header, columns


if __name__ == "__main__":
    header, columns = read_set(sys.argv[1])
    print(header, {name: (column.dtype.name, column.shape) for name, column in columns.items()}, sep="\n")
