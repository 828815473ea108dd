"""The gap of Gaussians whose total variation distance is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from filters.audit.equal_images import first_of_each
from filters.audit.two_sample import LEAST_SAMPLES, null_gaps, two_sample_gap


def gaussians(count: int, size: int, seed: int, shift: float = 0.0, spread: float = 1.0) -> np.ndarray:
    samples = spread * np.random.default_rng(seed).normal(size=(count, size))
    samples[:, 0] += shift
    return samples.astype(np.float32)


@pytest.mark.parametrize("shift", [0.5, 1.0, 2.5])
def test_shifted_gaussians_are_estimated_below_and_near(shift):
    known = 2 * norm.cdf(shift / 2) - 1
    found = two_sample_gap(gaussians(1500, 8, 0), gaussians(3000, 8, 1, shift), seed=0)
    assert found.value < known + 3 * found.error
    assert found.value > known - 0.04 - 3 * found.error
    assert found.error < 0.025


def test_a_lack_of_spread_is_seen():
    # Ten dimensions of deviation 1 and 0.6: a linear classifier alone would find nothing.
    found = two_sample_gap(gaussians(1000, 10, 0), gaussians(1000, 10, 1, spread=0.6), seed=0)
    assert found.value > 0.5


def test_equal_distributions_are_within_the_noise():
    first = gaussians(400, 16, 0)
    found = two_sample_gap(first, gaussians(900, 16, 1), seed=0)
    null = null_gaps(first, seed=1)
    assert abs(found.value) < 3 * found.error
    assert null.shape == (20,)
    assert abs(null.mean()) < 0.06
    assert found.value < np.quantile(null, 0.95) + found.error


def test_repeated_samples_would_be_recognised_so_the_first_of_each_is_kept():
    def noise(count, seed):
        return np.random.default_rng(seed).integers(0, 256, (count, 1, 2, 4), dtype=np.uint8)

    first, second = noise(60, 0), noise(40, 1)[np.random.default_rng(2).integers(0, 40, 240)]
    flat = [images.reshape(len(images), -1).astype(np.float32) for images in (first, second)]
    assert two_sample_gap(*flat, seed=0).value > 0.15
    kept = first_of_each(second)
    assert len(kept) == len(np.unique(flat[1], axis=0)) < 240
    assert (np.diff(kept) > 0).all()
    assert all((second[:row] != second[row]).any(axis=(1, 2, 3)).all() for row in kept)
    found = two_sample_gap(flat[0], flat[1][kept], seed=0)
    assert abs(found.value) < 3 * found.error


def test_error_is_the_deviation_over_fresh_samples():
    found = [two_sample_gap(gaussians(200, 2, 2 * k, 1.0), gaussians(200, 2, 2 * k + 1), seed=k) for k in range(60)]
    assert np.std([gap.value for gap in found]) == pytest.approx(np.mean([gap.error for gap in found]), rel=0.3)


def test_same_seed_same_number_and_constants_are_ignored():
    first, second = gaussians(100, 4, 0), gaussians(120, 4, 1, 1.0)
    found = two_sample_gap(first, second, seed=3)
    assert found == two_sample_gap(first, second, seed=3)
    constant = [np.hstack([part, np.full((len(part), 1), 7.0)]) for part in (first, second)]
    assert two_sample_gap(*constant, seed=3) == found
    flat = two_sample_gap(np.ones((50, 2)), np.ones((50, 2)), seed=0)
    assert flat.value == 0.0


def test_too_few_samples_are_refused():
    with pytest.raises(ValueError, match=f"at least {LEAST_SAMPLES} a side, got 19 and 50"):
        two_sample_gap(gaussians(19, 2, 0), gaussians(50, 2, 1), seed=0)
