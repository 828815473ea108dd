from __future__ import annotations

import pickle
import random
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from data.digests import attribute_digests
from data.errors import DataError
from data.reading import ImageSet, Selected, open_set, release_pages, verify_set
from data.schema import ATTRIBUTES, KINDS
from data.writing import write_set

META: dict[str, Any] = {"provenance": {"source": "random"}, "license": "CC0-1.0"}


@pytest.fixture
def path(tmp_path, class_space, make_columns) -> Path:
    columns = make_columns(class_space, 5000, *KINDS["real"])
    write_set(tmp_path / "s.h5", columns, kind="real", label_space=class_space, **META)
    return tmp_path / "s.h5"


@pytest.fixture
def small(tmp_path, class_space, make_columns) -> Path:
    columns = make_columns(class_space, 40, *KINDS["candidates"])
    write_set(tmp_path / "small.h5", columns, kind="candidates", label_space=class_space, **META)
    return tmp_path / "small.h5"


def content(found: ImageSet) -> tuple[object, ...]:
    columns = {name: (values.dtype, values.shape, values.tobytes()) for name, values in found.columns.items()}
    return (found.kind, found.label_space, found.provenance, found.license, found.content_sha256, columns)


def test_take_gathers_rows_in_order_with_repetition(path):
    found = open_set(path)
    rows = np.random.default_rng(0).integers(0, 5000, 300)
    with h5py.File(path) as file:
        np.testing.assert_array_equal(found.take("images", rows), file["images"][...][rows])
        np.testing.assert_array_equal(found.take("labels", rows.astype(np.uint32)), file["labels"][...][rows])
    taken = found.take("images", rows)
    assert taken.flags.writeable
    assert taken.base is None
    assert found.take("images", rows[:0]).shape == (0, 1, 3, 4)


@pytest.mark.parametrize("rows", [[-1], [5000], [0, 2**40]])
def test_take_refuses_rows_outside_the_set(path, rows):
    with pytest.raises(ValueError, match=r"rows must lie in 0\.\.4999"):
        open_set(path).take("images", np.array(rows))


def test_take_refuses_masks_and_unknown_columns(path):
    with pytest.raises(ValueError, match="must be integers, got bool"):
        open_set(path).take("images", np.ones(5000, bool))
    with pytest.raises(DataError, match="must have the column 'seed'"):
        open_set(path).take("seed", np.zeros(1, int))


def test_selected_rows_are_those_of_the_array_in_order_with_repetition(path):
    images = open_set(path).columns["images"]
    rows = np.random.default_rng(1).integers(0, 5000, 300)
    selected = Selected(images, rows)
    assert (selected.dtype, selected.shape, len(selected)) == (images.dtype, (300, 1, 3, 4), 300)
    places = np.array([7, 0, 7, 299])
    np.testing.assert_array_equal(selected[places], np.stack([images[rows[place]] for place in places]))
    assert Selected(images, rows[:0])[places[:0]].shape == (0, 1, 3, 4)
    with pytest.raises(ValueError, match=r"rows must lie in 0\.\.4999"):
        Selected(images, np.array([5000]))
    with pytest.raises(ValueError, match="must be integers, got bool"):
        Selected(images, np.ones(5000, bool))


def resident_file_kib() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssFile"))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's account of resident memory")
def test_released_pages_leave_the_resident_memory_and_keep_their_values(tmp_path, class_space):
    columns = {"source_row": np.arange(4_000_000), "teacher_outputs": np.zeros((4_000_000, 3), np.float32)}
    write_set(tmp_path / "s.h5", columns, kind="answers", label_space=class_space, **META)
    found = open_set(tmp_path / "s.h5")
    opened = resident_file_kib()
    total = found.columns["source_row"].sum() + found.columns["teacher_outputs"].sum()
    read = resident_file_kib()
    assert read - opened > 60_000
    release_pages(found.columns["teacher_outputs"])
    assert resident_file_kib() - opened < 2000
    assert total == found.columns["source_row"].sum()
    release_pages(Selected(found.columns["source_row"], np.arange(3)))
    assert resident_file_kib() - opened < 2000
    before = resident_file_kib()
    verify_set(tmp_path / "s.h5")
    assert resident_file_kib() - before < 2000


def test_nothing_but_a_read_only_map_is_released(tmp_path):
    (tmp_path / "bytes").write_bytes(bytes(8192))
    changed = np.memmap(tmp_path / "bytes", np.uint8, "c")
    changed[:] = 7
    owned = np.full(8192, 3, np.uint8)
    for values, value in ((changed, 7), (changed[100:200].reshape(2, 50), 7), (owned, 3), (owned[5:], 3)):
        release_pages(values)
        assert (values == value).all()


def test_columns_are_read_only_aligned_and_map_the_file(path):
    for values in open_set(path).columns.values():
        assert values.flags.aligned
        assert values.flags.c_contiguous
        with pytest.raises(ValueError, match="read-only"):
            values[0] = 0
        with pytest.raises(ValueError, match="WRITEABLE"):
            values.flags.writeable = True


