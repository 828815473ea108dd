"""Vicinities of vectors where grids and trees are at their limits, against loops over all labels."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from generators.vicinities.boxes import Boxes
from generators.vicinities.forms import FORMS, Form, inside, reach_in_kappas
from generators.vicinities.neighbours import Neighbours

Points = npt.NDArray[np.float64]


def found_rows(finder: Boxes | Neighbours, targets: Points, seed: int = 0) -> tuple[npt.NDArray[np.int64], Points]:
    """A row for each target, -1 for none, and the half-widths."""
    rng = np.random.default_rng(seed)
    firsts, ends, kappas = finder.find(np.zeros(len(targets), np.int64), targets, rng)
    positions = firsts + np.floor(rng.random(len(targets)) * (ends - firsts)).astype(np.int64)
    return np.where(ends > firsts, finder.order[np.minimum(positions, ends.max())], -1), kappas


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dimensions", [2, 3, 4, 6, 8])
def test_boxes_of_any_number_of_dimensions_equal_a_scan(dimensions: int, form: Form) -> None:
    rng = np.random.default_rng(dimensions)
    points = rng.random((150, dimensions)) * np.linspace(1, 3, dimensions)
    # Vicinities of equal reach in every form, so that 800 draws meet all of their labels.
    kappa = 0.2 * np.linspace(1, 2, dimensions) * dimensions**0.5 / reach_in_kappas(form)
    targets = points[rng.integers(150, size=40)] + rng.normal(0, 0.2, (40, dimensions))
    finder = Boxes(points, form=form, kappa=kappa)
    rows, _ = found_rows(finder, np.repeat(targets, 800, axis=0))
    empty = 0
    for target, chosen in zip(targets, rows.reshape(40, 800), strict=True):
        expected = np.flatnonzero(inside(form, points - target, kappa))
        empty += not len(expected)
        assert set(chosen.tolist()) == (set(expected.tolist()) or {-1})
    assert empty < 40


def test_a_crowd_just_outside_the_vicinity_hides_nobody() -> None:
    # Candidates of the surrounding columns are nearly all outside; the one inside is found, and no one otherwise.
    rng = np.random.default_rng(0)
    crowd = np.column_stack([rng.uniform(0.101, 0.11, 5000), rng.uniform(-0.05, 0.05, 5000)])
    points = np.r_[crowd, [[0.05, 0.01]], crowd + 10, [[20.0, 20.0]]]
    finder = Boxes(points, form="hard", kappa=np.array([0.1, 0.1]))
    targets = np.repeat([[0.0, 0.0], [10.0, 0.0], [10.0, 10.0], [-1e9, 1e12]], 30, axis=0)
    rows, _ = found_rows(finder, targets)
    np.testing.assert_array_equal(rows, np.repeat([5000, -1, -1, -1], 30))


@pytest.mark.parametrize("kappa", [1e-12, 1e-3, 1e6])
def test_tiny_and_huge_half_widths_keep_the_grid_in_bounds(kappa: float) -> None:
    points = np.random.default_rng(1).random((300, 4))
    finder = Boxes(points, form="hybrid", kappa=np.full(4, kappa))
    rows, _ = found_rows(finder, points)
    if kappa < 1:
        np.testing.assert_array_equal(rows, np.arange(300))
    else:
        assert len(set(rows.tolist())) > 150


def test_a_dimension_in_which_nothing_varies_is_no_hindrance() -> None:
    points = np.column_stack([np.linspace(0, 1, 50), np.full(50, 0.4)])
    rows, _ = found_rows(Boxes(points, form="soft", kappa=np.array([1e-4, 0.1])), points)
    np.testing.assert_array_equal(rows, np.arange(50))


@pytest.mark.parametrize("form", FORMS)
def test_adaptive_boxes_take_in_all_ties_of_a_grid(form: Form) -> None:
    # From a grid point, the eight neighbours are all at the same distance: asking for 2 images gives 9.
    points = np.repeat(np.array(list(itertools.product(range(9), range(9))), np.float64), 3, axis=0)
    finder = Neighbours(points, form=form, scales=np.ones(2), images=4)
    rows, kappas = found_rows(finder, np.repeat([[4.0, 4.0]], 20_000, axis=0))
    np.testing.assert_allclose(kappas, 1.0, atol=1e-5)
    expected = np.flatnonzero(inside(form, points - [4.0, 4.0], np.array([1.000001, 1.000001])))
    assert len(expected) == (27 if form != "soft" else 21 * 3)
    counts = np.bincount(rows, minlength=len(points))
    assert set(np.flatnonzero(counts).tolist()) == set(expected.tolist())
    assert stats.chisquare(counts[expected]).pvalue > 1e-4


def test_an_ellipsoid_of_many_dimensions_may_miss_its_own_box() -> None:
    # All labels are at a corner of the box around the target, farther than the weight allows.
    corners = np.array(list(itertools.product([-1.0, 1.0], repeat=8)))
    finder = Neighbours(np.r_[corners, corners * 2], form="soft", scales=np.ones(8), images=3)
    rows, _ = found_rows(finder, np.r_[np.zeros((5, 8)), corners[:5]])
    assert set(rows[:5].tolist()) == {-1}
    assert (rows[5:] >= 0).all()
    np.testing.assert_array_equal(finder.nearest(np.zeros(1, np.int64), corners[:1] * 0.9), corners[:1])


def test_adaptive_half_widths_keep_the_proportions_of_their_scales() -> None:
    points = np.random.default_rng(2).random((200, 3)) * [1.0, 0.1, 5.0]
    scales = points.std(axis=0)
    _, kappas = found_rows(Neighbours(points, form="hybrid", scales=scales, images=20), points)
    np.testing.assert_allclose((kappas - 1e-6) / scales, ((kappas - 1e-6) / scales)[:, :1].repeat(3, axis=1))
    for point, kappa in zip(points, kappas, strict=True):
        distances = np.sort((np.abs(points - point) / scales).max(axis=1))
        assert kappa[0] == pytest.approx(distances[19] * scales[0] + 1e-6)
