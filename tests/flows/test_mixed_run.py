"""Whole runs on real and mixed images: every kind of labels, what reaches the student, and what the report says."""

from __future__ import annotations

import json

import numpy as np
import pytest

import flows.short_runs
import students.data_parallel
from data.reading import open_set
from data.recipes.mixes import read_mixes
from data.splitting import TRAIN
from data.store import Store
from flows.cli import main

CHAIRS = {"kind": "chairs", "types": 3, "angle_step": 5.0, "elevation_step": 12.5}
SPLIT = {"validation_images": 8, "test_images": 12}
KINDS = {
    "class": ({"kind": "digits"}, {"labels_per_class": 5, **SPLIT}, ["ce", "kd"]),
    "scalar": ({**CHAIRS, "label": "yaw"}, SPLIT, ["mse", "imitation"]),
    "vector": ({**CHAIRS, "angle_step": 15.0, "label": "yaw+elevation"}, SPLIT, ["mse", "imitation"]),
    "class+scalar": ({**CHAIRS, "label": "model+yaw"}, SPLIT, ["joint", "joint_kd"]),
}


@pytest.fixture
def given(monkeypatch):
    """The data that every student was trained on, beside what the training does."""
    calls = []
    original = students.data_parallel.train_in_processes

    def train(processes, data, *arguments, **options):
        calls.append((data, options))
        return original(processes, data, *arguments, **options)

    monkeypatch.setattr(students.data_parallel, "train_in_processes", train)
    # The short runs of tuning have it by its name since they were imported, perhaps by a test before this one.
    monkeypatch.setattr(flows.short_runs, "train_in_processes", train)
    return calls


def run(capsys, *words):
    capsys.readouterr()
    status = main([str(word) for word in words])
    shown = capsys.readouterr()
    assert status == 0, shown.err
    return shown.out


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_labels_trains_on_mixes(kind, tiny, tmp_path, capsys, given):
    source, prepare, methods = KINDS[kind]
    path = tiny(
        source=source,
        prepare=prepare,
        distill={"data": ["real", "real+mixed"], "methods": [{"name": name} for name in methods], "seeds": [0]},
        recipes={"mixes": {"count": 40}},
        assess={"enabled": False},
    )
    # Sources of chairs have no class of digits.
    changes = [] if kind == "class" else ["--set", "prepare.labels_per_class=null"]
    command = ("run", path, "--store", tmp_path / "store", "--direct", "--json", *changes)
    summary = json.loads(run(capsys, *command))
    assert {row["data"] for row in summary["results"]} == {"real", "real+mixed"}
    store = Store(tmp_path / "store")
    (made,) = store.artifacts("recipes")
    (prepared,) = store.artifacts("prepare")
    real, mixes = open_set(prepared.path("real.h5")), read_mixes(made.path("mixes.h5"))
    rows = np.flatnonzero(real.columns["split"] == TRAIN)
    # Fairness: equal steps, and every answer that the data cost is counted.
    assert {row["steps"] for row in summary["results"]} == {5}
    calls = {(row["method"], row["data"]): row["teacher_calls"] for row in summary["results"]}
    alone, taught = methods
    assert calls == {
        (alone, "real"): 0, (alone, "real+mixed"): 40, (taught, "real"): len(rows),
        (taught, "real+mixed"): len(rows) + 40,
    }  # fmt: skip
    mixed = [data for data, _ in given if data.synthetic is not None]
    assert len(mixed) == 2
    for data in mixed:
        part = data.synthetic
        assert part.images is data.real.images
        assert part.soft_labels
        np.testing.assert_array_equal(rows[part.mixes.first], mixes.first)
        np.testing.assert_array_equal(rows[part.mixes.second], mixes.second)
        np.testing.assert_array_equal(part.teacher_outputs, mixes.teacher_outputs)
    assert {options["image_memory"] for _, options in given} == {"auto"}
    # Only the labels change: the mixes, the answers, and what is real are cached.
    again = json.loads(run(capsys, *command, "--set", "recipes.mixes.labels=mixed"))
    ran = {stage["key"] for stage in again["stages"] if stage["state"] != "cached"}
    unasked = {"recipes / mixes without the teacher"}
    assert ran == {f"small / {name} / real+mixed / seed 0" for name in methods} | {"report"} | unasked
    calls = {(row["method"], row["data"]): row["teacher_calls"] for row in again["results"]}
    assert calls[alone, "real+mixed"] == 0
    assert calls[taught, "real+mixed"] == len(rows) + 40
    assert not given[-1][0].synthetic.soft_labels


