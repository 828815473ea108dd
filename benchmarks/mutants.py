"""Small HDF5 files of every kind, and damaged copies of them: what a fuzz test feeds to the readers.

A mutant is a pure function of (file, seed, number). Most changes hit metadata, and for a part of the mutants the
checksums of HDF5 are made right again, so that the parser is reached and not its checksum alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
from hdf5_bytes import Block, find_blocks, repair

from data.labels import Axis, LabelSpace
from data.schema import COLUMNS, KINDS
from data.writing import write_set

Columns = dict[str, npt.NDArray[Any]]
SPACES = (
    LabelSpace("class", names=("cat", "dog", "bird")),
    LabelSpace("scalar", name="yaw angle", unit="degree", minimum=0.0, maximum=90.0),
    LabelSpace("vector", axes=(Axis("yaw", "degree", 0.0, 90.0), Axis("shift", "", -1.0, 1.0))),
    LabelSpace("class+scalar", ("cat", "dog"), "size", "cm", 10.0, 50.0),
)
_SHAPE = (1, 3, 4)


@dataclass(frozen=True)
class Original:
    """A whole file.

    Args:
        name: what it is, for reports.
        path: where it lies.
        content: its bytes.
        blocks: its metadata with checksums.
        metadata: places of bytes that are no values of a data set, int64.
        columns: values of its data sets.
    """

    name: str
    path: Path
    content: bytes
    blocks: list[Block]
    metadata: npt.NDArray[np.int64]
    columns: Columns


def make_sets(folder: Path, seed: int = 0) -> list[Original]:
    """A set of each kind of the format, their label spaces in turn, of 40 rows; and one of two blocks of rows."""
    found = []
    for number, kind in enumerate(sorted(KINDS)):
        rows = 5000 if kind == "groups" else 40
        rng = np.random.default_rng([seed, number])
        space = SPACES[number % len(SPACES)]
        columns = {name: _column(name, space, rows, rng) for name in KINDS[kind]}
        path = folder / f"{kind}.h5"
        provenance = {"made_by": "fuzz", "counts": list(range(30)), "nested": {"threshold": 0.25}}
        write_set(path, columns, kind=kind, label_space=space, provenance=provenance, license="CC-BY-4.0")
        found.append(_original(kind, path))
    return found


def make_foreign(folder: Path, seed: int = 0) -> list[Original]:
    """Files in the papers' layout, packed and written in different ways; the first one as the papers' programs do."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 4, (60, 3, 8, 8), dtype=np.uint8)
    variants: dict[str, tuple[str, dict[str, Any]]] = {
        "gzip": ("earliest", {"compression": "gzip", "compression_opts": 6, "chunks": True}),
        "gzip, chunks of rows": ("earliest", {"compression": "gzip", "chunks": (16, 3, 8, 8)}),
        "gzip, latest": ("latest", {"compression": "gzip", "shuffle": True, "chunks": (16, 3, 8, 8)}),
        "lzf, fletcher32": ("v110", {"compression": "lzf", "fletcher32": True, "chunks": (7, 3, 8, 8)}),
        "plain": ("latest", {}),
    }
    found = []
    for name, (version, options) in variants.items():
        path = folder / f"{name}.h5"
        with h5py.File(path, "w", libver=(version, "latest")) as file:
            file.create_dataset("fake_images", data=images, **options)
            file["fake_labels"] = rng.integers(0, 3, 60)
        found.append(_original(name, path))
    return found


def mutate(original: Original, seed: int, number: int) -> tuple[bytes, str]:
    """A damaged copy.

    Returns:
        Its bytes, and what was done to them.
    """
    rng = np.random.default_rng([seed, number])
    content = bytearray(original.content)
    names = list(_CHANGES)
    kind = names[rng.choice(len(names), p=_WEIGHTS)]
    for _ in range(int(rng.choice([1, 1, 1, 2, 4]))):
        _CHANGES[kind](content, original, rng)
    if rng.random() < 0.6:
        repair(content, original.blocks)
        kind += ", repaired"
    return bytes(content), kind


def _column(name: str, space: LabelSpace, rows: int, rng: np.random.Generator) -> npt.NDArray[Any]:
    column = COLUMNS[name]
    if column.dtype is None:
        classes = rng.integers(0, space.classes, rows) if space.has_classes else None
        values = [rng.uniform(axis.minimum, axis.maximum, rows) for axis in space.dimensions]
        return space.join(classes, np.stack(values, axis=1) if values else None)
    shape = {"images": _SHAPE, "teacher_outputs": (space.outputs,), "positive": (2,), "negative": (3,), "box": (4,)}
    dtype, size = np.dtype(column.dtype), (rows, *shape.get(name, ()))
    if dtype.kind == "f":
        return rng.uniform(0, 1, size).astype(dtype)
    return rng.integers(0, 256 if name == "images" else 2, size).astype(dtype)


