from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xxhash

import data.digests
import data.hdf5_writing
import data.writing
from data.errors import DataError
from data.random import derive_seed, row_seeds
from data.reading import Selected, open_set, verify_set
from data.schema import COLUMNS, KINDS
from data.writing import consolidate, shuffled_order, write_set

META: dict[str, Any] = {"provenance": {"b": [1, 2.5], "a": "ä"}, "license": "CC-BY-4.0"}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_reads_back_by_us_and_by_plain_h5py(tmp_path, kind, label_space, make_columns):
    columns = make_columns(label_space, 11, *KINDS[kind])
    digest = write_set(tmp_path / "s.h5", columns, kind=kind, label_space=label_space, **META)
    found = open_set(tmp_path / "s.h5")
    assert (found.kind, found.label_space, found.license) == (kind, label_space, "CC-BY-4.0")
    assert (len(found), found.content_sha256, found.provenance) == (11, digest, META["provenance"])
    assert list(found.columns) == sorted(columns)
    with h5py.File(tmp_path / "s.h5") as file:
        assert set(file) == {*columns, "digests"}
        for name, values in columns.items():
            for other in (file[name][...], found.columns[name]):
                assert other.dtype == values.dtype
                np.testing.assert_array_equal(other, values)
            assert file[name].chunks is None
            assert file[name].id.get_offset() % 4096 == 0
        assert file.attrs["format"] == b"stillhouse"
        assert json.loads(file.attrs["provenance"]) == META["provenance"]
        assert file.attrs["complete"] == 1


def test_any_known_column_may_be_added(tmp_path, class_space, make_columns):
    write_set(tmp_path / "s.h5", make_columns(class_space, 3), kind="real", label_space=class_space, **META)
    assert list(open_set(tmp_path / "s.h5").columns) == sorted(COLUMNS)


def test_digests_are_the_documented_ones(tmp_path, class_space):
    columns = {
        "teacher_outputs": np.arange(6, dtype=np.float32).reshape(2, 3),
        "source_row": np.array([7, 5]),
    }
    digest = write_set(tmp_path / "s.h5", columns, kind="answers", label_space=class_space, **META)
    expected = hashlib.sha256()
    expected.update(b'["source_row","int64",[2]]\n')
    expected.update(bytes([7, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]))
    expected.update(b'["teacher_outputs","float32",[2,3]]\n')
    expected.update(bytes.fromhex("00000000 0000803f 00000040 00004040 00008040 0000a040"))
    assert digest == expected.hexdigest()
    with h5py.File(tmp_path / "s.h5") as file:
        stored = file["digests/teacher_outputs"][...]
        attributes = json.loads(file.attrs["attribute_digests"])
        assert attributes["complete"] == xxhash.xxh3_128_hexdigest(b"1")
        assert attributes["license"] == xxhash.xxh3_128_hexdigest(b"CC-BY-4.0")
    assert stored.tobytes() == xxhash.xxh3_128_digest(columns["teacher_outputs"].tobytes())


def test_digests_are_of_blocks_of_4096_rows(tmp_path, class_space, make_columns):
    columns = make_columns(class_space, 10_000, *KINDS["real"])
    write_set(tmp_path / "s.h5", columns, kind="real", label_space=class_space, **META)
    with h5py.File(tmp_path / "s.h5") as file:
        for name, values in columns.items():
            digests = [xxhash.xxh3_128_digest(values[i : i + 4096].tobytes()) for i in (0, 4096, 8192)]
            assert file["digests"][name][...].tobytes() == b"".join(digests)


