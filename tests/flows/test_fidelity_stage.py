"""The fidelity stage on fresh networks: every label space, candidates from a file, few images, and repetition."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from data.compute import Compute
from data.labels import Axis, LabelSpace
from data.store import Artifact
from data.workspace import Workspace
from data.writing import write_set
from filters.features import train_extractor
from flows.config import Config
from flows.stages import fidelity
from students.model import build_model, label_statistics, save_model

SHAPE = (1, 8, 8)
CPU = Compute(torch.device("cpu"))
SPACES = {
    "class": LabelSpace("class", ("a", "b")),
    "scalar": LabelSpace("scalar", name="yaw", unit="degree", minimum=-10, maximum=90),
    "vector": LabelSpace("vector", axes=(Axis("yaw", "degree", -10, 90), Axis("tilt", "degree", 0, 45))),
    "class+scalar": LabelSpace("class+scalar", ("a", "b"), name="yaw", unit="degree", minimum=0, maximum=90),
}


@pytest.fixture(autouse=True)
def sampler(monkeypatch):
    """A generator that makes noise of a row's seed, a little brighter than real."""

    def sample(labels, seeds):
        return np.stack([np.random.default_rng(int(seed)).integers(60, 256, SHAPE, dtype=np.uint8) for seed in seeds])

    monkeypatch.setattr("flows.stages.common.sampler_of", lambda context, compute: SimpleNamespace(sample=sample))


def some_labels(space: LabelSpace, count: int, rng):
    low = [axis.minimum for axis in space.dimensions]
    high = [axis.maximum for axis in space.dimensions]
    values = rng.uniform(low, high, (count, len(low))) if low else None
    return space.join(rng.integers(0, space.classes, count) if space.has_classes else None, values)


def artifact(folder: Path) -> Artifact:
    folder.mkdir(parents=True)
    return Artifact(folder, {"fingerprint": folder.name, "config": {}, "stage": folder.name})


def write_inputs(root: Path, space: LabelSpace, *, validation: int) -> dict[str, Artifact]:
    """A real set and candidates of noise, and fresh networks."""
    rng = np.random.default_rng(0)
    inputs = {name: artifact(root / name) for name in ("real", "features", "teacher", "generator", "candidates")}

    def rows(count: int) -> dict:
        return {
            "images": rng.integers(0, 256, (count, *SHAPE), dtype=np.uint8),
            "labels": some_labels(space, count, rng),
            "source_row": np.arange(count),
        }

    described = {"label_space": space, "provenance": {}, "license": "CC-BY-4.0"}
    split = np.repeat([0, 1, 2], [60, validation, 30]).astype(np.uint8)
    real = rows(len(split))
    write_set(inputs["real"].path("real.h5"), {**real, "split": split}, kind="real", **described)
    made = rows(400)
    columns = {
        "images": made["images"],
        "labels": made["labels"],
        "condition": made["labels"],
        "seed": np.arange(400, dtype=np.uint64),
        "density_ratio": np.ones(400, np.float32),
        "teacher_outputs": np.zeros((400, space.outputs), np.float32),
        "teacher_error": np.zeros(400, np.float32),
    }
    write_set(inputs["candidates"].path("candidates.h5"), columns, kind="candidates", **described)
    torch.manual_seed(0)
    blank = np.ones(1)
    statistics = label_statistics(real["labels"], space)
    model = build_model("convnet", {"channels": 2}, SHAPE, space, blank, blank, *statistics)
    save_model(inputs["teacher"].folder, model)
    train_extractor(
        real["images"][:60],
        real["labels"][:60],
        space,
        width=4,
        steps=1,
        seed=0,
        compute=CPU,
        workspace=Workspace(inputs["features"].folder),
    )
    return inputs


def run(root: Path, inputs: dict[str, Artifact], name: str = "out", **options) -> tuple[dict, dict]:
    config = Config.model_validate({"compute": {"device": "cpu", "precision": "fp32"}, "fidelity": options})
    node = SimpleNamespace(request=SimpleNamespace(seed=0, config={}), stage="fidelity")
    workspace = Workspace(root / name)
    context = SimpleNamespace(config=config, node=node, inputs=inputs, workspace=workspace, seed=3)
    metrics = fidelity.run(context)
    return metrics, json.loads(workspace.path("fidelity.json").read_text())


@pytest.mark.parametrize("kind", SPACES)
def test_all_figures_of_every_label_space(kind, tmp_path):
    space = SPACES[kind]
    inputs = write_inputs(tmp_path, space, validation=50)
    metrics, found = run(tmp_path, inputs, images=120, windows=3)
    assert set(found["compared"]) == {"raw", "accepted"}
    assert [found["compared"][name]["generated"] for name in ("raw", "accepted")] == [120, 120]
    assert found["extractor"] == {"name": "own", "features": "features", "dimensions": 8}
    assert found["real"]["held_out"]["kid"]["value"] is not None
    for name in ("raw", "accepted"):
        for figure in ("joint", "fid", "kid", "precision", "recall", "diversity", "memorisation"):
            assert math.isfinite(metrics[f"{name}_{figure}"]), figure
        assert ("accuracy" in found["compared"][name]) == space.has_classes
        assert [part["axis"] for part in found["compared"][name].get("windows", [])] == [
            axis.name for axis in space.dimensions
        ]
    assert metrics["teacher_calls_to_judge"] == 60 + 50 + 2 * 120
    again, _ = run(tmp_path, inputs, "again", images=120, windows=3)
    assert again == metrics
    written = [(tmp_path / name / "fidelity.json").read_bytes() for name in ("out", "again")]
    assert written[0] == written[1]


def test_candidates_from_a_file_have_no_raw_images(tmp_path):
    inputs = write_inputs(tmp_path, SPACES["class"], validation=50)
    del inputs["generator"]
    metrics, found = run(tmp_path, inputs, images=60)
    assert set(found["compared"]) == {"accepted"}
    assert "raw_fid" not in metrics


@pytest.mark.parametrize("kind", ["class", "scalar"])
def test_few_real_images_are_recorded_not_raised(kind, tmp_path):
    metrics, found = run(tmp_path, write_inputs(tmp_path, SPACES[kind], validation=3), images=50)
    assert metrics["raw_fid"] is None
    assert metrics["raw_kid"] is None
    assert metrics["not_computed"] == len(found["notes"]) > 0
    assert any("3 real" in note and "prepare.validation_images" in note for note in found["notes"])


def test_without_torch_fidelity_the_rest_is_there(tmp_path, monkeypatch):
    inputs = write_inputs(tmp_path, SPACES["class"], validation=50)
    monkeypatch.setattr("generators.fidelity.extraction.find_spec", lambda name: None)
    metrics, found = run(tmp_path, inputs, images=60)
    assert metrics["raw_kid"] is None
    assert "pip install torch-fidelity" in found["notes"][0]
    assert math.isfinite(metrics["raw_accuracy"])
    assert math.isfinite(metrics["raw_memorisation"])
