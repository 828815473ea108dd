from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from jsonschema import Draft202012Validator

from data.describing import describe_set
from data.json_schema import json_schema, schema_text
from data.labels import LabelSpace
from data.schema import COLUMNS, KINDS
from data.writing import write_set

SCHEMA = json_schema()
HEADERS = Draft202012Validator(SCHEMA)
ATTRIBUTES = Draft202012Validator({**SCHEMA["$defs"]["attributes"], "$defs": SCHEMA["$defs"]})
DOCUMENT = Path(__file__).parents[2] / "docs" / "data-format.schema.json"


@pytest.fixture
def write(tmp_path: Path, make_columns: Any) -> Callable[..., Path]:
    def write(kind: str, space: LabelSpace, rows: int = 5, *more: str) -> Path:
        columns = make_columns(space, rows, *KINDS[kind], *more)
        write_set(tmp_path / "s.h5", columns, kind=kind, label_space=space, provenance={"a": 1}, license="MIT")
        return tmp_path / "s.h5"

    return write


def test_the_document_is_current_and_a_schema() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == schema_text(), "run: python -m data.json_schema > docs/..."
    Draft202012Validator.check_schema(SCHEMA)
    assert json.loads(schema_text()) == SCHEMA


@pytest.mark.parametrize("kind", KINDS)
def test_a_set_of_every_kind_fits(write: Callable[..., Path], label_space: LabelSpace, kind: str) -> None:
    path = write(kind, label_space)
    HEADERS.validate(describe_set(path))
    with h5py.File(path) as file:
        found = {name: value.decode() if isinstance(value, bytes) else int(value) for name, value in file.attrs.items()}
    ATTRIBUTES.validate(found)
    # Validators do not look into texts that are JSON.
    for name, member in SCHEMA["$defs"]["attributes"]["properties"].items():
        if "contentSchema" in member:
            inner = Draft202012Validator({**member["contentSchema"], "$defs": SCHEMA["$defs"]})
            inner.validate(json.loads(found[name]))


def test_a_set_of_no_rows_and_of_all_columns_fits(write: Callable[..., Path], class_space: LabelSpace) -> None:
    HEADERS.validate(describe_set(write("candidates", class_space, 0)))
    others = [name for name in COLUMNS if name not in KINDS["synthetic"]]
    told = describe_set(write("synthetic", class_space, 3, *others))
    assert sorted(told["columns"]) == sorted(COLUMNS)
    HEADERS.validate(told)


CHANGES: dict[str, Callable[[Any], Any]] = {
    "no kind": lambda told: told.pop("kind"),
    "other kind": lambda told: told.update(kind="others"),
    "other version": lambda told: told.update(format_version=2),
    "rows below 0": lambda told: told.update(rows=-1),
    "missing column": lambda told: told["columns"].pop("seed"),
    "unknown column": lambda told: told["columns"].update(more=told["columns"]["seed"]),
    "type of a column": lambda told: told["columns"]["images"].update(dtype="float32"),
    "axes of images": lambda told: told["columns"]["images"]["shape"].pop(),
    "channels": lambda told: told["columns"]["images"]["shape"].__setitem__(1, 0),
    "type of labels": lambda told: told["columns"]["labels"].update(dtype="float32"),
    "shape of labels": lambda told: told["columns"]["condition"]["shape"].append(2),
    "label space": lambda told: told["label_space"].update(kind="scalar"),
    "one class": lambda told: told["label_space"].update(names=["cat"]),
    "unknown member": lambda told: told["label_space"].update(unit="cm"),
    "digest": lambda told: told.update(content_sha256="AB"),
    "provenance": lambda told: told.update(provenance="none"),
    "split": lambda told: told.update(split={"training": 1}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_no_header_does_not_fit(write: Callable[..., Path], class_space: LabelSpace, change: str) -> None:
    told = describe_set(write("candidates", class_space))
    changed = copy.deepcopy(told)
    CHANGES[change](changed)
    assert not HEADERS.is_valid(changed)
    assert HEADERS.is_valid(told)


def test_every_column_and_kind_is_in_it() -> None:
    assert set(SCHEMA["$defs"]["columns"]) == set(COLUMNS)
    for name, column in COLUMNS.items():
        told = SCHEMA["$defs"]["columns"][name]["properties"]
        if column.dtype is not None:
            assert told["dtype"]["const"] == np.dtype(column.dtype).name
            assert told["shape"]["minItems"] == told["shape"]["maxItems"] == 1 + len(column.axes)
    required = {part["if"]["properties"]["kind"]["const"]: part["then"] for part in SCHEMA["allOf"][: len(KINDS)]}
    assert {kind: tuple(then["properties"]["columns"]["required"]) for kind, then in required.items()} == KINDS
