"""One battery over every registered method: gradients, precision, edge batches, training and resume."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from data.compute import Compute
from data.labels import Axis, LabelSpace
from data.workspace import Workspace
from students.methods import Batch, Method, make_method, methods
from students.training import train_student
from students.training_data import Rows, TrainingData

COMPUTE = Compute(torch.device("cpu"))

#: Options other than the defaults, so that every weight is exercised. A new method adds one line.
SETTINGS: dict[str, dict[str, Any]] = {
    "ce": {},
    "kd": {"alpha": 0.5, "temperature": 3.0},
    "mse": {},
    "imitation": {"label_weight": 0.4},
    "joint": {"scalar_weight": 1.5},
    "joint_kd": {"alpha": 0.5, "temperature": 3.0, "label_weight": 0.4, "scalar_weight": 1.5},
}
SPACES = {
    "class": LabelSpace("class", ("a", "b", "c")),
    "scalar": LabelSpace("scalar", maximum=90.0),
    "vector": LabelSpace("vector", axes=(Axis("yaw", "degree", 0.0, 90.0), Axis("tilt", "radian", -1.0, 1.0))),
    "class+scalar": LabelSpace("class+scalar", ("a", "b", "c"), maximum=90.0),
}
CASES = [(name, task) for name in SETTINGS for task in sorted(make_method(name).tasks)]


def test_the_table_covers_the_registry() -> None:
    assert methods.names() == sorted(SETTINGS)
    assert len(CASES) == 8


def example(task: str, rows: int, dtype: torch.dtype = torch.float64) -> tuple[Batch, Tensor]:
    rng = torch.Generator().manual_seed(rows)
    width = {"class": 4, "scalar": 1, "vector": 3, "class+scalar": 5}[task]
    outputs = 2 * torch.randn(rows, width, generator=rng, dtype=torch.float64)
    teacher = 2 * torch.randn(rows, width, generator=rng, dtype=torch.float64)
    shape = (rows,) if task == "scalar" else (rows, {"class": 0, "vector": 3, "class+scalar": 1}[task])
    continuous = torch.randn(*shape, generator=rng, dtype=torch.float64).to(dtype)
    labels = torch.arange(rows) % 3 if task.startswith("class") else continuous
    values = continuous if task == "class+scalar" else None
    return Batch(labels, teacher.to(dtype), values), outputs.to(dtype)


def changed(batch: Batch, change: Callable[[Tensor], Tensor]) -> Batch:
    """The batch with a function applied to each of its tensors."""
    values = None if batch.values is None else change(batch.values)
    return Batch(change(batch.labels), change(batch.teacher()), values)


def total(method: Method, batch: Batch, outputs: Tensor) -> Tensor:
    return torch.stack(list(method(batch, outputs, 0.5).values())).sum()


@pytest.mark.parametrize(("name", "task"), CASES)
def test_card(name: str, task: str) -> None:
    method = make_method(name, SETTINGS[name])
    assert method.needs <= {"labels", "teacher_outputs"}
    assert method.needs
    assert task in SPACES
    assert make_method(name, SETTINGS[name]) == method
    assert "Tasks:" in (type(method).__doc__ or "")


@pytest.mark.parametrize(("name", "task"), CASES)
def test_gradients_agree_with_finite_differences(name: str, task: str) -> None:
    method = make_method(name, SETTINGS[name])
    batch, outputs = example(task, 5)
    assert torch.autograd.gradcheck(lambda x: total(method, batch, x), outputs.requires_grad_(True))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("name", "task"), CASES)
def test_half_precision_stays_finite_and_close(name: str, task: str, dtype: torch.dtype) -> None:
    method = make_method(name, SETTINGS[name])
    batch, outputs = example(task, 6, dtype)
    wide_batch = changed(batch, lambda tensor: tensor.double() if tensor.is_floating_point() else tensor)
    half = total(method, batch, outputs)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half.double(), total(method, wide_batch, outputs.double()), rtol=2e-2, atol=1e-3)
    extreme = total(method, batch, (outputs * 1000).clamp(-30000, 30000))
    assert torch.isfinite(extreme)


@pytest.mark.parametrize(("name", "task"), CASES)
def test_no_gradient_reaches_the_teacher(name: str, task: str) -> None:
    batch, outputs = example(task, 4)
    teacher = batch.teacher().requires_grad_(True)
    outputs.requires_grad_(True)
    known = Batch(batch.labels, teacher, batch.values)
    torch.autograd.backward(total(make_method(name, SETTINGS[name]), known, outputs))
    assert teacher.grad is None
    assert outputs.grad is not None
    assert outputs.grad.abs().sum() > 0


@pytest.mark.parametrize(("name", "task"), CASES)
def test_a_batch_is_the_mean_of_its_rows(name: str, task: str) -> None:
    method = make_method(name, SETTINGS[name])
    batch, outputs = example(task, 5)
    rows = [total(method, changed(batch, lambda tensor, i=i: tensor[i : i + 1]), outputs[i : i + 1]) for i in range(5)]
    torch.testing.assert_close(total(method, batch, outputs), torch.stack(rows).mean())


@pytest.mark.parametrize(("name", "task"), [case for case in CASES if case[1].startswith("class")])
def test_one_hot_probabilities_are_labels(name: str, task: str) -> None:
    method = make_method(name, SETTINGS[name])
    batch, outputs = example(task, 5)
    soft = Batch(torch.nn.functional.one_hot(batch.labels, 4).double(), batch.teacher(), batch.values)
    torch.testing.assert_close(total(method, soft, outputs), total(method, batch, outputs))


class Interrupting(Workspace):
    """A workspace whose loop is killed before one of its steps."""

    stop_at = 5

    def steps(self, name: str, total: int, state: Mapping[str, Any], *, log_every: int = 50) -> Iterator[int]:
        for step in super().steps(name, total, state, log_every=log_every):
            if step == self.stop_at:
                raise KeyboardInterrupt
            yield step


@pytest.mark.parametrize(("name", "task"), CASES)
def test_a_resumed_training_is_the_uninterrupted_one(name: str, task: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    space = SPACES[task]

    def rows(count: int) -> Rows:
        number = np.arange(count) % 3
        values = np.repeat(number[:, None] * 30.0, len(space.dimensions), axis=1) if space.dimensions else None
        labels = space.join(number if space.has_classes else None, values)
        images = rng.integers(0, 200, (count, 1, 8, 8)).astype(np.uint8)
        return Rows(images, labels, rng.normal(size=(count, space.outputs)).astype(np.float32))

    data = TrainingData(rows(20), rows(30))
    validation = (data.real.images, data.real.labels)

    def train(workspace: Workspace) -> dict[str, float]:
        return train_student(
            data, validation, space, network="convnet", options={"channels": 4}, method=name,
            method_options=SETTINGS[name], steps=9, batch_size=6, learning_rate=0.01, shift_pixels=1, flip=True,
            validate_every=2, log_every=2, seed=3, initial_seed=4, compute=COMPUTE, workspace=workspace,
        )  # fmt: skip

    straight = train(Workspace(tmp_path / "straight"))
    with pytest.raises(KeyboardInterrupt):
        train(Interrupting(tmp_path / "resumed", checkpoint_seconds=0.0))
    assert not (tmp_path / "resumed" / "model.json").exists()
    assert train(Workspace(tmp_path / "resumed")) == straight
    for file in ("model.safetensors", "model.json", "training.jsonl"):
        assert (tmp_path / "resumed" / file).read_bytes() == (tmp_path / "straight" / file).read_bytes(), file
