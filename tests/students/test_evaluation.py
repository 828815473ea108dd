"""Outputs and scores against explicit loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from data.compute import Compute
from data.labels import LabelSpace
from students.evaluation import at_least_as_good, predict, score
from students.model import build_model

COMPUTE = Compute(torch.device("cpu"))
CLASSES = LabelSpace("class", ("a", "b", "c"))
SCALAR = LabelSpace("scalar", maximum=90.0)


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
