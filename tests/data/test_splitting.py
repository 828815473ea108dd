"""The split: disjoint, stratified, and stable when the number of training images changes."""

import numpy as np
import pytest

from data.errors import DataError
from data.labels import Axis, LabelSpace
from data.splitting import TEST, TRAIN, VALIDATION, split_rows

CLASSES = LabelSpace("class", ("a", "b", "c"))
ANGLE = LabelSpace("scalar", minimum=0, maximum=90)
POSE = LabelSpace("vector", axes=(Axis("yaw", maximum=3), Axis("tilt", minimum=-2, maximum=2)))
MODELS = LabelSpace("class+scalar", ("a", "b", "c"), maximum=9)


def split(labels, pool=None, space=CLASSES, **changes):
    options = {
        "labels_per_class": None,
        "images_per_label": None,
        "validation_images": 30,
        "test_images": None,
        "seed": 0,
    }
    pool = np.zeros(len(labels), np.uint8) if pool is None else pool
    rows, parts = split_rows(np.asarray(labels), pool, space, **{**options, **changes})
    return {part: rows[parts == part] for part in (TRAIN, VALIDATION, TEST)}


def test_parts_are_disjoint_stratified_and_stable():
    labels = np.arange(300) % 3
    few, many = split(labels, labels_per_class=5), split(labels, labels_per_class=40)
    for parts in (few, many):
        assert len(np.unique(np.concatenate(list(parts.values())))) == sum(map(len, parts.values()))
        for part in (VALIDATION, TEST):
            assert np.ptp(np.bincount(labels[parts[part]])) <= 1
    assert np.bincount(labels[few[TRAIN]]).tolist() == [5, 5, 5]
    assert np.array_equal(few[TEST], many[TEST])
    assert np.array_equal(few[VALIDATION], many[VALIDATION])
    assert set(few[TRAIN]) < set(many[TRAIN])
    assert not np.array_equal(few[TEST], split(labels, seed=1)[TEST])


def test_reserved_rows_are_the_test():
    labels = np.arange(300) % 3
    pool = np.where(np.arange(300) < 200, 1, 2).astype(np.uint8)
    parts = split(labels, pool)
    assert sorted(parts[TEST]) == list(range(200, 300))
    assert max(parts[TRAIN].max(), parts[VALIDATION].max()) < 200
    assert len(split(labels, pool, test_images=9)[TEST]) == 9


def test_scalar_labels_count_images_per_value():
    labels = np.repeat(np.arange(20, dtype=np.float32), 10)
    parts = split(labels, space=ANGLE, images_per_label=2, validation_images=10, test_images=20)
    _, counts = np.unique(labels[parts[TRAIN]], return_counts=True)
    assert counts.max() == 2
    assert len(parts[TRAIN]) == 40


def test_vector_labels_count_images_per_distinct_vector():
    rng = np.random.default_rng(1)
    labels = np.stack([rng.integers(0, 4, 400), rng.integers(-2, 3, 400)], axis=1).astype(np.float32)
    few = split(labels, space=POSE, images_per_label=3, validation_images=20, test_images=50)
    counts = {}
    for row in few[TRAIN]:
        counts[tuple(labels[row])] = counts.get(tuple(labels[row]), 0) + 1
    assert len(counts) == 20
    assert set(counts.values()) == {3}
    every = split(labels, space=POSE, validation_images=20, test_images=50)
    assert len(every[TRAIN]) == 330
    assert np.array_equal(few[TEST], every[TEST])
    assert np.array_equal(few[VALIDATION], every[VALIDATION])
    with pytest.raises(DataError, match=r"labels_per_class is for classes; .* for vector labels"):
        split(labels, space=POSE, labels_per_class=3)


def test_a_class_with_a_value_is_stratified_by_class_and_limited_by_both():
    rng = np.random.default_rng(2)
    labels = np.stack([np.arange(600) % 3, rng.integers(0, 10, 600)], axis=1).astype(np.float32)
    parts = split(labels, space=MODELS, labels_per_class=20, validation_images=30, test_images=90)
    for part, count in ((TRAIN, 20), (VALIDATION, 10), (TEST, 30)):
        assert np.bincount(labels[parts[part], 0].astype(int)).tolist() == [count] * 3
    both = split(labels, space=MODELS, images_per_label=2, labels_per_class=15, validation_images=30, test_images=90)
    _, counts = np.unique(labels[both[TRAIN]], axis=0, return_counts=True)
    assert counts.max() == 2
    assert np.bincount(labels[both[TRAIN], 0].astype(int)).tolist() == [15] * 3
    alone = split(labels, space=MODELS, images_per_label=2, validation_images=30, test_images=90)
    assert len(alone[TRAIN]) == 60
    with pytest.raises(
        DataError, match=r"class '.' must have 21 training images, got 20; .* a larger images_per_label"
    ):
        split(labels, space=MODELS, images_per_label=2, labels_per_class=21)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"labels_per_class": 500}, "must have 500 training images, got"),
        ({"validation_images": 5000}, "validation split must have 5000 images"),
        ({"test_images": 5000}, "test split must have 5000 images"),
        ({"images_per_label": 2}, "images_per_label is for labels with values; use prepare.labels_per_class"),
        ({"labels_per_class": 2, "space": ANGLE}, "labels_per_class is for classes; .* for scalar labels"),
        ({"validation_images": 200, "space": ANGLE}, "at least 2 images, got 0"),
    ],
)
def test_impossible_splits_are_refused(changes, sentence):
    with pytest.raises(DataError, match=sentence):
        split(np.arange(300) % 3, **changes)
