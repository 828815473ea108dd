"""Near rows where it is hard: confident teachers, damaged answers, no rows, and lists longer than memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from data.errors import ConfigError, DataError
from data.labels import Axis, LabelSpace
from data.reading import open_set
from data.recipes import near
from data.recipes.groups import Groups, groups_of_rows
from data.recipes.mixes import mixes_of_rows, sample_mixes
from data.recipes.near import near_outputs, near_vectors
from data.recipes.relations import sample_related, similarity_points, write_related
from data.writing import write_set

AGES = LabelSpace("scalar", name="age")
POSES = LabelSpace("vector", axes=(Axis("yaw"), Axis("pitch")))


@pytest.mark.parametrize("classes", [5, 20])
@pytest.mark.parametrize("margin", [0.0, 6.0, 25.0, 200.0])
def test_neighbours_of_confident_teachers_are_exact(classes: int, margin: float) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, 900)
    outputs = rng.normal(size=(900, classes)).astype(np.float32)
    outputs[np.arange(900), labels] += margin
    points = similarity_points(outputs, LabelSpace("class", tuple(f"c{number}" for number in range(classes))))
    found = near_outputs(points, 8)
    lists = found.rows[found.start[:, None] + np.arange(9)]
    distances = cdist(points, points)
    # Rows that tie may be any; how far they are may not.
    taken = np.sort(np.take_along_axis(distances, lists, axis=1), axis=1)
    np.testing.assert_allclose(taken, np.sort(distances, axis=1)[:, :9], rtol=1e-9, atol=0)
    assert (np.diff(np.sort(lists, axis=1), axis=1) > 0).all()


def test_outputs_far_from_zero_lose_nothing() -> None:
    points = np.random.default_rng(0).normal(size=(300, 18)) * 1e-6 + 1e3
    found = near_outputs(points, 5)
    lists = found.rows[found.start[:, None] + np.arange(6)]
    expected = np.argsort(cdist(points, points), axis=1)[:, :6]
    np.testing.assert_array_equal(np.sort(lists, axis=1), np.sort(expected, axis=1))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_answers_that_are_not_finite_are_refused(value: float) -> None:
    outputs = np.zeros((9, 1), np.float32)
    outputs[4] = value
    with pytest.raises(DataError, match=r"teacher's outputs must be finite, got .* at row 4"):
        sample_related("teacher_similar", np.arange(9, dtype=np.float32), AGES, outputs, 1, 1, 3, 0)


@pytest.mark.parametrize("rows", [0, 1])
@pytest.mark.parametrize("relation", ["near_label", "teacher_similar"])
@pytest.mark.parametrize("space", [AGES, POSES, LabelSpace("class+scalar", ("a", "b"), "age")])
def test_too_few_rows_are_told_before_any_search(rows: int, relation: str, space: LabelSpace) -> None:
    labels = np.zeros((rows, *space.label_shape), np.float32)
    outputs = np.zeros((rows, space.outputs), np.float32)
    with pytest.raises(ConfigError, match=f"at least one comparison of 1 with 1 rows, got none among {rows} rows"):
        sample_related(relation, labels, space, outputs, 1, 1, 5, 0)  # type: ignore[arg-type]


def test_lists_longer_than_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near, "_MOST_ENTRIES", 1000)
    points = np.random.default_rng(0).random((100, 2))
    for search in (near_outputs, near_vectors):
        assert len(search(points, 9).rows) == 1000
        with pytest.raises(ConfigError, match="at most 1,000 entries, got 10 with 1,100 entries or more; try 9"):
            search(points, 10)
    # Ties lengthen lists that looked short.
    ties = np.repeat(np.arange(40.0)[:, None] / 40, 2, axis=1).repeat(30, axis=0)
    with pytest.raises(ConfigError, match="at most 1,000 entries"):
        near_vectors(ties, 1)


@pytest.mark.parametrize("neighbours", [1, 7, 60])
def test_lists_that_are_made_a_few_at_a_time_are_the_same(neighbours: int, monkeypatch: pytest.MonkeyPatch) -> None:
    points = np.random.default_rng(0).random((100, 2))
    for search in (near_outputs, near_vectors):
        monkeypatch.setattr(near, "_ENTRIES", 1 << 21)
        whole = search(points, neighbours)
        monkeypatch.setattr(near, "_ENTRIES", 130)
        found = search(points, neighbours)
        for name in ("rows", "start", "size", "own"):
            np.testing.assert_array_equal(getattr(found, name), getattr(whole, name))


def test_labels_of_mixed_images_are_no_relation(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    columns = {
        "images": rng.integers(0, 256, (12, 1, 4, 4), dtype=np.uint8),
        "labels": np.arange(12) % 3,
        "other_labels": np.arange(12) // 4,
        "coefficient": np.full(12, 0.3, np.float32),
        "first": np.arange(12),
        "second": np.arange(12)[::-1].copy(),
    }
    space = LabelSpace("class", ("a", "b", "c"))
    write_set(tmp_path / "mixed.h5", columns, kind="mixed", label_space=space, license="MIT", provenance={})
    mixed = open_set(tmp_path / "mixed.h5")
    for relation in ("same_class", "different_class"):
        with pytest.raises(DataError, match="must have rows of one label each, got kind 'mixed'"):
            write_related(tmp_path / "out.h5", mixed, relation, 1, 1, 5, 0)  # type: ignore[arg-type]
    assert write_related(tmp_path / "out.h5", mixed, "uniform", 1, 1, 5, 0)[1] == 5


def test_recipes_for_no_training_rows_are_told(tmp_path: Path) -> None:
    columns = {
        "images": np.zeros((2, 1, 4, 4), np.uint8),
        "labels": np.arange(2),
        "seed": np.arange(2, dtype=np.uint64),
    }
    space = LabelSpace("class", ("a", "b"))
    write_set(tmp_path / "a.h5", columns, kind="samples", label_space=space, license="MIT", provenance={})
    images = open_set(tmp_path / "a.h5")
    groups = Groups(np.zeros((1, 1), np.int64), np.ones((1, 1), np.int64), images.content_sha256, "")
    with pytest.raises(DataError, match=r"training rows, of which .* has none"):
        groups_of_rows(groups, images, np.empty(0, np.int64), "it")
    mixes = replace(sample_mixes(2, "mixup", 1.0, 1, 4, 0), of=images.content_sha256)
    with pytest.raises(DataError, match=r"training rows, of which .* has none"):
        mixes_of_rows(mixes, images, np.empty(0, np.int64), "it")
