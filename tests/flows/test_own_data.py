"""One command on one's own data: from files of every kind to a real set, and a whole tiny run."""

import json
import os
import subprocess
import sys

import datasets
import numpy as np
import pytest
import yaml
from PIL import Image
from sklearn.datasets import load_digits

from data.reading import open_set, verify_set
from flows.cli import main
from flows.stages import prepare

IMAGES, TARGETS = (load_digits().images * 15.9375).astype(np.uint8)[:240], load_digits().target[:240] % 3
NAMES = ("one", "three", "two")
REGRESSION = {"generator": {"kind": "continuous_gan"}, "distill": {"methods": [{"name": "mse"}], "data": ["real"]}}


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("own")
    for row, (image, target) in enumerate(zip(IMAGES, TARGETS, strict=True)):
        path = root / "set" / NAMES[target] / f"{row:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return root / "set"


@pytest.fixture
def run(tmp_path, capsys):
    """Runs the command on a source: (exit status, object of --json or None, standard error)."""

    def call(source, *words, **sections):
        document = {"name": "own", "prepare": {"validation_images": 30}, "source": source, **sections}
        (tmp_path / "own.yaml").write_text(yaml.safe_dump(document))
        command = ["run", tmp_path / "own.yaml", "--store", tmp_path / "store", "--direct", "--json", *words]
        capsys.readouterr()
        status = main([str(word) for word in command])
        out, err = capsys.readouterr()
        return status, json.loads(out) if status == 0 else None, err

    return call


def made(summary):
    """The set of a run, verified, and the manifest beside it."""
    (stage,) = summary["stages"]
    folder = stage["path"]
    verify_set(os.path.join(folder, "real.h5"))
    with open(os.path.join(folder, "manifest.json"), encoding="utf-8") as file:
        return open_set(os.path.join(folder, "real.h5")), json.load(file)


def test_an_image_folder(run, folder):
    status, summary, err = run(
        {"kind": "image_folder", "folder": str(folder), "image_size": 8, "channels": 1}, "--only", "prepare"
    )
    assert status == 0, err
    found, manifest = made(summary)
    assert found.label_space.names == NAMES
    assert manifest["metrics"] == {"train": 130, "validation": 30, "test": 80}
    # Every row has the pixels and the class that its file has.
    rows = np.asarray(found.columns["source_row"])
    order = np.argsort(TARGETS, kind="stable")
    assert np.array_equal(np.asarray(found.columns["images"])[:, 0], IMAGES[order[rows]])
    assert np.array_equal(found.columns["labels"], TARGETS[order[rows]])
    assert found.provenance["source"]["name"] == "own"


def test_a_table_of_ages(run, folder, tmp_path):
    lines = ["Datei;Alter"]
    for row, target in enumerate(TARGETS):
        lines.append(f"{NAMES[target]}/{row:04d}.png;{20 + row / 4:g}")
    (tmp_path / "ages.csv").write_text("\n".join(lines), encoding="utf-8-sig")
    source = {"kind": "image_table", "folder": str(folder), "table": str(tmp_path / "ages.csv"), "file_column": "Datei"}
    source |= {"image_size": 8, "channels": 1, "values": [{"column": "Alter", "name": "age", "unit": "year"}]}
    status, summary, err = run(source, "--only", "prepare", **REGRESSION)
    assert status == 0, err
    assert "is read as a table separated by semicolons" in err
    found, _ = made(summary)
    assert found.label_space.to_dict() == {
        "kind": "scalar", "name": "age", "unit": "year", "minimum": 20.0, "maximum": 79.75,
    }  # fmt: skip
    rows = np.asarray(found.columns["source_row"])
    assert np.array_equal(found.columns["labels"], np.float32(20 + rows / 4))
    assert np.array_equal(np.asarray(found.columns["images"])[:, 0], IMAGES[rows])


