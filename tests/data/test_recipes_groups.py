"""Comparative groups: distinct, uniform, whatever is left out, and bound to the set that they index."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from data.errors import ConfigError, DataError
from data.labels import LabelSpace
from data.reading import open_set
from data.recipes import groups as module
from data.recipes.groups import Groups, available_groups, groups_of_rows, read_groups, sample_groups, write_groups
from data.writing import write_set


def every(rows: int, positive: int, negative: int) -> set[tuple[tuple[int, ...], tuple[int, ...]]]:
    return {
        (first, second)
        for first in combinations(range(rows), positive)
        for second in combinations(sorted(set(range(rows)) - set(first)), negative)
    }


def pairs_of(found: tuple[Any, Any]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    return [(tuple(a), tuple(b)) for a, b in zip(found[0].tolist(), found[1].tolist(), strict=True)]


SIZES = [(5, 1, 1), (6, 2, 1), (6, 1, 2), (7, 2, 2), (6, 3, 3), (4, 4, 0), (9, 1, 3)]


@pytest.mark.parametrize(("rows", "positive", "negative"), [sizes for sizes in SIZES if sizes[2]])
@pytest.mark.parametrize("numbered", [True, False])
def test_all_comparisons_are_each_drawn_once(
    rows: int, positive: int, negative: int, numbered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not numbered:
        monkeypatch.setattr(module, "_MOST_NUMBERED", 0)
    expected = every(rows, positive, negative)
    assert available_groups(rows, positive, negative) == len(expected)
    found = pairs_of(sample_groups(rows, positive, negative, len(expected), 3))
    assert len(found) == len(expected)
    assert set(found) == expected


@pytest.mark.parametrize("numbered", [True, False])
def test_every_comparison_is_as_likely_as_any_other(numbered: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not numbered:
        monkeypatch.setattr(module, "_MOST_NUMBERED", 0)
    everything = sorted(every(6, 2, 1))
    counts = Counter(pair for seed in range(600) for pair in pairs_of(sample_groups(6, 2, 1, 10, seed)))
    observed = [counts[pair] for pair in everything]
    assert stats.chisquare(observed).pvalue > 1e-3
    # The order is random as well: which one comes first is no matter of its rows.
    first = Counter(pairs_of(sample_groups(6, 2, 1, 10, seed))[0] for seed in range(600))
    assert stats.chisquare([first[pair] for pair in everything]).pvalue > 1e-3


@pytest.mark.parametrize(("rows", "positive", "negative"), [(1600, 1, 1), (50_000, 2, 2), (300, 20, 20)])
def test_a_million_are_distinct_and_disjoint(rows: int, positive: int, negative: int) -> None:
    count = 1_000_000 if positive < 20 else 20_000
    first, second = sample_groups(rows, positive, negative, count, 1)
    assert (first.shape, second.shape) == ((count, positive), (count, negative))
    both = np.concatenate([first, second], axis=1)
    assert 0 <= both.min() <= both.max() < rows
    ordered = np.sort(both, axis=1)
    assert (ordered[:, 1:] > ordered[:, :-1]).all()
    assert (np.diff(first, axis=1) > 0).all()
    assert (np.diff(second, axis=1) > 0).all()
    assert len(np.unique(both.view([("", both.dtype)] * both.shape[1]))) == count
    assert np.bincount(both.ravel(), minlength=rows).min() > 0


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((50_000, 8, 8, 1000, 7), "28564f671f9caaee"),
        ((1000, 4, 3, 1000, 7), "159c11b55fabdd1b"),
        ((1600, 1, 1, 1000, 7), "7947a058abc840d7"),
    ],
)
def test_results_of_a_seed_stay_as_they_are(arguments: tuple[int, int, int, int, int], expected: str) -> None:
    # Published tables rest on these very draws.
    first, second = sample_groups(*arguments)
    assert hashlib.sha256(first.tobytes() + second.tobytes()).hexdigest()[:16] == expected


def test_the_seed_decides() -> None:
    assert pairs_of(sample_groups(50, 2, 1, 9, 4)) == pairs_of(sample_groups(50, 2, 1, 9, 4))
    assert pairs_of(sample_groups(50, 2, 1, 9, 4)) != pairs_of(sample_groups(50, 2, 1, 9, 5))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((5, 0, 1, 1), "groups must have at least one row each, got 0 and 1"),
        (
            (5, 1, 1, 21),
            "count must lie between 1 and the 20 distinct comparisons of 1 with 1 of 5 rows, got 21; try 20",
        ),
        ((5, 1, 1, 0), "got 0"),
        ((3, 2, 2, 1), "the 0 distinct comparisons"),
        ((3, 4, 1, 1), "the 0 distinct comparisons"),
    ],
)
def test_what_cannot_be_is_refused(arguments: tuple[int, int, int, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        sample_groups(*arguments, seed=0)


@pytest.fixture
def real(tmp_path: Path) -> Path:
    space = LabelSpace("class", ("a", "b"))
    rng = np.random.default_rng(0)
    columns = {
        "images": rng.integers(0, 256, (30, 1, 4, 4)).astype(np.uint8),
        "labels": rng.integers(0, 2, 30),
        "split": (np.arange(30) % 3).astype(np.uint8),
        "source_row": np.arange(30),
    }
    write_set(tmp_path / "real.h5", columns, kind="real", label_space=space, provenance={}, license="CC0-1.0")
    return tmp_path / "real.h5"


def test_a_file_holds_comparisons_of_training_rows_and_the_digest_of_their_set(real: Path, tmp_path: Path) -> None:
    images = open_set(real)
    digest = write_groups(tmp_path / "pairs.h5", images, 2, 1, 40, 6)
    found = read_groups(tmp_path / "pairs.h5")
    assert (found.of, found.content_sha256) == (images.content_sha256, digest)
    assert found.positive.shape == (40, 2)
    assert set(np.concatenate([found.positive, found.negative], axis=1).ravel() % 3) == {0}
    first, second = sample_groups(10, 2, 1, 40, 6)
    np.testing.assert_array_equal(found.positive, first * 3)
    np.testing.assert_array_equal(found.negative, second * 3)
    # Back at the places among the training rows.
    rows = np.arange(0, 30, 3)
    places = groups_of_rows(found, images, rows, "recipe")
    np.testing.assert_array_equal(places[0], first)
    np.testing.assert_array_equal(places[1], second)
    again = tmp_path / "again.h5"
    assert write_groups(again, images, 2, 1, 40, 6) == digest
    assert again.read_bytes() == (tmp_path / "pairs.h5").read_bytes()


def test_recipes_of_other_sets_or_rows_are_refused(real: Path, tmp_path: Path) -> None:
    images = open_set(real)
    write_groups(tmp_path / "pairs.h5", images, 1, 1, 5, 0)
    found = read_groups(tmp_path / "pairs.h5")
    with pytest.raises(DataError, match=r"recipe must be of the set .* got one of 0123"):
        groups_of_rows(Groups(found.positive, found.negative, "0123", ""), images, np.arange(0, 30, 3), "recipe")
    with pytest.raises(DataError, match="recipe must compare training rows alone"):
        groups_of_rows(found, images, np.arange(1, 30, 3), "recipe")
    with pytest.raises(DataError, match="must hold comparative groups, got a set of kind 'real'"):
        read_groups(real)


def test_a_row_that_meets_itself_is_refused(tmp_path: Path) -> None:
    write: Callable[..., str] = write_set
    write(
        tmp_path / "twice.h5",
        {"positive": np.array([[1, 2]]), "negative": np.array([[2]])},
        kind="groups", label_space=LabelSpace("class", ("a", "b")), provenance={"of": "x"}, license="CC0-1.0",
    )  # fmt: skip
    with pytest.raises(DataError, match="every comparison must be of different rows"):
        read_groups(tmp_path / "twice.h5")
