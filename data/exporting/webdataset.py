"""WebDataset shards: tar files whose members of one name make up a sample (Aizman et al., 2020, arXiv 2001.01858)."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from data.exporting.about import About
from data.exporting.card_text import card_text
from data.exporting.folders import new_folder
from data.exporting.loading import load_webdataset
from data.exporting.rows import (
    Block,
    Field,
    blocks_of,
    class_field,
    fields_of,
    numbers,
    png_of,
    row_names,
    rows_by_split,
)
from data.reading import ImageSet

#: Bytes of a shard, by default.
SHARD_BYTES = 256 << 20


def export_webdataset(
    found: ImageSet, out: Path, about: About | None = None, *, shard_bytes: int = SHARD_BYTES
) -> None:
    """Writes ``<split>-000000.tar``, ``<split>-000001.tar`` and so on, with samples in the order of rows.

    A sample is ``<row>.png``, ``<row>.json`` with the label and every other column by name, and, where labels have a
    class, ``<row>.cls`` with its number. Members have no times and no owners, so that equal sets give equal bytes.

    Args:
        found: a set of grey or coloured images with labels.
        out: the folder to make; must not exist.
        about: what only a person can say of the set; None says no more than the set itself.
        shard_bytes: most bytes of a shard, unless a single sample is larger.

    Raises:
        ConfigError: if ``out`` exists.
        DataError: if the set holds no labelled images or no rows, or something cannot be written.
    """
    fields = fields_of(found, class_field(found.label_space), flat=False)
    shards: dict[str, int] = {}
    with new_folder(out) as folder:
        for split, rows in rows_by_split(found).items():
            samples = (
                sample for block in blocks_of(found, rows, fields) for sample in _samples(found, split, block, fields)
            )
            shards[split] = _write_shards(folder, split, samples, shard_bytes)
        text = card_text(found, about or About(), load_webdataset(found, shards))
        (folder / "README.md").write_text(text, encoding="utf-8")


def _samples(found: ImageSet, split: str, block: Block, fields: tuple[Field, ...]) -> Iterator[list[tuple[str, bytes]]]:
    space = found.label_space
    columns = {field.name: numbers(block.values[field.name]) for field in fields}
    for place, (row, name) in enumerate(zip(block.rows.tolist(), row_names(found, block.rows), strict=True)):
        told = {"row": row, "split": split} | {key: values[place] for key, values in columns.items()}
        members = [(f"{name}.png", png_of(block.images[place]))]
        if space.has_classes:
            number = told[class_field(space)]
            told["class_name"] = space.names[number]
            members.append((f"{name}.cls", str(number).encode()))
        members.append((f"{name}.json", json.dumps(told, sort_keys=True, allow_nan=False).encode()))
        yield members


def _write_shards(folder: Path, split: str, samples: Iterator[list[tuple[str, bytes]]], shard_bytes: int) -> int:
    """Writes the samples of a split and returns the number of its shards."""
    with ExitStack() as shard:
        tar: tarfile.TarFile | None = None
        count = used = 0
        for members in samples:
            size = sum(tarfile.BLOCKSIZE * (1 - (-len(data) // tarfile.BLOCKSIZE)) for _, data in members)
            # Two empty blocks end a tar file, which is filled up to a whole record.
            records = -(-(used + size + 2 * tarfile.BLOCKSIZE) // tarfile.RECORDSIZE)
            if tar is None or records * tarfile.RECORDSIZE > shard_bytes:
                shard.close()
                path = folder / f"{split}-{count:06d}.tar"
                tar = shard.enter_context(tarfile.open(path, "w", format=tarfile.USTAR_FORMAT))
                count, used = count + 1, 0
            used += size
            for name, data in members:
                member = tarfile.TarInfo(name)
                member.size, member.mode = len(data), 0o644
                tar.addfile(member, io.BytesIO(data))
            # It keeps every member for readers, of which there are none.
            tar.getmembers().clear()
    return count