def test_pickle_holds_the_path_alone_and_notices_another_set(path, class_space, make_columns):
    found = open_set(path)
    pickled = pickle.dumps(found)
    assert len(pickled) < 400
    assert content(pickle.loads(pickled)) == content(found)
    columns = make_columns(class_space, 5000, *KINDS["real"], seed=1)
    write_set(path, columns, kind="real", label_space=class_space, **META)
    with pytest.raises(DataError, match="was replaced"):
        pickle.loads(pickled)


def test_a_replaced_file_does_not_change_an_open_set(path, class_space, make_columns):
    found = open_set(path)
    before = content(found)
    columns = make_columns(class_space, 100, *KINDS["real"], seed=1)
    write_set(path, columns, kind="real", label_space=class_space, **META)
    assert content(found) == before


def test_verify_counts(path):
    found = open_set(path)
    assert verify_set(path) == {
        "path": str(path),
        "kind": "real",
        "rows": 5000,
        "columns": 4,
        "blocks": 8,
        "bytes": 5000 * (12 + 8 + 8 + 1),
        "content_sha256": found.content_sha256,
    }


def test_a_flipped_bit_of_a_vector_is_found(tmp_path, make_columns, spaces):
    columns = make_columns(spaces["vector"], 5000, *KINDS["draws"])
    write_set(tmp_path / "d.h5", columns, kind="draws", label_space=spaces["vector"], **META)
    assert verify_set(tmp_path / "d.h5")["bytes"] == 5000 * (8 + 8 + 4 + 1)
    with h5py.File(tmp_path / "d.h5") as file:
        position = file["condition"].id.get_offset() + 4100 * 8 + 4
    damaged = bytearray((tmp_path / "d.h5").read_bytes())
    damaged[position] ^= 1
    (tmp_path / "d.h5").write_bytes(damaged)
    with pytest.raises(DataError, match=r"condition rows 4096\.\.4999 is damaged"):
        verify_set(tmp_path / "d.h5")


@pytest.mark.parametrize(
    ("column", "row", "item"),
    [
        ("images", 4500, r"images rows 4096\.\.4999 is damaged"),
        ("labels", 4095, r"labels rows 0\.\.4095"),
        ("split", 4999, r"split rows 4096\.\.4999 is damaged"),
        ("digests/labels", 1, r"digests/labels row 1 is damaged"),
    ],
)
def test_verify_names_what_is_damaged(path, column, row, item):
    with h5py.File(path) as file:
        dataset = file[column]
        position = dataset.id.get_offset() + row * dataset.dtype.itemsize * int(np.prod(dataset.shape[1:]))
    damaged = bytearray(path.read_bytes())
    damaged[position] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(DataError, match=item):
        verify_set(path)


@pytest.mark.parametrize("name", sorted(ATTRIBUTES))
def test_a_changed_attribute_is_named_when_opened(path, name):
    with h5py.File(path, "r+") as file:
        value = file.attrs[name]
        if ATTRIBUTES[name] is int:
            file.attrs.modify(name, value ^ 2)
        elif name == "attribute_digests":
            file.attrs.modify(name, value.replace(b"0", b"1"))
        else:
            file.attrs.modify(name, value[:-3] + bytes([value[-3] ^ 1]) + value[-2:])
    with pytest.raises(DataError, match="attribute "):
        open_set(path)
    if name != "attribute_digests":
        with pytest.raises(DataError, match=f"attribute {name} "):
            verify_set(path)


def test_a_wrong_content_digest_is_found_although_its_own_digest_fits(path):
    with h5py.File(path, "r+") as file:
        file.attrs.modify("content_sha256", b"0" * 64)
        values = {name: v.decode() if isinstance(v, bytes) else int(v) for name, v in file.attrs.items()}
        file.attrs.modify("attribute_digests", attribute_digests(values).encode())
    open_set(path)
    with pytest.raises(DataError, match="attribute content_sha256 is not that of the columns"):
        verify_set(path)


def test_every_flipped_bit_is_found_or_harmless(small):
    whole = small.read_bytes()
    before = content(open_set(small))
    rng = random.Random(0)
    used = [position for position, value in enumerate(whole) if value]
    positions = sorted({*rng.sample(used, 350), *(min(p + 1, len(whole) - 1) for p in rng.sample(used, 100))})
    found = 0
    with small.open("r+b", buffering=0) as file:
        for position in positions:
            file.seek(position)
            file.write(bytes([whole[position] ^ (1 << rng.randrange(8))]))
            try:
                verify_set(small)
                assert content(open_set(small)) == before
            except DataError:
                found += 1
            file.seek(position)
            file.write(whole[position : position + 1])
    assert content(open_set(small)) == before
    assert found > 300


def test_every_truncated_file_is_refused(small):
    whole = small.read_bytes()
    lengths = sorted({0, 1, 8, 100, *range(0, len(whole), len(whole) // 60), len(whole) - 1})
    assert len(lengths) > 60
    for length in lengths:
        small.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"small\.h5"):
            open_set(small)