def test_equal_inputs_give_equal_bytes(tmp_path, class_space, make_columns):
    for name in ("a.h5", "b.h5"):
        columns = make_columns(class_space, 5000, *KINDS["synthetic"])
        if name == "b.h5":
            columns = dict(reversed(columns.items()))
        write_set(tmp_path / name, columns, kind="synthetic", label_space=class_space, shuffle_seed=3, **META)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_strided_and_foreign_order_arrays_are_written_as_they_read(tmp_path, class_space, make_columns):
    columns = make_columns(class_space, 20, *KINDS["real"])
    every_second = {name: values[::2] for name, values in columns.items()}
    every_second["images"] = np.asfortranarray(every_second["images"])
    write_set(tmp_path / "s.h5", every_second, kind="real", label_space=class_space, **META)
    np.testing.assert_array_equal(open_set(tmp_path / "s.h5").columns["images"], columns["images"][::2])


def test_a_long_provenance_is_kept(tmp_path, class_space, make_columns):
    provenance = {"counts": list(range(30_000))}
    columns = make_columns(class_space, 2, *KINDS["answers"])
    write_set(tmp_path / "s.h5", columns, kind="answers", label_space=class_space, provenance=provenance, license="MIT")
    assert open_set(tmp_path / "s.h5").provenance == provenance


def test_a_set_of_no_rows(tmp_path, label_space, make_columns):
    columns = make_columns(label_space, 0, *KINDS["draws"])
    write_set(tmp_path / "s.h5", columns, kind="draws", label_space=label_space, shuffle_seed=1, **META)
    assert len(open_set(tmp_path / "s.h5")) == 0
    assert verify_set(tmp_path / "s.h5")["blocks"] == 0


def test_shuffled_order_is_the_documented_permutation():
    order = shuffled_order(1000, 5)
    keys = row_seeds(derive_seed("shuffle", 5), np.arange(1000))
    assert order.tolist() == sorted(range(1000), key=lambda row: int(keys[row]))
    assert sorted(order.tolist()) == list(range(1000))
    assert order.tolist() != shuffled_order(1000, 6).tolist()
    # Golden: a set written by an earlier version must come out the same.
    assert shuffled_order(8, 5).tolist() == [7, 2, 5, 3, 6, 0, 4, 1]


@pytest.mark.parametrize("shuffle_seed", [None, 11])
def test_consolidate_equals_writing_the_joined_arrays(tmp_path, label_space, make_columns, shuffle_seed):
    sizes = [3000, 0, 5000, 1, 2500]
    pieces = [make_columns(label_space, size, *KINDS["candidates"], seed=i) for i, size in enumerate(sizes)]
    for i, piece in enumerate(pieces):
        write_set(tmp_path / f"{i}.h5", piece, kind="candidates", label_space=label_space, **META)
    joined = {name: np.concatenate([piece[name] for piece in pieces]) for name in KINDS["candidates"]}
    settings = {"kind": "candidates", "label_space": label_space, "shuffle_seed": shuffle_seed, **META}
    one = write_set(tmp_path / "one.h5", joined, **settings)
    assert consolidate([tmp_path / f"{i}.h5" for i in range(5)], tmp_path / "many.h5", **settings) == one
    assert (tmp_path / "many.h5").read_bytes() == (tmp_path / "one.h5").read_bytes()
    found = open_set(tmp_path / "many.h5")
    order = np.arange(10_501) if shuffle_seed is None else shuffled_order(10_501, shuffle_seed)
    for name, values in joined.items():
        np.testing.assert_array_equal(found.columns[name], values[order])


def test_consolidate_holds_one_block_in_memory(tmp_path, class_space):
    rows, parts = 12_000, 4
    for i in range(parts):
        columns = {
            "images": np.full((rows, 1, 20, 20), i, np.uint8),
            "labels": np.zeros(rows, np.int64),
            "split": np.zeros(rows, np.uint8),
            "source_row": np.arange(rows),
        }
        write_set(tmp_path / f"{i}.h5", columns, kind="real", label_space=class_space, **META)
    total, block = parts * rows * 400, 4096 * 400
    tracemalloc.start()
    paths = [tmp_path / f"{i}.h5" for i in range(parts)]
    consolidate(paths, tmp_path / "s.h5", kind="real", label_space=class_space, shuffle_seed=0, **META)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * block < total / 3
    assert len(open_set(tmp_path / "s.h5")) == parts * rows


