"""Runs on images of one's own: refused before anything trains where they cannot work, and told of in the report."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from data.reading import open_set
from data.store import Store
from flows.cli import main
from flows.made_from import about_model
from flows.source_config import SOURCE_KINDS


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images of two classes, 24 of each; one file is none."""
    root = tmp_path_factory.mktemp("own")
    rng = np.random.default_rng(0)
    for place, name in enumerate(("bright", "dark")):
        (root / name).mkdir()
        for number in range(24):
            grey = rng.integers(0, 100, (8, 8)) + 150 * (1 - place)
            Image.fromarray(grey.astype(np.uint8)).save(root / name / f"{number:02}.png")
    (root / "dark" / "broken.png").write_bytes(b"no picture")
    return root


@pytest.fixture
def own(tiny, folder):
    def write(**changes):
        source = {
            "kind": "image_folder", "folder": str(folder), "image_size": 8, "channels": 1, "damaged": "skip",
            "name": "bright and dark", "license": "CC-BY-4.0", "homepage": "https://example.org/own", **changes,
        }  # fmt: skip
        return tiny(
            source=source,
            prepare={"labels_per_class": 5, "validation_images": 8, "test_images": 10},
            distill={"data": ["real", "real+mixed"], "methods": [{"name": "ce"}], "seeds": [0]},
            recipes={"mixes": {"count": 20, "kind": "mixup"}},
            assess={"enabled": False},
        )

    return write


def run(capsys, *words):
    capsys.readouterr()
    status = main([str(word) for word in words])
    shown = capsys.readouterr()
    return status, shown.out, " ".join(shown.err.split())


def test_own_images_go_the_whole_way_and_are_named(own, tmp_path, capsys):
    status, out, err = run(capsys, "run", own(), "--store", tmp_path / "store", "--direct", "--json")
    assert status == 0, err
    assert "1 of 49 images are left out" in err
    assert "broken.png" in err
    store = Store(tmp_path / "store")
    (real,), (report,) = store.artifacts("prepare"), store.artifacts("report")
    assert open_set(real.path("real.h5")).label_space.names == ("bright", "dark")
    page = report.path("report.html").read_text()
    assert "&#39;bright and dark&#39;, image_folder, https://example.org/own" in page
    assert "CC-BY-4.0" in page
    assert "images left out, as they cannot be read" in page
    assert "mixed images" in page
    student = next(item for item in store.artifacts("distill") if "mixes" in item.manifest["inputs"])
    about = about_model(student)
    known = {name: about[name] for name in ("source", "homepage", "license", "data", "train_images")}
    assert known == {
        "source": "bright and dark", "homepage": "https://example.org/own", "license": "CC-BY-4.0",
        "data": "real+mixed", "train_images": 10,
    }  # fmt: skip
    # What the teacher was asked about mixes leads to it.
    assert "convnet" in about["teacher"]
    assert json.loads(out)["results"][1]["data"] == "real+mixed"


def test_what_own_images_cannot_be_is_told_before_anything_trains(own, tmp_path, capsys):
    store = tmp_path / "store"
    for change, status, sentence in (
        ({"folder": "/absent/folder"}, 3, "source.folder must be a folder, got /absent/folder"),
        ({"damaged": "error"}, 3, "broken.png"),
        ({"image_size": 12, "fit": "exact", "damaged": "error"}, 3, "must be 12 x 12 pixels, got 8 x 8"),
        ({"colour": 3}, 2, "unknown key 'source.colour'"),
        ({"folder": 3}, 2, "source.folder: must be text"),
    ):
        found = run(capsys, "run", own(**change), "--store", store, "--direct")
        assert found[0] == status, found
        assert sentence in found[2]
        assert not (store / "teacher").exists()
    labels = ("--set", 'distill.methods=[{"name": "mse"}]')
    for command in (("stages", own()), ("run", own(), "--direct")):
        status, out, err = run(capsys, *command, "--store", tmp_path / "other", *labels)
        assert status == 2
        assert "'mse' is for scalar and vector labels, got the class labels of source 'image_folder'" in err
        assert not out
    assert not (tmp_path / "other" / "prepare").exists()


def test_a_changed_image_makes_everything_again_and_a_moved_folder_nothing(own, folder, tmp_path, capsys):
    import shutil

    def prints(path):
        status, out, err = run(capsys, "stages", path, "--store", tmp_path / "store", "--json")
        assert status == 0, err
        return [stage["fingerprint"] for stage in json.loads(out)["stages"]]

    moved = shutil.copytree(folder, tmp_path / "moved")
    before = prints(own())
    # The report tells the whole configuration, paths and all.
    assert prints(own(folder=str(moved)))[:-1] == before[:-1]
    Image.new("L", (8, 8), 3).save(moved / "dark" / "00.png")
    assert not set(prints(own(folder=str(moved)))) & set(before)


def test_every_source_is_listed_with_a_line(tmp_path, capsys):
    status, out, _ = run(capsys, "list", "sources", "--store", tmp_path, "--json")
    assert status == 0
    rows = {row["name"]: row["about"] for row in json.loads(out)}
    assert set(rows) == set(SOURCE_KINDS)
    assert all(20 < len(about) <= 120 and about.endswith(".") for about in rows.values())
