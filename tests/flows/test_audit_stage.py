"""The audit stage on fresh networks: every label space, planted copies, few images, and repetition."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from data.compute import Compute
from data.labels import Axis, LabelSpace
from data.reading import open_set
from data.store import Artifact
from data.workspace import Workspace
from data.writing import write_set
from filters.features import train_extractor
from flows.auditing.words import advice, copy_verdicts
from flows.config import Config
from flows.stages import audit
from students.model import build_model, label_statistics, save_model

SHAPE = (1, 8, 8)
SPACES = {
    "class": LabelSpace("class", ("a", "b")),
    "scalar": LabelSpace("scalar", name="yaw", unit="degree", minimum=-10, maximum=90),
    "vector": LabelSpace("vector", axes=(Axis("yaw", "degree", -10, 90), Axis("tilt", "degree", 0, 45))),
    "class+scalar": LabelSpace("class+scalar", ("a", "b"), name="yaw", unit="degree", minimum=0, maximum=90),
}


def some_labels(space: LabelSpace, count: int, rng) -> np.ndarray:
    low = [axis.minimum for axis in space.dimensions]
    high = [axis.maximum for axis in space.dimensions]
    values = rng.uniform(low, high, (count, len(low))) if low else None
    return space.join(np.arange(count) % 2 if space.has_classes else None, values)


def write_inputs(
    root: Path, space: LabelSpace, *, validation: int = 60, test: int = 30, soft: bool = False, change=None
) -> dict[str, Artifact]:
    """A real and a synthetic set of noise, the second brighter, and fresh networks; ``change`` plants what it likes."""
    rng = np.random.default_rng(0)
    inputs = {}
    for name in ("real", "features", "teacher", "synthetic"):
        (root / name).mkdir(parents=True)
        manifest = {"fingerprint": name, "config": {}, "stage": name, "metrics": {"soft_labels": soft}}
        inputs[name] = Artifact(root / name, manifest)

    def rows(count: int, darkest: int) -> dict:
        return {
            "images": rng.integers(darkest, 256, (count, *SHAPE), dtype=np.uint8),
            "labels": some_labels(space, count, rng),
            "source_row": np.arange(count),
        }

    split = np.repeat([0, 1, 2], [50, validation, test]).astype(np.uint8)
    real, made = rows(len(split), 0), rows(300, 120)
    if change is not None:
        change(real["images"], made["images"])
    described = {"label_space": space, "provenance": {}, "license": "CC-BY-4.0"}
    write_set(inputs["real"].path("real.h5"), {**real, "split": split}, kind="real", **described)
    columns = made | {
        "condition": made["labels"],
        "seed": np.arange(300, dtype=np.uint64),
        "density_ratio": np.ones(300, np.float32),
        "teacher_outputs": rng.normal(size=(300, space.outputs)).astype(np.float32),
        "teacher_error": np.zeros(300, np.float32),
    }
    write_set(inputs["synthetic"].path("synthetic.h5"), columns, kind="synthetic", **described)
    torch.manual_seed(0)
    blank = np.ones(1)
    model = build_model(
        "convnet", {"channels": 2}, SHAPE, space, blank, blank, *label_statistics(real["labels"], space)
    )
    save_model(inputs["teacher"].folder, model)
    train_extractor(
        real["images"][:50],
        real["labels"][:50],
        space,
        width=4,
        steps=1,
        seed=0,
        compute=Compute(torch.device("cpu")),
        workspace=Workspace(inputs["features"].folder),
    )
    return inputs


def run(root: Path, inputs: dict[str, Artifact], name: str = "out", **options):
    """Metrics, the file, and the warnings."""
    config = Config.model_validate(
        {
            "compute": {"device": "cpu", "precision": "fp32"},
            "audit": {"images": 100, "listed": 5, **options},
            "distill": {"students": [{"name": "s", "network": "convnet"}], "real_fraction": 0.75},
        }
    )
    workspace, told = Workspace(root / name), []
    context = SimpleNamespace(config=config, inputs=inputs, workspace=workspace, seed=3, warn=told.append)
    metrics = audit.run(context)
    return metrics, json.loads(workspace.path(audit.FILE).read_text()), told


@pytest.mark.parametrize("kind", SPACES)
def test_all_parts_of_every_label_space(kind, tmp_path):
    space = SPACES[kind]
    inputs = write_inputs(tmp_path, space)
    metrics, found, told = run(tmp_path, inputs)
    assert told == []
    assert list(found["copies"]["parts"]) == ["test", "training", "validation"]
    for name, rows in (("training", 50), ("validation", 60), ("test", 30)):
        part = found["copies"]["parts"][name]
        assert (part["rows"], part["exact"], part["compared"]["images"]) == (rows, 0, 100)
        assert part["control"]["images"] == (60 if name == "training" else 50)
        distances = [pair["distance"] for pair in part["pairs"]]
        assert len(distances) == 5
        assert distances == sorted(distances)
        with Image.open(tmp_path / "out" / part["picture"]) as picture:
            assert picture.width > 5 * 48
    # A teacher that has learnt nothing, and labels that have nothing to do with its answers.
    assert found["noise"]["before"] == found["noise"]["after"]
    assert ("other_guess" in found["noise"]["after"]) == space.has_classes
    assert [value["axis"] for value in found["noise"]["validation"]["values"]] == [a.name for a in space.dimensions]
    assert len(found["balance"]["axes"]) == (len(space.dimensions) if kind in ("vector", "class+scalar") else 0)
    assert found["gap"]["value"] > 0.7
    assert found["gap"]["synthetic"] == 60
    assert found["bound"]["effective"] == pytest.approx(1 / (0.75**2 / 50 + 0.25**2 / 300))
    assert found["bound"]["gap"] == pytest.approx(0.25 * found["gap"]["value"])
    assert all(math.isfinite(value) for value in metrics.values() if isinstance(value, float))


def test_two_runs_write_the_same_bytes(tmp_path):
    inputs = write_inputs(tmp_path, SPACES["vector"])
    first, second = (run(tmp_path, inputs, name)[0] for name in ("out", "again"))
    assert first == second
    files = ("audit.json", "copies-training.png", "copies-test.png")
    assert all((tmp_path / "out" / name).read_bytes() == (tmp_path / "again" / name).read_bytes() for name in files)


def test_pairs_name_rows_and_labels(tmp_path):
    inputs = write_inputs(tmp_path, SPACES["class+scalar"])
    _, found, _ = run(tmp_path, inputs)
    real, made = open_set(tmp_path / "real" / "real.h5"), open_set(tmp_path / "synthetic" / "synthetic.h5")
    for name, number in (("training", 0), ("validation", 1), ("test", 2)):
        for pair in found["copies"]["parts"][name]["pairs"]:
            first = made.columns["images"][pair["synthetic_row"]].astype(float)
            second = real.columns["images"][pair["real_row"]]
            assert pair["distance"] == pytest.approx(np.sqrt(((first - second) ** 2).mean()))
            assert real.columns["split"][pair["real_row"]] == number
            label = real.columns["labels"][pair["real_row"]]
            assert pair["real_label"] == f"{'ab'[int(label[0])]}, {label[1]:.1f}".removesuffix(".0") + " degree"


def test_planted_copies_are_told_and_drawn(tmp_path):
    def plant(real, made):
        made[:40] = real[:40]
        made[250] = real[50]
        made[299] = real[139]
        real[55] = real[3]

    metrics, found, told = run(tmp_path, write_inputs(tmp_path, SPACES["class"], change=plant), images=300)
    parts = found["copies"]["parts"]
    assert [parts[name]["exact"] for name in ("training", "validation", "test")] == [40, 2, 1]
    assert parts["training"]["more_than_control"]
    assert (parts["validation"]["repeated"], parts["test"]["repeated"]) == (1, 0)
    assert [(pair["synthetic_row"], pair["real_row"]) for pair in parts["test"]["pairs"][:1]] == [(299, 139)]
    assert metrics["exact_training"] == 40
    assert metrics["near_training"] == pytest.approx(40 / 300)
    assert metrics["repeated_validation"] == 1
    assert len(told) == 4
    assert told[0].startswith("40 synthetic images are exact copies of training images; 40 of 300 compared are near")
    assert told[1].startswith("2 synthetic images are exact copies of validation images")
    assert told[2].startswith("1 synthetic image is an exact copy of a test image; 1 of 300 compared is near")
    assert told[3].startswith("1 of 60 validation images is in the training part too")
    assert all(sentence.count(". ") == 0 for sentence in told)


def test_copies_of_training_images_outside_the_sample_are_counted_and_listed(tmp_path):
    def plant(real, made):
        made[::2] = real[7]

    _, found, _ = run(tmp_path, write_inputs(tmp_path, SPACES["class"], change=plant), images=50)
    training = found["copies"]["parts"]["training"]
    assert training["exact"] == 150
    assert found["copies"]["distinct"] == 151
    assert [pair["kind"] for pair in training["pairs"]] == ["exact"] * 5


def test_few_images_leave_the_gap_out_and_say_so(tmp_path):
    inputs = write_inputs(tmp_path, SPACES["scalar"], validation=12, test=0)
    metrics, found, _ = run(tmp_path, inputs)
    assert metrics["gap"] is None
    assert metrics["term_gap"] is None
    assert "12 and" in found["gap"]["reason"]
    assert "raise prepare.validation_images" in found["advice"]
    assert set(found["copies"]["parts"]) == {"training", "validation"}


def test_soft_labels_do_not_differ_from_the_teacher(tmp_path):
    _, found, _ = run(tmp_path, write_inputs(tmp_path, SPACES["class"], soft=True))
    estimate = found["noise"]["estimate"]
    assert estimate["label_against_teacher"] == 0.0
    assert estimate["teacher"] == found["noise"]["validation"]["doubt"]


def verdict_of(**changes) -> dict:
    part = {
        "rows": 100,
        "exact": 0,
        "compared": {"images": 1000, "near": 10},
        "control": {"images": 60, "near": 0},
        "more_than_control": False,
        "repeated": 0,
    }
    (verdict,) = copy_verdicts({"parts": {"training": part | changes}})
    return verdict


def test_verdicts_in_words():
    assert not verdict_of()["warn"]
    assert verdict_of()["sentence"].endswith("of 60 validation images 0 are: no sign of copying.")
    assert verdict_of(more_than_control=True)["warn"]
    assert "look at the copies" in verdict_of(exact=1)["sentence"]
    assert not verdict_of(exact=1)["warn"]
    alone = verdict_of(control={"images": 0, "near": 0})["sentence"]
    assert alone.endswith("10 of 1\u202f000 compared are near to one: there is nothing to compare that with.")


@pytest.mark.parametrize(
    ("largest", "enough", "against", "word"),
    [
        ("images", True, 0.0, "distill.real_fraction"),
        ("images", False, 0.0, "candidates.per_label"),
        ("gap", True, 0.0, "images limits most: train the generator"),
        ("labels", True, 0.3, "synthetic.quantile"),
        ("labels", True, 0.0, "better teacher"),
    ],
)
def test_advice_names_what_to_work_on(largest, enough, against, word):
    terms = {"images": 0.05, "gap": 0.15, "labels": 0.04}
    bound = SimpleNamespace(largest=largest, enough_synthetic=enough, effective=700.0, reachable=800.0, **terms)
    noise = {"label_against_teacher": against, "teacher": 0.1}
    assert word in advice(bound, noise, {"value": 0.3, "null_high": 0.1, "error": 0.05})
    # Half of the distance counts, and less than two errors lie between it and the next term.
    near = advice(bound, noise, {"value": 0.3, "null_high": 0.1, "error": 0.11})
    assert ("probably limits most" in near) == (largest == "gap")
    assert "cannot be told" in advice(bound, noise, {"value": 0.05, "null_high": 0.1, "error": 0.05})
