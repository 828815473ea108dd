"""Parquet files as Hugging Face's datasets writes them, and others; pyarrow is the second reader."""

import io
import json
import sys
from functools import partial

import datasets
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from data.errors import ConfigError, DataError, StageError
from data.faults import UnreadableImages
from data.labels import LabelSpace
from data.sources import notes, skipped
from data.sources.parquet import Parquet

IMAGES = np.random.default_rng(7).integers(0, 256, (30, 8, 8, 3), dtype=np.uint8)
CLASSES = np.arange(30) % 3
NAMES = ("zebra", "ant", "cat")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path_factory.mktemp("hf")))
    datasets.disable_progress_bars()


def png(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def hugging_face(root):
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=list(NAMES)),
            "weight": datasets.Value("float32"),
        }
    )
    every = datasets.Dataset.from_dict(
        {"image": list(map(Image.fromarray, IMAGES)), "label": CLASSES.tolist(), "weight": np.arange(30) / 4},
        features=features,
    )
    folder = root / "data"
    folder.mkdir(parents=True)
    for name, rows in {
        "train-00000-of-00002": range(12),
        "train-00001-of-00002": range(12, 20),
        "validation-00000-of-00001": range(20, 24),
        "test-00000-of-00001": range(24, 30),
    }.items():
        every.select(rows).to_parquet(folder / f"{name}.parquet", batch_size=5)
    return root


def write(path, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table(columns), path, row_group_size=7)
    return path


def source(path, **options):
    return Parquet(str(path), **{"image_size": 8, **options})


def test_hugging_faces_layout_with_its_names_and_parts(tmp_path):
    found = source(hugging_face(tmp_path), class_column="label")
    assert found.label_space == LabelSpace("class", NAMES)
    assert found.labels().tolist() == CLASSES.tolist()
    assert found.pool().tolist() == [1] * 20 + [3] * 4 + [2] * 6
    rows = np.array([29, 0, 13, 0])
    assert np.array_equal(found.images(rows), IMAGES[rows].transpose(0, 3, 1, 2))
    assert notes(found) == ()
    # The same rows as the library that wrote them reads, part by part.
    theirs = datasets.load_dataset("parquet", data_files={"train": str(tmp_path / "data" / "train-*.parquet")})["train"]
    assert theirs["label"][:] == found.labels()[:20].tolist()
    assert np.array_equal(np.stack([np.asarray(image) for image in theirs["image"]]), IMAGES[:20])
    told = source(tmp_path, class_column="label", classes=("ant", "cat", "zebra"))
    assert told.labels().tolist() == np.array([2, 0, 1])[CLASSES].tolist()
    value = source(tmp_path, values=({"column": "Weight", "unit": "g", "minimum": 0, "maximum": 10},), channels=1)
    assert value.labels().tolist() == (np.arange(30) / 4).tolist()
    assert value.label_space == LabelSpace("scalar", (), "Weight", "g", 0, 10)
    assert value.image_shape == value.images(np.array([4])).shape[1:] == (1, 8, 8)


@pytest.mark.parametrize("binary", [pa.binary(), pa.large_binary()])
def test_a_single_file_of_bytes_and_texts(tmp_path, binary):
    path = write(
        tmp_path / "mine.parquet",
        image=pa.array([png(image) for image in IMAGES], binary),
        kind=pa.array([str(10 - label) for label in CLASSES]).dictionary_encode(),
        x=pa.array(np.arange(30), pa.int16()),
        y=pa.array(np.arange(30) / 7),
    )
    found = source(path, class_column="kind")
    assert found.label_space.names == ("8", "9", "10")
    assert found.labels().tolist() == (2 - CLASSES).tolist()
    assert found.pool().tolist() == [0] * 30
    vector = source(path, values=({"column": "x"}, {"column": "y"}))
    assert np.array_equal(vector.labels(), np.column_stack([np.arange(30), np.arange(30) / 7]).astype(np.float32))
    assert np.array_equal(vector.images(np.arange(30)[::-1]), IMAGES[::-1].transpose(0, 3, 1, 2))


