"""Files and fields of a Parquet export for Croissant, by which mlcroissant reads its rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data.exporting.croissant import file_object, identifier
from data.exporting.hub import Split
from data.exporting.meanings import meaning_of
from data.exporting.rows import Field
from data.reading import ImageSet

_FILES = "parquet-files"
# The name that mlcroissant knows, not the one registered since.
_MEDIA_TYPE = "application/x-parquet"
_RECORDS = "rows"
_TYPES = {"float32": "cr:Float32", "int64": "cr:Int64", "uint64": "cr:UInt64", "uint8": "cr:UInt8"}


def parquet_files(folder: Path, splits: Sequence[Split]) -> list[dict[str, Any]]:
    """Every file with its digest, and one set of all of them.

    Args:
        folder: where ``data/`` with the files is.
        splits: what was written.
    """
    files = [
        file_object(folder / "data" / name, f"data/{name}", _MEDIA_TYPE, f"Rows of {split.name}")
        for split in splits
        for name in split.files
    ]
    everything = {
        "@type": "cr:FileSet",
        "@id": _FILES,
        "name": _FILES,
        "description": "All Parquet files.",
        "encodingFormat": _MEDIA_TYPE,
        "includes": "data/*.parquet",
    }
    return [*files, everything]


def parquet_records(found: ImageSet, fields: tuple[Field, ...]) -> list[dict[str, Any]]:
    """One record set whose records are the rows: the image, its split by the file's name, and every field."""
    described = [
        _field("split", "Split of the row.", "sc:Text", {"extract": {"fileProperty": "fullpath"}})
        | {"source": _source({"extract": {"fileProperty": "filename"}, "transform": {"regex": "^([a-z]+)-.*$"}})},
        _field(
            "image",
            "The image.",
            "sc:ImageObject",
            {"extract": {"column": "image"}, "transform": {"jsonPath": "bytes"}},
        ),
    ]
    for field in fields:
        values = found.columns[field.column]
        kind = "cr:Int64" if field.names else _TYPES[values.dtype.name]
        words = "Number of the class." if field.names else meaning_of(found, field.column)
        one = _field(field.name, words, kind, {"extract": {"column": field.name}})
        if field.part is None and values.ndim > 1:
            one |= {"isArray": True, "arrayShape": str(values.shape[1])}
        described.append(one)
    seen: dict[str, int] = {}
    for one in described:
        # Two names may be one identifier.
        again = seen[one["@id"]] = seen.get(one["@id"], 0) + 1
        one["@id"] += f"_{again}" if again > 1 else ""
    return [
        {
            "@type": "cr:RecordSet",
            "@id": _RECORDS,
            "name": _RECORDS,
            "description": "The rows of all splits.",
            "field": described,
        }
    ]


def _field(name: str, description: str, kind: str, source: dict[str, Any]) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": identifier(f"{_RECORDS}/{name}"),
        "name": name,
        "description": description,
        "dataType": kind,
        "source": _source(source),
    }


def _source(how: dict[str, Any]) -> dict[str, Any]:
    return {"fileSet": {"@id": _FILES}, **how}
