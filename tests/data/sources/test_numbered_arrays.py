"""Images and labels as arrays, in NumPy and HDF5 files: every layout and kind of label, and headers that lie."""

import json
import struct
import zipfile

import h5py
import numpy as np
import pytest

from data.errors import ConfigError, DataError
from data.labels import Axis, LabelSpace
from data.numpy_files import open_array
from data.sources import notes
from data.sources.arrays import Arrays
from data.sources.hdf5 import Hdf5

RNG = np.random.default_rng(5)
IMAGES = RNG.integers(0, 256, (20, 3, 4, 6), dtype=np.uint8)
CLASSES = np.arange(20) % 3
AGES = RNG.uniform(1, 60, 20)
POSES = RNG.normal(size=(20, 2))
SPLIT = np.repeat([0, 1, 2], [12, 4, 4])
LAYOUTS = {"NCHW": IMAGES, "NHWC": IMAGES.transpose(0, 2, 3, 1), "NHW": IMAGES[:, 0]}


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def npy(tmp_path, images=IMAGES, labels=CLASSES, split=None, **options):
    np.save(tmp_path / "images.npy", images)
    np.save(tmp_path / "labels.npy", labels)
    if split is not None:
        np.save(tmp_path / "split.npy", split)
        options["split_file"] = str(tmp_path / "split.npy")
    return Arrays(str(tmp_path / "images.npy"), str(tmp_path / "labels.npy"), **options)


def h5(tmp_path, columns, **options):
    with h5py.File(tmp_path / "set.h5", "w") as file:
        for name, values in columns.items():
            packed = {"compression": "gzip", "chunks": True} if values.ndim > 1 else {}
            file.create_dataset(name, data=values, **packed)
    return Hdf5(str(tmp_path / "set.h5"), **options)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", ["npy", "column-major", "npz", "packed npz", "h5"])
def test_rows_come_in_any_order_and_layout(tmp_path, layout, kind):
    stored = LAYOUTS[layout]
    if kind == "h5":
        found = h5(tmp_path, {"images": stored, "y": CLASSES}, class_key="y", layout=layout)
    elif "npz" in kind:
        save = np.savez if kind == "npz" else np.savez_compressed
        save(tmp_path / "set.npz", labels=CLASSES, images=stored)
        found = Arrays(str(tmp_path / "set.npz"), layout=layout)
    else:
        found = npy(tmp_path, np.asfortranarray(stored) if kind == "column-major" else stored, layout=layout)
    wanted = IMAGES[:, :1] if layout == "NHW" else IMAGES
    assert found.image_shape == wanted.shape[1:]
    rows = np.array([7, 0, 19, 7, 3])
    assert np.array_equal(found.images(rows), wanted[rows])
    assert np.array_equal(found.labels(), CLASSES)
    assert found.label_space == LabelSpace("class", ("0", "1", "2"))
    assert found.images(np.zeros(0, np.int64)).shape == (0, *wanted.shape[1:])
    with pytest.raises(DataError, match=r"rows must lie in 0\.\.19"):
        found.images(np.array([20]))


def value(column, **more):
    return {"column": column, **more}


BOTH = np.column_stack([CLASSES, AGES])
LOW, HIGH = float(np.float32(AGES.min())), float(np.float32(AGES.max()))


@pytest.mark.parametrize(
    ("labels", "options", "space", "wanted"),
    [
        (
            CLASSES.astype(np.uint8)[:, None],
            {"classes": ("a", "b", "c")},
            LabelSpace("class", ("a", "b", "c")),
            CLASSES,
        ),
        (CLASSES.astype(">i4"), {}, LabelSpace("class", ("0", "1", "2")), CLASSES),
        (AGES, {"values": (value("age", unit="year"),)}, LabelSpace("scalar", (), "age", "year", LOW, HIGH), AGES),
        (
            POSES,
            {"values": (value("yaw", minimum=-9, maximum=9), value("tilt", minimum=-8, maximum=8))},
            LabelSpace("vector", axes=(Axis("yaw", "", -9, 9), Axis("tilt", "", -8, 8))),
            POSES,
        ),
        (
            BOTH,
            {"classes": ("a", "b", "c"), "values": (value("age", minimum=0, maximum=60),)},
            LabelSpace("class+scalar", ("a", "b", "c"), "age", "", 0, 60),
            BOTH,
        ),
    ],
)
def test_labels_of_every_kind(tmp_path, labels, options, space, wanted):
    found = npy(tmp_path, labels=labels, split=SPLIT, **options)
    assert found.label_space == space
    assert found.labels().dtype == space.dtype
    assert np.array_equal(found.labels(), wanted.astype(space.dtype))
    assert found.pool().tolist() == np.array([1, 3, 2])[SPLIT].tolist()


