"""The split: disjoint, stratified, and stable when the number of training images changes."""

import numpy as np
import pytest

from data.errors import DataError
from data.labels import Axis, LabelSpace
from data.splitting import TEST, TRAIN, VALIDATION, left_out, split_rows

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


def test_rows_for_validation_alone_are_the_validation():
    labels = np.arange(300) % 3
    pool = np.repeat(np.array([1, 3, 2], np.uint8), [200, 60, 40])
    parts = split(labels, pool)
    assert sorted(parts[TEST]) == list(range(260, 300))
    assert len(parts[VALIDATION]) == 30
    assert set(parts[VALIDATION]) < set(range(200, 260))
    # No training image is given up for the validation, and no validation image left over trains.
    assert sorted(parts[TRAIN]) == list(range(200))
    with pytest.raises(DataError, match=r"validation split must have 61 .* 60 left for it; set prepare\.validation_im"):
        split(labels, pool, validation_images=61)
    # Without rows for the test, it comes out of the open ones, a third of them.
    parts = split(labels, np.where(np.arange(300) < 240, 0, 3).astype(np.uint8))
    assert len(parts[TEST]) == 80
    assert max(parts[TEST].max(), parts[TRAIN].max()) < 240 <= parts[VALIDATION].min()


def counts_of(labels, parts, classes):
    return {part: np.bincount(labels[rows], minlength=classes).tolist() for part, rows in parts.items()}


def test_classes_of_unequal_size_are_split_by_their_share():
    space = LabelSpace("class", ("a", "b", "c", "d", "e"))
    labels = np.repeat(np.arange(5), [500, 400, 300, 200, 50])
    found = counts_of(labels, split(labels, space=space, validation_images=None), 5)
    # 483 of 1,450 test: 166.55, 133.24, 99.93, 66.62 and 16.66, the remainders to c, e and d, then a.
    assert found[TEST] == [166, 133, 100, 67, 17]
    # A tenth of the 967 others.
    assert sum(found[VALIDATION]) == 96
    assert found[VALIDATION] == [33, 27, 20, 13, 3]
    assert found[TRAIN] == [301, 240, 180, 120, 30]


@pytest.mark.parametrize("counts", [[1000, 20], [50, 2, 2], [5, 1], [3, 3, 3], [9000, 1, 1, 1]])
def test_every_class_keeps_a_training_image(counts):
    space = LabelSpace("class", tuple(map(str, range(len(counts)))))
    labels = np.repeat(np.arange(len(counts)), counts)
    for validation in (None, 1, 2):
        found = counts_of(labels, split(labels, space=space, validation_images=validation), len(counts))
        assert min(found[TRAIN]) >= 1
        assert sum(found[TEST]) == sum(counts) // 3
    if sum(counts) > 1000:
        assert min(counts_of(labels, split(labels, space=space), len(counts))[TRAIN]) >= 1


def test_nearly_equal_classes_are_split_evenly():
    labels = np.repeat(np.arange(3), [174, 180, 183])
    found = counts_of(labels, split(labels, test_images=300, validation_images=60), 3)
    assert (found[TEST], found[VALIDATION]) == ([100] * 3, [20] * 3)


def test_unset_validation_takes_what_is_reserved_or_a_tenth():
    labels = np.arange(9000) % 3
    pool = np.repeat(np.array([1, 3, 2], np.uint8), [7000, 1500, 500])
    assert len(split(labels, pool, validation_images=None)[VALIDATION]) == 1500
    assert len(split(labels, validation_images=None)[VALIDATION]) == 300
    assert len(split(labels[:120], validation_images=None)[VALIDATION]) == 8
    assert len(split(labels[:9], validation_images=None)[VALIDATION]) == 1


def test_reserved_rows_that_a_number_leaves_out_are_told():
    pool = np.repeat(np.array([1, 3, 2], np.uint8), [200, 60, 40])
    rows = np.r_[np.arange(230), np.arange(260, 300)]
    (told,) = left_out(pool, rows, 30, None)
    assert "30 of the 60 validation images of the source are not used, as prepare.validation_images is 30" in told
    assert left_out(pool, np.arange(300), None, None) == ()


def test_what_a_poor_class_lacks_is_told_without_options_that_are_unset():
    labels = np.arange(300) % 3
    pool = np.where(labels == 2, 2, 0).astype(np.uint8)
    with pytest.raises(DataError, match=r"class 'c' must have 1 training images, got 0; try a smaller prepare\.valid"):
        split(labels, pool)
