"""The header of a set as a JSON Schema (draft 2020-12), made from the tables of ``data.schema``.

``docs/data-format.schema.json`` holds it for other languages: ``python -m data.json_schema`` prints it.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from data.labels import Axis, LabelSpace
from data.schema import ATTRIBUTES, BLOCK_ROWS, COLUMNS, FORMAT, KINDS, SCHEMA_VERSION, Column

Schema = dict[str, Any]

_SHA256 = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_XXH3 = {"type": "string", "pattern": "^[0-9a-f]{32}$"}
_COUNT = {"type": "integer", "minimum": 0}
_SUMMARY_NAMES = ("minimum", "maximum", "mean", "std")
_PARTS = ("training", "validation", "test")

#: One label space of each kind, for the types and shapes of their labels; the numbers of classes and axes mean nothing.
_EXAMPLES = (
    LabelSpace("class", ("a", "b")),
    LabelSpace("scalar"),
    LabelSpace("vector", axes=(Axis("a"), Axis("b"))),
    LabelSpace("class+scalar", ("a", "b")),
)


def json_schema() -> Schema:
    """The schema of what ``stillhouse data info --json`` prints; ``$defs/attributes`` is that of the file's attributes.

    It cannot tell that all columns have the same number of rows, that ``teacher_outputs`` has as many columns as the
    label space has outputs, or that a minimum lies below its maximum; ``docs/data-format.md`` tells that.
    """
    properties: Schema = {
        "path": {"type": "string"},
        "format_version": {"const": SCHEMA_VERSION},
        "kind": {"enum": list(KINDS)},
        "rows": _COUNT,
        "bytes": _COUNT,
        "file_bytes": _COUNT,
        "columns": {
            "type": "object",
            "properties": {name: {"$ref": f"#/$defs/columns/{name}"} for name in COLUMNS},
            "additionalProperties": False,
        },
        "images": {"oneOf": [{"type": "null"}, {"$ref": "#/$defs/images"}]},
        "split": {"oneOf": [{"type": "null"}, _object({name: _COUNT for name in _PARTS})]},
        "label_space": {"$ref": "#/$defs/label_space"},
        "labels": {"type": "object", "propertyNames": {"enum": ["labels", "condition"]}},
        "teacher": {"oneOf": [{"type": "null"}, {"$ref": "#/$defs/teacher"}]},
        "numbers": {"type": "object", "additionalProperties": {"$ref": "#/$defs/summary"}},
        "license": {"type": "string", "minLength": 1},
        "content_sha256": _SHA256,
        "provenance": {"type": "object"},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:{FORMAT}:data-format:{SCHEMA_VERSION}",
        "title": f"Header of a set in the Stillhouse data format, version {SCHEMA_VERSION}",
        "description": (
            "What 'stillhouse data info --json' prints. $defs/attributes describes the root attributes of the file. "
            "docs/data-format.md says what the members mean."
        ),
        **_object(properties),
        "allOf": [*(_of_kind(kind, names) for kind, names in KINDS.items()), *map(_of_labels, _EXAMPLES)],
        "$defs": {
            "attributes": _attributes(),
            "label_space": {"oneOf": [_label_space(space) for space in _EXAMPLES]},
            "columns": {name: _column(column) for name, column in COLUMNS.items()},
            "images": _images(),
            "teacher": _teacher(),
            "summary": _summary(),
        },
    }


def _object(properties: Schema, *optional: str) -> Schema:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _of_kind(kind: str, names: tuple[str, ...]) -> Schema:
    then = {"properties": {"columns": {"required": list(names)}}}
    return {"if": {"properties": {"kind": {"const": kind}}}, "then": then}


def _of_labels(space: LabelSpace) -> Schema:
    """The type and shape of every column of labels, by the kind of label space."""
    wanted = {"properties": {"dtype": {"const": space.dtype.name}, "shape": _label_shape(space)}}
    labels = [name for name, column in COLUMNS.items() if column.dtype is None]
    return {
        "if": {"properties": {"label_space": {"properties": {"kind": {"const": space.kind}}}}},
        "then": {"properties": {"columns": {"properties": {name: wanted for name in labels}}}},
    }


def _label_shape(space: LabelSpace) -> Schema:
    if not space.label_shape:
        return _shape(())
    return _shape(("2",)) if space.kind == "class+scalar" else _shape(("L",), least=2)


def _shape(axes: tuple[str, ...], least: int = 1) -> Schema:
    lengths = [{"const": int(axis)} if axis.isdigit() else {"type": "integer", "minimum": least} for axis in axes]
    count = 1 + len(axes)
    return {"type": "array", "prefixItems": [_COUNT, *lengths], "items": False, "minItems": count, "maxItems": count}


def _column(column: Column) -> Schema:
    # The type and shape of labels follow from the label space.
    labels = column.dtype is None
    dtype: Schema = {"enum": ["int64", "float32"]} if labels else {"const": np.dtype(column.dtype).name}
    shape: Schema = {"type": "array", "items": _COUNT, "minItems": 1, "maxItems": 2} if labels else _shape(column.axes)
    return _object({"dtype": dtype, "shape": shape, "bytes": _COUNT})


def _axis() -> Schema:
    text, number = {"type": "string"}, {"type": "number"}
    return {"name": text, "unit": text, "minimum": number, "maximum": number}


def _label_space(space: LabelSpace) -> Schema:
    members: Schema = {"kind": {"const": space.kind}}
    if space.has_classes:
        members["names"] = {"type": "array", "items": {"type": "string"}, "minItems": 2}
    if space.kind in ("scalar", "class+scalar"):
        members |= _axis()
    if space.kind == "vector":
        members["axes"] = {"type": "array", "items": _object(_axis()), "minItems": 2}
    return _object(members)


def _images() -> Schema:
    value, measures = {"type": "integer", "minimum": 0, "maximum": 255}, {"type": "array", "items": {"type": "number"}}
    length = {"type": "integer", "minimum": 1}
    return _object(
        {
            "channels": length,
            "height": length,
            "width": length,
            "sampled": _COUNT,
            "minimum": value,
            "maximum": value,
            "mean": measures,
            "std": measures,
        },
        *_SUMMARY_NAMES,
    )


def _teacher() -> Schema:
    return _object(
        {
            "outputs": {"type": "integer", "minimum": 1},
            "compared_with": {"enum": ["labels", "condition", None]},
            "same_class": {"type": "number", "minimum": 0, "maximum": 1},
            "mean_absolute_difference": {"type": "object", "additionalProperties": {"type": "number", "minimum": 0}},
        },
        "same_class",
        "mean_absolute_difference",
    )


def _summary() -> Schema:
    return _object({name: {"type": "number"} for name in _SUMMARY_NAMES}, *_SUMMARY_NAMES)


def _attributes() -> Schema:
    """The root attributes: numbers, texts, and texts that are JSON."""
    told: Schema = {
        "attribute_digests": _json(
            _object({name: _XXH3 for name in sorted(ATTRIBUTES) if name != "attribute_digests"})
        ),
        "block_rows": {"const": BLOCK_ROWS},
        "complete": {"const": 1},
        "content_sha256": _SHA256,
        "format": {"const": FORMAT},
        "kind": {"enum": list(KINDS)},
        "label_space": _json({"$ref": "#/$defs/label_space"}),
        "license": {"type": "string", "minLength": 1},
        "provenance": _json({"type": "object"}),
        "schema_version": {"const": SCHEMA_VERSION},
    }
    return _object({name: told[name] for name in sorted(ATTRIBUTES)})


def _json(schema: Schema) -> Schema:
    return {"type": "string", "contentMediaType": "application/json", "contentSchema": schema}


def schema_text() -> str:
    """The file ``docs/data-format.schema.json``."""
    return json.dumps(json_schema(), indent=2) + "\n"


if __name__ == "__main__":
    print(schema_text(), end="")
