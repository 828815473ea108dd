"""Rows taken evenly over groups, against a loop that deals them out one by one."""

import numpy as np
import pytest

from filters.amount import even_rows, even_sizes


def dealt(sizes, count):
    taken = [0] * len(sizes)
    while count and any(one < size for one, size in zip(taken, sizes, strict=True)):
        least = min(one for one, size in zip(taken, sizes, strict=True) if one < size)
        place = next(k for k, size in enumerate(sizes) if taken[k] == least < size)
        taken[place] += 1
        count -= 1
    return taken


@pytest.mark.parametrize("sizes", [[5, 0, 2, 9], [3], [4, 4, 4], [0, 0], [1, 30, 1, 7, 7]])
def test_sizes_are_those_of_dealing_one_by_one(sizes):
    before = np.zeros(len(sizes), int)
    for count in range(sum(sizes) + 3):
        found = even_sizes(np.array(sizes), count)
        assert found.tolist() == dealt(sizes, count)
        assert (found >= before).all()
        before = found


def test_rows_are_the_first_of_each_group_and_nested():
    rng = np.random.default_rng(0)
    groups = rng.choice([0, 1, 1, 1, 3], 80)
    before = set()
    for count in (1, 7, 31, 80, 200):
        rows = even_rows(groups, 4, count).tolist()
        sizes = even_sizes(np.bincount(groups, minlength=4), count)
        expected = [row for group in range(4) for row in np.flatnonzero(groups == group)[: sizes[group]].tolist()]
        assert rows == sorted(expected)
        assert len(rows) == min(count, 80)
        assert before <= set(rows)
        before = set(rows)
    assert even_rows(groups, 4, 0).tolist() == []


def test_a_negative_count_is_refused():
    with pytest.raises(ValueError, match="count must be at least 0, got -1"):
        even_sizes(np.array([3]), -1)
