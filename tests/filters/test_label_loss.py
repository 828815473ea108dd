"""Label tensors, losses and figures of every label space against explicit loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from data.compute import Compute
from data.labels import Axis, LabelSpace
from filters.label_loss import accuracy_and_errors, label_loss, label_tensor

COMPUTE = Compute(torch.device("cpu"))
CLASSES = LabelSpace("class", ("left", "right"))
SCALAR = LabelSpace("scalar", minimum=-45.0, maximum=45.0)
VECTOR = LabelSpace("vector", axes=(Axis("yaw", "degree", 0.0, 90.0), Axis("tilt", "degree", -10.0, 10.0)))
BOTH = LabelSpace("class+scalar", ("a", "b", "c"), "size", "cm", 10.0, 50.0)


def test_labels_as_networks_take_them() -> None:
    assert label_tensor(np.array([1, 0], np.int32), CLASSES, COMPUTE).dtype == torch.int64
    angles = label_tensor(np.array([-45.0, 0.0, 45.0]), SCALAR, COMPUTE)
    assert angles.tolist() == [0.0, 0.5, 1.0]
    poses = label_tensor(np.array([[90.0, -5.0], [0.0, 10.0]], np.float32), VECTOR, COMPUTE)
    assert poses.dtype == torch.float32
    assert poses.tolist() == [[1.0, 0.25], [0.0, 1.0]]
    assert label_tensor(np.array([[2.0, 20.0]], np.float32), BOTH, COMPUTE).tolist() == [[2.0, 0.25]]


def cross_entropy(logits: list[float], chosen: int) -> float:
    return math.log(sum(math.exp(value) for value in logits)) - logits[chosen]


@pytest.mark.parametrize("space", [CLASSES, SCALAR, VECTOR, BOTH], ids=lambda space: space.kind)
def test_the_loss_equals_a_loop(space: LabelSpace) -> None:
    rng = np.random.default_rng(0)
    outputs = torch.from_numpy(rng.normal(size=(6, space.outputs)))
    classes = rng.integers(0, space.classes, 6) if space.has_classes else None
    values = np.stack([rng.uniform(axis.minimum, axis.maximum, 6) for axis in space.dimensions], 1) if (
        space.dimensions) else None  # fmt: skip
    conditions = label_tensor(space.join(classes, values), space, COMPUTE)
    expected = 0.0
    for row in range(6):
        answer = outputs[row].tolist()
        if classes is not None:
            expected += cross_entropy(answer[: space.classes], classes[row]) / 6
        for place, axis in enumerate(space.dimensions):
            target = (values[row, place] - axis.minimum) / (axis.maximum - axis.minimum)
            expected += (answer[space.classes + place] - target) ** 2 / (6 * len(space.dimensions))
    found = label_loss(outputs, conditions.double() if conditions.is_floating_point() else conditions, space)
    assert found.item() == pytest.approx(expected, rel=1e-6)


def test_figures_are_in_percent_and_in_the_unit() -> None:
    outputs = np.array([[0.0, 3.0, 1.0, 0.5], [2.0, 1.0, 0.0, 0.25]], np.float32)
    labels = np.array([[1, 28.0], [2, 20.0]], np.float32)
    assert accuracy_and_errors(outputs, labels, BOTH) == {"accuracy": 50.0, "mean absolute error of size": 1.0}
    poses = np.array([[9.0, 10.0], [45.0, 0.0]], np.float32)
    assert accuracy_and_errors(np.array([[0.0, 1.0], [0.5, 0.0]]), poses, VECTOR) == {
        "mean absolute error of yaw": 4.5,
        "mean absolute error of tilt": 5.0,
    }
    assert accuracy_and_errors(np.array([[0.0, 1.0]]), np.array([0]), CLASSES) == {"accuracy": 0.0}
    assert accuracy_and_errors(np.array([[1.0]]), np.array([44.0]), SCALAR) == {"mean absolute error of label": 1.0}