def test_parts_are_told_by_files_or_folders(tmp_path):
    columns = {"image": pa.array([png(image) for image in IMAGES[:2]]), "y": pa.array([0, 1])}
    for name in ("default/train/0000.parquet", "default/val/0000.parquet", "default/.hidden/0000.parquet"):
        write(tmp_path / name, **columns)
    found = source(tmp_path, class_column="y")
    assert found.pool().tolist() == [0, 0, 3, 3]
    assert notes(found) == (f"{tmp_path}: has no test file; these images are taken from train.",)
    write(tmp_path / "more.parquet", **columns)
    with pytest.raises(DataError, match=r"names of files must begin with train, .* got more\.parquet; rename"):
        source(tmp_path, class_column="y").labels()


def test_images_that_cannot_be_read_are_named_or_left_out(tmp_path):
    encoded = [{"bytes": png(image), "path": None} for image in IMAGES[:10]]
    encoded[3]["bytes"], encoded[5]["bytes"], encoded[9] = encoded[3]["bytes"][:90], None, None
    path = write(tmp_path / "a.parquet", image=pa.array(encoded), y=pa.array(CLASSES[:10]))
    expected = ["a.parquet row 3 (truncated)", "a.parquet row 5 (an empty file)", "a.parquet row 9 (an empty file)"]
    with pytest.raises(UnreadableImages, match="3 of 10 images cannot be read") as error:
        source(path, class_column="y").images(np.arange(10))
    assert list(map(str, error.value.faults)) == expected
    lenient = source(path, class_column="y", damaged="skip")
    assert list(map(str, skipped(lenient))) == expected
    kept = [0, 1, 2, 4, 6, 7, 8]
    assert lenient.labels().tolist() == CLASSES[kept].tolist()
    assert len(lenient.pool()) == 7
    assert np.array_equal(lenient.images(np.arange(7)), IMAGES[kept].transpose(0, 3, 1, 2))


GOOD = {"image": pa.array([b"x", b"y"]), "y": pa.array([0, 1])}


@pytest.mark.parametrize(
    ("columns", "options", "sentence"),
    [
        (GOOD, {"class_column": "label"}, r"must have 'label' \(source\.class_column\), got image, y"),
        (GOOD, {"class_column": "y", "image_column": "img"}, r"'img' \(source\.image_column\).*did you mean 'image'"),
        (GOOD, {"values": ({"column": "image"},)}, "must hold numbers for source.values, got binary"),
        ({**GOOD, "y": pa.array([0.5, 1.0])}, {"class_column": "y"}, "must hold classes, .* got double; name it in"),
        ({**GOOD, "y": pa.array(["a", None])}, {"class_column": "y"}, r"1 rows do not: a\.parquet row 1: nothing"),
        ({**GOOD, "y": pa.array([0.5, None])}, {"values": ({"column": "y"},)}, r"1 rows do not: a\.parquet row 1"),
        (
            {**GOOD, "y": pa.array([0.5, 7.0])},
            {"values": ({"column": "y", "minimum": 0, "maximum": 1},)},
            r"y must lie between 0 and 1, but 1 do not: a\.parquet row 1: 7",
        ),
        ({"image": pa.array([], pa.binary()), "y": pa.array([], pa.int8())}, {"class_column": "y"}, "at least one row"),
        ({**GOOD, "image": pa.array([1, 2])}, {"class_column": "y"}, "must hold encoded images, bytes or a struct"),
    ],
)
def test_columns_that_cannot_be_used_are_named(tmp_path, columns, options, sentence):
    path = write(tmp_path / "a.parquet", **columns)
    found = source(path, **options)
    with pytest.raises(DataError, match=sentence):
        (found.labels(), found.images(np.array([0])))


def test_labels_that_are_not_known_are_named(tmp_path):
    features = datasets.Features({"image": datasets.Value("binary"), "y": datasets.ClassLabel(names=["a", "b"])})
    datasets.Dataset.from_dict({"image": [b"x"] * 3, "y": [0, -1, 1]}, features).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"must name a class, but 1 rows do not: a\.parquet row 1: -1"):
        source(tmp_path / "a.parquet", class_column="y").labels()


