"""Candidates made elsewhere: the same files as sampled ones, the same bytes after a kill, and a whole run on them."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import flows.importing
from data.compute import Compute
from data.errors import DataError
from data.foreign import foreign_identity
from data.foreign.fake_h5 import write_fake_h5
from data.labels import LabelSpace
from data.reading import open_set, verify_set
from data.sources.digits import Digits
from data.workspace import Workspace
from data.writing import write_set
from filters.teacher_filter import teacher_error
from flows.cli import main
from flows.config import Config
from flows.importing import _examples, import_candidates
from students.evaluation import predict
from students.model import build_model, load_model, save_model

SHAPE = (1, 4, 4)
ROWS = 50
SPACES = {
    "class": LabelSpace("class", names=("a", "b", "c")),
    "scalar": LabelSpace("scalar", name="yaw", unit="degree", minimum=-10, maximum=90),
}


def some_rows(space):
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, ROWS) if space.kind == "class" else rng.uniform(-10, 90, ROWS)
    return rng.integers(0, 256, (ROWS, *SHAPE), dtype=np.uint8), labels.astype(space.dtype)


def write(path, space):
    images, labels = some_rows(space)
    write_fake_h5(path, lambda start, stop: images[start:stop], labels, np.arange(ROWS, dtype=np.uint64) + 7, SHAPE)
    return path


def context_of(folder, space, path, identity=None, **settings):
    """What the stage gets: a real set and a teacher with fresh weights."""
    inputs = {name: folder / name for name in ("real", "teacher")}
    for place in inputs.values():
        place.mkdir(parents=True, exist_ok=True)
    images, labels = some_rows(space)
    columns = {"images": images, "labels": labels, "split": np.zeros(ROWS, np.uint8), "source_row": np.arange(ROWS)}
    write_set(inputs["real"] / "real.h5", columns, kind="real", label_space=space, provenance={}, license="CC-BY-4.0")
    torch.manual_seed(0)
    save_model(inputs["teacher"], build_model("convnet", {"channels": 2}, SHAPE, space, [128.0], [64.0]))
    artifacts = {
        name: SimpleNamespace(folder=place, fingerprint=name * 4, path=lambda file, place=place: place / file)
        for name, place in inputs.items()
    }
    request = {"candidates": {"file": identity or foreign_identity(path)}, "seed": 0}
    config = Config.model_validate({"candidates": {"file": str(path), **settings}, "compute": {"precision": "fp32"}})
    node = SimpleNamespace(request=SimpleNamespace(config=request, seed=0))
    return SimpleNamespace(config=config, node=node, inputs=artifacts, seed=0, workspace=Workspace(folder / "work"))


def files_of(folder):
    return {path.name: path.read_bytes() for path in sorted((folder / "work").iterdir()) if path.is_file()}


@pytest.mark.parametrize("kind", sorted(SPACES))
def test_the_files_are_those_of_sampled_candidates(tmp_path, kind):
    space = SPACES[kind]
    context = context_of(tmp_path / "run", space, write(tmp_path / "x.h5", space))
    metrics = import_candidates(context)
    images, labels = some_rows(space)
    work = tmp_path / "run" / "work"
    candidates, draws, examples = (open_set(work / f"{name}.h5") for name in ("candidates", "draws", "examples"))
    order = np.argsort(np.asarray(candidates.columns["seed"]))
    assert np.array_equal(candidates.take("images", order), images)
    for name in ("labels", "condition"):
        assert np.array_equal(candidates.take(name, order), labels)
    assert np.asarray(candidates.columns["seed"])[order].tolist() == list(range(7, 57))
    assert not np.array_equal(order, np.arange(ROWS))
    assert set(np.asarray(candidates.columns["density_ratio"])) == {1.0}
    compute = Compute(torch.device("cpu"))
    outputs = predict(load_model(tmp_path / "run" / "teacher", compute), images, compute)
    assert np.array_equal(candidates.take("teacher_outputs", order), outputs)
    assert np.array_equal(candidates.take("teacher_error", order), teacher_error(outputs, labels, space))
    assert candidates.provenance["candidates"] == {"file": foreign_identity(tmp_path / "x.h5")}
    assert np.array_equal(draws.columns["condition"], labels)
    assert draws.columns["accepted"].sum() == ROWS
    assert 0 < len(examples) <= ROWS
    statistics = json.loads((work / "sampling.json").read_text())["labels"]
    assert sum(row["drawn"] for row in statistics) == ROWS
    assert [row["label"] for row in statistics] == np.unique(labels).tolist()
    assert metrics == {
        "labels": len(statistics),
        "drawn": ROWS,
        "accepted": ROWS,
        "acceptance": 1.0,
        "not_subsampled": len(statistics),
        "teacher_calls": ROWS,
    }


@pytest.mark.parametrize("killed_in", [0, 1, 4])
def test_a_killed_import_goes_on_and_gives_the_same_bytes(tmp_path, monkeypatch, killed_in):
    space = SPACES["scalar"]
    path = write(tmp_path / "x.h5", space)
    whole = context_of(tmp_path / "whole", space, path)
    import_candidates(whole)
    monkeypatch.setattr(flows.importing, "_ROWS_A_SHARD", 12)
    sharded = context_of(tmp_path / "sharded", space, path)
    import_candidates(sharded)
    calls = []

    def killed(model, images, compute, rows):
        calls.append(len(images))
        if len(calls) == killed_in + 1:
            raise KeyboardInterrupt
        return predict(model, images, compute, rows)

    interrupted = context_of(tmp_path / "interrupted", space, path)
    with monkeypatch.context() as patch:
        patch.setattr("students.teachers.network.predict", killed)
        with pytest.raises(KeyboardInterrupt):
            import_candidates(interrupted)
        import_candidates(interrupted)
    # The shards that were finished are not asked for again.
    assert len(calls) == 5 + 1
    assert files_of(tmp_path / "interrupted") == files_of(tmp_path / "sharded")
    for name in ("candidates", "draws", "examples"):
        file = f"work/{name}.h5"
        assert (
            verify_set(tmp_path / "whole" / file)["content_sha256"]
            == verify_set(tmp_path / "sharded" / file)["content_sha256"]
        )


def test_a_set_that_changes_after_planning_is_refused(tmp_path):
    space = SPACES["class"]
    path = write(tmp_path / "x.h5", space)
    context = context_of(tmp_path / "run", space, path, identity="0" * 64)
    with pytest.raises(DataError, match="has changed since this run was planned"):
        import_candidates(context)
    assert not list((tmp_path / "run" / "work").rglob("candidates-*"))


def test_pictures_of_another_size_are_refused_or_resized_by_choice(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    for name in range(3):
        Image.new("L", (9, 6), 80 * name).save(folder / f"{name}.png")
    (folder / "labels.csv").write_text("file,label\n0.png,a\n1.png,b\n2.png,c\n")
    space = SPACES["class"]
    with pytest.raises(DataError, match=r"must be 4 x 4 pixels, got 9 x 6.*set candidates\.resize to true"):
        import_candidates(context_of(tmp_path / "strict", space, folder))
    import_candidates(context_of(tmp_path / "resized", space, folder, resize=True))
    candidates = open_set(tmp_path / "resized" / "work" / "candidates.h5")
    order = np.argsort(np.asarray(candidates.columns["labels"]))
    assert candidates.take("images", order)[:, 0, 0, 0].tolist() == [0, 80, 160]


def test_examples_are_the_first_rows_of_every_class_or_range():
    labels = np.tile(np.array([2, 0]), 40)
    shown = _examples(labels, SPACES["class"])
    assert np.flatnonzero(shown).tolist() == list(range(24))
    values = np.linspace(-10, 90, 1000).astype(np.float32)
    shown = _examples(values, SPACES["scalar"])
    # 20 ranges of 5 degrees with 12 each.
    assert np.bincount(np.minimum((values[shown] + 10) // 5, 19).astype(int)).tolist() == [12] * 20


@pytest.fixture
def folder_of_digits(tmp_path):
    """Real digits, of no use but to be read, as PNG files with class names in a CSV."""
    folder = tmp_path / "digits"
    folder.mkdir()
    source = Digits()
    labels = source.labels()
    rows = np.concatenate([np.flatnonzero(labels == label)[:12] for label in range(10)])
    for row, image in zip(rows, source.images(rows), strict=True):
        Image.fromarray(image[0]).save(folder / f"{row}.png")
    lines = [f"{row}.png,{labels[row]}" for row in rows]
    (folder / "labels.csv").write_text("\n".join(["file,label", *lines]) + "\n")
    return folder


def run(capsys, *words):
    status = main([str(word) for word in words])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_students_train_on_a_folder_of_images(tiny, capsys, tmp_path, folder_of_digits):
    config, store = tiny(candidates={"file": str(folder_of_digits)}), tmp_path / "store"
    words = ["run", config, "--store", store, "--direct", "--json", "--set", "distill.seeds=[0]"]
    status, out, err = run(capsys, *words)
    assert status == 0, err
    summary = json.loads(out)
    stages = {stage["stage"]: stage for stage in summary["stages"]}
    assert not {"generator", "ratio"} & set(stages)
    assert {(row["data"], row["teacher_calls"]) for row in summary["results"]} >= {("real+synthetic", 120)}
    candidates = open_set(Path(stages["candidates"]["path"]) / "candidates.h5")
    assert len(candidates) == 120
    assert np.bincount(candidates.columns["labels"]).tolist() == [12] * 10
    # A moved folder is the same set, a changed one is not.
    moved = folder_of_digits.rename(tmp_path / "moved")
    words += ["--set", f"candidates.file={moved}"]
    status, out, _ = run(capsys, *words)
    # The report alone names the configuration as written.
    assert {stage["stage"] for stage in json.loads(out)["stages"] if stage["state"] != "cached"} <= {"report"}
    listing = moved / "labels.csv"
    listing.write_text("\n".join(listing.read_text().splitlines()[:-1]) + "\n")
    status, out, _ = run(capsys, *words)
    assert {"candidates", "synthetic"} <= {s["stage"] for s in json.loads(out)["stages"] if s["state"] == "ran"}
    next(moved.glob("*.png")).unlink()
    status, _, err = run(capsys, *words)
    assert status == 3
    assert "cannot be found" in err
    assert len(err.strip().splitlines()) == 1
