"""Figures label by label: intra-class and sliding distances, agreement with labels, diversity, matching of labels."""

from __future__ import annotations

import numpy as np
import pytest

from data.errors import DataError
from data.labels import Axis, LabelSpace
from generators.fidelity.agreement import class_accuracy, label_scores
from generators.fidelity.diversity import class_entropy, relative_diversity
from generators.fidelity.groups import Group, class_groups, grouped_distance, label_windows
from generators.fidelity.matching import halves, occurrences, rows_at_labels
from generators.fidelity.torch_fidelity_metrics import frechet_distance, kernel_distance

CLASSES = LabelSpace("class", ("a", "b", "c"))
ANGLES = LabelSpace("scalar", name="yaw", unit="degree", minimum=-90, maximum=90)
POSES = LabelSpace("vector", axes=(Axis("yaw", "degree", -90, 90), Axis("size", "", 1, 3)))
MODELS = LabelSpace("class+scalar", ("a", "b"), name="yaw", unit="degree", minimum=0, maximum=10)


def group(generated, real, name: str = "x", centre=None) -> Group:
    return Group(name, np.asarray(generated), np.asarray(real), centre)


def test_intra_class_fid_is_the_mean_of_each_class_alone():
    rng = np.random.default_rng(0)
    generated, real = rng.normal(size=(90, 3)), rng.normal(1, 1, size=(60, 3))
    made, seen = rng.permutation(np.arange(90) % 3), rng.permutation(np.arange(60) % 3)
    found = grouped_distance(generated, real, class_groups(made, seen, CLASSES), "class", seed=0)
    alone = [frechet_distance(generated[made == k], real[seen == k]).value for k in range(3)]
    assert found["metric"] == "fid"
    assert [entry["value"] for entry in found["groups"]] == alone
    assert [(entry["name"], entry["generated"], entry["real"]) for entry in found["groups"]] == [
        ("a", 30, 20),
        ("b", 30, 20),
        ("c", 30, 20),
    ]
    assert (found["value"], found["std"]) == (pytest.approx(np.mean(alone)), pytest.approx(np.std(alone, ddof=1)))
    assert found["notes"] == []


def test_classes_of_few_images_are_measured_by_kid_and_it_is_said():
    rng = np.random.default_rng(0)
    generated, real = rng.normal(size=(100, 20)), rng.normal(size=(100, 20))
    groups = [
        group(range(50), range(50), "a"),
        group(range(50, 100), range(50, 80), "b"),
        group(range(5), range(9), "c"),
    ]
    found = grouped_distance(generated, real, groups, "class", seed=3)
    assert found["metric"] == "kid"
    assert found["groups"][1]["value"] == kernel_distance(generated[50:], real[50:80], 3).value
    assert found["groups"][2]["value"] is None
    first, second = found["notes"]
    for word in ("at least 40", "20 dimensions", "5 generated and 9 real ones for c", "KID", "validation_images"):
        assert word in first
    assert "1 of 3 were left out" in second
    assert "class c: KID must have at least 20 images" in second


def test_groups_without_enough_images_have_no_value_but_a_reason():
    features = np.random.default_rng(0).normal(size=(10, 4))
    found = grouped_distance(features, features, [group(range(5), []), group(range(3), range(4))], "class", seed=0)
    assert found["value"] is None
    assert found["not_computed"] == (
        "class x: a distance must have images on both sides, got 5 generated and 0 real ones; "
        "raise fidelity.images and prepare.validation_images."
    )


def test_windows_cover_the_range_and_overlap_by_half():
    real = np.linspace(-40, 80, 241).astype(np.float32)
    generated = np.linspace(-90, 90, 181).astype(np.float32)
    (windows,) = label_windows(generated, real, ANGLES, 5)
    assert (windows.axis, windows.unit, windows.radius) == ("yaw", "degree", pytest.approx(20))
    assert [part.centre for part in windows.groups] == pytest.approx([-20, 0, 20, 40, 60])
    for part in windows.groups:
        assert np.array_equal(part.generated, np.flatnonzero(abs(generated - part.centre) <= 20))
        assert np.array_equal(part.real, np.flatnonzero(abs(real - part.centre) <= 20))
    counts = np.bincount(np.concatenate([part.real for part in windows.groups]), minlength=241)
    assert counts.min() == 1
    assert counts[45:-45].min() >= 2
    assert windows.groups[1].name == "0 degree"


def test_every_dimension_has_windows_and_classes_have_none():
    labels = np.random.default_rng(0).uniform([-90, 1], [90, 3], (50, 2)).astype(np.float32)
    assert [windows.axis for windows in label_windows(labels, labels, POSES, 4)] == ["yaw", "size"]
    assert label_windows(np.arange(3), np.arange(3), CLASSES, 4) == ()
    assert class_groups(labels, labels, POSES) == ()
    both = MODELS.join(np.arange(50) % 2, np.linspace(0, 10, 50))
    assert [len(part.real) for part in class_groups(both, both, MODELS)] == [25, 25]
    assert [windows.axis for windows in label_windows(both, both, MODELS, 4)] == ["yaw"]


