"""What make_vicinity refuses, and in which words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from data.errors import ConfigError, DataError
from data.labels import Axis, LabelSpace
from generators.vicinities import make_vicinity

SCALAR = LabelSpace("scalar", name="angle", unit="degree", minimum=-90, maximum=90)
PAIR = LabelSpace("vector", axes=(Axis("yaw"), Axis("pitch")))
MIXED = LabelSpace("class+scalar", names=("a", "b"))
LABELS = np.linspace(0, 1, 20, dtype=np.float32)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"form": "firm"}, "form must be one of hard, soft, hybrid, got 'firm'"),
        ({"images": 0}, "images must be at least 1, got 0"),
        ({"images": 5, "kappa": 0.1}, "kappa must be unset"),
        ({"multiplier": 0.0}, "multiplier must be > 0"),
        ({"sigma": -0.1}, "sigma must be at least 0"),
        ({"kappa": 0.0}, "kappa must be > 0"),
        ({"kappa": float("nan")}, "kappa must be a finite number, got nan"),
        ({"kappa": [0.1, 0.2]}, r"kappa must be a finite number, got \[0.1, 0.2\]"),
    ],
)
def test_bad_arguments_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_vicinity(LABELS, SCALAR, **settings)


def test_bandwidths_of_the_wrong_number_are_refused() -> None:
    with pytest.raises(ConfigError, match="sigma must be a finite number, or 2 of them"):
        make_vicinity(np.random.default_rng(0).random((9, 2)), PAIR, sigma=[0.1, 0.1, 0.1])


def test_classes_have_no_vicinity() -> None:
    with pytest.raises(ConfigError, match="must have a continuous part"):
        make_vicinity(np.arange(3), LabelSpace("class", names=("a", "b", "c")))


@pytest.mark.parametrize("images", [None, 3])
def test_equal_scalars_are_refused_with_what_to_do(images: int | None) -> None:
    message = r"at least 2 distinct values of angle .* got 1 \(-36 degree\); try a class label space"
    with pytest.raises(DataError, match=message):
        make_vicinity(np.full(5, 0.3, np.float32), SCALAR, images=images)


def test_a_constant_dimension_is_refused_by_name() -> None:
    labels = np.column_stack([LABELS, np.full(20, 0.5)])
    with pytest.raises(DataError, match=r"distinct values of pitch .*try a label space without pitch"):
        make_vicinity(labels, PAIR)
    with pytest.raises(DataError, match="scalar labels must have at least 2 distinct values"):
        make_vicinity(np.column_stack([np.arange(20) % 2, np.full(20, 0.5)]), MIXED)


def test_equal_labels_are_fine_with_bandwidths_of_ones_own() -> None:
    drawn = make_vicinity(np.full(5, 0.3), SCALAR, sigma=0.1, kappa=0.2).draw(100, np.random.default_rng(0))
    assert set(drawn.rows.tolist()) == set(range(5))


@pytest.mark.parametrize("labels", [np.zeros((0,)), np.zeros((4, 2))])
def test_labels_of_another_shape_are_refused(labels: np.ndarray) -> None:
    with pytest.raises(DataError, match="at least one scalar label"):
        make_vicinity(labels, SCALAR)


def test_labels_beyond_the_space_keep_a_valid_interval() -> None:
    labels = np.array([-0.5, 0.2, 1.4])
    drawn = make_vicinity(labels, SCALAR, kappa=0.05, sigma=0.2).draw(500, np.random.default_rng(6))
    assert np.isfinite(drawn.fake_labels).all()
    assert drawn.fake_labels.min() >= -0.5
    assert drawn.fake_labels.max() <= np.float32(1.4)
    assert drawn.fake_weights is not None
    assert (drawn.fake_weights >= 0.99e-3).all()


def test_kappa_is_never_zero_where_one_label_has_images_enough() -> None:
    labels = np.repeat([0.2, 0.8], 50).astype(np.float32)
    drawn = make_vicinity(labels, SCALAR, form="hybrid", images=30, sigma=0.0).draw(64, np.random.default_rng(7))
    np.testing.assert_allclose(drawn.kappas, 1e-6)
    np.testing.assert_allclose(drawn.fake_labels, drawn.targets, atol=1.1e-6)
    assert drawn.real_weights is not None
    assert drawn.fake_weights is not None
    np.testing.assert_array_equal(drawn.real_weights, 1.0)
    assert (drawn.fake_weights >= np.float32(np.exp(-1.01))).all()
