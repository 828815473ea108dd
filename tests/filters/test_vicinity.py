"""The vicinity of labels: half-widths, where jittered labels lie, and which predictions are within."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from data.errors import ConfigError, DataError
from data.labels import Axis, LabelSpace
from data.random import row_seeds, uniform_from_seeds
from filters.vicinity import Vicinity

SCALAR = LabelSpace("scalar", minimum=-10.0, maximum=90.0)
VECTOR = LabelSpace("vector", axes=(Axis("across", maximum=10.0), Axis("up", minimum=-1.0, maximum=3.0)))
BOTH = LabelSpace("class+scalar", ("a", "b"), maximum=20.0)


def test_half_widths_are_multiples_of_the_largest_gap_of_each_axis() -> None:
    labels = np.array([20.0, -10.0, 0.0, 0.0, 5.0, 90.0], np.float32)
    assert Vicinity.from_labels(labels, SCALAR, 2.0).half_widths == pytest.approx((2 * 0.7,))
    labels = np.array([[0.0, -1.0], [1.0, 3.0], [3.0, 1.0], [10.0, 0.0]], np.float32)
    assert Vicinity.from_labels(labels, VECTOR, 0.5).half_widths == pytest.approx((0.35, 0.25))
    labels = np.array([[0, 4.0], [1, 5.0], [1, 9.0]], np.float32)
    assert Vicinity.from_labels(labels, BOTH, 1.0).half_widths == pytest.approx((0.2,))


def test_what_has_no_vicinity_is_named() -> None:
    with pytest.raises(ConfigError, match="must be 0 for class labels"):
        Vicinity.from_labels(np.arange(3), LabelSpace("class", ("a", "b", "c")), 1.0)
    with pytest.raises(DataError, match="at least 2 distinct values of up"):
        Vicinity.from_labels(np.array([[0.0, 1.0], [2.0, 1.0]]), VECTOR, 1.0)
    with pytest.raises(ConfigError, match="above 0 gaps, got -1"):
        Vicinity.from_labels(np.arange(3.0), SCALAR, -1.0)


def test_jittered_labels_are_uniform_in_the_vicinity() -> None:
    vicinity = Vicinity(SCALAR, (0.05,))
    seeds = row_seeds(3, np.arange(4000))
    moved = vicinity.jitter(np.full(4000, 40.0, np.float32), seeds)
    assert moved.dtype == SCALAR.dtype
    assert stats.kstest(moved, stats.uniform(35.0, 10.0).cdf).pvalue > 0.01
    # Latents and acceptance take other streams of the same seeds.
    for stream in (0, 1):
        assert abs(np.corrcoef(moved, uniform_from_seeds(seeds, 1, stream)[:, 0])[0, 1]) < 0.05


@pytest.mark.parametrize("space", [SCALAR, VECTOR, BOTH], ids=lambda space: space.kind)
def test_a_jittered_label_is_a_function_of_its_row_and_stays_in_the_space(space: LabelSpace) -> None:
    rng = np.random.default_rng(0)
    values = np.stack([rng.uniform(axis.minimum, axis.maximum, 300) for axis in space.dimensions], axis=1)
    labels = space.join(rng.integers(0, 2, 300) if space.has_classes else None, values)
    vicinity = Vicinity(space, tuple(0.3 + 0.1 * k for k in range(len(space.dimensions))))
    seeds = row_seeds(1, np.arange(300))
    moved = vicinity.jitter(labels, seeds)
    order = rng.permutation(300)
    np.testing.assert_array_equal(vicinity.jitter(labels[order], seeds[order]), moved[order])
    np.testing.assert_array_equal(vicinity.jitter(labels[5:6], seeds[5:6])[0], moved[5])
    if space.has_classes:
        np.testing.assert_array_equal(space.class_part(moved), space.class_part(labels))
    away = np.abs(space.continuous_part(moved) - space.continuous_part(labels))
    for place, axis in enumerate(space.dimensions):
        column = space.continuous_part(moved)[:, place]
        assert column.min() == axis.minimum  # cut off there
        assert column.max() == axis.maximum
        widest = vicinity.half_widths[place] * (axis.maximum - axis.minimum)
        assert 0.9 * widest < away[:, place].max() < widest + 1e-4
    assert vicinity.jitter(labels[:0], seeds[:0]).shape == labels[:0].shape


def test_it_holds_what_is_predicted_within_on_every_axis() -> None:
    vicinity = Vicinity(VECTOR, (0.1, 0.25))
    labels = np.array([[5.0, 1.0]] * 5, np.float32)  # 0.5 and 0.5 on [0, 1]
    outputs = np.array([[0.5, 0.5], [0.59, 0.74], [0.61, 0.5], [0.5, 0.24], [0.41, 0.26]])
    assert vicinity.holds(outputs, labels).tolist() == [True, True, False, False, True]
    assert Vicinity(SCALAR, (0.25,)).holds(np.array([[0.75], [0.25]]), np.float32([40.0, 40.0])).all()  # the border


def test_of_a_class_with_a_value_the_value_alone_decides() -> None:
    outputs = np.array([[-9.0, 9.0, 0.5], [9.0, -9.0, 0.5], [9.0, -9.0, 0.9]])
    labels = np.array([[0, 10.0]] * 3, np.float32)
    assert Vicinity(BOTH, (0.2,)).holds(outputs, labels).tolist() == [True, True, False]
