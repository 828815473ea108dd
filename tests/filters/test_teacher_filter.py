"""The teacher's filter against torch, explicit loops and its own extremes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from data.errors import ConfigError, DataError
from data.labels import Axis, LabelSpace
from filters.teacher_filter import Scope, kept_rows, relabel, teacher_error, thresholds

CLASSES = LabelSpace("class", ("a", "b", "c", "d"))
SCALAR = LabelSpace("scalar", maximum=90.0)
VECTOR = LabelSpace("vector", axes=(Axis("yaw", "degree", 0.0, 90.0), Axis("tilt", "degree", -10.0, 10.0)))
BOTH = LabelSpace("class+scalar", ("a", "b", "c"), "size", "cm", 10.0, 50.0)


def test_class_error_equals_torch() -> None:
    rng = np.random.default_rng(0)
    outputs, labels = rng.normal(0, 20, (50, 4)).astype(np.float32), rng.integers(0, 4, 50)
    expected = torch.nn.functional.cross_entropy(
        torch.from_numpy(outputs).double(), torch.from_numpy(labels), reduction="none"
    )
    found = teacher_error(outputs, labels, CLASSES)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-6, atol=1e-12)


def test_class_error_is_stable() -> None:
    outputs = np.array([[1e4, 0, 0, 0], [-1e4, 0, 0, 0], [60, 0, 0, 0]], np.float32)
    np.testing.assert_allclose(teacher_error(outputs, np.zeros(3, np.int64), CLASSES)[:2], [0.0, 1e4 + np.log(3)])
    assert teacher_error(outputs, np.ones(3, np.int64), CLASSES)[2] == pytest.approx(60.0)


def test_scalar_error_is_in_the_unit_and_does_not_broadcast() -> None:
    outputs = np.array([[10.0], [95.0], [-4.0]], np.float32)
    labels = np.array([12.0, 90.0, 0.0], np.float32)
    np.testing.assert_allclose(teacher_error(outputs, labels, SCALAR), [2.0, 5.0, 4.0])


def test_vector_error_is_the_mean_share_of_the_ranges() -> None:
    rng = np.random.default_rng(0)
    outputs = rng.uniform(-20, 100, (9, 2)).astype(np.float32)
    labels = np.stack([rng.uniform(0, 90, 9), rng.uniform(-10, 10, 9)], axis=1).astype(np.float32)
    found = teacher_error(outputs, labels, VECTOR)
    assert found.dtype == np.float32
    for row in range(9):
        yaw, tilt = (abs(float(outputs[row, axis]) - float(labels[row, axis])) for axis in (0, 1))
        assert found[row] == pytest.approx((yaw / 90 + tilt / 20) / 2, rel=1e-6)
    assert teacher_error(labels, labels, VECTOR).tolist() == [0.0] * 9


def test_error_of_a_class_with_a_scalar_is_their_negative_log_likelihood() -> None:
    from scipy import stats

    rng = np.random.default_rng(1)
    outputs = np.concatenate([rng.normal(0, 3, (20, 3)), rng.uniform(0, 60, (20, 1))], axis=1).astype(np.float32)
    labels = np.stack([rng.integers(0, 3, 20), rng.uniform(10, 50, 20)], axis=1).astype(np.float32)
    found = teacher_error(outputs, labels, BOTH)
    assert found.dtype == np.float32
    for row in range(20):
        probabilities = np.exp(outputs[row, :3].astype(np.float64))
        probability = probabilities[int(labels[row, 0])] / probabilities.sum()
        density = stats.laplace(loc=outputs[row, 3], scale=0.05 * 40).pdf(labels[row, 1])
        constant = np.log(2 * 0.05 * 40)
        assert found[row] == pytest.approx(-np.log(probability) - np.log(density) - constant, rel=1e-5)
    # A value off by 5 % of the range costs one nat.
    exact = np.array([[50.0, 0, 0, 30.0], [50.0, 0, 0, 32.0]], np.float32)
    np.testing.assert_allclose(teacher_error(exact, np.array([[0, 30], [0, 30]], np.float32), BOTH), [0, 1], atol=1e-6)


@pytest.mark.parametrize("scope", ["per_class", "global"])
@pytest.mark.parametrize("quantile", [0.3, 0.9, 1.0])
def test_kept_rows_equal_a_loop(scope: Scope, quantile: float) -> None:
    rng = np.random.default_rng(1)
    errors, labels = rng.exponential(size=300).astype(np.float32), rng.choice([0, 1, 3], 300)
    limits = thresholds(errors, labels, 4, quantile, scope)
    kept = kept_rows(errors, labels, limits)
    for row in range(300):
        pool = errors[labels == labels[row]] if scope == "per_class" else errors
        assert kept[row] == (errors[row] <= np.quantile(pool.astype(np.float64), quantile))
    assert limits.shape == (4,)
    assert np.isfinite(limits).all()  # class 2 is absent
    assert limits[2] == thresholds(errors, labels, 4, quantile, "global")[0]
    if quantile == 1.0:
        assert kept.all()


def test_equal_errors_are_all_kept() -> None:
    errors, labels = np.full(10, 0.7, np.float32), np.arange(10) % 2
    assert kept_rows(errors, labels, thresholds(errors, labels, 2, 0.1, "per_class")).all()


def test_relabelling_of_classes() -> None:
    outputs = np.array([[0, 3, 1, 0], [5, 0, 0, 0]], np.float32)
    labels = np.array([2, 0])
    for mode in ("none", "soft"):
        unchanged = relabel(labels, outputs, CLASSES, mode)
        assert unchanged.tolist() == [2, 0]
        assert unchanged is not labels
    hard = relabel(labels, outputs, CLASSES, "hard")
    assert hard.tolist() == [1, 0]
    assert hard.dtype == np.int64


def test_relabelling_of_scalars() -> None:
    outputs, labels = np.array([[10.0], [95.0]], np.float32), np.array([12.0, 90.0], np.float32)
    assert relabel(labels, outputs, SCALAR, "none").tolist() == [12.0, 90.0]
    hard = relabel(labels, outputs, SCALAR, "hard")
    assert hard.tolist() == [10.0, 95.0]
    assert hard.dtype == np.float32
    with pytest.raises(ConfigError, match="try 'hard'"):
        relabel(labels, outputs, SCALAR, "soft")
    with pytest.raises(ConfigError, match="got 'firm'"):
        relabel(labels, outputs, SCALAR, "firm")  # type: ignore[arg-type]


def test_relabelling_of_vectors() -> None:
    outputs, labels = np.array([[10.0, -12.0]], np.float32), np.array([[12.0, 9.0]], np.float32)
    unchanged = relabel(labels, outputs, VECTOR, "none")
    assert unchanged.tolist() == [[12.0, 9.0]]
    assert unchanged is not labels
    for mode in ("hard", "values"):
        assert relabel(labels, outputs, VECTOR, mode).tolist() == [[10.0, -12.0]]
        assert relabel(labels, outputs, VECTOR, mode).dtype == np.float32
    with pytest.raises(ConfigError, match="relabelling of vector labels must be 'none' or 'hard', got 'soft'"):
        relabel(labels, outputs, VECTOR, "soft")


def test_relabelling_of_classes_with_a_scalar() -> None:
    outputs = np.array([[0, 3, 1, 12.5], [5, 0, 0, 60.0]], np.float32)
    labels = np.array([[2, 20.0], [0, 50.0]], np.float32)
    assert relabel(labels, outputs, BOTH, "none").tolist() == [[2.0, 20.0], [0.0, 50.0]]
    assert relabel(labels, outputs, BOTH, "values").tolist() == [[2.0, 12.5], [0.0, 60.0]]
    assert relabel(labels, outputs, BOTH, "hard").tolist() == [[1.0, 12.5], [0.0, 60.0]]
    assert relabel(labels, outputs, BOTH, "hard").dtype == np.float32
    with pytest.raises(ConfigError, match=r"relabelling of class\+scalar labels must be"):
        relabel(labels, outputs, BOTH, "soft")


def test_values_are_the_labels_of_classes_and_the_predictions_of_scalars() -> None:
    assert relabel(np.array([2]), np.array([[5.0, 0, 0, 0]], np.float32), CLASSES, "values").tolist() == [2]
    assert relabel(np.array([2.0]), np.array([[5.0]], np.float32), SCALAR, "values").tolist() == [5.0]


def test_what_cannot_be_a_threshold_is_refused() -> None:
    errors, labels = np.array([1.0, np.nan]), np.zeros(2, np.int64)
    with pytest.raises(DataError, match="got 2 of which 1 are not finite"):
        thresholds(errors, labels, 1, 0.9, "global")
    with pytest.raises(DataError, match="at least one, got 0"):
        thresholds(errors[:0], labels[:0], 1, 0.9, "global")
    with pytest.raises(ConfigError, match=r"in \(0, 1\], got 0"):
        thresholds(errors[:1], labels[:1], 1, 0.0, "global")
    with pytest.raises(ConfigError, match="scope"):
        thresholds(errors[:1], labels[:1], 1, 0.9, "local")  # type: ignore[arg-type]
