"""Rejection sampling against known densities, explicit loops and its edge cases."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from data.errors import StageError
from filters.groups import group_mean
from filters.rejection import accept, calibrate, effective_sample_size

TARGETS = [stats.norm(0.4, 0.8), stats.norm(-0.3, 0.7), stats.norm(0.0, 0.9)]
GENERATED = stats.norm(0.0, 1.0)
FACTORS = np.array([1.0, 0.2, 7.0])


def drawn(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Samples of the generator, their label index, and their ratio up to a factor of each label."""
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 3, count)
    values = rng.normal(size=count)
    ratios = np.stack([target.pdf(values) / GENERATED.pdf(values) for target in TARGETS])
    return values, groups, (ratios[groups, np.arange(count)] * FACTORS[groups]).astype(np.float32)


def test_accepted_samples_follow_their_targets() -> None:
    _, burn_in_groups, burn_in = drawn(60_000, 0)
    calibration = calibrate(burn_in, burn_in_groups, 3, quantile=1.0)
    values, groups, ratios = drawn(30_000, 1)
    kept = accept(ratios, groups, np.random.default_rng(2).random(30_000), calibration)
    for group, target in enumerate(TARGETS):
        accepted = values[kept & (groups == group)]
        assert len(accepted) > 2000
        assert stats.kstest(accepted, target.cdf).pvalue > 0.01
        assert stats.kstest(values[groups == group], target.cdf).pvalue < 1e-4  # before, they did not
    np.testing.assert_allclose(calibration.scale, 1 / FACTORS, rtol=0.02)


def test_calibration_equals_a_loop() -> None:
    _, groups, ratios = drawn(3000, 3)
    calibration = calibrate(ratios, groups, 3, quantile=0.99)
    uniforms = np.random.default_rng(4).random(3000)
    kept = accept(ratios, groups, uniforms, calibration)
    for group in range(3):
        own = ratios[groups == group].astype(np.float64)
        weights = own / own.mean()
        bound = np.quantile(weights, 0.99)
        clipped = np.minimum(weights, bound)
        assert calibration.scale[group] * own.mean() == pytest.approx(1.0)
        assert calibration.bound[group] == pytest.approx(bound)
        expected = clipped.sum() ** 2 / (clipped**2).sum() / len(own)
        assert calibration.effective_share[group] == pytest.approx(expected)
        np.testing.assert_array_equal(kept[groups == group], uniforms[groups == group] <= clipped / bound)
    expected_rates = [kept[groups == group].mean() for group in range(3)]
    np.testing.assert_allclose(group_mean(kept.astype(np.float64), groups, 3), expected_rates)


def test_effective_sample_size() -> None:
    weights, groups = np.array([1.0, 1.0, 5.0, 0.0, 0.0]), np.array([0, 0, 1, 1, 2])
    np.testing.assert_allclose(effective_sample_size(weights, groups, 4), [2.0, 1.0, 0.0, 0.0])


def test_equal_ratios_accept_everything() -> None:
    groups = np.arange(100) % 2
    calibration = calibrate(np.full(100, 0.3), groups, 2)
    np.testing.assert_allclose(calibration.effective_share, 1.0)
    uniforms = np.linspace(0.001, 0.999, 100)
    assert accept(np.full(100, 0.3), groups, uniforms, calibration).all()


def test_one_outlier_does_not_stop_sampling() -> None:
    ratios = np.ones(1000)
    ratios[0] = 1e6
    groups = np.zeros(1000, np.int64)
    calibration = calibrate(ratios, groups, 1, quantile=0.995)
    assert accept(ratios, groups, np.full(1000, 0.5), calibration).all()


def test_labels_without_a_usable_ratio_are_flagged_and_decided_by_the_caller() -> None:
    groups = np.array([0, 0, 1, 1])
    ratios = np.array([1.0, 1.0, 0.0, 0.0])
    calibration = calibrate(ratios, groups, 3)
    assert calibration.usable.tolist() == [True, False, False]
    assert np.isfinite(calibration.bound).all()
    assert (calibration.bound > 0).all()
    uniforms = np.full(4, 0.5)
    assert accept(ratios, groups, uniforms, calibration, "keep").tolist() == [True, True, True, True]
    assert accept(ratios, groups, uniforms, calibration, "drop").tolist() == [True, True, False, False]
    with pytest.raises(StageError, match="label index 1; try fallback 'keep'"):
        accept(ratios, groups, uniforms, calibration, "error")
    assert accept(ratios[:2], groups[:2], uniforms[:2], calibration, "error").all()
    with pytest.raises(ValueError, match="fallback must be"):
        accept(ratios, groups, uniforms, calibration, "retry")  # type: ignore[arg-type]


def test_mostly_zero_ratios_still_have_a_bound() -> None:
    ratios = np.zeros(1000)
    ratios[:2] = [3.0, 5.0]
    groups = np.zeros(1000, np.int64)
    calibration = calibrate(ratios, groups, 1, quantile=0.9)
    kept = accept(ratios, groups, np.full(1000, 0.55), calibration)
    assert np.flatnonzero(kept).tolist() == [0, 1]
    assert np.flatnonzero(accept(ratios, groups, np.full(1000, 0.7), calibration)).tolist() == [1]


def test_ratios_that_are_none_are_refused() -> None:
    groups = np.zeros(3, np.int64)
    for bad in (np.nan, np.inf, -1.0):
        with pytest.raises(StageError, match="got 1 of 3"):
            calibrate(np.array([1.0, bad, 1.0]), groups, 1)
    with pytest.raises(ValueError, match="quantile"):
        calibrate(np.ones(3), groups, 1, quantile=0.0)


@pytest.mark.parametrize("least", [0.05, 0.3, 0.6])
def test_least_acceptance_lowers_the_bound_no_further_than_it_must(least: float) -> None:
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(4), 400)
    ratios = rng.lognormal(0.0, np.array([0.1, 1.0, 3.0, 3.0])[groups])
    ratios[(groups == 3) & (rng.random(1600) < 0.8)] = 0.0
    free, limited = calibrate(ratios, groups, 4, 1.0), calibrate(ratios, groups, 4, 1.0, least)
    for label in range(4):
        mine = ratios[groups == label]
        weights = mine / mine.mean()

        def share(bound: float, weights: np.ndarray = weights) -> float:
            return float(np.minimum(weights, bound).mean() / bound)

        positive = np.sort(weights[weights > 0])
        allowed = [value for value in positive if share(value) >= least]
        expected = min(free.bound[label], allowed[-1] if allowed else positive[0])
        assert limited.bound[label] == pytest.approx(expected)
    assert limited.bound[0] == free.bound[0] or least == 0.6
    assert limited.bound[2] < free.bound[2]
