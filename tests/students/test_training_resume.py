"""A training that is killed, wherever it is, ends as if it had not been."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from data.compute import Compute
from data.labels import LabelSpace
from data.recipes.mixes import sample_mixes
from data.views import ViewRule
from data.workspace import Workspace
from students.methods import Batch, Sizes, methods
from students.methods.ce import cross_entropy
from students.model import build_model
from students.networks import networks
from students.training import train_student
from students.training_data import Rows, TrainingData

SPACE = LabelSpace("class", ("a", "b", "c"))
STEPS = 14


@dataclass(frozen=True)
class Asking:
    """A method that uses all that a training can give: it mixes, asks teacher and student, and trains a network."""

    needs: ClassVar[frozenset[str]] = frozenset(
        {"labels", "teacher_outputs", "student", "student_features", "live_teacher", "teacher_features"}
    )
    tasks: ClassVar[frozenset[str]] = frozenset({"class"})
    groups: ClassVar[tuple[int, int]] = (2, 1)

    def auxiliary(self, sizes: Sizes) -> nn.Module:
        assert sizes.student is not None
        assert sizes.teacher is not None
        return nn.Sequential(
            nn.Linear(sizes.student.pooled.shape[1], sizes.teacher.pooled.shape[1]),
            nn.BatchNorm1d(sizes.teacher.pooled.shape[1]),
        )

    def __call__(self, batch: Batch, outputs: torch.Tensor, progress: float) -> dict[str, torch.Tensor]:
        assert batch.groups == (2, 1)
        images = batch.seen()
        order = torch.randperm(len(images), generator=batch.randomness())
        mixed = (images + images[order]) / 2
        hint = batch.own_network()(batch.features().pooled) - batch.asked().features(images).pooled
        return {
            "ce": cross_entropy(outputs, batch.labels),
            "cached": (outputs - batch.teacher()).square().mean() * progress,
            "mixed": (batch.ask_student(mixed) - batch.asked()(mixed)).square().mean(),
            "hint": hint.square().mean(),
        }


def dropping(image_shape: tuple[int, int, int], outputs: int) -> nn.Module:
    """A network whose layers draw random numbers themselves."""
    return nn.Sequential(
        nn.Conv2d(image_shape[0], 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.3), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        nn.Linear(16, outputs),
    )  # fmt: skip


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts the method and the network above where their names are looked up, for one test."""
    find, build = methods.get, networks.get
    monkeypatch.setattr(methods, "get", lambda name: Asking if name == "asking" else find(name))
    monkeypatch.setattr(networks, "get", lambda name: dropping if name == "dropping" else build(name))


class Killed(Workspace):
    """A workspace whose loop is killed before one of its steps."""

    stop_at = 0

    def steps(self, name: str, total: int, state: Mapping[str, Any], **options: Any) -> Iterator[int]:
        for step in super().steps(name, total, state, **options):
            if step == self.stop_at:
                raise KeyboardInterrupt
            yield step


def rows(count: int, seed: int) -> Rows:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    images = rng.integers(0, 100, (count, 1, 8, 8)).astype(np.uint8)
    images[labels == 1, :, :, :4] += 90
    return Rows(images, labels, rng.normal(size=(count, 3)).astype(np.float32))


def teacher() -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        return build_model("convnet", {"channels": 6}, (1, 8, 8), SPACE, np.full(1, 90.0), np.full(1, 60.0))


def viewed(part: Rows) -> Rows:
    outputs = np.stack([part.teacher_outputs + shift for shift in (0.0, 1.0, 2.0)]).astype(np.float32)  # type: ignore[operator]
    return replace(part, teacher_outputs=outputs, views=ViewRule(3, shift_pixels=1, flip=True))