def _original(name: str, path: Path) -> Original:
    content = path.read_bytes()
    mask = np.ones(len(content), bool)
    columns: Columns = {}

    def visit(item: str, member: h5py.Group | h5py.Dataset) -> None:
        if not isinstance(member, h5py.Dataset):
            return
        columns[item] = member[()]
        places = [(member.id.get_offset(), member.nbytes)]
        if member.chunks:
            chunks = [member.id.get_chunk_info(number) for number in range(member.id.get_num_chunks())]
            places = [(chunk.byte_offset, chunk.size) for chunk in chunks]
        for offset, length in places:
            mask[offset : offset + length] = False

    with h5py.File(path) as file:
        file.visititems(visit)
    # Of the gaps that align data nothing is read.
    mask &= np.frombuffer(content, np.uint8) != 0
    return Original(name, path, content, find_blocks(content), np.flatnonzero(mask), columns)


def _place(original: Original, rng: np.random.Generator, length: int) -> int:
    """Where a change begins: mostly in metadata that a checksum covers, or near other metadata."""
    chance = rng.random()
    if chance < 0.5 and original.blocks:
        block = original.blocks[rng.integers(len(original.blocks))]
        return int(rng.integers(block.first, block.last))
    if chance < 0.85:
        return max(0, int(rng.choice(original.metadata)) - int(rng.integers(0, 8)))
    return int(rng.integers(length))


def _flip(content: bytearray, original: Original, rng: np.random.Generator) -> None:
    place = min(_place(original, rng, len(content)), len(content) - 1)
    content[place] ^= 1 << int(rng.integers(8))


def _write(content: bytearray, original: Original, rng: np.random.Generator) -> None:
    place, length = _place(original, rng, len(content)), int(rng.integers(1, 17))
    content[place : place + length] = rng.bytes(len(content[place : place + length]))


def _number(content: bytearray, original: Original, rng: np.random.Generator) -> None:
    width = int(rng.choice([1, 2, 4, 8]))
    place = _place(original, rng, len(content))
    size = len(original.content)
    starts = [block.first for block in original.blocks] or [96]
    candidates = [
        *(0, 1, 2, 7, 255, 256, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**62, 2**63 - 1, 2**63, 2**64 - 1),
        *(size, size - 1, size + 1, size - 8, 2 * size, place, place - 4),
        int(rng.choice(starts)),
    ]
    value = candidates[rng.integers(len(candidates))] % (1 << (8 * width))
    content[place : place + width] = value.to_bytes(8, "little")[: len(content[place : place + width])]


def _span(original: Original, rng: np.random.Generator, length: int) -> tuple[int, int]:
    place = _place(original, rng, length)
    return place, min(length, place + int(2 ** rng.uniform(1, 12)))


def _zero(content: bytearray, original: Original, rng: np.random.Generator) -> None:
    first, last = _span(original, rng, len(content))
    content[first:last] = bytes(len(content[first:last]))


def _copy(content: bytearray, original: Original, rng: np.random.Generator) -> None:
    first, last = _span(original, rng, len(content))
    piece, place = content[first:last], _place(original, rng, len(content))
    content[place : place + len(piece)] = piece[: len(content[place : place + len(piece)])]


def _swap(content: bytearray, original: Original, rng: np.random.Generator) -> None:
    """Exchanges two pieces of metadata, such as the headers of two data sets."""
    if len(original.blocks) < 2:
        _copy(content, original, rng)
        return
    one, two = (original.blocks[place] for place in rng.choice(len(original.blocks), 2, replace=False))
    length = min(one.last - one.first, two.last - two.first)
    first, second = content[one.first : one.first + length], content[two.first : two.first + length]
    content[one.first : one.first + len(second)], content[two.first : two.first + len(first)] = second, first


def _insert(content: bytearray, original: Original, rng: np.random.Generator) -> None:
    first, last = _span(original, rng, len(content))
    content[first:first] = content[first:last] if rng.random() < 0.5 else rng.bytes(last - first)


def _delete(content: bytearray, original: Original, rng: np.random.Generator) -> None:
    first, last = _span(original, rng, len(content))
    del content[first : min(last, first + len(content) // 2)]


def _truncate(content: bytearray, original: Original, rng: np.random.Generator) -> None:
    del content[max(1, _place(original, rng, len(content))) :]


def _append(content: bytearray, original: Original, rng: np.random.Generator) -> None:
    content += rng.bytes(int(rng.integers(1, 5000)))


_CHANGES: dict[str, Callable[[bytearray, Original, np.random.Generator], None]] = {
    "flip": _flip,
    "bytes": _write,
    "number": _number,
    "zero": _zero,
    "copy": _copy,
    "swap": _swap,
    "insert": _insert,
    "delete": _delete,
    "truncate": _truncate,
    "append": _append,
}
_WEIGHTS = (0.25, 0.15, 0.3, 0.08, 0.08, 0.05, 0.03, 0.02, 0.02, 0.02)
