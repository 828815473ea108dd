"""The teacher's filter against torch, explicit loops and its own extremes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from data.errors import ConfigError, DataError
from data.labels import Axis, LabelSpace
from data.random import row_seeds, uniform_from_seeds
from filters.teacher_filter import (
    LEAST_ROWS,
    ErrorKind,
    Scope,
    check_scope,
    fitting_errors,
    kept_rows,
    teacher_error,
    thresholds,
)

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


def probabilities(logits: np.ndarray) -> list[float]:
    return [1 / sum(math.exp(other - one) for other in logits.tolist()) for one in logits.tolist()]


def class_errors(outputs: np.ndarray, label: int) -> dict[str, float]:
    p = probabilities(outputs)
    highest = max(value for place, value in enumerate(p) if place != label)
    return {"cross_entropy": -math.log(p[label]), "one_minus_p": 1 - p[label], "margin": highest - p[label]}


@pytest.mark.parametrize("kind", ["cross_entropy", "one_minus_p", "margin"])
@pytest.mark.parametrize("space", [CLASSES, BOTH], ids=lambda space: space.kind)
def test_errors_of_the_class_equal_a_loop(kind: ErrorKind, space: LabelSpace) -> None:
    rng = np.random.default_rng(2)
    outputs = rng.normal(0, 4, (40, space.outputs)).astype(np.float64)
    labels = rng.integers(0, space.classes, 40)
    column = space.join(labels, np.full(40, 20.0) if space.dimensions else None)
    found = teacher_error(outputs, column, space, kind)
    assert found.dtype == np.float64
    for row in range(40):
        expected = class_errors(outputs[row, : space.classes], int(labels[row]))[kind]
        assert found[row] == pytest.approx(expected, rel=1e-9, abs=1e-14)
        if kind == "margin":
            likeliest = outputs[row, : space.classes].argmax()
            assert (found[row] > 0) == (likeliest != labels[row])
            assert -1 <= found[row] <= 1


def test_errors_of_a_teacher_that_is_sure_neither_overflow_nor_become_equal() -> None:
    outputs = np.array([[1e4, 0, 0, -1e4], [-1e4, 0, 0, 1e4], [80, 0, 0, 0], [90, 0, 0, 0]])
    labels = np.zeros(4, np.int64)
    found = {kind: teacher_error(outputs, labels, CLASSES, kind) for kind in fitting_errors(CLASSES)[:4]}
    np.testing.assert_allclose(found["cross_entropy"], [0, 2e4, 3 * np.exp(-80), 3 * np.exp(-90)], rtol=1e-12)
    np.testing.assert_allclose(found["one_minus_p"], [0, 1, 3 * np.exp(-80), 3 * np.exp(-90)], rtol=1e-12)
    np.testing.assert_allclose(found["margin"], [-1, 1, -1, -1], rtol=1e-12)
    np.testing.assert_allclose(found["auto"], found["cross_entropy"], rtol=1e-6)
    assert found["auto"].dtype == np.float32


def test_one_minus_p_keeps_the_rows_of_cross_entropy() -> None:
    rng = np.random.default_rng(3)
    outputs, labels = rng.normal(0, 6, (500, 4)), rng.integers(0, 4, 500)
    kept = []
    for kind in ("cross_entropy", "one_minus_p"):
        errors = teacher_error(outputs, labels, CLASSES, kind)
        kept.append(kept_rows(errors, labels, thresholds(errors, labels, 4, 0.7, "per_class")))
    assert np.array_equal(*kept)
    assert 0.65 < kept[0].mean() < 0.75


def test_absolute_error_of_a_class_with_a_scalar_is_of_its_value() -> None:
    outputs = np.array([[9.0, 0, 0, 30.0], [0, 9.0, 0, 12.5]])
    labels = np.array([[0, 32.0], [0, 10.0]], np.float32)
    assert teacher_error(outputs, labels, BOTH, "absolute").tolist() == [2.0, 2.5]


def test_random_errors_are_uniform_and_belong_to_the_row() -> None:
    seeds = row_seeds(5, np.arange(4000))
    outputs, labels = np.zeros((4000, 4)), np.zeros(4000, np.int64)
    errors = teacher_error(outputs, labels, CLASSES, "none", seeds)
    assert stats.kstest(errors, "uniform").pvalue > 0.01
    order = np.random.default_rng(0).permutation(4000)
    assert np.array_equal(teacher_error(outputs, labels, CLASSES, "none", seeds[order]), errors[order])
    # What rejection sampling drew of the same seed says nothing about it.
    assert abs(np.corrcoef(errors, uniform_from_seeds(seeds, 1, stream=1)[:, 0])[0, 1]) < 0.05
    with pytest.raises(ValueError, match="seeds must be given"):
        teacher_error(outputs, labels, CLASSES, "none")


@pytest.mark.parametrize(
    ("space", "kind", "fitting"),
    [
        (CLASSES, "absolute", "auto, cross_entropy, one_minus_p, margin, none for class labels, got 'absolute'"),
        (SCALAR, "margin", "auto, absolute, none for scalar labels, got 'margin'"),
        (VECTOR, "cross_entropy", "auto, absolute, none for vector labels"),
        (BOTH, "mae", r"auto, cross_entropy, one_minus_p, margin, absolute, none for class\+scalar labels, got 'mae'"),
    ],
)
def test_an_error_that_labels_do_not_have_is_refused(space: LabelSpace, kind: ErrorKind, fitting: str) -> None:
    with pytest.raises(ConfigError, match=fitting):
        teacher_error(np.zeros((1, space.outputs)), np.zeros((1, *space.label_shape)), space, kind)


@pytest.mark.parametrize("scope", ["per_class", "per_window", "global"])
@pytest.mark.parametrize("quantile", [0.3, 0.9, 1.0])
def test_kept_rows_equal_a_loop(scope: Scope, quantile: float) -> None:
    rng = np.random.default_rng(1)
    errors, labels = rng.exponential(size=300).astype(np.float32), rng.choice([0, 1, 3], 300)
    limits = thresholds(errors, labels, 4, quantile, scope)
    kept = kept_rows(errors, labels, limits)
    for row in range(300):
        pool = errors if scope == "global" else errors[labels == labels[row]]
        assert kept[row] == (errors[row] <= np.quantile(pool.astype(np.float64), quantile))
    assert limits.shape == (4,)
    assert np.isfinite(limits).all()  # class 2 is absent
    assert limits[2] == thresholds(errors, labels, 4, quantile, "global")[0]
    if quantile == 1.0:
        assert kept.all()


def test_small_windows_take_the_global_threshold() -> None:
    sizes = [LEAST_ROWS, LEAST_ROWS - 1, 0, 60]
    groups = np.repeat(np.arange(4), sizes)
    errors = np.random.default_rng(0).exponential(size=len(groups))
    limits = thresholds(errors, groups, 4, 0.5, "per_window")
    assert limits[0] == np.quantile(errors[groups == 0], 0.5)
    assert limits[1] == limits[2] == np.quantile(errors, 0.5)
    assert limits[3] == np.quantile(errors[groups == 3], 0.5)
    assert thresholds(errors, groups, 4, 0.5, "per_class")[1] == np.quantile(errors[groups == 1], 0.5)


def test_windows_keep_the_share_of_hard_labels() -> None:
    angle = np.linspace(0, 90, 900, endpoint=False)
    groups = (angle // 10).astype(np.int64)
    # The teacher errs ten times as much at the last angles.
    errors = np.random.default_rng(0).exponential(size=900) * np.where(groups == 8, 10.0, 1.0)
    share = {}
    for scope in ("global", "per_window"):
        share[scope] = kept_rows(errors, groups, thresholds(errors, groups, 9, 0.7, scope))[groups == 8].mean()
    assert share["global"] < 0.2
    assert share["per_window"] == pytest.approx(0.7)


def test_equal_errors_are_all_kept() -> None:
    errors, labels = np.full(10, 0.7, np.float32), np.arange(10) % 2
    assert kept_rows(errors, labels, thresholds(errors, labels, 2, 0.1, "per_class")).all()


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


def test_a_scope_that_labels_do_not_have_is_refused() -> None:
    for space, scopes in ((CLASSES, "per_class"), (SCALAR, "per_window"), (BOTH, "per_class per_window")):
        for scope in ("per_class", "per_window", "global"):
            if scope in (*scopes.split(), "global"):
                check_scope(space, scope)
            else:
                with pytest.raises(ConfigError, match=f"must be {scopes} or global for {space.kind} labels"):
                    check_scope(space, scope)