CASES: dict[str, Callable[[], dict[str, Any]]] = {
    "plain": dict,
    "average": lambda: {"ema_decay": 0.9, "clip_norm": 0.5, "optimizer": "adamw", "learning_rate": 0.01},
    "augmented": lambda: {
        "shift_pixels": 1,
        "flip": True,
        "cutout_pixels": 3,
        "label_smoothing": 0.1,
        "nesterov": False,
    },
    "step": lambda: {"schedule": "step", "milestones": (0.4, 0.8), "synthetic_weight": 0.3},
    "views": lambda: {"views": True, "method": "kd"},
    "early": lambda: {"patience": 2, "validate_every": 2, "learning_rate": 1e-12, "weight_decay": 0.0, "log_every": 3},
    "dropout": lambda: {"network": "dropping", "options": {}},
    "asking": lambda: {"method": "asking", "teacher": teacher(), "batch_size": 13, "synthetic_weight": 0.5},
    "groups": lambda: {"method": "ckd", "method_options": {"positive": 2}},
    "blocks": lambda: {"order": "blocks"},
    "mapped": lambda: {"order": "blocks", "image_memory": "mapped", "shift_pixels": 2},
    "mixup": lambda: {"mixes": "mixup", "method": "kd", "flip": True},
    "cutmix": lambda: {"mixes": "cutmix", "order": "blocks", "image_memory": "mapped"},
}


def train(folder: Path, name: str, workspace: Workspace | None = None) -> dict[str, float]:
    settings: dict[str, Any] = {
        "network": "convnet", "options": {"channels": 4}, "steps": STEPS, "batch_size": 12, "learning_rate": 0.05,
        "validate_every": 5, "log_every": 4, "seed": 1, "initial_seed": 2, "compute": Compute(torch.device("cpu")),
    }  # fmt: skip
    settings |= CASES[name]()
    real, synthetic = rows(20, 0), rows(30, 1)
    if settings.pop("views", False):
        real = viewed(real)
    if kind := settings.pop("mixes", None):
        synthetic = replace(
            real, teacher_outputs=synthetic.teacher_outputs, mixes=sample_mixes(20, kind, 1.0, 30, 8, 3)
        )
    validation = rows(15, 2)
    return train_student(
        TrainingData(real, synthetic),
        (validation.images, validation.labels),
        SPACE,
        **settings,
        workspace=workspace or Workspace(folder, checkpoint_seconds=0.0),
    )


@pytest.mark.usefixtures("made")
@pytest.mark.parametrize("name", CASES)
def test_killed_is_uninterrupted(name: str, tmp_path: Path) -> None:
    expected = train(tmp_path / "whole", name)
    kept = ("model.safetensors", "model.json", "training.jsonl")
    for stop_at in (1, 6, STEPS - 1):
        folder = tmp_path / f"killed-{stop_at}"
        workspace = Killed(folder, checkpoint_seconds=0.0)
        workspace.stop_at = stop_at
        if stop_at < expected["steps"]:
            with pytest.raises(KeyboardInterrupt):
                train(folder, name, workspace)
            assert not (folder / "model.safetensors").exists()
        # Whatever the global generators have come to in the meantime.
        torch.rand(stop_at)
        assert train(folder, name) == expected
        for file in kept:
            assert (folder / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
        shutil.rmtree(folder)


@pytest.mark.usefixtures("made")
def test_every_case_changes_what_comes_out(tmp_path: Path) -> None:
    found = []
    for name in CASES:
        train(tmp_path / name, name)
        found.append((tmp_path / name / "model.safetensors").read_bytes())
    assert len(set(found)) == len(CASES) >= 9


@pytest.mark.usefixtures("made")
def test_early_stopping_says_so_and_is_kept(tmp_path: Path) -> None:
    metrics = train(tmp_path, "early")
    # Nothing gets better, so that the first validation is followed by two others.
    assert (metrics["steps"], metrics["stopped_early"], metrics["selected_step"]) == (6.0, 1.0, 6.0)
    assert train(tmp_path, "early") == metrics
    whole = train(tmp_path / "plain", "plain")
    assert (whole["steps"], whole["stopped_early"]) == (STEPS, 0.0)
