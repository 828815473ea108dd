"""Exported image folders, opened by torchvision, Pillow and the csv module, and by our own readers."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import ImageFolder

from data.errors import ConfigError, DataError
from data.exporting.image_folder import class_folders, export_image_folder
from data.exporting.rows import SPLITS
from data.foreign import open_foreign
from data.labels import Axis, LabelSpace


def listed(folder):
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def pixels(path):
    with Image.open(path) as picture:
        found = np.asarray(picture)
    return found[None] if found.ndim == 2 else found.transpose(2, 0, 1)


def label_of(row, space):
    classes = [int(row["class"])] if space.has_classes else []
    values = classes + [float(row[axis.name]) for axis in space.dimensions]
    return np.array(values if space.label_shape else values[0], space.dtype)


@pytest.mark.parametrize(("kind", "channels"), [("real", 3), ("synthetic", 1)])
def test_every_pixel_and_value_is_in_the_folder(make_set, label_space, tmp_path, channels, kind):
    found = make_set(label_space, kind, channels=channels)
    out = tmp_path / "out"
    export_image_folder(found, out)
    rows = listed(out)
    assert len(rows) == len(found)
    numbers = [int(row["file"].rpartition("/")[2].removesuffix(".png")) for row in rows]
    assert sorted(numbers) == list(range(len(found)))
    for number, row in zip(numbers, rows, strict=True):
        assert np.array_equal(pixels(out / row["file"]), found.columns["images"][number])
        assert np.array_equal(label_of(row, label_space), found.columns["labels"][number])
        split = SPLITS[found.columns["split"][number]] if kind == "real" else "train"
        assert row["split"] == split
        assert int(row["source_row"]) == found.columns["source_row"][number]
        if label_space.has_classes:
            assert row["class_name"] == label_space.names[int(row["class"])]
            assert row["file"].split("/")[:2] == [split, row["class_name"]]
        if kind == "synthetic":
            assert int(row["seed"]) == found.columns["seed"][number]
            assert np.float32(row["teacher_error"]) == found.columns["teacher_error"][number]
            outputs = [np.float32(row[f"teacher_outputs_{place}"]) for place in range(label_space.outputs)]
            assert outputs == found.columns["teacher_outputs"][number].tolist()


def test_torchvision_sees_the_same_images_under_the_same_classes(make_set, class_space, tmp_path):
    found = make_set(class_space, "real", rows=60)
    export_image_folder(found, tmp_path / "out")
    for number, split in enumerate(SPLITS):
        images = ImageFolder(tmp_path / "out" / split)
        mine = np.flatnonzero(found.columns["split"] == number)
        assert images.classes == sorted(class_space.names)
        seen = {}
        for (path, _), (picture, target) in zip(images.samples, images, strict=True):
            row = int(path.rpartition("/")[2].removesuffix(".png"))
            seen[row] = images.classes[target]
            assert np.array_equal(np.asarray(picture).transpose(2, 0, 1), found.columns["images"][row])
        assert seen == {row: class_space.names[found.columns["labels"][row]] for row in mine.tolist()}


def test_the_reader_of_candidates_takes_the_folder_back(make_set, label_space, tmp_path):
    found = make_set(label_space)
    export_image_folder(found, tmp_path / "out")
    back = open_foreign(tmp_path / "out", label_space, found.columns["images"].shape[1:])
    assert np.array_equal(back.labels, found.columns["labels"])
    assert np.array_equal(back.seeds, found.columns["seed"])
    assert np.array_equal(back.read(0, len(found)), found.columns["images"])


def test_equal_sets_give_equal_bytes(make_set, class_space, tmp_path):
    found = make_set(class_space)
    export_image_folder(found, tmp_path / "a")
    export_image_folder(found, tmp_path / "b")
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.*"))
    assert len(files) == len(found) + 2
    assert all((tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes() for path in files)


def test_names_of_classes_become_names_of_folders():
    names = ("T-shirt/top", "..", ".x", "50 %", "a\nb", "été", "", "trailing. ")
    folders = class_folders(LabelSpace("class", names))
    assert folders == ["T-shirt%2Ftop", "%2E%2E", "%2Ex", "50 %25", "a%0Ab", "été", "%", "trailing.%20"]
    assert class_folders(LabelSpace("class", ("Cat", "cat", "dog"))) == ["0 Cat", "1 cat", "2 dog"]
    long = class_folders(LabelSpace("class", ("x" * 300, "x" * 301)))
    assert len(set(long)) == 2
    assert max(map(len, long)) < 130


def test_a_class_without_images_has_no_folder(make_set, class_space, tmp_path):
    found = make_set(class_space, columns={"labels": np.zeros(23, np.int64)})
    export_image_folder(found, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out" / "train").iterdir()] == ["cat"]


def test_what_exists_is_left_alone(make_set, class_space, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(ConfigError, match="out must be a new file or folder"):
        export_image_folder(make_set(class_space), tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(ConfigError, match="choose another name"):
        export_image_folder(make_set(class_space), tmp_path / "link")


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_an_interrupted_export_leaves_nothing(make_set, class_space, tmp_path, monkeypatch, error):
    found = make_set(class_space)
    monkeypatch.setattr("data.exporting.image_folder.card_text", lambda *_: (_ for _ in ()).throw(error))
    with pytest.raises(DataError if isinstance(error, OSError) else KeyboardInterrupt):
        export_image_folder(found, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["the set.h5"]


def test_names_that_a_table_has_already_are_refused(make_set, tmp_path):
    space = LabelSpace("vector", axes=(Axis("yaw"), Axis("Seed")))
    with pytest.raises(DataError, match="a dimension of the labels must have a name of its own"):
        export_image_folder(make_set(space, "samples"), tmp_path / "out")
    with pytest.raises(DataError, match="must be a set of images with labels, got kind 'answers'"):
        export_image_folder(make_set(space, "answers", name="b.h5"), tmp_path / "out")
    with pytest.raises(DataError, match="1 or 3 channels"):
        export_image_folder(make_set(LabelSpace("scalar"), "samples", name="c.h5", channels=2), tmp_path / "out")


def test_a_default_scalar_space_comes_back(make_set, tmp_path):
    space = LabelSpace("class+scalar", ("5", "3"), "label", "", -1.0, 2.0)
    found = make_set(space)
    export_image_folder(found, tmp_path / "out")
    back = open_foreign(tmp_path / "out", space, found.columns["images"].shape[1:])
    assert np.array_equal(back.labels, found.columns["labels"])
