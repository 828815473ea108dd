"""Binary search in groups against loops over all rows."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from generators.vicinities.ordered import OrderedGroups, distinct_rows


@pytest.mark.parametrize("count", [1, 2, 300])
def test_ranges_hold_exactly_the_rows_of_the_interval(count: int) -> None:
    rng = np.random.default_rng(count)
    groups, values = rng.integers(count, size=400), np.round(rng.normal(0, 3, 400), 1)
    ordered = OrderedGroups(groups, values, count)
    asked = rng.integers(count, size=200)
    # Some bounds are values themselves, and some intervals hold nothing.
    low = np.where(rng.random(200) < 0.5, rng.choice(values, 200), rng.normal(0, 4, 200))
    high = low + rng.choice([0.0, 0.05, 1.0, 20.0], 200)
    firsts, ends = ordered.ranges(asked, low, high)
    for group, a, b, first, end in zip(asked, low, high, firsts, ends, strict=True):
        expected = {i for i in range(400) if groups[i] == group and a <= values[i] <= b}
        assert set(ordered.order[first:end].tolist()) == expected
        assert end - first == len(expected)


@pytest.mark.parametrize("count", [1, 7])
@pytest.mark.parametrize("images", [1, 3, 50, 10_000])
def test_the_distance_to_the_nearest_equals_the_sorted_distances(count: int, images: int) -> None:
    rng = np.random.default_rng(images)
    groups, values = rng.integers(count, size=500), np.round(rng.normal(0, 1, 500), 2)
    ordered = OrderedGroups(groups, values, count)
    asked = rng.integers(count, size=300)
    targets = np.where(rng.random(300) < 0.5, rng.choice(values, 300), rng.normal(0, 3, 300))
    distances = ordered.distance_to_nearest(asked, targets, images)
    nearest = ordered.nearest(asked, targets)
    for i in range(300):
        own = values[groups == asked[i]]
        by_distance = np.sort(np.abs(own - targets[i]))
        assert distances[i] == pytest.approx(by_distance[min(images, len(own)) - 1], abs=1e-11)
        assert abs(nearest[i] - targets[i]) == pytest.approx(by_distance[0], abs=1e-11)
        assert nearest[i] in own


def test_rounded_keys_of_many_groups_lose_no_value_at_an_end() -> None:
    # Added to a large group number, neighbouring values fall together.
    rng = np.random.default_rng(0)
    values, groups = rng.random(20_000), rng.integers(2000, size=20_000)
    twins = np.r_[values, np.nextafter(values, 1.0)]
    ordered = OrderedGroups(np.r_[groups, groups], twins, 2000)
    firsts, ends = ordered.ranges(groups, values, values)
    for row, first, end in zip(range(20_000), firsts, ends, strict=True):
        found = ordered.order[first:end].tolist()
        assert row in found
        assert set(found) <= {row, row + 20_000}


@pytest.mark.parametrize("values", [[0.3, 0.3, 0.3], [1e6, 1e6 + 1, -1e6], [0.0, 1e-300, 1.0]])
def test_extreme_values_are_found_in_their_groups(values: list[float]) -> None:
    groups = np.repeat([0, 1], 3)
    ordered = OrderedGroups(groups, np.tile(values, 2), 2)
    for group, value in itertools.product([0, 1], values):
        for reach in (0.0, 1e300):
            asked = np.array([group])
            (first,), (end,) = ordered.ranges(asked, np.array([value - reach]), np.array([value + reach]))
            found = set(ordered.order[first:end].tolist())
            same = {3 * group + i for i in range(3) if reach or values[i] == value}
            assert same <= found <= {3 * group, 3 * group + 1, 3 * group + 2}
            assert found == same or reach == 0


def test_distinct_rows_stand_together_once_each() -> None:
    rng = np.random.default_rng(3)
    groups, points = rng.integers(3, size=200), rng.integers(4, size=(200, 2)) / 4
    order, starts = distinct_rows(groups, points)
    labels = [(group, *point) for group, point in zip(groups.tolist(), points.tolist(), strict=True)]
    assert sorted(order.tolist()) == list(range(200))
    assert [labels[row] for row in order] == sorted(labels)
    assert [labels[row] for row in order[starts]] == sorted(set(labels))
