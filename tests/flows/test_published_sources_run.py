"""Stage prepare from the command line, on small files in the forms in which the papers' data sets are published."""

from __future__ import annotations

import io
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml
from PIL import Image

from data.reading import open_set, verify_set
from flows.cli import main

RNG = np.random.default_rng(4)


@pytest.fixture
def prepared(tmp_path, capsys):
    """Runs stage prepare of a source; the status, the stage's artifact and what was said."""

    def run(source, **prepare):
        # No methods, as on the page of sources: those that a configuration has unless told are for classes.
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump({"name": "tiny", "source": source, "prepare": prepare}))
        words = ["run", str(path), "--store", str(tmp_path / "store"), "--direct", "--only", "prepare", "--json"]
        status = main(words)
        out, err = capsys.readouterr()
        artifact = Path(json.loads(out)["stages"][0]["path"]) if status == 0 else None
        return status, artifact, err

    return run


def test_rc49_is_split_by_the_files_own_list(tmp_path, prepared):
    angles, types = np.tile(np.arange(1, 21) / 10, 3), np.repeat(np.arange(3), 20)
    images = RNG.integers(0, 256, (60, 3, 64, 64), dtype=np.uint8)
    train = np.flatnonzero(np.round(angles * 10).astype(int) % 2 == 1)
    with h5py.File(tmp_path / "RC-49_64x64.h5", "w") as file:
        for name, values in (("images", images), ("labels", angles), ("types", types), ("indx_train", train)):
            file.create_dataset(name, data=values, compression="gzip", compression_opts=6)
    source = {"kind": "rc49", "path": str(tmp_path / "RC-49_64x64.h5")}
    status, artifact, err = prepared(source, validation_images=6, images_per_label=2)
    assert status == 0, err
    verify_set(artifact / "real.h5")
    real = open_set(artifact / "real.h5")
    assert np.bincount(real.columns["split"]).tolist() == [np.minimum(_rest(real, train, angles), 2).sum(), 6, 30]
    rows = real.columns["source_row"]
    assert set(rows[real.columns["split"] == 2]) == set(range(60)) - set(train)
    assert np.array_equal(real.columns["images"], images[rows])
    assert np.array_equal(real.columns["labels"], angles[rows].astype(np.float32))
    manifest = json.loads((artifact / "manifest.json").read_text())
    assert str(tmp_path) not in json.dumps(manifest["config"])

    # The chair as a class: the same rows, another label.
    status, artifact, err = prepared({**source, "label": "type+yaw"}, validation_images=6)
    assert status == 0, err
    real = open_set(artifact / "real.h5")
    assert real.label_space.names == ("chair 0", "chair 1", "chair 2")
    assert np.array_equal(real.columns["labels"][:, 0], types[real.columns["source_row"]])


def _rest(real, train, angles):
    """How many training rows of each angle are left when the validation rows are taken away."""
    validation = real.columns["source_row"][real.columns["split"] == 1]
    return np.unique(angles[np.setdiff1d(train, validation)], return_counts=True)[1]


def test_more_than_stage_prepare_needs_methods_for_the_labels(tmp_path, capsys):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["images"], file["labels"] = np.zeros((40, 3, 8, 8), np.uint8), np.arange(1, 41) / 10
        file["types"] = np.zeros(40, np.int64)
    path = tmp_path / "config.yaml"
    section = {"source": {"kind": "rc49", "path": str(tmp_path / "x.h5")}, "prepare": {"validation_images": 5}}
    path.write_text(yaml.safe_dump(section | {"distill": {"data": ["real"]}}))
    rest = [str(path), "--store", str(tmp_path / "store")]
    refused = {"run": ["run", *rest, "--direct"], "stages": ["stages", *rest], "distill": ["run", *rest]}
    refused["distill"] += ["--direct", "--only", "distill"]
    for name, words in refused.items():
        assert main(words) == 2, name
        assert "'ce' is for class labels, got the scalar labels" in " ".join(capsys.readouterr().err.split()), name
    assert main(["run", *rest, "--only", "prepare", "--dry-run"]) == 0
    assert "prepare" in capsys.readouterr().out
    assert main(["run", *rest, "--direct", "--only", "prepare"]) == 0
    assert (next((tmp_path / "store" / "prepare").iterdir()) / "real.h5").is_file()


def test_a_folder_of_utkface_is_prepared_with_what_is_left_out_told(tmp_path, prepared):
    faces = tmp_path / "UTKFace"
    faces.mkdir()
    for number in range(30):
        pixels = np.full((200, 200, 3), 8 * number, np.uint8)
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "JPEG")
        (faces / f"{number * 3}_{number % 2}_0_201612191540184{number:02}.jpg.chip.jpg").write_bytes(stream.getvalue())
    (faces / "39_1_20170116174525125.jpg.chip.jpg").write_bytes(stream.getvalue())
    (faces / "9_1_0_20170116174525125.jpg").write_bytes(stream.getvalue()[:300])
    source = {"kind": "utkface", "path": str(faces), "image_size": 32}
    status, _, err = prepared(source, validation_images=3, test_images=4)
    assert status == 3
    assert "1 of 32 images cannot be read: 39_1_20170116174525125.jpg.chip.jpg (must be named" in " ".join(err.split())
    status, artifact, err = prepared({**source, "damaged": "skip"}, validation_images=3, test_images=4)
    assert status == 0, err
    told = " ".join(err.split())
    # 0 years, and 63 .. 87 years.
    assert "10 of 31 faces are left out: their age is not within 1 to 60 years" in told
    real = open_set(artifact / "real.h5")
    assert np.bincount(real.columns["split"]).tolist() == [13, 3, 4]
    assert sorted(real.columns["labels"].tolist()) == list(range(3, 61, 3))
    assert real.columns["images"].shape == (20, 3, 32, 32)
    # Every face has one grey level, a multiple of its age.
    grey = real.columns["images"].reshape(20, -1).astype(float)
    assert np.abs(grey - real.columns["labels"][:, None] * 8 / 3).max() <= 1
    skipped = (artifact / "skipped.txt").read_text().splitlines()
    assert [line.split("\t")[0] for line in skipped] == [
        "39_1_20170116174525125.jpg.chip.jpg",
        "9_1_0_20170116174525125.jpg",
    ]
