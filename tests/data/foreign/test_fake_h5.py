"""The papers' layout: read back as written, and refused where it cannot be trusted."""

from __future__ import annotations

import os

import h5py
import numpy as np
import pytest

from data.errors import DataError
from data.foreign import foreign_identity, open_foreign
from data.foreign.fake_h5 import write_fake_h5
from data.labels import Axis, LabelSpace

CLASSES = LabelSpace("class", names=("a", "b", "c"))
YAW = LabelSpace("scalar", name="yaw", unit="degree", minimum=-10, maximum=90)
POSE = LabelSpace("vector", axes=(Axis("yaw", "degree", 0, 90), Axis("tilt", "degree", -20, 20)))
CHAIRS = LabelSpace("class+scalar", names=("x", "y"), name="yaw", unit="degree", maximum=90)
SHAPE = (3, 4, 5)
LABELS = {
    "class": (CLASSES, np.array([2, 0, 1, 1, 0, 2])),
    "scalar": (YAW, np.array([-10, 90, 0.1, 37.5, 89.9, 5])),
    "vector": (POSE, np.array([[0, -20], [90, 20], [1, 2], [3, 4], [5, 6], [7, 8.5]])),
    "class+scalar": (CHAIRS, np.array([[0, 0], [1, 90], [1, 2], [0, 4], [1, 6], [0, 8.5]])),
}


def some_images(rows=6):
    return np.random.default_rng(0).integers(0, 256, (rows, *SHAPE), dtype=np.uint8)


def write(path, **changes):
    """A file as the papers' programs write it, with data sets changed or, by None, left out."""
    members = {"fake_images": some_images(), "fake_labels": LABELS["class"][1], **changes}
    with h5py.File(path, "w") as file:
        for name, value in members.items():
            if value is not None:
                packed = {"compression": "gzip", "compression_opts": 6} if np.ndim(value) == 4 else {}
                file.create_dataset(name, data=value, **packed)
    return path


@pytest.mark.parametrize("kind", sorted(LABELS))
def test_every_kind_of_label_is_read_in_its_own_units(tmp_path, kind):
    space, labels = LABELS[kind]
    found = open_foreign(write(tmp_path / "x.h5", fake_labels=labels), space, SHAPE)
    assert found.layout == "fake-h5"
    assert len(found) == 6
    assert found.labels.dtype == space.dtype
    assert np.array_equal(found.labels, labels.astype(space.dtype))
    assert found.seeds.tolist() == list(range(6))
    assert np.array_equal(found.read(2, 5), some_images()[2:5])


@pytest.mark.parametrize("labels", [np.array([2, 0, 1, 1, 0, 2], np.int32), np.array([[2.0], [0], [1], [1], [0], [2]])])
def test_labels_of_other_types_and_one_column_are_taken(tmp_path, labels):
    found = open_foreign(write(tmp_path / "x.h5", fake_labels=labels), CLASSES, SHAPE)
    assert found.labels.tolist() == [2, 0, 1, 1, 0, 2]


@pytest.mark.parametrize("kind", sorted(LABELS))
def test_what_is_written_is_read_back_with_its_seeds(tmp_path, kind):
    space, labels = LABELS[kind]
    labels, seeds, path = labels.astype(space.dtype), np.arange(6, dtype=np.uint64) + 2**63, tmp_path / "x.h5"
    images = some_images()
    write_fake_h5(path, lambda start, stop: images[start:stop], labels, seeds, SHAPE)
    found = open_foreign(path, space, SHAPE)
    assert np.array_equal(found.labels, labels)
    assert np.array_equal(found.seeds, seeds)
    assert np.array_equal(found.read(0, 6), images)
    with h5py.File(path) as file:
        assert file["fake_images"].compression == "gzip"
        assert file["fake_labels"].dtype == (np.int64 if kind == "class" else np.float64)
    assert [item.name for item in tmp_path.iterdir()] == ["x.h5"]
    with pytest.raises(DataError, match="at least one image"):
        write_fake_h5(path, lambda start, stop: images[:0], labels[:0], seeds[:0], SHAPE)


