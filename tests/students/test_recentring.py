"""Outputs that are moved land where the method wants them, and selection goes by what is saved."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from data.compute import Compute
from data.errors import ConfigError, DataError
from data.factories import trust_factory
from data.labels import LabelSpace
from data.workspace import Workspace, read_log
from students import recentring
from students.evaluation import predict, score
from students.model import ImageModel, build_model, load_model
from students.recentring import Recentred, output_bias
from students.rows import part_weights
from students.training import train_student
from students.training_data import DeviceBatches, Rows, TrainingData

CPU = Compute(torch.device("cpu"))
SPACES = {
    "class": LabelSpace("class", ("a", "b", "c")),
    "scalar": LabelSpace("scalar", maximum=90.0),
    "class+scalar": LabelSpace("class+scalar", ("a", "b"), maximum=90.0),
}
SCALES: dict[str, Any] = {
    "class": (0.0, 1.0), "scalar": (45.0, 26.0), "class+scalar": ([0.0, 0.0, 45.0], [1.0, 1.0, 26.0])
}  # fmt: skip


def rows(kind: str, count: int, seed: int) -> Rows:
    space, rng = SPACES[kind], np.random.default_rng(seed)
    classes = rng.integers(0, 2, count) if space.has_classes else None
    values = rng.uniform(0, 90, (count, 1)) if space.dimensions else None
    outputs = rng.normal(4.0, 2.0, (count, space.outputs)).astype(np.float32)
    return Rows(rng.integers(0, 256, (count, 1, 8, 8)).astype(np.uint8), space.join(classes, values), outputs)


def student(kind: str) -> ImageModel:
    torch.manual_seed(0)
    return build_model("convnet", {"channels": 3}, (1, 8, 8), SPACES[kind], [120.0], [70.0], *SCALES[kind])


def recentred(kind: str, data: TrainingData, rule: Any, *, synthetic_weight: float = 1.0, **changes: Any) -> Recentred:
    mean, std = (torch.tensor(item) for item in SCALES[kind])
    settings: dict[str, Any] = {
        "batch_size": 8, "real_fraction": 0.25, "seed": 5, "label_mean": mean, "label_std": std,
        "teacher_outputs": True, "compute": CPU,
    }  # fmt: skip
    batches = DeviceBatches(data, SPACES[kind], **{**settings, **changes})
    return Recentred(rule, data, batches, part_weights(batches.shares, synthetic_weight), CPU)


def to_the_teacher(teacher: Tensor, student: Tensor, labels: Tensor) -> Tensor:
    return teacher - student


@pytest.mark.parametrize("synthetic_weight", [1.0, 0.2])
@pytest.mark.parametrize("kind", SPACES)
def test_the_weighted_mean_output_becomes_what_the_method_says(kind: str, synthetic_weight: float) -> None:
    space, model = SPACES[kind], student(kind)
    first, second = rows(kind, 20, 0), rows(kind, 7, 1)
    # A quarter of each batch is real: 2 rows that count 1 beside 6 that count the weight, however many there are.
    weights = np.array([2.0, 6 * synthetic_weight]) / (2 + 6 * synthetic_weight)
    assert first.teacher_outputs is not None
    assert second.teacher_outputs is not None

    def mean_of(*columns: Any) -> Any:
        return sum(weight * column.mean(axis=0) for weight, column in zip(weights, columns, strict=True))

    means: list[Tensor] = []

    def rule(teacher: Tensor, student: Tensor, labels: Tensor) -> Tensor:
        means.extend([teacher, student, labels])
        return teacher - student

    before = [predict(model, part.images, CPU) for part in (first, second)]
    recentred(kind, TrainingData(first, second), rule, synthetic_weight=synthetic_weight).apply(model)
    after = [predict(model, part.images, CPU) for part in (first, second)]
    teacher = mean_of(first.teacher_outputs, second.teacher_outputs)
    np.testing.assert_allclose(mean_of(*after), teacher, rtol=1e-4)
    moved = np.concatenate(after) - np.concatenate(before)
    np.testing.assert_allclose(moved, np.broadcast_to(moved[0], moved.shape), atol=2e-4)
    mean, std = (np.broadcast_to(item, space.outputs) for item in SCALES[kind])
    targets = []
    for part in (first, second):
        one_hot = [np.eye(space.classes)[space.class_part(part.labels)]] if space.has_classes else []
        targets.append(np.concatenate([*one_hot, space.continuous_part(part.labels)], axis=1))
    np.testing.assert_allclose(means[0], (teacher - mean) / std, rtol=1e-4)
    np.testing.assert_allclose(means[1], (mean_of(*before) - mean) / std, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(means[2], (mean_of(*targets) - mean) / std, rtol=1e-4, atol=1e-6)


def test_labels_are_those_that_the_loss_has_seen() -> None:
    first, second = rows("class", 20, 0), replace(rows("class", 7, 1), soft_labels=True)
    seen: list[Tensor] = []

    def rule(teacher: Tensor, student: Tensor, labels: Tensor) -> Tensor:
        seen.append(labels)
        return teacher - student

    recentred("class", TrainingData(first, second), rule, label_smoothing=0.3).apply(student("class"))
    assert second.teacher_outputs is not None
    hard = 0.7 * np.eye(3)[first.labels] + 0.1
    soft = torch.from_numpy(second.teacher_outputs).softmax(1).numpy()
    np.testing.assert_allclose(seen[0], 0.25 * hard.mean(axis=0) + 0.75 * soft.mean(axis=0), rtol=1e-5)


def test_a_validation_sees_a_moved_model_and_leaves_it_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recentring, "ROWS_TO_VALIDATE", 4)
    first, second = rows("scalar", 31, 0), rows("scalar", 3, 1)
    model = student("scalar").train()
    before = {name: item.clone() for name, item in model.state_dict().items()}
    mover = recentred("scalar", TrainingData(first, second), to_the_teacher)
    with mover.while_validated(model):
        assert first.teacher_outputs is not None
        assert second.teacher_outputs is not None
        some = [0, 10, 20, 30]
        own = [predict(model, first.images[some], CPU), predict(model, second.images, CPU)]
        means = [outputs.mean(axis=0) for outputs in (*own, first.teacher_outputs[some], second.teacher_outputs)]
        np.testing.assert_allclose(0.25 * means[0] + 0.75 * means[1], 0.25 * means[2] + 0.75 * means[3], rtol=1e-4)
    assert model.training
    assert all(torch.equal(item, before[name]) for name, item in model.state_dict().items())


def train(folder: Path, **changes: Any) -> tuple[dict[str, float], TrainingData, Rows]:
    rng = np.random.default_rng(3)

    def angled(count: int) -> Rows:
        value = rng.uniform(0, 90, count).astype(np.float32)
        images = np.clip(
            40 + np.arange(8) * value[:, None, None, None] / 4 + rng.normal(0, 30, (count, 1, 8, 8)), 0, 255
        )
        return Rows(images.astype(np.uint8), value, value[:, None] + rng.normal(0, 3, (count, 1)).astype(np.float32))

    data, held = TrainingData(angled(80)), angled(60)
    settings: dict[str, Any] = {
        "network": "convnet", "options": {"channels": 4}, "method": "ckd", "method_options": {"recenter_bias": True},
        "steps": 30, "batch_size": 16, "learning_rate": 0.02, "validate_every": 5, "seed": 1, "initial_seed": 1,
        "compute": CPU,
    }  # fmt: skip
    settings |= changes
    result = train_student(data, (held.images, held.labels), SPACES["scalar"], workspace=Workspace(folder), **settings)
    return result, data, held


def test_the_best_of_the_recentred_students_is_kept(tmp_path: Path) -> None:
    result, data, held = train(tmp_path)
    logged = [row["validation"] for row in read_log(tmp_path / "training.jsonl") if "validation" in row]
    assert len(logged) == 6
    assert result["validation"] == pytest.approx(min(logged), rel=1e-5)
    saved = load_model(tmp_path, CPU)
    found = score(predict(saved, held.images, CPU), held.labels, SPACES["scalar"])[1]
    assert found == pytest.approx(result["validation"], rel=1e-6)
    # With all rows in the means the outputs agree on average with teacher and labels on average.
    outputs = predict(saved, data.real.images, CPU).mean()
    assert data.real.teacher_outputs is not None
    assert outputs == pytest.approx((data.real.teacher_outputs.mean() + data.real.labels.mean()) / 2, rel=1e-4)


def test_patience_counts_recentred_students(tmp_path: Path) -> None:
    long = read_log(tmp_path / "training.jsonl") if train(tmp_path, steps=60)[0] else []
    values = [row["validation"] for row in long if "validation" in row]
    for patience in (1, 2):
        since, best, expected = 0, np.inf, 60
        for number, value in enumerate(values):
            since, best = (0, value) if value < best else (since + 1, best)
            if since == patience:
                expected = 5 * (number + 1)
                break
        result, _, _ = train(tmp_path / str(patience), steps=60, patience=patience)
        assert result["steps"] == expected


PLAIN = """
from torch import nn


def unbiased(image_shape, outputs):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, outputs, bias=False))
"""


def test_what_cannot_be_moved_is_refused_before_the_first_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = TrainingData(replace(rows("class", 4, 0), teacher_outputs=None))
    with pytest.raises(DataError, match="must have teacher outputs where outputs are re-centred"):
        recentred("class", data, to_the_teacher, teacher_outputs=False, batch_size=4)
    with pytest.raises(ConfigError, match=r"got 'mine'; try recenter_bias false and anchor_weight 0\.1"):
        output_bias(nn.Sequential(nn.Flatten(), nn.Linear(64, 4)), 3, "mine")
    (tmp_path / "own_unbiased.py").write_text(PLAIN)
    monkeypatch.syspath_prepend(tmp_path)
    trust_factory("own_unbiased:unbiased")
    with pytest.raises(ConfigError, match="must end in a linear layer with a bias, got 'factory'"):
        train(tmp_path / "run", network="factory", options={"factory": "own_unbiased:unbiased"})
    assert not (tmp_path / "run" / "training.jsonl").exists()
