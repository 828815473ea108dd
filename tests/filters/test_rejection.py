"""Rejection sampling against known densities, explicit loops and its edge cases."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from data.errors import StageError
from filters.groups import group_mean
from filters.rejection import acceptance, calibrate, effective_sample_size, resample, running_bounds

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


def accept(ratios, groups, uniforms, calibration) -> np.ndarray:
    return uniforms <= acceptance(ratios, groups, calibration)


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
        assert calibration.acceptance[group] == pytest.approx(np.mean(clipped / bound))
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


def test_labels_without_a_usable_ratio_are_flagged_and_not_subsampled() -> None:
    groups = np.array([0, 0, 1, 1])
    ratios = np.array([1.0, 1.0, 0.0, 0.0])
    calibration = calibrate(ratios, groups, 3)
    assert calibration.usable.tolist() == [True, False, False]
    assert np.isfinite(calibration.bound).all()
    assert (calibration.bound > 0).all()
    assert calibration.acceptance.tolist() == [1.0, 1.0, 1.0]
    assert acceptance(np.array([0.5, 1.0, 0.0, 0.3]), groups, calibration).tolist() == [0.5, 1.0, 1.0, 1.0]


def test_running_bounds_equal_a_loop_over_rounds_of_any_size() -> None:
    rng = np.random.default_rng(5)
    burn_in_groups = np.repeat(np.arange(3), 20)
    calibration = calibrate(rng.lognormal(0, 1, 60), burn_in_groups, 3, 1.0)
    groups = np.repeat(np.arange(3), 100)
    ratios = rng.lognormal(0, 1.5, 300).astype(np.float32)
    expected, largest = np.zeros(300), calibration.bound.copy()
    for row in range(300):
        weight = ratios[row] * calibration.scale[groups[row]]
        largest[groups[row]] = max(largest[groups[row]], weight)
        expected[row] = largest[groups[row]]
    assert (np.diff(expected[:100]) > 0).sum() > 1
    for size in (1, 7, 100):
        reached, found = calibration.bound.copy(), np.zeros(300)
        for start in range(0, 100, size):
            rows = np.flatnonzero((np.arange(300) % 100 >= start) & (np.arange(300) % 100 < start + size))
            found[rows] = running_bounds(ratios[rows], groups[rows], calibration, reached)
            np.maximum.at(reached, groups[rows], found[rows])
        np.testing.assert_array_equal(found, expected)
    chances = acceptance(ratios, groups, calibration, expected)
    assert chances.max() == 1.0
    np.testing.assert_allclose(chances, ratios * calibration.scale[groups] / expected)


def test_resampling_takes_every_row_as_often_as_its_weight_says() -> None:
    rows, wanted, trials = 40, 12, 10_000
    weights = np.random.default_rng(8).lognormal(0, 0.5, rows)
    shares = wanted * weights / weights.sum()
    assert 0.6 < shares.max() < 1
    groups = np.repeat(np.arange(trials), rows)
    uniforms = np.random.default_rng(9).random(trials * rows)
    chosen = resample(np.tile(weights, trials), groups, np.full(trials, wanted), uniforms).reshape(trials, rows)
    assert (chosen.sum(axis=1) == wanted).all()
    error = np.sqrt(shares * (1 - shares) / trials)
    assert (np.abs(chosen.mean(axis=0) - shares) < 4 * error).all()
    # Drawing one after another by weight (Efraimidis & Spirakis 2006) takes the heaviest rows too seldom.
    keys = (np.log(uniforms) / np.tile(weights, trials)).reshape(trials, rows)
    one_by_one = (np.argsort(np.argsort(-keys, axis=1), axis=1) < wanted).mean(axis=0)
    assert np.abs(one_by_one - shares).max() > 10 * error.max()


def test_rows_that_would_be_taken_more_than_once_are_taken() -> None:
    trials = 4000
    weights, groups = np.tile([1.0] * 20 + [1000.0, 30.0], trials), np.repeat(np.arange(trials), 22)
    uniforms = np.random.default_rng(10).random(22 * trials)
    chosen = resample(weights, groups, np.full(trials, 4), uniforms).reshape(trials, 22)
    # The other two of four images are shared by twenty equal rows.
    assert chosen[:, 20:].all()
    assert (chosen.sum(axis=1) == 4).all()
    assert np.abs(chosen[:, :20].mean(axis=0) - 0.1).max() < 4 * np.sqrt(0.09 / trials)


def test_resampling_takes_weightless_rows_last_and_as_many_as_asked_for() -> None:
    weights = np.array([0.0, 1e-320, 3.0, 0.0, 0.0, 1.0, 0.0])
    groups = np.array([0, 0, 0, 0, 2, 2, 2])
    uniforms = np.random.default_rng(7).random(7)
    for wanted in range(5):
        chosen = resample(weights, groups, np.array([wanted, 0, min(wanted, 2)]), uniforms)
        assert [chosen[groups == 0].sum(), chosen[groups == 2].sum()] == [wanted, min(wanted, 2)]
        assert chosen[2] == (wanted > 0)
        assert chosen[5] == (wanted > 0)
    assert not resample(weights, groups, np.zeros(3, np.int64), uniforms).any()


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
