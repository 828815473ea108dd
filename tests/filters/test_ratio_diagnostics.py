"""Figures of a finished ratio against scipy, closed forms and loops; each fault has its sentence."""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy import stats

from filters.ratio_diagnostics import area_under_curve, fault, rate_held_out


@pytest.mark.parametrize("decimals", [0, 1, 8])
def test_the_area_is_that_of_scipy_ties_included(decimals: int) -> None:
    rng = np.random.default_rng(0)
    fakes, reals = np.round(rng.exponential(1, 70), decimals), np.round(rng.exponential(2, 40), decimals)
    expected = stats.mannwhitneyu(reals, fakes).statistic / (70 * 40)
    assert area_under_curve(fakes, reals) == pytest.approx(expected, abs=1e-12)


def test_the_true_ratio_of_two_gaussians_gives_the_known_figures() -> None:
    """Real N(m, 1), fake N(0, 1): E_r[w] = E_g[w^2] = exp(m^2), and the area is Phi(m / sqrt 2)."""
    shift, rng = 0.6, np.random.default_rng(0)
    fakes, reals = rng.standard_normal(400_000), shift + rng.standard_normal(400_000)
    figures = rate_held_out(np.exp(shift * fakes - shift**2 / 2), np.exp(shift * reals - shift**2 / 2))
    assert figures["validation_fake_mean"] == pytest.approx(1.0, abs=0.01)
    assert figures["validation_real_mean"] == pytest.approx(np.exp(shift**2), rel=0.01)
    assert figures["validation_effective_share"] == pytest.approx(np.exp(-(shift**2)), rel=0.02)
    assert figures["validation_auc"] == pytest.approx(stats.norm.cdf(shift / np.sqrt(2)), abs=0.002)
    assert fault(figures, fakes, len(reals)) is None


@pytest.mark.parametrize(
    ("fakes", "reals", "words"),
    [
        (np.zeros(50), np.zeros(10), "0 for each of 50 fresh generated images.*penalty_weight"),
        (np.linspace(0, 1, 50), np.linspace(1.1, 2, 10), r"in 100\.0% of all pairs.*worth 74%.*ratio\.features"),
        (np.full(50, 1.001), np.full(10, 1.001), r"same for all generated images \(mean 1\.001, deviation 0\.000\)"),
        (np.linspace(0, 2, 50), np.linspace(0.5, 3, 10), None),
        (np.linspace(1, 2, 50), np.linspace(0.4, 1.2, 10), r"above a generated one in only \d\.\d% of all pairs"),
        (np.linspace(1, 2, 50), np.linspace(0.9, 1.9, 10), None),
    ],
)
def test_a_ratio_that_is_no_use_is_told(fakes: np.ndarray, reals: np.ndarray, words: str | None) -> None:
    sentence = fault(rate_held_out(fakes, reals), fakes, len(reals))
    if words is None:
        assert sentence is None
        return
    assert sentence is not None
    assert len(sentence.rstrip(".").split(". ")) == 1
    assert re.search(words, sentence)
