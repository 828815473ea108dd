"""Training: it learns, selects, starts equally whatever the method, and refuses what cannot work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from data.compute import Compute
from data.errors import ConfigError, DataError, StageError
from data.labels import Axis, LabelSpace
from data.workspace import Workspace, read_log
from students.evaluation import predict, score
from students.model import build_model, load_model
from students.training import train_student
from students.training_data import Rows, TrainingData

COMPUTE = Compute(torch.device("cpu"))
CLASSES = LabelSpace("class", ("left", "right", "absent"))
SCALAR = LabelSpace("scalar", unit="degree", maximum=90.0)


def bars(count: int, seed: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Noisy images that are brighter on the left (0) or the right (1); class 2 never occurs."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    images = rng.integers(0, 120, (count, 1, 8, 8)).astype(np.uint8)
    for side in (0, 1):
        images[labels == side, :, :, 4 * side : 4 * side + 4] += 100
    return images, labels


def train(folder: Path, data: TrainingData | None = None, space: LabelSpace = CLASSES, **changes: Any) -> Any:
    images, labels = bars(64, 0)
    validation = bars(40, 1)
    settings: dict[str, Any] = {
        "network": "convnet", "options": {"channels": 8, "blocks": 2}, "steps": 30, "batch_size": 16,
        "learning_rate": 0.05, "validate_every": 10, "log_every": 10, "seed": 1, "initial_seed": 2,
        "compute": COMPUTE, "workspace": Workspace(folder), "validation": validation,
    }  # fmt: skip
    settings.update(changes)
    return train_student(data or TrainingData(Rows(images, labels)), settings.pop("validation"), space, **settings)


def angles(count: int, seed: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    labels = rng.uniform(0, 90, count).astype(np.float32)
    return np.broadcast_to(labels[:, None, None, None] * 2, (count, 1, 8, 8)).astype(np.uint8), labels


def test_it_learns_classes_and_reports_what_the_files_hold(tmp_path: Path) -> None:
    metrics = train(tmp_path, warmup_steps=3)
    images, labels = bars(40, 1)
    outputs = predict(load_model(tmp_path, COMPUTE), images, COMPUTE, batch_size=40)
    assert metrics["validation"] == score(outputs, labels, CLASSES)[1]
    assert metrics["validation"] > 90.0
    assert metrics["steps"] == 30.0
    assert metrics["parameters"] == 72 + 16 + 576 + 16 + 27
    log = read_log(tmp_path / "training.jsonl")
    assert [row["step"] for row in log if "validation" in row] == [9, 19, 29]
    assert [row["step"] for row in log if "loss" in row] == [0, 10, 20, 29]
    assert log[0]["ce"] == log[0]["loss"]
    best = max(row["validation"] for row in log if "validation" in row)
    assert metrics["validation"] == best


def test_it_learns_scalars_in_their_own_unit(tmp_path: Path) -> None:
    images, labels = angles(80, 0)
    metrics = train(
        tmp_path, TrainingData(Rows(images, labels)), SCALAR, method="mse", steps=80, validation=angles(40, 1)
    )
    outputs = predict(load_model(tmp_path, COMPUTE), angles(40, 2)[0], COMPUTE)
    assert metrics["validation"] < 6.0
    assert np.abs(outputs[:, 0] - angles(40, 2)[1]).mean() < 6.0


def poses(count: int, seed: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """The left half is as bright as the first label says, the right half as the second."""
    rng = np.random.default_rng(seed)
    labels = np.stack([rng.uniform(0, 90, count), rng.uniform(-1, 1, count)], axis=1).astype(np.float32)
    images = np.empty((count, 1, 8, 8), np.uint8)
    images[..., :4] = (labels[:, 0] * 2.5)[:, None, None, None]
    images[..., 4:] = (labels[:, 1] * 100 + 125)[:, None, None, None]
    return images, labels


def test_it_learns_vectors_in_the_units_of_their_axes(tmp_path: Path) -> None:
    space = LabelSpace("vector", axes=(Axis("yaw", "degree", 0.0, 90.0), Axis("tilt", "radian", -1.0, 1.0)))
    images, labels = poses(80, 0)
    validation = poses(40, 1)
    metrics = train(tmp_path, TrainingData(Rows(images, labels)), space, method="mse", steps=120, validation=validation)
    model = load_model(tmp_path, COMPUTE)
    assert model.label_mean.shape == model.label_std.shape == (2,)
    np.testing.assert_allclose(model.label_mean, labels.mean(axis=0), rtol=1e-5)
    outputs = predict(model, validation[0], COMPUTE, batch_size=40)
    wrong = np.abs(outputs - validation[1]).mean(axis=0)
    assert metrics["validation"] == pytest.approx(100 * (wrong[0] / 90 + wrong[1] / 2) / 2, rel=1e-5)
    assert wrong[0] < 9
    assert wrong[1] < 0.2


def test_it_learns_a_class_with_a_scalar(tmp_path: Path) -> None:
    space = LabelSpace("class+scalar", ("left", "right", "absent"), unit="degree", maximum=90.0)

    def rows(count: int, seed: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
        rng = np.random.default_rng(seed)
        classes, values = rng.integers(0, 2, count), rng.uniform(0, 90, count)
        images = np.zeros((count, 1, 8, 8), np.uint8)
        for side in (0, 1):
            images[classes == side, :, :, 4 * side : 4 * side + 4] = (60 + values[classes == side] * 2)[
                :, None, None, None
            ]
        return images, space.join(classes, values[:, None])

    images, labels = rows(100, 0)
    validation = rows(50, 1)
    metrics = train(
        tmp_path, TrainingData(Rows(images, labels)), space, method="joint", steps=120, validation=validation
    )
    model = load_model(tmp_path, COMPUTE)
    assert model.label_mean.tolist() == [0.0, 0.0, 0.0, pytest.approx(labels[:, 1].mean(), rel=1e-5)]
    assert model.label_std.tolist()[:3] == [1.0, 1.0, 1.0]
    outputs = predict(model, validation[0], COMPUTE, batch_size=50)
    accuracy = 100 * np.mean(outputs[:, :3].argmax(axis=1) == validation[1][:, 0])
    error = np.abs(outputs[:, 3] - validation[1][:, 1]).mean()
    assert metrics["validation_accuracy"] == pytest.approx(accuracy)
    assert metrics["validation_mae"] == pytest.approx(error, rel=1e-5)
    assert metrics["validation"] == pytest.approx(100 - accuracy + 100 * error / 90, rel=1e-5)
    assert accuracy > 90
    assert error < 9


def test_synthetic_rows_and_a_teacher_reach_the_loss(tmp_path: Path) -> None:
    images, labels = bars(64, 0)
    teacher = np.eye(3, dtype=np.float32)[labels] * 5
    synthetic = bars(200, 5)
    wrong = Rows(synthetic[0], 1 - synthetic[1], np.eye(3, dtype=np.float32)[synthetic[1]] * 5, soft_labels=True)
    metrics = train(tmp_path / "soft", TrainingData(Rows(images, labels, teacher), wrong))
    assert metrics["validation"] > 90.0
    misled = TrainingData(Rows(images, labels), Rows(synthetic[0], 1 - synthetic[1]))
    assert train(tmp_path / "hard", misled, real_fraction=0.1)["validation"] < 60.0
    kd = train(tmp_path / "kd", TrainingData(Rows(images, labels, teacher)), method="kd")
    assert kd["validation"] > 90.0
    assert set(read_log(tmp_path / "kd" / "training.jsonl")[0]) == {"step", "loss", "ce", "kd", "learning_rate"}


def test_initial_weights_depend_on_the_initial_seed_alone(tmp_path: Path) -> None:
    images, labels = bars(64, 0)
    teacher = np.eye(3, dtype=np.float32)[labels]
    data = TrainingData(Rows(images, labels, teacher), Rows(*bars(30, 9), np.zeros((30, 3), np.float32)))

    def first(name: str, **changes: Any) -> torch.Tensor:
        torch.rand(len(name))  # the global generator must not matter
        train(tmp_path / name, steps=1, learning_rate=1e-30, weight_decay=0.0, **changes)
        return load_model(tmp_path / name, COMPUTE).get_parameter("network.0.weight")

    weight = first("a")
    assert torch.equal(weight, first("bb", seed=77, data=data, method="kd"))
    assert torch.equal(weight, first("ccc", optimizer="adamw", batch_size=3))
    assert not torch.equal(weight, first("dddd", initial_seed=3))


def test_the_last_weights_can_be_kept(tmp_path: Path) -> None:
    metrics = train(tmp_path, select="last", steps=25)
    assert metrics["selected_step"] == 25.0
    log = [row["validation"] for row in read_log(tmp_path / "training.jsonl") if "validation" in row]
    assert metrics["validation"] == log[-1]


def test_a_finished_training_is_not_done_again(tmp_path: Path) -> None:
    metrics = train(tmp_path)
    weights = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").unlink()
    assert train(tmp_path) == metrics
    assert (tmp_path / "model.safetensors").read_bytes() == weights


def test_bfloat16_trains(tmp_path: Path) -> None:
    compute = Compute(torch.device("cpu"), torch.bfloat16, channels_last=True)
    assert train(tmp_path, compute=compute)["validation"] > 90.0


def test_a_batch_of_one_trains(tmp_path: Path) -> None:
    assert np.isfinite(train(tmp_path, batch_size=1, steps=5, momentum=0.0)["validation"])


def test_a_loss_that_explodes_stops_the_stage(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="non-finite"):
        train(tmp_path, learning_rate=1e30, log_every=1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"method": "mse"},
            r"method 'mse' must be one for class labels, got one for scalar and vector labels; try .*\bkd\b",
        ),
        ({"steps": 0}, "warmup_steps"),
        ({"warmup_steps": 30}, "warmup_steps"),
        ({"validate_every": 0}, "validate_every"),
        ({"optimizer": "adam"}, "optimizer must be 'sgd' or 'adamw', got 'adam'"),
    ],
)
def test_options_that_do_not_fit_are_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        train(tmp_path, **changes)


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("lskd", {}, "'lskd' must have at least 3 classes, got 2"),
        ("augmented_kd", {"augment": "autoaugment"}, "must have images of 1 or 3 channels, got 2; try augment cutmix"),
    ],
)
def test_data_that_a_method_cannot_take_is_refused_before_the_first_step(
    method: str, options: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Workspace, "steps", lambda *given, **named: pytest.fail("a step was taken"))
    images, labels = bars(20, 0)
    data = TrainingData(Rows(images.repeat(2, axis=1), labels, np.zeros((20, 2), np.float32)))
    space = LabelSpace("class", ("left", "right"))
    teacher = build_model("convnet", {"channels": 2}, (2, 8, 8), space, [0.0] * 2, [1.0] * 2)
    validation = (data.real.images, labels)
    with pytest.raises(ConfigError, match=message):
        train(
            tmp_path, data, space, validation=validation, method=method, method_options=options, teacher=teacher,
            batch_size=8,
        )  # fmt: skip


def test_a_method_that_needs_a_teacher_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="real rows: teacher outputs must be there"):
        train(tmp_path, method="kd")
    with pytest.raises(DataError, match="validation rows: labels must have shape"):
        train(tmp_path, validation=(bars(5, 0)[0], bars(4, 0)[1]))
