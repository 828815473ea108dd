"""The terms of the bound against Monte-Carlo and closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from filters.audit.bound import Bound, effective_images, error_bound, image_term


@pytest.mark.parametrize(("real", "synthetic", "fraction"), [(20, 300, 0.5), (50, 10, 0.75), (30, 30, 0.5)])
def test_effective_images_have_the_variance_of_a_mixed_mean(real, synthetic, fraction):
    rng = np.random.default_rng(0)
    first = rng.normal(size=(20_000, real)).mean(axis=1)
    second = rng.normal(size=(20_000, synthetic)).mean(axis=1)
    variance = np.var(fraction * first + (1 - fraction) * second)
    # The variance of a variance of 20,000 normal numbers is 2 / 20,000 of its square.
    assert 1 / variance == pytest.approx(effective_images(real, synthetic, fraction), rel=5 * np.sqrt(2 / 20_000))


def test_effective_images_of_a_share_like_that_of_the_set_are_all_images():
    assert effective_images(100, 300, 0.25) == pytest.approx(400)
    assert effective_images(100, 10**9, 0.5) == pytest.approx(400, rel=1e-6)


def test_image_term_bounds_the_mean_of_coins_and_not_by_much_more():
    rng = np.random.default_rng(1)
    for count in (100, 400):
        off = np.abs(rng.binomial(count, 0.5, 40_000) / count - 0.5)
        assert np.mean(off > image_term(count)) < 0.05
        assert np.mean(off > image_term(count) / 1.5) > 0.05
    assert image_term(400) == pytest.approx(np.sqrt(np.log(40) / 800))
    assert image_term(1) == 1.0


def test_bound_by_hand():
    found = error_bound(200, 18_000, 0.5, gap=0.2, noise=0.03)
    assert found.effective == pytest.approx(1 / (0.25 / 200 + 0.25 / 18_000))
    assert found.reachable == 800
    assert (found.gap, found.labels) == (pytest.approx(0.1), pytest.approx(0.015))
    assert found.alone == pytest.approx(2 * image_term(800))
    assert (found.largest, found.enough_synthetic) == ("gap", True)
    assert found.to_dict()["largest"] == "gap"
    few = error_bound(200, 100, 0.5, gap=-0.1, noise=0.03)
    assert (few.gap, few.largest, few.enough_synthetic) == (0.0, "images", False)
    assert error_bound(10**6, 10**6, 0.5, gap=0.0, noise=0.03).largest == "labels"


def test_unknown_gap_is_never_the_largest():
    found = error_bound(10**6, 10**6, 0.5, gap=None, noise=0.0)
    assert found.gap is None
    assert found.largest == "images"


def test_real_images_alone_are_the_limit_of_a_share_of_one():
    found: Bound = error_bound(500, 10, 1 - 1e-9, gap=1.0, noise=1.0)
    assert found.images == pytest.approx(found.alone)
    assert found.gap == pytest.approx(0.0, abs=1e-8)