@pytest.mark.parametrize("shuffle_seed", [None, 11])
def test_selected_rows_of_a_set_are_written_as_their_copies(tmp_path, label_space, make_columns, shuffle_seed):
    columns = make_columns(label_space, 9000, *KINDS["real"])
    write_set(tmp_path / "all.h5", columns, kind="real", label_space=label_space, **META)
    rows = np.random.default_rng(2).integers(0, 9000, 6000)
    settings = {"kind": "real", "label_space": label_space, "shuffle_seed": shuffle_seed, **META}
    copies = {name: values[rows] for name, values in columns.items()}
    one = write_set(tmp_path / "copies.h5", copies, **settings)
    found = open_set(tmp_path / "all.h5").columns
    lazy = {name: Selected(found[name], rows) if name != "labels" else copies[name] for name in columns}
    assert write_set(tmp_path / "lazy.h5", lazy, **settings) == one
    assert (tmp_path / "lazy.h5").read_bytes() == (tmp_path / "copies.h5").read_bytes()


def test_a_subset_is_written_block_by_block(tmp_path, class_space):
    rows = 40_000
    columns = {
        "images": np.random.default_rng(0).integers(0, 256, (rows, 1, 20, 20), dtype=np.uint8),
        "labels": np.zeros(rows, np.int64),
        "split": np.zeros(rows, np.uint8),
        "source_row": np.arange(rows),
    }
    write_set(tmp_path / "all.h5", columns, kind="real", label_space=class_space, **META)
    found = open_set(tmp_path / "all.h5")
    chosen = np.arange(0, rows, 2)
    lazy = {name: Selected(values, chosen) for name, values in found.columns.items()}
    tracemalloc.start()
    write_set(tmp_path / "half.h5", lazy, kind="real", label_space=class_space, **META)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    block = 4096 * 400
    assert peak < 3 * block < len(chosen) * 400 / 1.5


def test_consolidate_names_the_part_that_does_not_fit(tmp_path, class_space, make_columns):
    good = make_columns(class_space, 4, *KINDS["answers"])
    write_set(tmp_path / "good.h5", good, kind="answers", label_space=class_space, **META)
    settings = {"kind": "answers", "label_space": class_space, "shuffle_seed": None, **META}
    more = {**good, "seed": np.zeros(4, np.uint64)}
    write_set(tmp_path / "more.h5", more, kind="answers", label_space=class_space, **META)
    other = make_columns(class_space, 4, *KINDS["draws"])
    write_set(tmp_path / "other.h5", other, kind="draws", label_space=class_space, **META)
    for bad, match in (("more", "seed must be as in the first part"), ("other", "of kind 'answers'")):
        with pytest.raises(DataError, match=rf"{bad}\.h5: .*{match}"):
            consolidate([tmp_path / "good.h5", tmp_path / f"{bad}.h5"], tmp_path / "s.h5", **settings)
    for parts, match in (([], "at least one part"), ([tmp_path / "absent.h5"], "absent.h5: the file cannot be found")):
        with pytest.raises(DataError, match=match):
            consolidate(parts, tmp_path / "s.h5", **settings)
    assert not list(tmp_path.glob("s.h5*"))


def test_consolidate_names_a_part_with_other_images_or_a_flipped_bit(tmp_path, class_space, make_columns):
    columns = make_columns(class_space, 4, *KINDS["real"])
    wide = {**columns, "images": np.zeros((4, 3, 5, 5), np.uint8)}
    write_set(tmp_path / "a.h5", columns, kind="real", label_space=class_space, **META)
    write_set(tmp_path / "b.h5", wide, kind="real", label_space=class_space, **META)
    settings = {"kind": "real", "label_space": class_space, "shuffle_seed": None, **META}
    with pytest.raises(DataError, match=r"b\.h5: images must be as in the first part"):
        consolidate([tmp_path / "a.h5", tmp_path / "b.h5"], tmp_path / "s.h5", **settings)
    with h5py.File(tmp_path / "b.h5", "r+") as file:
        file["images"][2, 0, 0, 0] = 1
    with pytest.raises(DataError, match=r"b\.h5: images rows 0\.\.3 is damaged"):
        consolidate([tmp_path / "b.h5"], tmp_path / "s.h5", **settings)


