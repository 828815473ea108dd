"""Every family, for every kind of label and every head that it serves: it trains, resumes, samples and leaves."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from data.compute import Compute
from data.errors import ConfigError
from data.labels import Axis, LabelSpace
from data.random import row_seeds
from data.workspace import Workspace, read_log
from generators.continuous import train_continuous_gan
from generators.export import export_generator, open_exported
from generators.networks import networks
from generators.sampling import load_generator
from generators.training import train_class_gan

SPACES = {
    "class": LabelSpace("class", names=("a", "b", "c")),
    "scalar": LabelSpace("scalar", name="yaw", unit="degree", minimum=-10, maximum=90),
    "vector": LabelSpace("vector", axes=(Axis("yaw", "degree", 0, 90), Axis("tilt", "degree", -20, 20))),
    "class+scalar": LabelSpace("class+scalar", names=("x", "y"), name="yaw", maximum=90),
}
#: Small values of options by name; a family takes those that it has.
SMALL = {"width": 4, "latent_size": 8, "embedding_size": 32, "shared_size": 4, "depth": 1, "discriminator_width": 2}
CPU = Compute(torch.device("cpu"))
ROWS = 24
STEPS = 4

Case = tuple[str, str, dict[str, Any]]


def cases() -> list[Case]:
    rows: list[Case] = []
    for name in networks.names():
        for kind in sorted(networks.get(name).label_kinds):
            if kind == "class":
                rows += [(name, kind, {"conditioning": each}) for each in ("projection", "acgan", "reacgan")]
            else:
                avar = {"vicinity": "hybrid", "vicinity_images": 5}
                heads = {"label_regression_weight": 1.0, "density_ratio_weight": 0.5}
                rows += [(name, kind, {"vicinity": "soft"}), (name, kind, {**avar, **heads})]
    return rows


CASES = cases()


def labels(kind: str) -> npt.NDArray[Any]:
    rng = np.random.default_rng(0)
    if kind == "class":
        return np.arange(ROWS, dtype=np.int64) % 3
    space = SPACES[kind]
    values = rng.random((ROWS, *space.label_shape))
    if kind == "class+scalar":
        values[:, 0] = np.arange(ROWS) % 2
    return np.asarray(space.restore(values), np.float32)


IMAGES = np.random.default_rng(1).integers(0, 256, (ROWS, 1, 8, 8), dtype=np.uint8)


def train(folder: Path, case: Case, *, stop: int | None = None, **settings: Any) -> dict[str, Any]:
    name, kind, extra = case
    fields = {field.name for field in dataclasses.fields(networks.get(name))}

    def judge(step: int, sample: Any) -> dict[str, float]:
        images = sample(labels(kind)[:3], row_seeds(0, np.arange(3)))
        assert images.shape == (3, 1, 8, 8)
        return {"distance": abs(step - 2) + float(images.mean()) * 1e-6, "diversity": 0.1 if step == 3 else 1.0}

    workspace = Workspace(folder) if stop is None else StoppingWorkspace(folder, stop)
    embedding = {"embedding_width": 4, "embedding_image_steps": 2, "embedding_label_steps": 2}
    return (train_class_gan if kind == "class" else train_continuous_gan)(
        IMAGES,
        labels(kind),
        SPACES[kind],
        network=name,
        network_options={key: value for key, value in SMALL.items() if key in fields},
        judge=judge,
        snapshots=STEPS,
        seed=3,
        compute=CPU,
        workspace=workspace,
        **{
            "steps": STEPS,
            "batch_size": 6,
            "discriminator_steps": 2,
            "r1_weight": 0.1,
            "r1_every": 3,
            "consistency_weight": 1.0,
            "augment": ("translation", "cutout"),
            **({} if kind == "class" else embedding),
            **extra,
            **settings,
        },
    )


class StoppingWorkspace(Workspace):
    """A workspace whose training dies after a step, with a checkpoint of the step before."""

    def __init__(self, folder: Path, stop: int) -> None:
        super().__init__(folder, checkpoint_seconds=0.0)
        self.stop = stop

    def report(self, task: str, done: int, total: int) -> None:
        if task == "generator" and done == self.stop:
            raise KeyboardInterrupt


def test_the_sweep_sees_every_family_and_every_kind_of_label() -> None:
    assert len(networks.names()) >= 7
    assert {name for name, _, _ in CASES} == set(networks.names())
    assert {kind for _, kind, _ in CASES} == set(SPACES)
    for name in networks.names():
        if name.startswith("ccgan_"):
            assert networks.get(name).label_kinds == {"scalar", "vector", "class+scalar"}


@pytest.mark.parametrize("case", CASES, ids=[f"{name}-{kind}-{next(iter(e.values()))}" for name, kind, e in CASES])
def test_it_trains_resumes_samples_and_leaves(tmp_path: Path, case: Case) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    numbers = train(whole, case)
    assert all(math.isfinite(value) for value in numbers.values() if isinstance(value, float))
    assert (numbers["steps_done"], numbers["stopped_by"], numbers["chosen_step"]) == (STEPS, "steps", 2)
    assert all(math.isfinite(value) for row in read_log(whole / "generator.jsonl") for value in row.values())
    findings = json.loads((whole / "warnings.json").read_text(encoding="utf-8"))
    assert [finding["kind"] for finding in findings] == ["modes_collapse"]

    with pytest.raises(KeyboardInterrupt):
        train(cut, case, stop=3)
    assert train(cut, case) == numbers
    for path in sorted(whole.iterdir()):
        if path.is_file():
            assert (cut / path.name).read_bytes() == path.read_bytes(), path.name

    name, kind, _ = case
    sampler = load_generator(whole, CPU)
    wanted, seeds = np.resize(labels(kind), (9, *SPACES[kind].label_shape)), row_seeds(1, np.arange(9))
    images = sampler.sample(wanted, seeds)
    assert images.shape == (9, 1, 8, 8)
    assert images.dtype == np.uint8
    order = np.array([4, 0, 8])
    np.testing.assert_array_equal(sampler.sample(wanted[order], seeds[order]), images[order])
    assert len(np.unique(images.reshape(9, -1), axis=0)) == 9

    export_generator(whole, tmp_path / "exported.safetensors", "safetensors")
    card, network = open_exported(tmp_path / "exported.safetensors")
    assert (card.network, card.training["chosen_step"]) == (name, 2)
    latents = torch.from_numpy(sampler.latents(seeds))
    made = network(latents, torch.from_numpy(card.label_space.conditions(wanted)))
    rounded = ((made + 1) * 127.5).round().clamp(0, 255).numpy()
    assert np.abs(rounded - images).max() <= 1


@pytest.mark.parametrize(("name", "kind"), [("sngan", "scalar"), ("ccgan_sngan", "class")])
def test_a_family_of_other_labels_is_refused_with_those_that_fit(tmp_path: Path, name: str, kind: str) -> None:
    fitting = " or ".join(other for other in networks.names() if kind in networks.get(other).label_kinds)
    with pytest.raises(ConfigError, match=f"network must serve {kind} labels, got '{name}', .* try {fitting}"):
        train(tmp_path, (name, kind, {}))


def test_a_head_that_does_not_fit_the_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="conditioning must be"):
        train(tmp_path, ("sngan", "class", {"conditioning": "contrastive"}))