def test_files_that_are_damaged_or_differ_are_named(tmp_path):
    path = write(tmp_path / "one" / "train-0.parquet", **GOOD)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"train-0\.parquet: must be a whole Parquet file"):
        source(path.parent, class_column="y").labels()
    write(tmp_path / "two" / "train-0.parquet", **GOOD)
    write(tmp_path / "two" / "train-1.parquet", image=GOOD["image"], y=pa.array([0.0, 1.0]))
    with pytest.raises(DataError, match=r"train-1\.parquet: must have the columns of train-0\.parquet"):
        source(tmp_path / "two", class_column="y").labels()
    (tmp_path / "three").mkdir()
    for path, sentence in ((tmp_path / "three", "got none; check source.path"), (tmp_path / "four", "got none; check")):
        with pytest.raises(DataError, match=sentence):
            source(path, class_column="y").identity()


def test_identity_needs_no_pyarrow_and_knows_no_place(tmp_path, monkeypatch):
    for name in ("one", "two"):
        write(tmp_path / name / "train-0.parquet", **GOOD)
    for name in ("pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, name, None)
    identity = source(tmp_path / "one", class_column="y").identity()
    assert identity == source(tmp_path / "two", class_column="y").identity() == json.loads(json.dumps(identity))
    assert str(tmp_path) not in json.dumps(identity)
    with pytest.raises(ConfigError, match=r"needs pyarrow, .* pip install 'stillhouse\[export\]'"):
        source(tmp_path / "one", class_column="y").labels()


def test_files_with_other_names_of_classes_are_refused(tmp_path):
    root = hugging_face(tmp_path)
    other = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["ant", "cat", "zebra"])})
    other["weight"] = datasets.Value("float32")
    rows = {"image": list(map(Image.fromarray, IMAGES[:3])), "label": [0, 1, 2], "weight": [0.0, 1.0, 2.0]}
    test = root / "data" / "test-00000-of-00001.parquet"
    datasets.Dataset.from_dict(rows, features=other).to_parquet(test)
    for options in ({}, {"classes": ("ant", "cat", "zebra")}):
        with pytest.raises(
            DataError, match=r"test-0.* must name the classes as data/train-0.* does \(zebra, ant, cat\), "
        ):
            source(root, class_column="label", **options).labels()
    # A file that names none is refused, too; other columns may tell what they want.
    columns = {"image": pa.array([{"bytes": png(IMAGES[0]), "path": "a"}]), "label": pa.array([0])}
    write(test, **columns, weight=pa.array([1.0], pa.float32()))
    with pytest.raises(DataError, match="got no names"):
        source(root, class_column="label").labels()
    assert source(root, values=({"column": "weight"},)).labels()[-1] == 1


def test_class_numbers_without_names_are_told(tmp_path):
    columns = {"image": pa.array([png(image) for image in IMAGES[:3]]), "subset": pa.array(["a", "b", "c"])}
    found = source(write(tmp_path / "a.parquet", y=pa.array([10, 1, 2]), **columns), class_column="y")
    assert found.labels().tolist() == [2, 0, 1]
    split, numbers = notes(found)
    assert "'subset' is not used, the split is made at random; put each part into a file of its name" in split
    assert "class numbers 1, 2, 10 are the teacher's outputs 0 .. 2" in numbers
    plain = source(write(tmp_path / "b.parquet", y=pa.array([2, 1, 0]), **columns), class_column="y")
    assert len(notes(plain)) == 1


def test_several_configurations_are_refused(tmp_path):
    columns = {"image": pa.array([png(image) for image in IMAGES[:2]]), "y": pa.array([0, 1])}
    for name in ("small/train-0.parquet", "large/train-0.parquet"):
        write(tmp_path / name, **columns)
    with pytest.raises(DataError, match="files of one configuration, got folders large, small; set source"):
        source(tmp_path, class_column="y").labels()
    assert source(tmp_path / "small", class_column="y").labels().tolist() == [0, 1]


def test_the_name_of_a_single_file_is_not_in_its_identity(tmp_path):
    path = write(tmp_path / "a.parquet", image=pa.array([png(IMAGES[0])]), y=pa.array([0]))
    identity = source(path, class_column="y").identity()
    assert source(path.rename(tmp_path / "b.parquet"), class_column="y").identity() == identity


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    path = write(tmp_path / "a.parquet", image=pa.array([png(image) for image in IMAGES[:4]]), y=pa.array([0, 1, 0, 1]))
    monkeypatch.setattr("data.sources._parquet.scratch_file", partial(open, "/dev/full", "r+b", buffering=0))
    with pytest.raises(StageError, match=r"must have room on the disk .* \(No space left on device\); free some"):
        source(path, class_column="y").images(np.arange(2))