def test_hdf5_takes_columns_of_arrays_and_groups(tmp_path):
    columns = {"x/pics": IMAGES, "x/pose": POSES, "age": AGES[:, None], "kind": CLASSES, "part": SPLIT.astype(np.uint8)}
    found = h5(tmp_path, columns, image_key="x/pics", values=(value("x/pose[1]"), value("age")), split_key="part")
    assert np.array_equal(found.labels(), np.column_stack([POSES[:, 1], AGES]).astype(np.float32))
    assert [axis.name for axis in found.label_space.axes] == ["x/pose[1]", "age"]
    assert found.pool().tolist() == np.array([1, 3, 2])[SPLIT].tolist()
    both = Hdf5(found.path, "x/pics", class_key="kind", values=(value("age"),), classes=("a", "b", "c"))
    assert np.array_equal(both.labels(), BOTH.astype(np.float32))
    for options, sentence in (
        ({"values": (value("x/pose"),)}, r"one number for each of 20 images, got shape \(20, 2\); .* x/pose\[0\]"),
        ({"values": (value("x/pose[2]"),)}, r"must have a column 2 for source\.values"),
        ({"class_key": "kinds"}, "did you mean 'kind'"),
        ({"class_key": "age"}, "must be whole numbers, got"),
        ({"class_key": "kind", "classes": ("a", "b")}, r"must lie in 0\.\.1, got 2 in row 2; name every class"),
    ):
        with pytest.raises(DataError, match=sentence):
            Hdf5(found.path, "x/pics", **options).labels()
    with pytest.raises(ConfigError, match=r"neither a class nor values; set source\.class_key"):
        Hdf5(found.path)
    with pytest.raises(ConfigError, match=r"set source\.class_key"):
        Hdf5(found.path, values=(value("age"),), classes=("a", "b"))


