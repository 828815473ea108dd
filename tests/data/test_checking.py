"""Files that somebody else, or an accident, has made: each is refused with one sentence and nothing else happens."""

from __future__ import annotations

import os
import pickle
import socket
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from data.digests import attribute_digests
from data.errors import DataError
from data.quarantine import Quarantine
from data.reading import open_set, verify_set
from data.schema import COLUMNS, KINDS
from data.untrusted import open_untrusted, verify_untrusted
from data.writing import write_set

ROWS = 6


@pytest.fixture(scope="module")
def quarantine() -> Iterator[Quarantine]:
    with Quarantine() as process:
        yield process


@pytest.fixture
def path(tmp_path, class_space, make_columns) -> Path:
    columns = make_columns(class_space, ROWS, *KINDS["candidates"], "split", "source_row")
    settings: dict[str, Any] = {"label_space": class_space, "provenance": {}, "license": "MIT"}
    write_set(tmp_path / "s.h5", columns, kind="candidates", **settings)
    return tmp_path / "s.h5"


def replace(file: h5py.File, name: str, **settings: Any) -> None:
    del file[name]
    file.create_dataset(name, **settings)


def external(file: h5py.File) -> None:
    secret = Path(file.filename).with_name("secret")
    secret.write_bytes(bytes(1000))
    replace(file, "images", shape=(ROWS, 1, 3, 4), dtype="u1", external=[(str(secret), 0, ROWS * 12)])


def external_link(file: h5py.File) -> None:
    del file["images"]
    file["images"] = h5py.ExternalLink("other.h5", "/images")


def soft_link(file: h5py.File) -> None:
    del file["labels"]
    file["labels"] = h5py.SoftLink("/condition")


def hard_link(file: h5py.File) -> None:
    del file["labels"]
    file["labels"] = file["condition"]


def cycle(file: h5py.File) -> None:
    file["digests/digests"] = file["digests"]


def virtual(file: h5py.File) -> None:
    del file["seed"]
    layout = h5py.VirtualLayout((ROWS,), "<u8")
    layout[:] = h5py.VirtualSource("other.h5", "seed", (ROWS,))
    file.create_virtual_dataset("seed", layout)


def huge(file: h5py.File) -> None:
    del file["images"]
    space = h5py.h5s.create_simple((10**12, 1, 3, 4))
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_LATE)
    h5py.h5d.create(file.id, b"images", h5py.h5t.STD_U8LE, space, properties)


def never_written(file: h5py.File) -> None:
    del file["seed"]
    h5py.h5d.create(file.id, b"seed", h5py.h5t.STD_U64LE, h5py.h5s.create_simple((ROWS,)))


def compact(file: h5py.File) -> None:
    del file["seed"]
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.COMPACT)
    h5py.h5d.create(file.id, b"seed", h5py.h5t.STD_U64LE, h5py.h5s.create_simple((ROWS,)), properties)


def dangling(file: h5py.File) -> None:
    del file["labels"]
    file["labels"] = h5py.SoftLink("/nowhere")


def loop(file: h5py.File) -> None:
    del file["labels"]
    file["labels"] = h5py.SoftLink("/labels")


def circle(file: h5py.File) -> None:
    file["digests/root"] = file["/"]


def bitfield(file: h5py.File) -> None:
    del file["split"]
    h5py.h5d.create(file.id, b"split", h5py.h5t.STD_B8LE, h5py.h5s.create_simple((ROWS,)))


def array_type(file: h5py.File) -> None:
    del file["seed"]
    kind = h5py.h5t.array_create(h5py.h5t.STD_U64LE, (2,))
    h5py.h5d.create(file.id, b"seed", kind, h5py.h5s.create_simple((ROWS,)))


def large_attribute(file: h5py.File) -> None:
    # Of this length it lies in a heap of its own.
    set_attribute("provenance", b"{}", dtype=h5py.string_dtype("utf-8", (1 << 22) + 1))(file)


def sixty_thousand(file: h5py.File) -> None:
    kind, space = h5py.h5t.STD_U8LE, h5py.h5s.create(h5py.h5s.SCALAR)
    for number in range(60_000):
        h5py.h5a.create(file.id, b"a%d" % number, kind, space)


def nan(file: h5py.File) -> None:
    file["density_ratio"][3] = np.nan


def wrong_class(file: h5py.File) -> None:
    file["labels"][0] = 3


def group_for_column(file: h5py.File) -> None:
    del file["images"]
    file.create_group("images")


