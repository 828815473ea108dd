"""Outputs and scores against explicit loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from data.compute import Compute
from data.labels import Axis, LabelSpace
from students.evaluation import Figure, at_least_as_good, figures, headlines, predict, score, selection_metric
from students.model import build_model

COMPUTE = Compute(torch.device("cpu"))
CLASSES = LabelSpace("class", ("a", "b", "c"))
SCALAR = LabelSpace("scalar", maximum=90.0)
POSE = LabelSpace("vector", axes=(Axis("yaw", "degree", 0.0, 90.0), Axis("tilt", "radian", -3.0, 1.0)))
BOTH = LabelSpace("class+scalar", ("a", "b", "c"), name="angle", unit="degree", minimum=-20.0, maximum=20.0)


def test_predict_equals_one_image_at_a_time() -> None:
    model = build_model("convnet", {"channels": 4}, (1, 8, 8), CLASSES, [99.0], [70.0])
    images = np.random.default_rng(0).integers(0, 256, (11, 1, 8, 8)).astype(np.uint8)
    outputs = predict(model, images, COMPUTE, batch_size=4)
    assert outputs.dtype == np.float32
    assert model.training
    model.eval()
    for row in range(11):
        with torch.no_grad():
            expected = model(torch.from_numpy(images[row : row + 1])).numpy()[0]
        np.testing.assert_allclose(outputs[row], expected, rtol=1e-5, atol=1e-6)


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    model = build_model("resnet", {"depth": 8, "width": 4}, (1, 8, 8), CLASSES, [99.0], [70.0])
    images = np.random.default_rng(0).integers(0, 256, (20, 1, 8, 8)).astype(np.uint8)
    all_rows = predict(model, images, COMPUTE, batch_size=8)
    order = np.random.default_rng(1).permutation(20)
    np.testing.assert_array_equal(predict(model, images[order], COMPUTE, batch_size=8), all_rows[order])
    np.testing.assert_array_equal(predict(model, images[13:14], COMPUTE, batch_size=8), all_rows[13:14])
    assert predict(model, images[:0], COMPUTE).shape == (0, 3)


def test_bfloat16_outputs_are_close() -> None:
    compute = Compute(torch.device("cpu"), torch.bfloat16, channels_last=True)
    model = build_model("convnet", {"channels": 4}, (1, 8, 8), CLASSES, [99.0], [70.0])
    images = np.random.default_rng(0).integers(0, 256, (6, 1, 8, 8)).astype(np.uint8)
    expected = predict(model, images, COMPUTE)
    compute.place(model)
    np.testing.assert_allclose(predict(model, images, compute), expected, atol=0.05)


def test_scores_equal_loops() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(30, 3)).astype(np.float32), rng.integers(0, 3, 30)
    right = sum(max(range(3), key=lambda c: logits[row, c]) == labels[row] for row in range(30))
    name, value = score(logits, labels, CLASSES)
    assert name == "accuracy"
    assert value == pytest.approx(100 * right / 30)
    values = rng.uniform(0, 90, 30).astype(np.float32)
    predictions = rng.uniform(-20, 120, (30, 1)).astype(np.float32)
    error = sum(abs(float(predictions[row, 0]) - float(values[row])) for row in range(30)) / 30
    name, value = score(predictions, values, SCALAR)
    assert name == "mae"
    assert value == pytest.approx(error)


def test_figures_of_a_vector_equal_loops() -> None:
    rng = np.random.default_rng(1)
    labels = np.stack([rng.uniform(0, 90, 20), rng.uniform(-3, 1, 20)], axis=1).astype(np.float32)
    outputs = labels + rng.normal(size=(20, 2)).astype(np.float32) * [10, 1]
    errors = [sum(abs(float(outputs[i, k]) - float(labels[i, k])) for i in range(20)) / 20 for k in range(2)]
    share, *axes, first, second = figures(outputs, labels, POSE)
    squares = [sum((float(outputs[i, k]) - float(labels[i, k])) ** 2 for i in range(20)) / 20 for k in range(2)]
    assert [(axis.metric, axis.unit, axis.of) for axis in (first, second)] == [
        ("rmse", "degree", "yaw"),
        ("rmse", "radian", "tilt"),
    ]
    assert [first.value, second.value] == pytest.approx([square**0.5 for square in squares])
    assert (share.metric, share.unit, share.of) == ("mae", "% of range", "")
    assert share.value == pytest.approx(100 * (errors[0] / 90 + errors[1] / 4) / 2)
    assert [(axis.metric, axis.unit, axis.of) for axis in axes] == [
        ("mae", "degree", "yaw"),
        ("mae", "radian", "tilt"),
    ]
    assert [axis.value for axis in axes] == pytest.approx(errors)
    assert headlines((share, *axes, first, second)) == (share,)
    assert score(outputs, labels, POSE) == ("mae", share.value)


def test_figures_of_a_class_with_a_scalar_equal_loops() -> None:
    rng = np.random.default_rng(2)
    labels = np.stack([rng.integers(0, 3, 25), rng.uniform(-20, 20, 25)], axis=1).astype(np.float32)
    outputs = rng.normal(size=(25, 4)).astype(np.float32)
    # Predictions larger than any logit: they must not take part in choosing the class.
    outputs[:, 3] += 40.0
    right = sum(max(range(3), key=lambda c: outputs[row, c]) == labels[row, 0] for row in range(25))
    error = sum(abs(float(outputs[row, 3]) - float(labels[row, 1])) for row in range(25)) / 25
    accuracy, mae, rmse = figures(outputs, labels, BOTH)
    squared = sum((float(outputs[row, 3]) - float(labels[row, 1])) ** 2 for row in range(25)) / 25
    assert (rmse.metric, rmse.unit, rmse.of) == ("rmse", "degree", "")
    assert rmse.value == pytest.approx(squared**0.5)
    assert (accuracy.metric, accuracy.unit, accuracy.of) == ("accuracy", "%", "")
    assert (mae.metric, mae.unit, mae.of) == ("mae", "degree", "")
    assert accuracy.value == pytest.approx(100 * right / 25)
    assert mae.value == pytest.approx(error)
    assert headlines((accuracy, mae, rmse)) == (accuracy, mae)
    assert score(outputs, labels, BOTH) == ("error", pytest.approx(100 - 100 * right / 25 + 100 * error / 40))


def test_classes_and_scalars_have_one_result() -> None:
    (accuracy,) = figures(np.eye(3), np.arange(3), CLASSES)
    assert accuracy == Figure("accuracy", 100.0, "%")
    space = LabelSpace("scalar", unit="year", maximum=9.0)
    mae, rmse = found = figures(np.array([[4.0], [2.0]]), np.array([1.0, 1.0], np.float32), space)
    assert headlines(found) == (mae,) == (Figure("mae", 2.0, "year"),)
    assert rmse == Figure("rmse", pytest.approx(5**0.5), "year")


@pytest.mark.parametrize("space", [CLASSES, SCALAR, POSE, BOTH])
def test_a_score_is_of_the_metric_that_selects(space: LabelSpace) -> None:
    labels = np.zeros((2, *space.label_shape), space.dtype)
    assert score(np.zeros((2, space.outputs)), labels, space)[0] == selection_metric(space)


def test_rows_must_fit() -> None:
    with pytest.raises(ValueError, match="got 2 and 3"):
        score(np.zeros((2, 3)), np.zeros(3, np.int64), CLASSES)
    with pytest.raises(ValueError, match="got 0 and 0"):
        score(np.zeros((0, 3)), np.zeros(0, np.int64), CLASSES)


def test_better_means_higher_accuracy_and_lower_error() -> None:
    assert at_least_as_good("accuracy", 91.0, 90.0)
    assert not at_least_as_good("accuracy", 89.0, 90.0)
    assert at_least_as_good("mae", 1.0, 2.0)
    assert not at_least_as_good("mae", 3.0, 2.0)
    assert at_least_as_good("mae", 2.0, 2.0)
    assert not at_least_as_good("mae", float("nan"), 2.0)
    assert at_least_as_good("error", 7.0, 8.0)