@pytest.mark.parametrize(
    ("images", "labels", "options", "sentence"),
    [
        (
            IMAGES / 255,
            CLASSES,
            {},
            r"uint8 of 0 to 255, got float64; if they lie in 0\.\.1, save np\.rint\(images \* 255",
        ),
        (IMAGES.astype(np.int64), CLASSES, {}, r"got int64; save images\.astype\(np\.uint8\)"),
        (IMAGES[:, 0], CLASSES, {}, r"axes NCHW, got shape \(20, 4, 6\); set source\.layout to NHW"),
        (
            RNG.integers(0, 9, (20, 9, 9, 3), dtype=np.uint8),
            CLASSES,
            {},
            r"9 channels as NCHW; set source\.layout to NHWC",
        ),
        (IMAGES, CLASSES[:5], {}, "one label for each of 20 images .*, got 5"),
        (IMAGES, AGES, {}, r"whole numbers \(N,\), got float64 \(20,\); .* source\.values: \[\{column"),
        (IMAGES, CLASSES - 1, {}, r"must lie in 0\.\.1, got -1 in row 0; number classes from 0"),
        (IMAGES, CLASSES * 10**6, {}, "at most 100,000 classes, got numbers up to 2000000"),
        (IMAGES, POSES, {"values": (value("a"),) * 1 + (value("b"), value("c"))}, r"3 columns, one an entry"),
        (
            IMAGES,
            np.where(CLASSES == 2, np.nan, AGES),
            {"values": (value("age"),)},
            r"age must be a finite .* row 2 and 5",
        ),
        (
            IMAGES,
            AGES,
            {"values": (value("age", minimum=0, maximum=0.5),)},
            "between 0 and 0.5, got .* in row 0 and 19",
        ),
        (IMAGES, BOTH + 0.5, {"values": (value("age"),)}, "labels of classes must be whole numbers, got 0.5 in row 0"),
        (IMAGES, CLASSES, {"split": SPLIT + 1}, "0 training, 1 validation or 2 test, got 3 in row 16"),
        (IMAGES, CLASSES, {"split": SPLIT[:9]}, r"the split must be one number an image, \(20,\), got \(9,\)"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path, images, labels, options, sentence):
    source = npy(tmp_path, images, labels, **options)
    with pytest.raises(DataError, match=sentence):
        source.labels()


def test_identity_knows_contents_but_no_place(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one, two = npy(tmp_path / "one").identity(), npy(tmp_path / "two").identity()
    assert one == two == json.loads(json.dumps(one))
    assert str(tmp_path) not in json.dumps(one)
    assert npy(tmp_path / "two", labels=CLASSES[::-1]).identity() != one
    columns = {"images": IMAGES, "y": CLASSES}
    assert h5(tmp_path, columns, class_key="y").identity() != h5(tmp_path, columns, class_key="y", name="x").identity()


def header_of(shape, descr="|u1"):
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (header_of((10,)) + bytes(9), r"10 bytes of its shape \(10,\), got 9"),
        (header_of((10,)) + bytes(11), "got 11"),
        (header_of((2**40, 2**40)) + bytes(9), "got 9"),
        (header_of((-5,)) + bytes(9), "got 9"),
        (header_of((3,), "|O") + bytes(24), "plain numbers, got object"),
        (header_of((3,), "<U4") + bytes(48), "plain numbers"),
        (header_of("__import__('os')") + bytes(3), "whole NumPy header"),
        (header_of((3,))[:30], "whole NumPy header"),
        (b"\x93NUMPY\x09\x00" + bytes(50), "whole NumPy header"),
        (b"", r"must be an \.npy or \.npz file"),
        (b"PK\x03\x04" + bytes(40), r"whole \.npz file"),
        (b"hello", r"must be an \.npy or \.npz file"),
    ],
)
def test_headers_that_lie_are_refused(tmp_path, content, sentence):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(DataError, match=sentence):
        open_array(tmp_path / "a.npy", "images")
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", content)
    with pytest.raises(DataError):
        open_array(tmp_path / "a.npz", "images")


def test_objects_are_never_unpickled(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(DataError, match="plain numbers, got object"):
        open_array(tmp_path / "a.npy")


def test_members_are_named(tmp_path):
    np.savez(tmp_path / "a.npz", pictures=IMAGES, labels=CLASSES)
    with pytest.raises(DataError, match="must hold an array 'images', got pictures, labels"):
        Arrays(str(tmp_path / "a.npz")).labels()
    npy(tmp_path)
    with pytest.raises(DataError, match=r"has images alone; set source\.label_file"):
        Arrays(str(tmp_path / "images.npy")).labels()
    with pytest.raises(DataError, match="got none there"):
        Arrays(str(tmp_path / "none.npy")).labels()


def test_a_split_beside_the_images_is_the_split(tmp_path):
    np.savez(tmp_path / "set.npz", images=IMAGES, labels=CLASSES, split=SPLIT)
    found = Arrays(str(tmp_path / "set.npz"))
    assert found.pool().tolist() == np.array([1, 3, 2])[SPLIT].tolist()
    np.savez(tmp_path / "open.npz", images=IMAGES, labels=CLASSES)
    assert Arrays(str(tmp_path / "open.npz")).pool().tolist() == [0] * 20


def test_an_unused_split_is_told(tmp_path):
    columns = {"images": IMAGES, "kind": CLASSES, "Split": SPLIT}
    (note,) = notes(h5(tmp_path, columns, class_key="kind"))
    assert "'Split' is not used, the split is made at random; set source.split_key" in note
    assert notes(h5(tmp_path, columns, class_key="kind", split_key="Split")) == ()


def test_numbers_of_classes_without_images_are_told(tmp_path):
    with pytest.raises(
        DataError, match=r"each class 0\.\.3 must have images, but none has the label 0; number classes "
    ):
        npy(tmp_path, labels=CLASSES + 1).labels()
    with pytest.raises(
        DataError, match=r"none has the label 1 \('b'\); number classes from 0 as source\.classes names"
    ):
        npy(tmp_path, labels=np.array([0, 2])[CLASSES % 2], classes=("a", "b", "c")).labels()
    with pytest.raises(DataError, match="distinct names, got 'a' twice"):
        npy(tmp_path, classes=("a", "b", "a")).labels()
    with pytest.raises(DataError, match=r"source\.classes must be empty"):
        npy(tmp_path, labels=AGES, values=(value("age"),), classes=("a", "b")).labels()
    with pytest.raises(DataError, match=r"must be whole numbers, got 1e\+300 in row 3"):
        npy(tmp_path, labels=np.where(np.arange(20)[:, None] == 3, 1e300, BOTH), values=(value("age"),)).labels()


def test_a_member_that_ends_behind_its_file_is_refused(tmp_path):
    path = tmp_path / "set.npz"
    np.savez(path, images=IMAGES)
    content = bytearray(path.read_bytes())
    # The directory and the array's own header both tell a row more than there is.
    shape, larger = str(IMAGES.shape).encode(), str((9920, *IMAGES.shape[1:])).encode()
    start = content.index(shape)
    padding = len(larger) - len(shape)
    content[start : start + len(larger)] = larger
    directory = content.rindex(b"PK\x01\x02")
    told = struct.unpack_from("<II", content, directory + 20)
    size = told[1] + 9900 * IMAGES[0].size
    struct.pack_into("<II", content, directory + 20, size, size)
    assert padding == 2
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"array 'images': must lie within its file|must be a whole"):
        open_array(path, "images")