@pytest.fixture(scope="module")
def finished(tiny, tmp_path_factory):
    """A run on all three kinds of data: its store, and what ``--json`` printed."""
    store = tmp_path_factory.mktemp("mixed") / "store"
    path = tiny(
        distill={"data": ["real", "real+synthetic", "real+mixed"], "seeds": [0, 1]}, recipes={"mixes": {"count": 30}}
    )
    with pytest.MonkeyPatch.context() as patch:
        printed = []
        patch.setattr("builtins.print", lambda *words, **options: printed.append(words))
        assert main(["run", str(path), "--store", str(store), "--direct", "--json"]) == 0
    return path, store, json.loads(printed[-1][0])


def test_the_report_tells_of_mixed_data(finished, capsys):
    _, store, summary = finished
    (artifact,) = Store(store).artifacts("report")
    report = json.loads(artifact.path("report.json").read_text())
    words = {(row["method"], row["data"]): row["words"] for row in report["summary"]}
    assert words["ce", "real+mixed"] == "real + mixed"
    assert words["kd", "real+mixed"] == "KD on real + mixed"
    effects = {effect["name"] for effect in report["effects"]}
    assert {"mixed data added, with KD", "synthetic data added, with KD"} <= effects
    assert "KD against labels only, both on real + mixed" in effects
    calls = {row["stage"]: row for row in report["calls"]["stages"]}
    assert calls["recipes"] == {"stage": "recipes", "words": "mixed images", "used": 30, "paid": None}
    assert "recipes / mixes" in [stage["name"] for stage in report["stages"]]
    page = artifact.path("report.html").read_text()
    assert "real + mixed" in page
    assert "recipes / mixes" in page
    shown = run(capsys, "report", summary["run"], "--store", store)
    assert "real + mixed" in shown
    assert "KD on real + mixed" in shown


def test_a_second_run_needs_neither_torch_nor_h5py(finished):
    import subprocess
    import sys

    path, store, _ = finished
    code = (
        "import sys; from flows.cli import main; "
        f"status = main(['run', {str(path)!r}, '--store', {str(store)!r}, '--json']); "
        "heavy = {'torch', 'prefect', 'h5py', 'sklearn', 'scipy', 'matplotlib'} & set(sys.modules); "
        "sys.exit(f'{heavy}' if heavy else status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_a_model_card_says_what_the_student_saw(finished, tmp_path, capsys):
    _, store, summary = finished
    student = next(row for row in summary["stages"] if row["key"] == "small / kd / real+mixed / seed 0")
    out = tmp_path / "student.safetensors"
    run(capsys, "export", student["path"], "--format", "safetensors", "--out", out, "--store", store)
    card = out.with_name("student.safetensors.card.md").read_text()
    assert "pairs of the training images, blended or pasted together" in card


def test_comparisons_of_the_stage_reach_the_students(tiny, tmp_path, capsys, given):
    path = tiny(
        distill={"methods": [{"name": "ckd"}], "data": ["real", "real+synthetic"], "seeds": [0]},
        recipes={"groups": {"relation": "same_class", "count": 60, "most_per_row": 8, "seed": 3}},
        synthetic={"quantile": "auto"},
        tuning={"quantiles": [0.5, 0.9], "seeds": [0, 1], "steps": 2},
    )
    run(capsys, "run", path, "--store", tmp_path / "store", "--direct", "--json")
    (prepared,) = Store(tmp_path / "store").artifacts("prepare")
    images = open_set(prepared.path("real.h5"))
    labels = images.take("labels", np.flatnonzero(images.columns["split"] == TRAIN))
    compared = [data for data, options in given if options["method"] == "ckd"]
    both = [data for data in compared if data.synthetic is not None]
    assert len(compared) > len(both) > 1
    for data in compared:
        positive, negative = data.real.groups
        assert len(positive) == 60
        np.testing.assert_array_equal(labels[positive], labels[negative])
        assert np.bincount(np.concatenate([positive, negative], axis=1).reshape(-1)).max() <= 8
    final = both[-1].synthetic
    positive, negative = final.groups
    np.testing.assert_array_equal(final.labels[positive], final.labels[negative])
    (synthetic,) = Store(tmp_path / "store").artifacts("synthetic")
    assert len(final.labels) == synthetic.metrics["taken"]


def test_fewer_comparisons_than_asked_are_told_once(tiny, tmp_path, capsys):
    path = tiny(
        distill={"methods": [{"name": "ckd"}], "data": ["real"], "seeds": [0]},
        recipes={"groups": {"relation": "same_class", "count": 100_000}},
    )
    capsys.readouterr()
    assert main(["run", str(path), "--store", str(tmp_path / "store"), "--direct", "--json"]) == 0
    told = " ".join(capsys.readouterr().err.split())
    # 10 classes of 5 rows: 10 * 5 * 4 ordered pairs.
    assert told.count("only 200 of the 100,000 comparisons of 1 with 1 training rows") == 1
    (made,) = Store(tmp_path / "store").artifacts("recipes")
    assert made.metrics == {"groups": 200, "asked": 100_000}
