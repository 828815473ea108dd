from __future__ import annotations

import json
import tracemalloc

import pytest

from data.errors import DataError
from data.json_objects import parse_object


@pytest.mark.parametrize(
    "text",
    [
        r'{"a":"\ud800"}',
        r'{"a":{"b":["x",{"c":"x\udc00y"}]}}',
        r'{"\ud800":1}',
        r'{"a":"\u0000"}',
        r'{"a":[{"x\u0000":1}]}',
    ],
)
def test_texts_that_have_no_bytes_are_refused(text):
    with pytest.raises(DataError, match=r"^x\.h5: attribute provenance must have whole characters and no NUL;"):
        parse_object("x.h5", "provenance", text)


def test_texts_of_every_script_are_taken():
    value = {"名": ["\U0001f600", "é", "\\u0000", "\\ud800"], "b": {"": ""}}
    assert parse_object("x.h5", "provenance", json.dumps(value)) == value
    assert parse_object("x.h5", "provenance", json.dumps(value, ensure_ascii=False)) == value


@pytest.mark.parametrize("piece", ["{}", "[]", '{"a":{}}', "0"])
def test_what_would_unpack_to_a_hundred_times_its_length_is_refused_before_it_is_parsed(piece):
    text = '{"a":[' + ",".join([piece] * (4_000_000 // (len(piece) + 1))) + "]}"
    assert len(text) < 1 << 22
    tracemalloc.start()
    with pytest.raises(DataError, match="must have at most 400000 values"):
        parse_object("x.h5", "provenance", text)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_a_hundred_thousand_classes_fit():
    names = [f"class {number}, of many" for number in range(100_000)]
    assert parse_object("x.h5", "label_space", json.dumps({"kind": "class", "names": names}))["names"] == names
