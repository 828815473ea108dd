"""A loss that is not finite stops the training and names its step and rows, whenever it comes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from data.batches import Batches
from data.compute import Compute
from data.errors import StageError
from data.labels import LabelSpace
from data.random import derive_seed
from data.workspace import Workspace
from students.methods import Batch, methods
from students.methods.ce import cross_entropy
from students.training import train_student
from students.training_data import Rows, TrainingData

SPACE = LabelSpace("class", ("a", "b"))
STEPS = 60


@dataclass(frozen=True)
class Bursting:
    """Cross entropy whose second part becomes infinite at one step and is finite again at the next."""

    needs: ClassVar[frozenset[str]] = frozenset({"labels"})
    tasks: ClassVar[frozenset[str]] = frozenset({"class"})

    at_step: int = 0

    def __call__(self, batch: Batch, outputs: torch.Tensor, progress: float) -> dict[str, torch.Tensor]:
        now = round(progress * STEPS) == self.at_step
        return {"ce": cross_entropy(outputs, batch.labels), "other": outputs.mean() * 0 + (torch.inf if now else 1.0)}


def train(folder: Path, **changes: Any) -> None:
    rng = np.random.default_rng(0)

    def rows(count: int) -> Rows:
        return Rows(rng.integers(0, 256, (count, 1, 8, 8)).astype(np.uint8), rng.integers(0, 2, count))

    held = rows(6)
    settings: dict[str, Any] = {"checkpoint_seconds": 20.0, "validate_every": 100, "log_every": 100, **changes}
    train_student(
        TrainingData(rows(10), rows(20)),
        (held.images, held.labels),
        SPACE,
        network="convnet",
        options={"channels": 2, "blocks": 1},
        method="bursting",
        method_options={"at_step": settings.pop("at_step")},
        steps=STEPS,
        batch_size=8,
        learning_rate=0.02,
        schedule="constant",
        seed=5,
        initial_seed=0,
        compute=Compute(torch.device("cpu")),
        workspace=Workspace(folder, checkpoint_seconds=settings.pop("checkpoint_seconds")),
        **settings,
    )


@pytest.mark.parametrize(
    ("at_step", "changes"),
    [
        (0, {}),
        (7, {}),
        (STEPS - 1, {}),
        (33, {"log_every": 10}),
        (33, {"validate_every": 10}),
        (33, {"checkpoint_seconds": 0.0}),
    ],
)
def test_the_first_bad_step_is_named_with_its_rows(
    at_step: int, changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = methods.get
    monkeypatch.setattr(methods, "get", lambda name: Bursting if name == "bursting" else find(name))
    with pytest.raises(StageError, match=f"training: other became non-finite at step {at_step} ") as stopped:
        train(tmp_path, at_step=at_step, **changes)
    assert stopped.value.exit_code == 4
    found = json.loads((tmp_path / "nonfinite.json").read_text())
    assert found["step"] == at_step
    assert found["learning_rate"] == 0.02
    assert found["numbers"]["other"] == "inf"
    assert np.isfinite(float(found["numbers"]["ce"]))
    real, synthetic = (Batches(count, 4, derive_seed(5, name)) for name, count in (("real", 10), ("synthetic", 20)))
    assert found["rows"] == {"real": real.at(at_step).tolist(), "synthetic": synthetic.at(at_step).tolist()}
    # A resume begins before the bad step, never behind it.
    with pytest.raises(StageError, match=f"at step {at_step} "):
        train(tmp_path, at_step=at_step, **changes)


@dataclass(frozen=True)
class Overflowing:
    """Cross entropy whose value is always finite, and whose gradient is infinite at one step."""

    needs: ClassVar[frozenset[str]] = frozenset({"labels"})
    tasks: ClassVar[frozenset[str]] = frozenset({"class"})

    at_step: int = 0

    def __call__(self, batch: Batch, outputs: torch.Tensor, progress: float) -> dict[str, torch.Tensor]:
        if round(progress * STEPS) == self.at_step:
            outputs.register_hook(lambda gradient: gradient * torch.inf)
        return {"ce": cross_entropy(outputs, batch.labels)}


@pytest.mark.parametrize(("at_step", "changes"), [(STEPS - 1, {}), (STEPS - 1, {"select": "last"}), (49, {})])
def test_weights_that_overflow_behind_the_last_loss_are_not_kept(
    at_step: int, changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = methods.get
    monkeypatch.setattr(methods, "get", lambda name: Overflowing if name == "bursting" else find(name))
    with pytest.raises(StageError, match=f"must be finite, got others after {at_step + 1} steps"):
        train(tmp_path, at_step=at_step, validate_every=50, **changes)
    assert not (tmp_path / "model.safetensors").exists()
