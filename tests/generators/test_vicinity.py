"""Vicinities against explicit loops over all labels."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest

from data.errors import DataError
from data.labels import LabelSpace
from generators.vicinity import LEAST_WEIGHT, SoftVicinity, rule_of_thumb_kappa, rule_of_thumb_sigma


def some_labels(count: int = 60) -> npt.NDArray[np.float32]:
    return np.round(np.random.default_rng(0).random(count), 2).astype(np.float32)


def test_rules_of_thumb_equal_the_explicit_formulas() -> None:
    labels = some_labels()
    values = [float(value) for value in labels]
    mean = math.fsum(values) / len(values)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))
    assert rule_of_thumb_sigma(labels) == pytest.approx(1.06 * deviation * len(values) ** (-1 / 5))
    distinct = sorted(set(values))
    gap = max(b - a for a, b in pairwise(distinct))
    assert rule_of_thumb_kappa(labels, 3.0) == pytest.approx(3.0 * gap)


def test_rc49_has_the_published_bandwidths() -> None:
    # 450 odd tenths of a degree, 25 images each: sigma .0474, kappa .00444, nu 50625 in the CcGAN code's logs.
    labels = np.repeat(np.arange(1, 900, 2) / 10 / 90, 25).astype(np.float64)
    vicinity = SoftVicinity(labels)
    assert vicinity.sigma == pytest.approx(0.0474, abs=1e-4)
    assert vicinity.kappa == pytest.approx(0.00444, abs=1e-5)
    assert vicinity.nu == pytest.approx(50625, rel=1e-6)


def test_kappa_spans_unseen_labels_of_a_negative_range() -> None:
    space = LabelSpace("scalar", name="steering angle", unit="degree", minimum=-80.0, maximum=80.0)
    labels = space.normalise(np.array([-80.0, -79.0, -40.0, 0.0, 0.0, 80.0]))
    assert rule_of_thumb_kappa(labels, 1.0) == pytest.approx(80 / 160)
    drawn = SoftVicinity(labels, multiplier=1.0).draw(500, np.random.default_rng(1))
    assert set(drawn.rows.tolist()) == set(range(6))


def test_equal_labels_are_refused() -> None:
    with pytest.raises(DataError, match="at least 2 distinct values"):
        SoftVicinity(np.full(5, 0.3, np.float32))


@pytest.mark.parametrize(("sigma", "kappa"), [(None, None), (0.3, 0.004), (0.0, 0.02)])
def test_draws_equal_a_scan_of_all_labels(sigma: float | None, kappa: float | None) -> None:
    labels = some_labels()
    vicinity = SoftVicinity(labels, sigma=sigma, kappa=kappa)
    drawn = vicinity.draw(400, np.random.default_rng(2))
    nu = 1 / vicinity.kappa**2
    for target, row, fake, real_weight, fake_weight in zip(
        drawn.targets, drawn.rows, drawn.fake_labels, drawn.real_weights, drawn.fake_weights, strict=True
    ):
        near = [i for i, label in enumerate(labels) if math.exp(-nu * (label - target) ** 2) >= LEAST_WEIGHT * 0.99]
        assert row in near
        assert real_weight == pytest.approx(math.exp(-nu * (labels[row] - target) ** 2), rel=1e-2, abs=1e-6)
        assert fake_weight == pytest.approx(math.exp(-nu * (fake - target) ** 2), rel=1e-2, abs=1e-6)
        assert fake_weight >= LEAST_WEIGHT * 0.99
        assert 0 <= fake <= 1


def test_real_images_of_a_vicinity_are_equally_likely() -> None:
    labels = np.array([0.0, 0.5, 0.5, 0.5, 1.0])
    vicinity = SoftVicinity(labels, sigma=1e-6, kappa=0.01)
    drawn = vicinity.draw(30_000, np.random.default_rng(3))
    counts = np.bincount(drawn.rows, minlength=5) / 30_000
    # Targets are uniform over the three distinct labels, then rows uniform within a label.
    np.testing.assert_allclose(counts, [1 / 3, 1 / 9, 1 / 9, 1 / 9, 1 / 3], atol=0.015)


def test_fake_labels_are_uniform_in_the_vicinity() -> None:
    vicinity = SoftVicinity(np.array([0.0, 0.5, 1.0]), sigma=0.0, kappa=0.05)
    drawn = vicinity.draw(30_000, np.random.default_rng(4))
    middle = drawn.targets == 0.5
    position = (drawn.fake_labels[middle] - 0.5) / vicinity.reach
    quantiles = np.quantile(position, [0.0, 0.25, 0.5, 0.75, 1.0])
    np.testing.assert_allclose(quantiles, [-1.0, -0.5, 0.0, 0.5, 1.0], atol=0.03)


def test_a_hopeless_target_moves_to_the_nearest_label() -> None:
    # Noise so large and vicinities so small that nearly every target is empty, even when redrawn.
    labels = np.array([0.0, 0.25, 1.0])
    vicinity = SoftVicinity(labels, sigma=1e4, kappa=1e-9)
    drawn = vicinity.draw(300, np.random.default_rng(5))
    np.testing.assert_allclose(drawn.targets, labels[drawn.rows])
    assert set(drawn.rows.tolist()) == {0, 2}


def test_labels_beyond_the_space_keep_a_valid_interval() -> None:
    drawn = SoftVicinity(np.array([-0.5, 0.2, 1.4]), kappa=0.05, sigma=0.2).draw(500, np.random.default_rng(6))
    assert np.isfinite(drawn.fake_labels).all()
    assert drawn.fake_labels.min() >= -0.5
    assert drawn.fake_labels.max() <= 1.4
    assert (drawn.fake_weights >= LEAST_WEIGHT * 0.99).all()


def test_a_draw_is_a_function_of_its_generator() -> None:
    vicinity = SoftVicinity(some_labels())
    first, second = (vicinity.draw(50, np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(first.rows, second.rows)
    np.testing.assert_array_equal(first.fake_labels, second.fake_labels)
