"""Group statistics against NumPy, one group at a time."""

from __future__ import annotations

import numpy as np
import pytest

from filters.groups import group_mean, group_quantile, group_running_maximum


@pytest.mark.parametrize("quantile", [0.0, 0.1, 0.5, 0.9, 0.995, 1.0])
def test_quantiles_equal_numpy(quantile: float) -> None:
    rng = np.random.default_rng(0)
    groups = rng.choice([0, 1, 3, 4], 500, p=[0.4, 0.3, 0.298, 0.002])
    groups[:2] = 4
    values = rng.normal(size=500).astype(np.float32)
    found = group_quantile(values, groups, 6, quantile)
    for group in range(6):
        own = values[groups == group].astype(np.float64)
        if not own.size:
            assert np.isnan(found[group])
        else:
            assert found[group] == pytest.approx(np.quantile(own, quantile), rel=1e-12)
            if quantile == 1.0:
                assert found[group] == own.max()


def test_means_equal_a_loop() -> None:
    values, groups = np.array([1.0, 2.0, 6.0, 5.0]), np.array([0, 2, 2, 0])
    np.testing.assert_array_equal(group_mean(values, groups, 4), [3.0, 0.0, 4.0, 0.0])


def test_no_rows_at_all() -> None:
    nothing = np.zeros(0)
    assert np.isnan(group_quantile(nothing, nothing.astype(np.int64), 2, 0.5)).all()
    assert group_mean(nothing, nothing.astype(np.int64), 2).tolist() == [0.0, 0.0]


def test_a_quantile_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="must be in"):
        group_quantile(np.ones(2), np.zeros(2, np.int64), 1, 1.5)


def test_running_maxima_equal_a_loop():
    rng = np.random.default_rng(3)
    groups = np.sort(rng.choice([0, 2, 3, 7], 300))
    values = np.round(rng.lognormal(0, 3, 300), 1).astype(np.float32)
    found = group_running_maximum(values, groups)
    for row in range(300):
        assert found[row] == values[: row + 1][groups[: row + 1] == groups[row]].max()
    assert group_running_maximum(values[:0], groups[:0]).shape == (0,)


def test_running_maxima_of_unsorted_groups_are_refused():
    with pytest.raises(ValueError, match="must never fall"):
        group_running_maximum(np.ones(2), np.array([1, 0]))