def test_parquet_of_hugging_face(run, tmp_path):
    datasets.disable_progress_bars()
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(NAMES))})
    images = list(map(Image.fromarray, IMAGES))
    every = datasets.Dataset.from_dict({"image": images, "label": TARGETS.tolist()}, features=features)
    (tmp_path / "hub" / "data").mkdir(parents=True)
    for name, rows in {"train": range(150), "validation": range(150, 180), "test": range(180, 240)}.items():
        every.select(rows).to_parquet(tmp_path / "hub" / "data" / f"{name}-00000-of-00001.parquet")
    source = {"kind": "parquet", "path": str(tmp_path / "hub"), "class_column": "label", "image_size": 8, "channels": 1}
    status, summary, err = run(source, "--only", "prepare")
    assert status == 0, err
    found, manifest = made(summary)
    assert manifest["metrics"] == {"train": 150, "validation": 30, "test": 60}
    rows = np.asarray(found.columns["source_row"])
    assert np.array_equal(found.columns["split"], np.repeat([0, 1, 2], [150, 30, 60])[rows])
    assert np.array_equal(np.asarray(found.columns["images"])[:, 0], IMAGES[rows])
    assert np.array_equal(found.columns["labels"], TARGETS[rows])


def test_damaged_images_stop_the_run_by_name_or_are_left_out_by_choice(run, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(prepare, "_SHARD_ROWS", 50)
    copy = tmp_path / "copy"
    for path in folder.rglob("*.png"):
        (copy / path.parent.name).mkdir(parents=True, exist_ok=True)
        (copy / path.parent.name / path.name).write_bytes(path.read_bytes())
    damaged = sorted(copy.rglob("*.png"))[5::20]
    for path in damaged:
        path.write_bytes(path.read_bytes()[:-30])
    source = {"kind": "image_folder", "folder": str(copy), "image_size": 8, "channels": 1}
    status, _, err = run(source, "--only", "prepare")
    # The shards hold some each, and all of them are told.
    assert status == 3
    assert f"{len(damaged)} of 240 images cannot be read: one/" in err
    assert "set source.damaged to skip." in err
    listed = next((tmp_path / "store" / "prepare").rglob("unreadable.txt")).read_text()
    names = [f"{path.parent.name}/{path.name}\ttruncated\n" for path in damaged]
    assert listed == "".join(names)
    status, summary, err = run({**source, "damaged": "skip"}, "--only", "prepare")
    assert status == 0, err
    assert f"{len(damaged)} of 240 images are left out, as source.damaged is skip: one/" in err
    found, manifest = made(summary)
    assert manifest["metrics"]["skipped"] == found.provenance["skipped"] == len(damaged)
    assert sum(manifest["metrics"][part] for part in ("train", "validation", "test")) == 240 - len(damaged)
    assert "skipped.txt" in manifest["files"]
    with open(os.path.join(summary["stages"][0]["path"], "skipped.txt"), encoding="utf-8") as file:
        assert file.read() == listed


def test_a_killed_prepare_goes_on_at_the_first_missing_shard(run, folder, monkeypatch):
    from data.sources.image_folder import ImageFolder

    source = {"kind": "image_folder", "folder": str(folder), "image_size": 8, "channels": 1}
    status, summary, _ = run(source, "--only", "prepare")
    whole = made(summary)[0].content_sha256
    monkeypatch.setattr(prepare, "_SHARD_ROWS", 50)
    read, calls = ImageFolder.images, []

    def stop(self, rows):
        calls.append(len(rows))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return read(self, rows)

    monkeypatch.setattr(ImageFolder, "images", stop)
    status, _, _ = run(source, "--only", "prepare", "--force", "prepare")
    assert (status, calls) == (130, [50, 50, 50])
    status, summary, err = run(source, "--only", "prepare", "--force", "prepare")
    assert status == 0, err
    assert calls[3:] == [50, 50, 40]
    assert summary["stages"][0]["state"] == "resumed"
    assert made(summary)[0].content_sha256 == whole


def test_files_that_change_after_planning_are_noticed(run, folder, monkeypatch):
    from data.sources.image_folder import ImageFolder

    identity, calls = ImageFolder.identity, []

    def changes(self):
        calls.append(self)
        return {**identity(self), "sha256": str(len(calls))}

    monkeypatch.setattr(ImageFolder, "identity", changes)
    source = {"kind": "image_folder", "folder": str(folder), "image_size": 8, "channels": 1}
    status, _, err = run(source, "--only", "prepare")
    assert status == 4
    assert "the files of the source have changed since this run was planned; run again." in err


def test_files_that_change_while_they_are_read_are_noticed(run, folder, tmp_path, monkeypatch):
    from data.sources.image_folder import ImageFolder

    copy = tmp_path / "copy"
    for path in folder.rglob("*.png"):
        (copy / path.parent.name).mkdir(parents=True, exist_ok=True)
        (copy / path.parent.name / path.name).write_bytes(path.read_bytes())
    read = ImageFolder.images

    def change(self, rows):
        images = read(self, rows)
        Image.new("L", (8, 8), 77).save(copy / "one" / "0000.png")
        return images

    monkeypatch.setattr(ImageFolder, "images", change)
    source = {"kind": "image_folder", "folder": str(copy), "image_size": 8, "channels": 1}
    status, _, err = run(source, "--only", "prepare")
    assert status == 4
    assert "the files of the source have changed while they were read; run again." in err


def test_images_of_the_test_that_train_are_told(run, tmp_path):
    pixels = np.random.default_rng(3).integers(0, 256, (30, 8, 8), dtype=np.uint8)
    pixels[20], pixels[21], pixels[27], pixels[28] = pixels[0], pixels[1], pixels[2], pixels[29]
    for row, image in enumerate(pixels):
        part = "train" if row < 20 else "val" if row < 25 else "test"
        path = tmp_path / "set" / part / "ab"[row % 2] / f"{row:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    source = {"kind": "image_folder", "folder": str(tmp_path / "set"), "image_size": 8, "channels": 1}
    status, summary, err = run(source, "--only", "prepare", prepare={})
    assert status == 0, err
    found, manifest = made(summary)
    counts = {"validation_seen_in_training": 2, "test_seen_in_training": 1}
    assert manifest["metrics"] == {"train": 20, "validation": 5, "test": 5, **counts}
    assert {name: found.provenance[name] for name in counts} == counts
    assert "2 validation images are training images, too, byte by byte: " in err
    for pair in ("val/a/20.png is train/a/00.png", "val/b/21.png is train/b/01.png", "test/b/27.png is train/a/02.png"):
        assert pair in err


def test_reserved_images_that_are_not_used_are_told(run, folder, tmp_path):
    for number, path in enumerate(sorted(folder.rglob("*.png"))):
        part = ("train", "val", "test")[number % 3]
        copy = tmp_path / "parts" / part / path.parent.name / path.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    source = {"kind": "image_folder", "folder": str(tmp_path / "parts"), "image_size": 8, "channels": 1}
    status, summary, err = run(source, "--only", "prepare")
    assert status == 0, err
    assert "50 of the 80 validation images of the source are not used, as prepare.validation_images is 30" in err
    status, summary, err = run(source, "--only", "prepare", prepare={})
    assert made(summary)[1]["metrics"] == {"train": 80, "validation": 80, "test": 80}
    assert "are not used" not in err


@pytest.mark.parametrize(
    ("source", "status", "sentence"),
    [
        ({"kind": "image_folder", "folder": "none"}, 3, ", where the command was started; check its name"),
        ({"kind": "image_folder", "folder": "a", "classes": [True, "b"]}, 2, "true: YAML reads yes, no, on, off"),
        ({"kind": "image_folder", "folder": "a", "size": 9}, 2, "did you mean 'source.image_size'?"),
        ({"kind": "image_folder"}, 2, "source.folder"),
        ({"kind": "image_folder", "folder": "/nowhere"}, 3, "source.folder must be a folder, got /nowhere"),
        ({"kind": "image_table", "folder": "/nowhere"}, 2, "set source.class_column, or source.values"),
        ({"kind": "arrays", "image_file": "/nowhere.npy"}, 3, "/nowhere.npy"),
        ({"kind": "hdf5", "path": "/nowhere.h5", "class_key": "y"}, 3, "/nowhere.h5"),
        ({"kind": "parquet", "path": "/nowhere", "class_column": "y"}, 3, "source.path"),
    ],
)
def test_mistakes_are_told_in_one_sentence(run, source, status, sentence):
    found, _, err = run(source, "--only", "prepare")
    assert found == status
    assert sentence in err
    assert len(err.strip().splitlines()) == 1
    assert "Traceback" not in err


def test_a_whole_run_on_an_image_folder(tiny, folder, tmp_path):
    source = {"kind": "image_folder", "folder": str(folder), "image_size": 8, "channels": 1}
    config = tiny(source=source, prepare={"validation_images": 30, "test_images": 60}, distill={"seeds": [0]})
    command = [sys.executable, "-m", "flows.cli", "run", config, "--store", tmp_path / "store", "--direct", "--json"]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert {stage["stage"] for stage in summary["stages"]} >= {"prepare", "teacher", "generator", "distill", "report"}
    assert len(summary["results"]) == 4
    assert all(0 <= row["value"] <= 100 for row in summary["results"])