def test_label_scores_are_mean_absolute_errors_in_the_labels_units():
    labels = MODELS.join(np.array([0, 1, 1, 0]), np.array([1.0, 2, 3, 4]))
    outputs = np.array([[5, 0, 2], [5, 0, 2], [0, 5, 0], [5, 0, 4.5]], np.float32)
    assert label_scores(outputs, labels, MODELS) == [pytest.approx((1 + 0 + 3 + 0.5) / 4)]
    assert class_accuracy(outputs, labels, MODELS) == 75
    poses = np.array([[10, 1], [20, 2]], np.float32)
    assert label_scores(poses + np.array([[1, 0], [-3, 0.5]]), poses, POSES) == [pytest.approx(2), pytest.approx(0.25)]
    assert label_scores(np.zeros((2, 3)), np.arange(2), CLASSES) == []


def test_diversity_is_one_for_real_images_and_falls_with_the_spread():
    rng = np.random.default_rng(0)
    real = rng.normal(size=(200, 5))
    groups = [group(range(100), range(100)), group(range(100, 200), range(100, 200))]
    assert relative_diversity(real, real, groups).value == pytest.approx(1)
    assert relative_diversity(0.25 * real, real, groups).value == pytest.approx(0.25)
    assert relative_diversity(np.zeros((200, 5)), real, groups).value == 0
    with pytest.raises(DataError, match="2 generated and 2 different real images"):
        relative_diversity(real, real, [group([0], [1, 2]), group([0, 1], [])])


def test_entropy_of_seen_classes_does_not_depend_on_the_number_of_images():
    rng = np.random.default_rng(0)
    few, many = ([rng.integers(0, 4, size) for _ in range(400)] for size in (40, 4000))
    values = []
    for windows in (few, many):
        logits = np.eye(4)[np.concatenate(windows)]
        rows = np.split(np.arange(len(logits)), len(windows))
        values.append(class_entropy(logits, rows).value)
    assert values == pytest.approx([np.log(4)] * 2, abs=0.004)
    assert class_entropy(np.eye(2)[[0, 0, 0]], [np.arange(3)]).value == 0


def test_rows_are_chosen_at_the_labels_that_are_wanted():
    labels = np.repeat([0, 1, 2], [5, 50, 50])
    wanted = np.tile([2, 0, 1], 20)
    rows = rows_at_labels(wanted, labels, CLASSES)
    found = rows >= 0
    assert np.array_equal(labels[rows[found]], wanted[found])
    assert np.bincount(wanted[found]).tolist() == [5, 20, 20]
    assert len(set(rows[found])) == 45
    angles = np.repeat(np.linspace(-90, 90, 19), 3).astype(np.float32)
    wanted = np.array([88, -90, 1, 2, -90, 3, 4], np.float32)
    assert angles[rows_at_labels(wanted, angles, ANGLES)].tolist() == [90, -90, 0, 0, -90, 0, 10]


def test_rows_keep_their_class_however_near_another_is():
    labels = MODELS.join(np.array([0, 0, 1, 1]), np.array([0.0, 9, 5, 5]))
    wanted = MODELS.join(np.array([0, 0, 0]), np.array([5.0, 5, 5]))
    assert rows_at_labels(wanted, labels, MODELS).tolist() == [1, 0, -1]
    assert rows_at_labels(wanted[:0], labels, MODELS).tolist() == []


@pytest.mark.parametrize("space", [CLASSES, ANGLES, MODELS], ids=lambda space: space.kind)
def test_halves_are_pairs_of_like_labels(space):
    rng = np.random.default_rng(0)
    labels = {
        "class": rng.integers(0, 3, 61),
        "scalar": rng.uniform(-90, 90, 61).astype(np.float32),
        "class+scalar": MODELS.join(rng.integers(0, 2, 61), rng.uniform(0, 10, 61)),
    }[space.kind]
    first, second = halves(labels, space)
    assert len(set(first) | set(second)) == len(first) + len(second) >= 61 - max(1, space.classes)
    if space.has_classes:
        assert np.array_equal(space.class_part(labels[first]), space.class_part(labels[second]))
    apart = abs(space.continuous_part(labels[first]) - space.continuous_part(labels[second]))
    assert np.all(apart.sum(axis=0) <= np.ptp(space.continuous_part(labels), axis=0) * max(1, space.classes))


def test_occurrences_count_earlier_equals():
    assert occurrences(np.array([3, 1, 3, 3, 2, 1])).tolist() == [0, 0, 1, 2, 0, 1]
