"""Arrays of files of any layout: listed, mapped or unpacked as h5py reads them, refused where they lead elsewhere."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from data.errors import DataError
from data.files import FileState
from data.foreign import open_foreign
from data.foreign.published import open_published
from data.labels import LabelSpace
from data.sources.hdf5 import Hdf5
from data.untrusted import StoredArray, check_arrays, is_stillhouse_set, list_arrays, unpack_arrays

IMAGES = np.random.default_rng(0).integers(0, 256, (50, 3, 8, 8), dtype=np.uint8)


def write(path: Path, values: Any = IMAGES, libver: str = "earliest", **options: Any) -> Path:
    with h5py.File(path, "w", libver=libver) as file:
        file.create_dataset("images", data=values, **options)
    return path


@pytest.mark.parametrize("libver", ["earliest", "v110", "latest"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"chunks": True},
        {"compression": "gzip"},
        {"compression": "gzip", "chunks": (1, 3, 8, 8), "shuffle": True},
        {"compression": "gzip", "chunks": (50, 1, 2, 3), "fletcher32": True},
        {"compression": "gzip", "chunks": (7, 2, 5, 8), "maxshape": (None, 3, 8, 8)},
        {"compression": "lzf", "chunks": (64, 3, 8, 8), "maxshape": (None, 3, 8, None)},
        {"fletcher32": True},
    ],
)
def test_what_h5py_packs_is_unpacked(tmp_path, quarantine, libver, options):
    path = write(tmp_path / "x.h5", libver=libver, **options)
    assert list_arrays(path, quarantine) == {"images": StoredArray(np.dtype("u1"), IMAGES.shape)}
    found = unpack_arrays(path, ["images"], quarantine)["images"]
    assert np.array_equal(found, IMAGES)
    assert not found.flags.writeable


def test_blocks_smaller_than_the_array_in_every_axis_give_the_same(tmp_path, quarantine, monkeypatch):
    from data import stored_arrays

    monkeypatch.setattr(stored_arrays, "_BLOCK_BYTES", 100)
    for chunk in ((50, 1, 2, 3), (7, 2, 5, 8), (1, 1, 1, 1), (3, 3, 8, 8), (50, 3, 8, 8)):
        covered = np.zeros(IMAGES.shape, int)
        for block in stored_arrays._blocks(IMAGES.shape, chunk, 1):
            covered[block] += 1
            assert all(side.start % width == 0 for side, width in zip(block, chunk, strict=True))
        assert (covered == 1).all()


@pytest.mark.parametrize("kind", ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("options", [{}, {"compression": "gzip"}])
def test_every_type_of_number_becomes_little_endian(tmp_path, quarantine, kind, order, options):
    values = np.arange(-5, 20).astype(f"{order}{kind}")
    found = unpack_arrays(write(tmp_path / "x.h5", values, **options), ["images"], quarantine)["images"]
    assert found.dtype == np.dtype(f"<{kind}")
    assert found.tolist() == values.tolist()


def test_plain_values_are_mapped_where_they_lie_and_packed_ones_in_a_file_without_a_name(
    tmp_path, quarantine, monkeypatch
):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "room"))
    (tmp_path / "room").mkdir()
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["plain"] = np.arange(1000)
        file.create_dataset("group/packed", data=np.arange(1000), compression="gzip")
        file["none"] = np.zeros((0, 3), np.float32)
    found = unpack_arrays(tmp_path / "x.h5", ["group/packed", "plain", "none", "plain"], quarantine)
    assert list(found) == ["group/packed", "plain", "none"]
    assert found["none"].shape == (0, 3)
    assert found["plain"].tolist() == found["group/packed"].tolist() == list(range(1000))
    maps = Path("/proc/self/maps").read_text()
    assert f"{tmp_path}/x.h5" in maps
    assert f"{tmp_path}/room/" in maps
    assert list((tmp_path / "room").iterdir()) == []
    del found
    assert f"{tmp_path}/room/" not in Path("/proc/self/maps").read_text()
    os.rmdir(tmp_path / "room")


def test_what_is_no_array_of_numbers_is_passed_over_in_the_list(tmp_path, quarantine):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["images"] = IMAGES
        file["inner/labels"] = np.zeros(50)
        file["inner/deeper/labels"] = np.zeros(50)
        file["text"] = ["a"]
        file["number"] = 3
        file["nothing"] = h5py.Empty("f4")
        file["flags"] = np.zeros(3, bool)
        file["soft"] = h5py.SoftLink("/images")
        file["outside"] = h5py.ExternalLink("y.h5", "/images")
    assert sorted(list_arrays(tmp_path / "x.h5", quarantine)) == ["images", "inner/labels"]
    assert not is_stillhouse_set(tmp_path / "x.h5", quarantine)


def low_level(file, kind, **settings):
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    for name, value in settings.items():
        getattr(properties, name)(*value)
    h5py.h5d.create(file.id, b"images", kind, h5py.h5s.create_simple((50,)), properties)


def virtual(file):
    layout = h5py.VirtualLayout((50,), "u1")
    layout[:] = h5py.VirtualSource("other.h5", "images", (50,))
    file.create_virtual_dataset("images", layout)


def shared_chunks(file):
    """A data set that claims more chunks than it has."""
    file.create_dataset("images", (50, 8), "u1", chunks=(10, 8), compression="gzip")[:20] = 1


REFUSED = {
    "external storage": (
        lambda f: f.create_dataset("images", (50,), "u1", external=[("/etc/passwd", 0, 50)]),
        "another",
    ),
    "external link": (lambda f: f.__setitem__("images", h5py.ExternalLink("other.h5", "/images")), "is a link"),
    "soft link": (lambda f: f.__setitem__("images", h5py.SoftLink("/images")), "is a link"),
    "virtual": (virtual, "keeps its values in another file"),
    "group": (lambda f: f.create_group("images"), "must be a data set"),
    "type": (lambda f: f.__setitem__("images", np.dtype("f4")), "must be a data set"),
    "text": (lambda f: f.create_dataset("images", data=["a"] * 50), "must be an array of numbers"),
    "vlen": (lambda f: f.create_dataset("images", (50,), h5py.vlen_dtype("i4")), "must be an array of numbers"),
    "opaque": (lambda f: f.create_dataset("images", data=np.zeros(50, "V8")), "must be an array of numbers"),
    "compound": (lambda f: f.create_dataset("images", (50,), [("a", "i4")]), "must be an array of numbers"),
    "reference": (lambda f: f.create_dataset("images", (50,), h5py.ref_dtype), "must be an array of numbers"),
    "enum": (lambda f: f.create_dataset("images", data=np.zeros(50, bool)), "must be an array of numbers"),
    "bitfield": (lambda f: low_level(f, h5py.h5t.STD_B8LE), "must be an array of numbers"),
    "complex": (lambda f: f.create_dataset("images", data=np.zeros(50, "c8")), "must be an array of numbers"),
    "long double": (lambda f: f.create_dataset("images", data=np.zeros(50, "f16")), "must be an array of numbers"),
    "scalar": (lambda f: f.__setitem__("images", 3), "must be an array of numbers"),
    "null": (lambda f: f.__setitem__("images", h5py.Empty("f4")), "must be an array of numbers"),
    "never written": (lambda f: f.create_dataset("images", (50,), "u1"), "must store 50 bytes, got 0"),
    "some chunks": (shared_chunks, "must store 5 chunks, got 2"),
    "plugin": (
        lambda f: low_level(f, h5py.h5t.STD_U8LE, set_chunk=((50,),), set_filter=(32004, h5py.h5z.FLAG_OPTIONAL, ())),
        r"packed by gzip, lzf or not at all, got the filters \[32004\]",
    ),
    "scale-offset": (lambda f: f.create_dataset("images", data=np.arange(50), scaleoffset=0), r"got the filters \[6\]"),
    "large chunk": (
        lambda f: f.create_dataset("images", (1 << 27,), "u1", chunks=((1 << 26) + 1,), compression="gzip"),
        "chunks of at most 64 MiB",
    ),
    "bomb": (
        lambda f: f.create_dataset("images", data=np.zeros(1 << 27, "u1"), chunks=(1 << 22,), compression="gzip"),
        "unpacks .* bytes to 134217728, as no images do",
    ),
    "missing": (lambda f: f.create_group("a"), "images is missing, this file has 'a'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_leads_elsewhere_or_needs_code_is_refused(tmp_path, quarantine, name):
    make, sentence = REFUSED[name]
    write(tmp_path / "other.h5")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        make(file)
    for read in (check_arrays, unpack_arrays):
        with pytest.raises(DataError, match=sentence) as caught:
            read(tmp_path / "x.h5", ["images"], quarantine)
        assert str(caught.value).startswith(f"{tmp_path / 'x.h5'}: ")


def test_names_that_lead_round_are_refused(tmp_path, quarantine):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["images"] = IMAGES
        file["group/self"] = file["/"]
        file["group/soft"] = h5py.SoftLink("/group")
    found = list_arrays(tmp_path / "x.h5", quarantine)
    assert list(found) == ["images"]
    for name in ("", "/", "/images", "images/", "images/x", "group//self", "group/soft/x", "../images", "a" * 500):
        with pytest.raises(DataError, match=r"is missing|is a link"):
            unpack_arrays(tmp_path / "x.h5", [name], quarantine)


def test_a_file_of_many_groups_is_refused(tmp_path, quarantine):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for number in range(1100):
            file.create_group(f"g{number}")
    with pytest.raises(DataError, match="the root group must have at most 1000 members, got 1100"):
        list_arrays(tmp_path / "x.h5", quarantine)


def test_a_damaged_chunk_is_refused_by_name(tmp_path, quarantine):
    path = write(tmp_path / "x.h5", compression="gzip")
    with h5py.File(path) as file:
        chunk = file["images"].id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset + chunk.size // 2] ^= 255
    path.write_bytes(content)
    check_arrays(path, ["images"], quarantine)
    with pytest.raises(DataError, match="images cannot be read as HDF5"):
        unpack_arrays(path, ["images"], quarantine)


def test_whether_a_file_is_a_set_is_told_by_one_attribute(tmp_path, quarantine):
    values = {
        "set": (np.bytes_(b"stillhouse"), True),
        "other": (np.bytes_(b"stillhousX"), False),
        "text": ("stillhouse", False),
        "number": (3, False),
        "long": (np.bytes_(b"stillhouse" * 100), False),
    }
    for name, (value, wanted) in values.items():
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file.attrs["format"] = value
        assert is_stillhouse_set(tmp_path / f"{name}.h5", quarantine) is wanted


def test_no_room_is_told(tmp_path, quarantine, monkeypatch):
    path = write(tmp_path / "x.h5", compression="gzip")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "absent"))
    with pytest.raises(DataError, match="set TMPDIR to another folder"):
        unpack_arrays(path, ["images"], quarantine)


def test_empty_arrays_of_sides_that_no_memory_has_are_passed_over_and_refused_by_name(tmp_path, quarantine):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("images", (0, 1 << 61), "f8")
        file["labels"] = np.arange(3)
    assert list(list_arrays(tmp_path / "x.h5", quarantine)) == ["labels"]
    with pytest.raises(DataError, match="images must have sides whose product fits a memory"):
        unpack_arrays(tmp_path / "x.h5", ["images"], quarantine)


def test_a_file_longer_than_the_address_space_is_refused(tmp_path, quarantine, monkeypatch):
    path = write(tmp_path / "x.h5")

    def full(*arguments: object, **options: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(np, "memmap", full)
    with pytest.raises(DataError, match=r"cannot be mapped \(.*Cannot allocate memory"):
        unpack_arrays(path, ["images"], quarantine)


def test_what_is_read_later_must_be_of_the_file_looked_at_first(tmp_path, quarantine):
    path = write(tmp_path / "x.h5")
    state = FileState.of(path.stat())
    assert np.array_equal(unpack_arrays(path, ["images"], quarantine, unchanged=state)["images"], IMAGES)
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    # Whoever sets the time back still leaves the time of the last change.
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(DataError, match="was changed since it was looked at first"):
        unpack_arrays(path, ["images"], quarantine, unchanged=state)


@pytest.mark.parametrize("reader", ["fake", "published", "source"])
def test_labels_of_one_file_never_meet_images_of_another(tmp_path, reader):
    names = {"fake": ("fake_images", "fake_labels"), "published": ("images", "labels"), "source": ("images", "labels")}

    def make(path: Path, level: int) -> None:
        images, labels = names[reader]
        with h5py.File(path, "w") as file:
            file.create_dataset(images, data=np.full((6, 1, 4, 4), level, np.uint8), compression="gzip")
            file[labels] = np.arange(6) % 2

    make(tmp_path / "x.h5", 1)
    if reader == "fake":
        found = open_foreign(tmp_path / "x.h5", LabelSpace("class", names=("a", "b")), (1, 4, 4))
        read = partial(found.read, 0, 6)
    elif reader == "published":
        read = partial(open_published(tmp_path / "x.h5", ("plain",)).images, np.arange(6))
    else:
        source = Hdf5(str(tmp_path / "x.h5"), class_key="labels")
        source.labels()
        read = partial(source.images, np.arange(6))
    make(tmp_path / "y.h5", 2)
    (tmp_path / "y.h5").replace(tmp_path / "x.h5")
    with pytest.raises(DataError, match="was changed since it was looked at first"):
        read()


def test_a_source_follows_a_link_that_a_person_names(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["images"], file["labels"] = np.zeros((6, 1, 4, 4), np.uint8), np.arange(6) % 2
    (tmp_path / "link.h5").symlink_to("x.h5")
    source = Hdf5(str(tmp_path / "link.h5"), class_key="labels")
    assert source.labels().tolist() == [0, 1, 0, 1, 0, 1]
    assert source.images(np.arange(2)).shape == (2, 1, 4, 4)
