"""Related groups: every comparison of a relation comes and nothing else, as often as it should, within the cap."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from data.errors import ConfigError
from data.labels import Axis, LabelSpace
from data.reading import open_set
from data.recipes import drawing, near
from data.recipes.drawing import _with_room
from data.recipes.groups import read_groups, sample_groups, write_groups
from data.recipes.near import near_outputs, near_vectors
from data.recipes.places import leave_out
from data.recipes.relations import Relation, sample_related, similarity_points, write_related
from data.writing import write_set

CLASSES = LabelSpace("class", ("a", "b", "c"))
AGES = LabelSpace("scalar", name="age", unit="year", minimum=0.0, maximum=100.0)
POSES = LabelSpace("vector", axes=(Axis("yaw", "degree", 0.0, 360.0), Axis("pitch", "degree", -10.0, 10.0)))
SIZES = LabelSpace("class+scalar", ("a", "b"), "size", "cm", 0.0, 50.0)

Comparison = tuple[frozenset[int], frozenset[int]]
Case = tuple[Relation, LabelSpace, Any, Any, int]

OUTPUTS = np.random.default_rng(5).normal(size=(8, 3)).astype(np.float32) * 2
CASES: dict[str, Case] = {
    "uniform": ("uniform", CLASSES, np.array([0, 1, 1, 2, 0, 2]), None, 0),
    "same_class": ("same_class", CLASSES, np.array([0, 1, 0, 1, 0, 0, 1, 0, 2]), None, 0),
    "same_class+scalar": ("same_class", SIZES, np.array([[0, 3], [1, 4]] * 4, np.float32), None, 0),
    "different_class": ("different_class", CLASSES, np.array([0, 1, 0, 1, 0, 2, 1]), None, 0),
    "near_label": ("near_label", AGES, np.array([30, 1, 2, 50, 2.5, 33, 90], np.float32), None, 4),
    # Three of age 20 and neighbours at equal distances on both sides: all that tie count.
    "near_label ties": ("near_label", AGES, np.array([20, 10, 20, 30, 20, 60, 100], np.float32), None, 3),
    "near_label vector": (
        "near_label", POSES,
        np.array([[0, 0], [10, 0], [0, 1], [350, 9], [340, 9], [340, 9], [180, -9], [0, 1]], np.float32), None, 3,
    ),
    "near_label class+scalar": (
        "near_label", SIZES,
        np.array([[0, 1], [1, 1], [0, 2], [1, 3], [0, 30], [1, 30], [0, 31], [0, 1.5], [1, 4]], np.float32), None, 3,
    ),
    "teacher_similar": ("teacher_similar", CLASSES, np.array([0, 1, 2, 0, 1, 2, 0, 1]), OUTPUTS, 4),
    "teacher_similar values": ("teacher_similar", AGES, np.arange(8, dtype=np.float32), OUTPUTS[:, :1], 3),
}  # fmt: skip


def near_rows(case: Case, row: int) -> set[int]:
    """The rows near to one, from the definition: all distances, sorted."""
    relation, space, labels, outputs, neighbours = case
    count = len(labels)
    if relation == "teacher_similar":
        points = outputs.astype(np.float64)
        if space.kind == "class":
            points = np.exp(points) / np.exp(points).sum(axis=1, keepdims=True)
        distance = np.linalg.norm(points - points[row], axis=1)
    else:
        values = np.asarray(space.normalise(labels), np.float64).reshape(count, -1)
        distance = np.linalg.norm(values[:, -len(space.dimensions) :] - values[row, -len(space.dimensions) :], axis=1)
    others = [other for other in range(count) if other != row]
    if relation == "near_label" and space.has_classes:
        others = [other for other in others if labels[other, 0] == labels[row, 0]]
    last = sorted(distance[others])[: neighbours or None][-1]
    return {other for other in others if distance[other] <= last + 1e-7}


def weights(case: Case, positive: int, negative: int) -> dict[Comparison, int]:
    """All comparisons by their definition, each with the number of its positives that can be its anchor, else 1."""
    relation, space, labels = case[:3]
    classes = space.class_part(labels) if space.has_classes else np.zeros(len(labels))
    near = [near_rows(case, row) for row in range(len(labels))] if case[4] else []
    found = {}
    for first in combinations(range(len(labels)), positive):
        for second in combinations(sorted(set(range(len(labels))) - set(first)), negative):
            one, other = set(classes[list(first)]), set(classes[list(second)])
            weight = {
                "uniform": lambda: 1,
                "same_class": lambda one=one, other=other: int(len(one | other) == 1),
                "different_class": lambda one=one, other=other: int(len(one) == 1 and not one & other),
            }.get(relation, lambda a=first, b=second: sum({*a, *b} - {row} <= near[row] for row in a))()
            if weight:
                found[frozenset(first), frozenset(second)] = weight
    return found


def draw(case: Case, positive: int, negative: int, count: int, seed: int, **more: Any) -> list[Comparison]:
    relation, space, labels, outputs, neighbours = case
    first, second = sample_related(
        relation, labels, space, outputs, positive, negative, count, seed, neighbours=neighbours or 32, **more
    )
    assert (first.dtype, second.dtype) == (np.int64, np.int64)
    assert (first.shape[1], second.shape[1]) == (positive, negative)
    return [(frozenset(a), frozenset(b)) for a, b in zip(first.tolist(), second.tolist(), strict=True)]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("positive", "negative"), [(1, 1), (2, 1), (1, 2), (2, 2)])
def test_all_comparisons_of_a_relation_come_once_and_no_others(name: str, positive: int, negative: int) -> None:
    case = CASES[name]
    if case[4] and case[4] < positive + negative - 1:
        pytest.skip("more rows than are near")
    expected = weights(case, positive, negative)
    assert len(expected) >= 6
    found = draw(case, positive, negative, 10**6, 0)
    assert len(found) == len(expected)
    assert set(found) == set(expected)
    # With a cap that cannot bind, by another way.
    capped = draw(case, positive, negative, 10**6, 0, most_per_row=10**6)
    assert len(capped) == len(expected)
    assert set(capped) == set(expected)


@pytest.mark.parametrize("name", CASES)
def test_comparisons_come_as_often_as_is_said(name: str) -> None:
    expected = weights(CASES[name], 2, 1)
    names = list(expected)
    assert min(expected.values()) < max(expected.values()) or not CASES[name][4]
    for count, draws in ((1, 900), (3, 300)):
        seen = Counter(draw(CASES[name], 2, 1, count, seed)[0] for seed in range(draws))
        share = np.array([expected[item] for item in names]) / sum(expected.values())
        assert stats.chisquare([seen[item] for item in names], share * draws).pvalue > 1e-3
    if not CASES[name][4]:
        half = len(names) // 2
        every = Counter(item for seed in range(200) for item in draw(CASES[name], 2, 1, half, seed))
        assert stats.chisquare([every[item] for item in names]).pvalue > 1e-3


def big(relation: str) -> Case:
    rng = np.random.default_rng(1)
    classes = rng.integers(0, 3, 3000)
    if relation == "near_label":
        return relation, AGES, rng.uniform(0, 100, 3000).astype(np.float32), None, 40
    outputs = rng.normal(size=(3000, 3)).astype(np.float32)
    return relation, CLASSES, classes, outputs, 40  # type: ignore[return-value]


@pytest.mark.parametrize("relation", ["uniform", "same_class", "different_class", "near_label", "teacher_similar"])
def test_large_groups_of_many_rows(relation: str) -> None:
    case = big(relation)
    arguments = (case[0], case[2], case[1], case[3], 8, 7, 20_000, 3)
    first, second = sample_related(*arguments, neighbours=40)
    both = np.concatenate([first, second], axis=1)
    assert both.shape == (20_000, 15)
    assert (np.diff(np.sort(both, axis=1), axis=1) > 0).all()
    assert np.bincount(both.ravel(), minlength=3000).min() > 0
    anchored = case[0] in ("near_label", "teacher_similar")
    assert (np.diff(first[:, anchored:], axis=1) > 0).all()
    assert (np.diff(second, axis=1) > 0).all()
    groups = np.concatenate([np.sort(first, axis=1), second], axis=1)
    assert len(np.unique(groups, axis=0)) == 20_000
    for row in range(0, 20_000, 97):
        if anchored:
            assert set(both[row, 1:]) <= near_rows(case, int(both[row, 0]))
        elif relation != "uniform":
            one, other = set(case[2][first[row]]), set(case[2][second[row]])
            assert len(one) == 1
            assert other == one if relation == "same_class" else not one & other
    again = sample_related(*arguments, neighbours=40)
    np.testing.assert_array_equal(again[0], first)
    np.testing.assert_array_equal(again[1], second)
    assert not np.array_equal(sample_related(*arguments[:-1], 4, neighbours=40)[0], first)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("cap", [1, 2, 4])
def test_no_row_is_in_more_comparisons_than_the_cap_and_none_is_left_out(name: str, cap: int) -> None:
    for positive, negative in ((1, 1), (2, 1)):
        expected = set(weights(CASES[name], positive, negative))
        found = draw(CASES[name], positive, negative, 10**6, 0, most_per_row=cap)
        assert len(set(found)) == len(found)
        assert set(found) <= expected
        used = Counter(row for item in found for group in item for row in group)
        assert max(used.values()) <= cap
        # None could be added.
        assert all(any(used[row] == cap for group in item for row in group) for item in expected - set(found))
        few = draw(CASES[name], positive, negative, 2, 0, most_per_row=cap)
        assert len(few) <= 2


@pytest.mark.parametrize("cap", [1, 4, 40, 77, 78])
def test_a_cap_is_kept_however_comparisons_are_looked_through(cap: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "_LEAST_BATCH", 1)
    labels = np.zeros(40, np.int64)
    for count in (30, 1000, 10**6):
        first, second = sample_related("uniform", labels, CLASSES, None, 1, 1, count, 0, most_per_row=cap)
        pairs = set(zip(first[:, 0].tolist(), second[:, 0].tolist(), strict=True))
        assert len(pairs) == len(first) <= count
        used = np.bincount(np.concatenate([first, second]).ravel(), minlength=40)
        assert used.max() <= cap
        room = np.flatnonzero(used < cap).tolist()
        assert len(first) == count or {(a, b) for a in room for b in room if a != b} <= pairs
    # A row is in 2 * 39 comparisons.
    assert len(first) == 1560 or cap < 78


def test_the_cap_is_reached_on_many_rows() -> None:
    case = big("same_class")
    first, second = sample_related(case[0], case[2], case[1], None, 2, 2, 3000, 0, most_per_row=4)
    used = np.bincount(np.concatenate([first, second], axis=1).ravel(), minlength=3000)
    assert used.max() == 4
    # 3000 comparisons of 4 rows fill 3000 rows 4 times; some rows are left over at the end.
    assert len(first) >= 2990


def test_what_has_room_is_what_a_loop_would_take() -> None:
    rng = np.random.default_rng(0)
    for most in (1, 2, 5, 30):
        members = np.array([rng.choice(25, 3, replace=False) for _ in range(200)])
        used = rng.integers(0, 2, 25)
        counts, expected = used.copy(), []
        for item in members:
            expected.append(bool((counts[item] < most).all()))
            counts[item] += expected[-1]
        np.testing.assert_array_equal(_with_room(members, used, most), expected)
        np.testing.assert_array_equal(used, counts)
        assert sum(expected) > 0


def test_numbers_of_what_is_left_become_places() -> None:
    rng = np.random.default_rng(0)
    numbers = np.stack([rng.integers(0, 9 - place, 500) for place in range(9)])
    expected = []
    for draws in numbers.T:
        left = list(range(9))
        expected.append([left.pop(number) for number in draws])
    leave_out(numbers)
    np.testing.assert_array_equal(numbers.T, expected)


def test_vectors_that_are_near_are_those_of_all_distances(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near, "_LISTS", 7)
    rng = np.random.default_rng(0)
    # A grid with many ties and equal rows, and points anywhere.
    for points in (rng.integers(0, 9, (200, 2)) / 30, rng.random((150, 3))):
        for neighbours in (1, 5, 40, 10**6):
            found = near_vectors(points, neighbours)
            distances = np.linalg.norm(points[:, None] - points, axis=2)
            others = np.sort(distances + np.diag(np.full(len(points), np.inf)), axis=1)
            last = others[:, min(neighbours, len(points) - 1) - 1]
            for row in range(len(points)):
                listed = found.rows[found.start[row] :][: found.size[row]]
                assert listed[found.own[row]] == row
                assert sorted(listed) == np.flatnonzero(distances[row] <= last[row] + 1e-7).tolist()


@pytest.mark.parametrize("dimensions", [3, 20])
@pytest.mark.parametrize("rows", [40, 700])
def test_nearest_outputs_are_those_of_all_distances(
    dimensions: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(near, "_DISTANCE_BYTES", 8 * rows * 90)
    points = np.random.default_rng(0).normal(size=(rows, dimensions))
    found = near_outputs(points, 6)
    distances = np.linalg.norm(points[:, None] - points, axis=2)
    np.fill_diagonal(distances, -1.0)
    expected = np.sort(np.argsort(distances, axis=1)[:, :7], axis=1)
    lists = found.rows[found.start[:, None] + np.arange(7)]
    np.testing.assert_array_equal(np.sort(lists, axis=1), expected)
    np.testing.assert_array_equal(lists[:, 0], np.arange(rows))


def test_equal_outputs_find_other_rows_and_not_themselves() -> None:
    for dimensions in (2, 20):
        found = near_outputs(np.zeros((50, dimensions)), 4)
        lists = found.rows[found.start[:, None] + np.arange(5)]
        np.testing.assert_array_equal(lists[:, 0], np.arange(50))
        assert (np.diff(np.sort(lists, axis=1), axis=1) > 0).all()


def test_answers_are_compared_by_probabilities_and_standardised_values() -> None:
    outputs = np.array([[1.0, 2.0, 10.0], [500.0, 0.0, 30.0]], np.float32)
    points = similarity_points(outputs, LabelSpace("class+scalar", ("a", "b")))
    low = np.exp(-1.0)
    np.testing.assert_allclose(points, [[low / (1 + low), 1 / (1 + low), 1.0], [1.0, 0.0, 3.0]], atol=1e-12)


def test_uniform_without_a_cap_is_the_plain_recipe_or_all_there_is() -> None:
    labels = np.zeros(6, np.int64)
    found = sample_related("uniform", labels, CLASSES, None, 2, 1, 30, 4)
    plain = sample_groups(6, 2, 1, 30, 4)
    np.testing.assert_array_equal(found[0], plain[0])
    np.testing.assert_array_equal(found[1], plain[1])
    assert len(sample_related("uniform", labels, CLASSES, None, 2, 1, 10**6, 4)[0]) == 60


@pytest.mark.parametrize(
    ("relation", "space", "sizes", "more", "message"),
    [
        ("near_label", CLASSES, (1, 1), {}, "near_label must have labels with values, got classes alone"),
        ("same_class", AGES, (1, 1), {}, "same_class must have labels with classes, got a scalar label space"),
        ("different_class", AGES, (1, 1), {}, "different_class must have labels with classes"),
        ("teacher_similar", CLASSES, (1, 1), {}, r"must have the teacher's outputs, shape \(6, 3\), got none"),
        ("near_label", AGES, (2, 2), {"neighbours": 2}, "neighbours must be at least 3, the other rows .* got 2"),
        ("uniform", CLASSES, (0, 1), {}, "at least one row each, got 0 and 1"),
        ("uniform", CLASSES, (1, 1), {"most_per_row": 0}, "most_per_row must be at least 1, got 0"),
        ("same_class", CLASSES, (4, 3), {}, "must have at least one comparison of 4 with 3 rows, got none among 6"),
        ("uniform", CLASSES, (4, 3), {}, "got none among 6 rows"),
        ("closest", CLASSES, (1, 1), {}, "relation must be one of uniform, same_class"),
    ],
)
def test_what_cannot_be_is_refused(
    relation: Any, space: LabelSpace, sizes: tuple[int, int], more: dict[str, int], message: str
) -> None:
    labels = np.array([0, 0, 1, 1, 2, 2], space.dtype)
    with pytest.raises(ConfigError, match=message):
        sample_related(relation, labels, space, None, *sizes, 5, 0, **more)
    with pytest.raises(ConfigError, match="count must be at least 1, got 0"):
        sample_related("uniform", labels, CLASSES, None, 1, 1, 0, 0)


def test_a_file_says_how_rows_are_related(tmp_path: Path, make_columns: Callable[..., Any]) -> None:
    columns = make_columns(AGES, 90, "images", "labels", "split", "source_row", "teacher_outputs")
    write_set(tmp_path / "real.h5", columns, kind="real", label_space=AGES, provenance={}, license="CC0-1.0")
    images = open_set(tmp_path / "real.h5")
    rows = np.flatnonzero(columns["split"] == 0)
    digest, count = write_related(tmp_path / "near.h5", images, "near_label", 1, 1, 50, 2, neighbours=3, most_per_row=9)
    found = read_groups(tmp_path / "near.h5")
    assert (found.content_sha256, found.of, len(found.positive)) == (digest, images.content_sha256, count)
    first, second = sample_related(
        "near_label", columns["labels"][rows], AGES, None, 1, 1, 50, 2, neighbours=3, most_per_row=9
    )
    np.testing.assert_array_equal(found.positive, rows[first])
    np.testing.assert_array_equal(found.negative, rows[second])
    made = open_set(tmp_path / "near.h5").provenance
    assert made == {
        "of": images.content_sha256, "seed": 2, "relation": "near_label", "neighbours": 3, "most_per_row": 9
    }  # fmt: skip
    # The set's own outputs serve where none are given; those of the compared rows alone are the same.
    write_related(tmp_path / "own.h5", images, "teacher_similar", 1, 1, 20, 2)
    outputs = columns["teacher_outputs"][rows]
    write_related(tmp_path / "given.h5", images, "teacher_similar", 1, 1, 20, 2, teacher_outputs=outputs)
    assert (tmp_path / "own.h5").read_bytes() == (tmp_path / "given.h5").read_bytes()
    write_related(tmp_path / "any.h5", images, "uniform", 2, 1, 20, 2)
    write_groups(tmp_path / "plain.h5", images, 2, 1, 20, 2)
    assert (tmp_path / "any.h5").read_bytes() == (tmp_path / "plain.h5").read_bytes()