@pytest.mark.parametrize(
    ("changes", "space", "sentence"),
    [
        (
            {"fake_labels": None, "labels": np.zeros(6)},
            CLASSES,
            "fake_labels is missing, this file has 'fake_images', 'labels'",
        ),
        ({"fake_images": some_images().astype(np.float32)}, CLASSES, r"must be uint8 \(N, 3, 4, 5\), got float32"),
        ({"fake_images": some_images().transpose(0, 2, 3, 1)}, CLASSES, r"must be uint8 \(N, 3, 4, 5\)"),
        ({"fake_labels": np.zeros(5)}, CLASSES, r"a label for 6 images, got \(5,\)"),
        ({"fake_labels": np.zeros((6, 1, 1))}, CLASSES, "a label for 6 images"),
        ({"fake_labels": np.array(["a"] * 6, dtype="S1")}, CLASSES, "must be an array of numbers"),
        ({"fake_labels": np.array([0, 1, 2, 3, 0, 0])}, CLASSES, r"must lie in 0\.\.2, got 0\.\.3"),
        ({"fake_labels": np.array([0, 1, 2, 1.5, 0, 0])}, CLASSES, r"whole numbers, got 1\.5"),
        ({"fake_labels": np.array([0, 1, 2, np.nan, 0, 0])}, CLASSES, "whole numbers, got nan"),
        ({"fake_labels": np.zeros((6, 2))}, CLASSES, r"must have shape \(N,\)"),
        ({"fake_labels": np.array([0, 1, 2, 3, 91.0, 0])}, YAW, "between -10 degree and 90 degree, got 91 in row 4"),
        ({"fake_labels": np.array([0, 1, 2, 3, 1e300, 0])}, YAW, "got inf in row 4"),
        ({"fake_labels": np.array([0, 1, 2, 3, np.nan, 0])}, YAW, "finite"),
        ({"fake_labels": np.zeros(6)}, POSE, r"must have shape \(N, 2\)"),
        ({"fake_labels": np.full((6, 2), 21.0)}, POSE, "tilt must lie between -20 degree and 20 degree"),
        ({"fake_seeds": np.zeros(5, int)}, CLASSES, "an integer an image"),
        ({"fake_seeds": np.full(6, -1)}, CLASSES, "seeds must be whole numbers"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(tmp_path, changes, space, sentence):
    path = write(tmp_path / "x.h5", **changes)
    with pytest.raises(DataError, match=sentence):
        open_foreign(path, space, SHAPE)


def replaced(path, name, make):
    """A sound file in which one data set is made in another way."""
    write(path, **{name: None})
    with h5py.File(path, "a") as file:
        make(file, name)
    return path


def linked(file, name):
    file["elsewhere"] = np.zeros(6, int)
    file[name] = h5py.SoftLink("/elsewhere")


def external_link(file, name):
    file[name] = h5py.ExternalLink("other.h5", "/fake_labels")


def external_storage(file, name):
    file.create_dataset(name, (6,), "<i8", external=[("other.bin", 0, 48)])


def virtual(file, name):
    layout = h5py.VirtualLayout((6,), "<i8")
    layout[:] = h5py.VirtualSource("other.h5", "fake_labels", (6,))
    file.create_virtual_dataset(name, layout)


def group(file, name):
    file.create_group(name)


def plugin(file, name):
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk((6,))
    properties.set_filter(32004, h5py.h5z.FLAG_OPTIONAL, ())
    space = h5py.h5s.create_simple((6,))
    h5py.Dataset(h5py.h5d.create(file.id, name.encode(), h5py.h5t.STD_I64LE, space, properties))[:] = 0


def unwritten(file, name):
    file.create_dataset(name, (6,), "<i8", chunks=(2,))


def unwritten_whole(file, name):
    file.create_dataset(name, (6,), "<i8")


def scalar(file, name):
    file[name] = 3


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (linked, "fake_labels is a link"),
        (external_link, "fake_labels is a link"),
        (external_storage, "in another file"),
        (virtual, "in another file"),
        (group, "must be a data set"),
        (plugin, r"packed by gzip, lzf or not at all, got the filters \[32004\]"),
        (unwritten, "must store 3 chunks, got 0"),
        (unwritten_whole, "must store 48 bytes, got 0"),
        (scalar, "rows first"),
    ],
)
def test_what_leads_elsewhere_or_is_not_there_is_refused(tmp_path, make, sentence):
    write(tmp_path / "other.h5")
    (tmp_path / "other.bin").write_bytes(bytes(48))
    with pytest.raises(DataError, match=sentence):
        open_foreign(replaced(tmp_path / "x.h5", "fake_labels", make), CLASSES, SHAPE)


def test_bombs_are_refused(tmp_path):
    def bomb(file, name):
        file.create_dataset(name, data=np.zeros((1 << 20, 8, 8, 2), np.uint8), chunks=(1 << 14, 8, 8, 2), compression=9)

    def huge_chunk(file, name):
        file.create_dataset(name, (1 << 21, 8, 8, 2), np.uint8, chunks=(1 << 20, 8, 8, 2), compression=1)

    for make, sentence in ((bomb, "as no images do"), (huge_chunk, "chunks of at most 64 MiB")):
        path = replaced(tmp_path / "x.h5", "fake_images", make)
        assert path.stat().st_size < 1 << 20
        with pytest.raises(DataError, match=sentence):
            open_foreign(path, CLASSES, (8, 8, 2))


def test_no_file_no_hdf5_and_damaged_ones_are_refused(tmp_path):
    with pytest.raises(DataError, match="cannot be found"):
        open_foreign(tmp_path / "absent.h5", CLASSES, SHAPE)
    text = tmp_path / "text.h5"
    text.write_text("no HDF5")
    with pytest.raises(DataError, match="cannot be read as HDF5"):
        open_foreign(text, CLASSES, SHAPE)
    path = write(tmp_path / "x.h5")
    link = tmp_path / "link.h5"
    link.symlink_to(path)
    with pytest.raises(DataError, match="no link"):
        open_foreign(link, CLASSES, SHAPE)
    os.mkfifo(tmp_path / "pipe.h5")
    with pytest.raises(DataError, match="pipe"):
        foreign_identity(tmp_path / "pipe.h5")
    with h5py.File(path) as file:
        chunk = file["fake_images"].id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset + chunk.size // 2] ^= 255
    path.write_bytes(content)
    found = open_foreign(path, CLASSES, SHAPE)
    with pytest.raises(DataError, match="fake_images cannot be read as HDF5"):
        found.read(0, 6)


def test_identity_is_that_of_the_bytes(tmp_path):
    first, second = write(tmp_path / "x.h5"), tmp_path / "y.h5"
    second.write_bytes(first.read_bytes())
    assert foreign_identity(first) == foreign_identity(str(second))
    write(second, fake_labels=np.zeros(6, int))
    assert foreign_identity(first) != foreign_identity(second)