def type_for_group(file: h5py.File) -> None:
    del file["digests"]
    file["digests"] = np.dtype("f4")


def set_attribute(name: str, value: Any, **settings: Any) -> Callable[[h5py.File], None]:
    """Replaces an attribute and makes the digests fit, as a deliberate forger would."""

    def change(file: h5py.File) -> None:
        file.attrs.create(name, value, **settings)
        values = {key: v.decode() if isinstance(v, bytes) else v for key, v in file.attrs.items()}
        digests = attribute_digests(values).encode()
        file.attrs.create("attribute_digests", digests, dtype=h5py.string_dtype("utf-8", len(digests)))

    return change


def text(name: str, value: bytes) -> Callable[[h5py.File], None]:
    return set_attribute(name, value, dtype=h5py.string_dtype("utf-8", len(value)))


HOSTILE: dict[str, tuple[Callable[[h5py.File], Any], str]] = {
    "external storage": (external, "images keeps its bytes in another file"),
    "external link": (external_link, "images is a link to another place"),
    "soft link": (soft_link, "labels is a link to another place"),
    "hard link": (hard_link, "must not share bytes with"),
    "cycle": (cycle, "'digests/digests' is not part of the format"),
    "virtual": (virtual, "seed must be contiguous"),
    "chunked": (lambda f: replace(f, "seed", data=np.zeros(ROWS, "u8"), chunks=(2,)), "seed must be contiguous"),
    "gzip": (lambda f: replace(f, "seed", data=np.zeros(ROWS, "u8"), compression="gzip"), "seed must be contiguous"),
    "compact": (compact, "seed must be contiguous"),
    "huge": (huge, "images must store 12000000000000 bytes, got 0"),
    "never written": (never_written, "seed must store 48 bytes, got 0"),
    "text": (lambda f: replace(f, "seed", data=["a"] * ROWS, dtype=h5py.string_dtype()), "seed must be of a plain"),
    "vlen": (lambda f: replace(f, "seed", shape=(ROWS,), dtype=h5py.vlen_dtype("i4")), "seed must be of a plain"),
    "compound": (lambda f: replace(f, "seed", shape=(ROWS,), dtype=[("a", "i4")]), "seed must be of a plain"),
    "opaque": (lambda f: replace(f, "seed", data=np.zeros(ROWS, "V8")), "seed must be of a plain"),
    "reference": (lambda f: replace(f, "seed", shape=(ROWS,), dtype=h5py.ref_dtype), "seed must be of a plain"),
    "big-endian": (lambda f: replace(f, "seed", data=np.zeros(ROWS, ">u8")), "seed must be of a plain little-endian"),
    "wrong type": (lambda f: replace(f, "seed", data=np.zeros(ROWS, "i8")), "seed must be uint64"),
    "scalar": (lambda f: replace(f, "seed", data=np.uint64(1)), "seed must be an array"),
    "null": (lambda f: replace(f, "seed", data=h5py.Empty("<u8")), "seed must be an array"),
    "missing column": (lambda f: f.__delitem__("seed"), "'seed' is missing"),
    "missing digest": (lambda f: f.__delitem__("digests/seed"), "digests must have one data set for each column"),
    "missing digests": (lambda f: f.__delitem__("digests"), "digests must have one data set for each column"),
    "short digest": (lambda f: replace(f, "digests/seed", data=np.zeros((1, 8), "u1")), "digests/seed must be uint8"),
    "extra column": (lambda f: f.create_dataset("colour", data=1), "'colour' is not part of the format"),
    "many groups": (
        lambda f: [f.create_group(f"g{i}") for i in range(50)],
        f"must have at most {len(COLUMNS) + 1} members",
    ),
    "rows": (lambda f: replace(f, "seed", data=np.zeros(ROWS - 1, "u8")), "same number of rows"),
    "group": (group_for_column, "images must be a data set"),
    "type": (type_for_group, "digests must be a group"),
    "nan": (nan, r"density_ratio rows 0\.\.5: values must be finite"),
    "class": (wrong_class, r"labels rows 0\.\.5: class labels must lie in 0\.\.2"),
    "column attribute": (lambda f: f["images"].attrs.create("a", 1), "images must have no attributes"),
    "extra attribute": (lambda f: f.attrs.create("pickle", np.void(pickle.dumps(1))), "'pickle' is not part"),
    "many attributes": (lambda f: [f.attrs.create(f"a{i:03}", 1) for i in range(200)], "attribute"),
    "missing attribute": (lambda f: f.attrs.__delitem__("license"), "attribute license is missing"),
    "unfinished": (lambda f: f.attrs.__delitem__("complete"), "attribute complete is missing"),
    "incomplete": (set_attribute("complete", 0, dtype="<i8"), "attribute complete must be 1, got 0"),
    "blocks": (set_attribute("block_rows", 1, dtype="<i8"), "attribute block_rows must be 4096, got 1"),
    "newer": (set_attribute("schema_version", 2, dtype="<i8"), "schema_version must be 1, got 2; upgrade"),
    "foreign": (text("format", b"other"), "attribute format must be 'stillhouse', got 'other'"),
    "unknown kind": (text("kind", b"fakes"), "kind must be one of"),
    "vlen attribute": (set_attribute("kind", "real"), "attribute kind must be one string of fixed length"),
    "array attribute": (lambda f: f.attrs.create("complete", [1, 1]), "attribute complete must be one int64"),
    "no JSON": (text("provenance", b"{"), "attribute provenance must be JSON"),
    "list": (text("provenance", b"[]"), "attribute provenance must be a JSON object"),
    "deep": (text("provenance", b"[" * 50_000), "attribute provenance must be JSON"),
    "no label space": (text("label_space", b'{"kind": "colour"}'), "attribute label_space must be a label space"),
    "label name": (text("label_space", b'{"kind": "class", "names": [1, 2]}'), "must have names that are strings"),
    "label names": (text("label_space", b'{"kind": "class", "names": 5}'), "must be a label space"),
    "label field": (text("label_space", b'{"kind": "class", "a": 5}'), "unknown or missing field"),
    "axis name": (text("label_space", b'{"kind": "vector", "axes": [{"name": 1}, {"name": "a"}]}'), "are strings"),
    "axis unit": (text("label_space", b'{"kind": "vector", "axes": [{"name": "a", "unit": null}]}'), "are strings"),
    "axis field": (text("label_space", b'{"kind": "vector", "axes": [{"low": 1}]}'), "unknown or missing field"),
    "axis text": (text("label_space", b'{"kind": "vector", "axes": ["name"]}'), "must be a label space"),
    "axis range": (text("label_space", b'{"kind": "scalar", "maximum": "x"}'), "must be a label space"),
    "axis list": (text("label_space", b'{"kind": "scalar", "maximum": [1, 2]}'), "must be a label space"),
    "names of letters": (text("label_space", b'{"kind":"class","names":"abc"}'), "must have lists of names and axes"),
    "range of truths": (
        text("label_space", b'{"kind":"scalar","maximum":true,"minimum":false}'),
        "must have ranges of numbers",
    ),
    "endless range": (
        text("label_space", b'{"kind":"scalar","maximum":1.7e308,"minimum":-1.7e308}'),
        "must have a finite range with minimum < maximum",
    ),
    "half a character": (text("provenance", rb'{"a":"\ud800"}'), "must have whole characters and no NUL"),
    "no license": (text("license", b" "), "attribute license must be an SPDX expression, got ' '"),
    "license of lines": (
        text("license", b"MIT\n\x1b[2J"),
        r"attribute license must be an SPDX expression, got 'MIT\\n",
    ),
    "no digest": (text("content_sha256", b"0" * 63 + b"\n"), "attribute content_sha256 must be 64 hexadecimal digits"),
    "60,000 attributes": (sixty_thousand, "must have at most 64 attributes, got 60010"),
    "one axis": (text("label_space", b'{"kind": "vector", "axes": [{"name": "a"}]}'), "at least 2 axes, got 1"),
    "another space": (
        text("label_space", b'{"kind": "vector", "axes": [{"name": "a"}, {"name": "b"}]}'),
        r"condition must be float32 \(N, 2\), got int64 \(6,\)",
    ),
    "dangling link": (dangling, "labels is a link to another place"),
    "link to itself": (loop, "labels is a link to another place"),
    "groups in a circle": (circle, "'digests/root' is not part of the format"),
    "enum": (lambda f: replace(f, "split", data=np.zeros(ROWS, bool)), "split must be of a plain"),
    "bitfield": (bitfield, "split must be of a plain"),
    "array type": (array_type, "seed must be of a plain"),
    "half float": (lambda f: replace(f, "density_ratio", data=np.zeros(ROWS, "f2")), "density_ratio must be of a pl"),
    "20,000 groups": (lambda f: [f.create_group(f"g{i}") for i in range(20_000)], "must have at most"),
    "name without UTF-8": (lambda f: h5py.h5g.create(f.id, b"\xff\xfe"), "cannot be read as HDF5"),
    "name that steers a terminal": (lambda f: f.create_group("\x1b[2J\n"), r"'\\x1b\[2J\\n' is not part"),
    "index": (lambda f: f["source_row"].__setitem__(0, -1), r"source_row rows 0\.\.5: values must be at least 0"),
    "minus": (lambda f: f["density_ratio"].__setitem__(2, -0.5), "values must be at least 0, got -0.5"),
    "split": (lambda f: f["split"].__setitem__(1, 3), "values must be at most 2, got 3"),
    "endless score": (lambda f: f["teacher_error"].__setitem__(1, np.inf), "values must be finite"),
    "large attribute": (large_attribute, "must have at most 4194304 bytes, got 4194305"),
    "opaque attribute": (lambda f: f.attrs.create("license", np.void(bytes(100))), "license must be one string of fix"),
    "NaN in JSON": (text("provenance", b'{"a":NaN}'), "must be JSON .numbers must be finite, got NaN"),
    "endless number": (text("provenance", b'{"a":1e999}'), "must be JSON .numbers must be finite, got 1e999"),
    "digits": (text("provenance", b'{"a":' + b"9" * 5000 + b"}"), "attribute provenance must be JSON"),
    "same name twice": (text("provenance", b'{"a":1,"a":2}'), "must be JSON .a name stands twice in one object"),
    "quite deep": (text("provenance", b'{"a":' + b"[" * 70 + b"]" * 70 + b"}"), "must be nested at most 64 deep"),
    "text for a number": (text("complete", b"1"), "attribute complete must be one int64"),
    "no UTF-8": (lambda f: f.attrs.create("kind", b"\xff", dtype=h5py.string_dtype("utf-8", 1)), "cannot be read"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_hdf5_is_refused_in_this_process_and_in_a_child(path, name, quarantine):
    change, match = HOSTILE[name]
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(DataError, match=match) as caught:
        open_set(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match=match):
        verify_set(path)
    for read in (open_untrusted, verify_untrusted):
        with pytest.raises(DataError, match=match) as apart:
            read(path, quarantine)
        assert str(apart.value) == str(caught.value)


def fifo(path: Path) -> None:
    os.mkfifo(path)


def symlink(path: Path) -> None:
    path.with_name("real.h5").write_bytes(b"")
    path.symlink_to("real.h5")


def archive(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("images.npy", bytes(1000))


def socket_file(path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as made:
        # A path of some length cannot be bound.
        made.bind(f"/proc/self/fd/{folder}/{path.name}")
    os.close(folder)


NO_HDF5: dict[str, tuple[Callable[[Path], Any], str]] = {
    "pickle": (lambda p: p.write_bytes(pickle.dumps({"images": [1]})), "cannot be read as HDF5"),
    "text": (lambda p: p.write_text("images,labels\n" * 1000), "cannot be read as HDF5"),
    "zip": (archive, "cannot be read as HDF5"),
    "socket": (socket_file, "must be a regular file"),
    "random": (lambda p: p.write_bytes(np.random.default_rng(0).bytes(10_000)), "cannot be read as HDF5"),
    "empty": (lambda p: p.touch(), "cannot be read as HDF5"),
    "fifo": (fifo, "must be a regular file"),
    "symlink": (symlink, "must be a regular file"),
    "folder": (lambda p: p.mkdir(), "must be a regular file"),
    "missing": (lambda p: None, "cannot be found"),
}


@pytest.mark.parametrize("name", NO_HDF5)
def test_what_is_no_hdf5_is_refused(tmp_path, name, quarantine):
    make, match = NO_HDF5[name]
    make(tmp_path / "x.h5")
    with pytest.raises(DataError, match=match):
        open_set(tmp_path / "x.h5")
    with pytest.raises(DataError, match=match):
        open_untrusted(tmp_path / "x.h5", quarantine)


def test_any_other_hdf5_is_refused(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["images"] = np.zeros((3, 1, 2, 2), np.uint8)
    with pytest.raises(DataError, match="attribute format is missing"):
        open_set(tmp_path / "x.h5")


def test_a_set_behind_a_linked_folder_opens(tmp_path, path):
    (tmp_path / "link").symlink_to(path.parent)
    assert len(open_set(tmp_path / "link" / "s.h5")) == ROWS