BAD_COLUMNS: dict[str, tuple[dict[str, Any], str]] = {
    "missing": ({"split": None}, "'split' is missing"),
    "unknown": ({"colour": np.zeros(4)}, "got 'colour'"),
    "type": ({"labels": np.zeros(4, np.int32)}, r"labels must be int64 \(N,\), got int32 \(4,\)"),
    "byte order": ({"labels": np.zeros(4, ">i8")}, "got big-endian int64"),
    "object": ({"labels": np.zeros(4, object)}, "labels must be int64"),
    "axes": ({"images": np.zeros((4, 3, 3), np.uint8)}, r"images must be uint8 \(N, C, H, W\)"),
    "empty images": ({"images": np.zeros((4, 1, 0, 3), np.uint8)}, "images must be"),
    "rows": ({"split": np.zeros(5, np.uint8)}, "images has 4 and split has 5"),
    "class": ({"labels": np.array([0, 1, 3, 0])}, r"labels rows 0\.\.3: class labels must lie in 0\.\.2"),
    "split": ({"split": np.full(4, 3, np.uint8)}, r"split rows 0\.\.3: values must be at most 2, got 3"),
    "negative": ({"source_row": np.array([0, 1, -1, 2])}, "values must be at least 0, got -1"),
    "outputs": ({"teacher_outputs": np.zeros((4, 2), np.float32)}, "must have 3 columns"),
    "infinite": ({"density_ratio": np.array([0, 1, np.nan, np.inf], np.float32)}, "finite, got 2 that are not"),
}


BAD_LABELS: dict[str, tuple[str, Any, str]] = {
    "flat vector": ("vector", np.zeros(4, np.float32), r"labels must be float32 \(N, 2\), got float32 \(4,\)"),
    "wide vector": ("vector", np.zeros((4, 3), np.float32), r"labels must be float32 \(N, 2\), got float32 \(4, 3\)"),
    "double": ("class+scalar", np.zeros((4, 2)), r"labels must be float32 \(N, 2\), got float64 \(4, 2\)"),
    "no rows": ("class", np.zeros((), np.int64), r"labels must be int64 \(N,\), got int64 \(\)"),
    "column": ("scalar", np.zeros((4, 1), np.float32), r"labels must be float32 \(N,\), got float32 \(4, 1\)"),
    "infinite": ("vector", np.full((4, 2), np.inf, np.float32), "vector labels must be finite, got 8 that are not"),
    "class": ("class+scalar", np.full((4, 2), 3, np.float32), r"class labels must lie in 0\.\.2, got 3"),
    "half": ("class+scalar", np.full((4, 2), 0.5, np.float32), "class labels must be whole numbers, got 0.5"),
}


@pytest.mark.parametrize("name", BAD_LABELS)
def test_bad_labels_are_refused(tmp_path, spaces, make_columns, name):
    kind, labels, match = BAD_LABELS[name]
    columns = {**make_columns(spaces[kind], 4, *KINDS["real"]), "labels": labels}
    with pytest.raises(DataError, match=match):
        write_set(tmp_path / "s.h5", columns, kind="real", label_space=spaces[kind], **META)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", BAD_COLUMNS)
