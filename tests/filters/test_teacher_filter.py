"""The teacher's filter against torch, explicit loops and its own extremes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from data.errors import ConfigError, DataError
from data.labels import LabelSpace
from filters.teacher_filter import Scope, kept_rows, relabel, teacher_error, thresholds

CLASSES = LabelSpace("class", ("a", "b", "c", "d"))
SCALAR = LabelSpace("scalar", maximum=90.0)


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
