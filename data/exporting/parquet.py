"""Parquet files as the Hugging Face hub keeps image data sets, which ``datasets`` opens with its own features."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data.errors import ConfigError
from data.exporting.about import About
from data.exporting.card_text import card_text
from data.exporting.croissant import FILE, croissant
from data.exporting.folders import new_folder
from data.exporting.hub import Split, hub_header
from data.exporting.loading import load_parquet
from data.exporting.parquet_records import parquet_files, parquet_records
from data.exporting.rows import Block, Field, blocks_of, class_field, fields_of, png_of, row_names, rows_by_split
from data.reading import ImageSet

if TYPE_CHECKING:
    import pyarrow as pa

#: Bytes of images in a file, by default; the hub's own limit.
FILE_BYTES = 500_000_000


def export_parquet(found: ImageSet, out: Path, about: About | None = None, *, file_bytes: int = FILE_BYTES) -> None:
    """Writes ``data/<split>-00000-of-0000N.parquet``, ``README.md`` and ``croissant.json``.

    Row groups have 1,024 rows, or fewer of large images: 16 MiB of pixels.

    ``image`` is a struct of the bytes of a PNG file and its name ``<row>.png``; the label stands in ``label`` (a class)
    and in a column a dimension, by its name; every other column by its own name, several values a row as a list. The
    schema tells ``datasets`` that these are an Image, a ClassLabel, Values and lists.

    Args:
        found: a set of grey or coloured images with labels.
        out: the folder to make; must not exist.
        about: what only a person can say of the set; None says no more than the set itself.
        file_bytes: images fill a file up to so many bytes, and the row group in which they pass it.

    Raises:
        ConfigError: if ``out`` exists, or pyarrow is not installed.
        DataError: if the set holds no labelled images or no rows, or something cannot be written.
    """
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise ConfigError("parquet files need pyarrow: pip install 'stillhouse[export]'.") from error
    about = about or About()
    fields = fields_of(found, class_field(found.label_space), flat=False)
    with new_folder(out) as folder:
        (folder / "data").mkdir()
        splits = []
        for split, rows in rows_by_split(found).items():
            tables = (_table(found, block, fields) for block in blocks_of(found, rows, fields))
            splits.append(_write_files(folder / "data", split, tables, file_bytes))
        header = hub_header(found, about, features_of(found, fields), splits)
        text = card_text(found, about, load_parquet(found))
        (folder / "README.md").write_text(header + text, encoding="utf-8")
        records = parquet_records(found, fields)
        text = croissant(found, about, parquet_files(folder, splits), records)
        (folder / FILE).write_text(text, encoding="utf-8")


def features_of(found: ImageSet, fields: tuple[Field, ...]) -> dict[str, Any]:
    """The columns as ``datasets`` describes them."""
    features: dict[str, Any] = {"image": {"_type": "Image"}}
    for field in fields:
        values = found.columns[field.column]
        if field.names:
            features[field.name] = {"names": list(field.names), "_type": "ClassLabel"}
            continue
        value = {"dtype": values.dtype.name, "_type": "Value"}
        several = field.part is None and values.ndim > 1
        features[field.name] = {"feature": value, "_type": "Sequence"} if several else value
    return features


def _table(found: ImageSet, block: Block, fields: tuple[Field, ...]) -> pa.Table:
    import pyarrow as pa

    files = pa.array([png_of(image) for image in block.images], pa.binary())
    names = pa.array([f"{name}.png" for name in row_names(found, block.rows)], pa.string())
    columns = {"image": pa.StructArray.from_arrays([files, names], names=["bytes", "path"])}
    for field in fields:
        values = block.values[field.name]
        if values.ndim == 1:
            columns[field.name] = pa.array(np.ascontiguousarray(values))
        else:
            starts = np.arange(len(values) + 1, dtype=np.int32) * values.shape[1]
            columns[field.name] = pa.ListArray.from_arrays(starts, np.ascontiguousarray(values).reshape(-1))
    table = pa.table(columns)
    told = json.dumps({"info": {"features": features_of(found, fields)}})
    return table.replace_schema_metadata({"huggingface": told})


def _write_files(folder: Path, split: str, tables: Iterator[pa.Table], file_bytes: int) -> Split:
    """Writes the rows of a split; how many files there are is known, and said in their names, at the end."""
    import pyarrow.parquet as pq

    writer: pq.ParquetWriter | None = None
    count = rows = size = used = 0
    try:
        for table in tables:
            if writer is None:
                writer = pq.ParquetWriter(folder / f"{split}-{count:05d}", table.schema, write_page_index=True)
                count, used = count + 1, 0
            writer.write_table(table, row_group_size=len(table))
            rows, size, used = rows + len(table), size + table.nbytes, used + table.nbytes
            if used >= file_bytes:
                writer.close()
                writer = None
    finally:
        if writer is not None:
            writer.close()
    names = []
    for number in range(count):
        names.append(f"{split}-{number:05d}-of-{count:05d}.parquet")
        (folder / f"{split}-{number:05d}").rename(folder / names[-1])
    return Split(split, rows, size, sum((folder / name).stat().st_size for name in names), tuple(names))