def test_bad_columns_are_refused_and_leave_nothing(tmp_path, class_space, make_columns, name):
    change, match = BAD_COLUMNS[name]
    columns = {**make_columns(class_space, 4, *KINDS["real"]), **change}
    columns = {name: values for name, values in columns.items() if values is not None}
    with pytest.raises(DataError, match=match):
        write_set(tmp_path / "s.h5", columns, kind="real", label_space=class_space, **META)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"kind": "fake"}, "kind must be one of"),
        ({"license": ""}, "license must be an SPDX expression"),
        ({"provenance": {"x": float("nan")}}, "provenance must have a JSON form"),
        ({"provenance": {"x": object()}}, "provenance must have a JSON form"),
    ],
)
def test_bad_settings_are_refused(tmp_path, class_space, make_columns, change, match):
    columns = make_columns(class_space, 4, *KINDS["real"])
    with pytest.raises(DataError, match=match):
        write_set(tmp_path / "s.h5", columns, **{"kind": "real", "label_space": class_space, **META, **change})


def test_a_failed_write_keeps_the_old_file_and_removes_the_temporary(tmp_path, class_space, make_columns, monkeypatch):
    columns = make_columns(class_space, 4, *KINDS["answers"])
    settings = {"kind": "answers", "label_space": class_space, **META}
    write_set(tmp_path / "s.h5", columns, **settings)
    before = (tmp_path / "s.h5").read_bytes()

    def fail(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(data.hdf5_writing, "replace_durably", fail)
    with pytest.raises(DataError, match=r"cannot be written .*No space left"):
        write_set(tmp_path / "s.h5", columns, **settings)
    assert [path.name for path in tmp_path.iterdir()] == ["s.h5"]
    assert (tmp_path / "s.h5").read_bytes() == before
    with pytest.raises(DataError, match="cannot be written"):
        write_set(tmp_path / "absent" / "s.h5", columns, **settings)


def test_a_killed_writer_leaves_no_set_and_the_next_one_succeeds(tmp_path, class_space, make_columns):
    script = """
import os, signal, sys
import numpy as np
import data.writing
from pathlib import Path
from data.labels import LabelSpace
class Once(data.writing.BlockDigest):
    def update(self, piece):
        if len(piece) == 904:
            os.kill(os.getpid(), signal.SIGKILL)
        super().update(piece)
data.writing.BlockDigest = Once
columns = {"teacher_outputs": np.zeros((5000, 3), np.float32), "source_row": np.arange(5000)}
space = LabelSpace("class", names=("cat", "dog", "bird"))
data.writing.write_set(Path(sys.argv[1]), columns, kind="answers", label_space=space, provenance={}, license="MIT")
"""
    path = tmp_path / "s.h5"
    root = Path(data.writing.__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], env={**os.environ, "PYTHONPATH": str(root)}, check=False, timeout=60
    )
    assert done.returncode == -signal.SIGKILL
    (rest,) = tmp_path.iterdir()
    # By that end the store knows it; another writer may be at work on a file of such a name.
    assert (rest.name[:5], rest.suffix) == ("s.h5.", ".tmp")
    write_set(path, make_columns(class_space, 4, *KINDS["answers"]), kind="answers", label_space=class_space, **META)
    assert sorted(tmp_path.iterdir()) == sorted([path, rest])
    assert verify_set(path)["rows"] == 4


def test_a_history_that_no_reader_would_take_is_not_written(tmp_path, make_columns, class_space):
    from data.checking import ATTRIBUTE_BYTES

    columns = make_columns(class_space, 2, *KINDS["samples"])
    described = {"kind": "samples", "label_space": class_space, "license": "MIT"}
    for length in (ATTRIBUTE_BYTES - len('{"a":""}'), ATTRIBUTE_BYTES):
        history = {"a": "x" * length}
        if length == ATTRIBUTE_BYTES:
            with pytest.raises(DataError, match="provenance must have at most"):
                write_set(tmp_path / "s.h5", columns, provenance=history, **described)
        else:
            write_set(tmp_path / "s.h5", columns, provenance=history, **described)
    assert len(open_set(tmp_path / "s.h5").provenance["a"]) == ATTRIBUTE_BYTES - 8
