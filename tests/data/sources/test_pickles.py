from __future__ import annotations

import collections
import os
import pickle
import struct
import tracemalloc
from typing import Any

import numpy as np
import pytest

from data.errors import DataError
from data.sources import _pickles
from data.sources._pickles import read_pickle

ARRAY = np.arange(24, dtype=np.uint8).reshape(4, 6)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3])
def test_what_python_writes_is_read_as_pickle_reads_it(protocol: int) -> None:
    told = {"names": ["a", "b"], "numbers": [0, 1, 255, 256, 70000, -3, 2**40], "none": None, "yes": True, "no": False}
    told |= {"deep": {"pair": (1, "x"), "empty": [], "nothing": {}, "hollow": (), "one": (1,), "three": (1, 2, 3)}}
    assert read_pickle(pickle.dumps(told, protocol), "f") == told == pickle.loads(pickle.dumps(told, protocol))


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("array", [ARRAY, np.asfortranarray(ARRAY), ARRAY[:, 0]])
def test_arrays_keep_every_byte(protocol: int, array: np.ndarray[Any, Any]) -> None:
    found = read_pickle(pickle.dumps({"data": array, "again": array, b"labels": [1]}, protocol), "f")
    assert found["data"].dtype == np.uint8
    assert np.array_equal(found["data"], array)
    assert np.array_equal(found["again"], array)
    assert found["labels"] == [1]


class Calls:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.made = function, arguments

    def __reduce__(self) -> Any:
        return self.made


def nested(depth: int) -> bytes:
    """A tuple that holds itself twice, ``depth`` times over, as the key of a dict: its hash takes 2**depth steps."""
    return b"\x80\x02}K\x01" + b"q\x00h\x00\x86" * depth + b"K\x01s."


HOSTILE = {
    "call": pickle.dumps({"data": Calls(os.mkdir, "pickle-ran")}, 2),
    "eval": pickle.dumps({"data": Calls(eval, "1+1")}, 2),
    "class": pickle.dumps({"data": collections.OrderedDict(a=1)}, 2),
    "float": pickle.dumps({"data": 1.5}, 2),
    "set": pickle.dumps({"data": {1, 2}}, 2),
    "wide array": pickle.dumps({"data": np.zeros(3, np.int64)}, 2),
    "objects": pickle.dumps({"data": np.array([[], None], object)}, 2),
    "protocol 4": pickle.dumps({"data": "x" * 9}, 4),
    "list": pickle.dumps([1, 2], 2),
    "persistent": b"\x80\x02U\x01xQ.",
    "stack runs out": b"\x80\x02ss.",
    "no mark": b"\x80\x02(ee.",
    "unknown memo": b"\x80\x02h\x05.",
    "array without a shape": pickle.dumps({"data": ARRAY}, 2).replace(b"K\x04K\x06\x86", b"K\x04K\x07\x86"),
    "negative shape": pickle.dumps({"data": ARRAY}, 2).replace(b"K\x04K\x06\x86", b"J\xff\xff\xff\xffK\x06\x86"),
    "build on a list": b"\x80\x02](K\x01tb.",
    "extend a number": b"\x80\x02K\x01K\x02a.",
    "number as key": b"\x80\x02}K\x01K\x02s.",
    "odd items": b"\x80\x02}(U\x01as.",
    "name as value called": b"\x80\x02cos\nsystem\nU\x02ls\x85R.",
    "endless": b"\x80\x02}",
    "empty": b"",
    "no pickle": b"\xff\xfe hello",
    "cut": pickle.dumps({"data": ARRAY}, 2)[:-30],
    "nested": nested(80),
    "huge memo": b"\x80\x02}r\xff\xff\xff\x7f}s.",
    "huge text": b"\x80\x02T\xff\xff\xff\x7fabc.",
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_all_else_is_refused_and_nothing_runs(content: bytes, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"^batch: must be a pickle of texts, whole numbers and byte arrays alone"):
        read_pickle(content, "batch")
    assert not list(tmp_path.iterdir())


def test_arrays_of_one_text_do_not_take_more_memory_than_the_file() -> None:
    size = struct.pack("<i", 1 << 20)
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01J" + size + b"\x85"
    kinds = [b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87Rq\x01", b"h\x01"]

    def content(arrays: int) -> bytes:
        filled = [b"U\x03%03d" % place + array + kinds[place > 0] + b"\x89h\x00tb" for place in range(arrays)]
        return b"\x80\x02}(U\x01tT" + size + bytes(1 << 20) + b"q\x00" + b"".join(filled) + b"u."

    found = read_pickle(content(1), "f")
    assert found["000"].tobytes() == bytes(1 << 20)
    tracemalloc.start()
    with pytest.raises(DataError, match="it has arrays of more bytes than the file"):
        read_pickle(content(40), "f")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


def test_a_file_of_nothing_but_empty_things_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_pickles, "_MOST_STEPS", 1000)
    assert read_pickle(b"\x80\x02}U\x01a(" + b"}" * 900 + b"ls.", "f")["a"] == [{}] * 900
    with pytest.raises(DataError, match="it has more than 1000 steps"):
        read_pickle(b"\x80\x02}U\x01a(" + b"}" * 1000 + b"ls.", "f")


def test_every_shortened_or_changed_pickle_is_refused_or_read() -> None:
    whole = pickle.dumps({"data": ARRAY, "labels": [1, 2, 3, 4], "names": ("a", "b")}, 2)
    rng = np.random.default_rng(0)
    refused = 0
    for number in range(3000):
        content = bytearray(whole[: rng.integers(len(whole))] if number % 3 == 0 else whole)
        for place in rng.integers(0, max(len(content), 1), 1 + number % 4) if content else ():
            content[place] = rng.integers(256)
        try:
            assert isinstance(read_pickle(bytes(content), "f"), dict)
        except DataError:
            refused += 1
    assert 1000 < refused < 3000
