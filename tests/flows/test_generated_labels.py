"""The labels that are generated: of every kind, near training labels, evenly, and the same for the same seed."""

import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.stats import qmc

from data.errors import StageError
from data.labels import Axis, LabelSpace
from flows.generated_labels import fill_box, generated_labels

CLASSES = LabelSpace("class", ("a", "b", "c"))
ANGLE = LabelSpace("scalar", minimum=0, maximum=90)
POSE = LabelSpace("vector", axes=(Axis("yaw", "degree", 0.0, 90.0), Axis("tilt", "degree", -10.0, 10.0)))
MODELS = LabelSpace("class+scalar", ("a", "b", "c"), maximum=90)


def grid(columns=18, rows=8):
    """Every second node of a grid of poses, as on a chessboard."""
    return np.array(
        [[5.0 * x, -10 + 20 * y / (rows - 1)] for x in range(columns) for y in range(rows) if (x + y) % 2 == 0],
        np.float32,
    )


def test_classes_and_scalars_are_as_ever():
    assert generated_labels(np.array([2, 2, 1]), CLASSES, 7, 0).tolist() == [0, 1, 2]
    train = np.array([30, 10, 10, 70], np.float32)
    assert generated_labels(train, ANGLE, None, 0).tolist() == [10, 30, 70]
    evenly = generated_labels(train, ANGLE, 4, 0)
    assert evenly.tolist() == [10, 30, 50, 70]
    assert evenly.dtype == np.float32


def test_unset_takes_every_distinct_training_label():
    rng = np.random.default_rng(0)
    for space, train in (
        (POSE, rng.choice([-10.0, 0.0, 10.0], (50, 2)).astype(np.float32)),
        (MODELS, rng.integers(0, 3, (50, 2)).astype(np.float32)),
    ):
        labels = generated_labels(train, space, None, 0)
        assert labels.tolist() == sorted(map(list, {tuple(row) for row in train.tolist()}))
        assert labels.dtype == np.float32


def test_a_class_with_a_scalar_gets_values_over_its_own_range():
    train = np.array([[0, 10], [0, 30], [2, 80], [2, 81], [2, 84], [1, 5]], np.float32)
    labels = generated_labels(train, MODELS, 3, 0)
    assert labels.tolist() == [[0, 10], [0, 20], [0, 30], [1, 5], [2, 80], [2, 82], [2, 84]]
    assert labels.dtype == np.float32


def test_vectors_fill_the_box_of_the_training_labels_evenly():
    train = grid()
    labels = generated_labels(train, POSE, 200, 3)
    assert labels.shape == (200, 2)
    assert labels.dtype == np.float32
    assert (labels.min(axis=0) >= train.min(axis=0)).all()
    assert (labels.max(axis=0) <= train.max(axis=0)).all()
    assert np.array_equal(labels[:, 0], np.sort(labels[:, 0]))
    # As hardly any is a training label, these are labels that no image has.
    assert len({tuple(row) for row in labels.tolist()} - {tuple(row) for row in train.tolist()}) == 200
    unit = (labels.astype(np.float64) - train.min(axis=0)) / np.ptp(train, axis=0)
    random = np.random.default_rng(0).random((200, 2))
    assert qmc.discrepancy(unit) < qmc.discrepancy(random) / 4
    # Nothing of a filled box is dropped: the points are the first of the sequence.
    counts, _, _ = np.histogram2d(unit[:, 0], unit[:, 1], bins=4, range=[[0, 1], [0, 1]])
    assert counts.min() >= 10
    assert counts.max() <= 15


def test_points_depend_on_the_seed_alone():
    train = grid()
    assert np.array_equal(generated_labels(train, POSE, 50, 3), generated_labels(train[::-1], POSE, 50, 3))
    assert not np.array_equal(generated_labels(train, POSE, 50, 3), generated_labels(train, POSE, 50, 4))


def test_points_far_from_all_training_labels_are_dropped():
    rng = np.random.default_rng(0)
    # A ring: its middle and the corners of its box have no training label.
    angle, radius = rng.uniform(0, 2 * np.pi, 4000), rng.uniform(0.8, 1.0, 4000)
    ring = np.stack([45 + 45 * radius * np.cos(angle), 10 * radius * np.sin(angle)], axis=1)
    points = fill_box(ring, 500, 0)
    assert points.shape == (500, 2)
    distance = np.hypot((points[:, 0] - 45) / 45, points[:, 1] / 10)
    assert distance.min() > 0.75
    assert distance.max() < 1.05
    spacing = np.median(cKDTree(ring / [90, 20]).query(ring / [90, 20], k=2)[0][:, 1])
    assert cKDTree(ring / [90, 20]).query(points / [90, 20])[0].max() <= 2.1 * spacing
    # All of the ring is covered, not a part of it.
    sectors = np.histogram(np.arctan2(points[:, 1] / 10, (points[:, 0] - 45) / 45), bins=12, range=(-np.pi, np.pi))[0]
    assert sectors.min() > 20


def test_the_steps_of_an_uneven_grid_count_as_equal():
    # 90 yaws but 3 tilts: between two tilts the nearest label is ten yaw steps away in shares of the ranges.
    train = np.array([[yaw, tilt] for yaw in range(91) for tilt in (-10.0, 0.0, 10.0)])
    points = fill_box(train, 256, 1)
    assert np.histogram(points[:, 1], bins=4, range=(-10, 10))[0].tolist() == [64] * 4


def test_an_axis_without_a_range_stays_where_it_is():
    train = np.stack([np.linspace(0, 90, 20), np.full(20, 3.0)], axis=1)
    points = fill_box(train, 40, 0)
    assert (points[:, 1] == 3.0).all()
    assert np.histogram(points[:, 0], bins=4, range=(0, 90))[0].tolist() == [10] * 4
    assert generated_labels(train[:1].astype(np.float32), POSE, 5, 0).tolist() == [[0.0, 3.0]]


def test_a_line_through_many_dimensions_is_refused_in_one_sentence(monkeypatch):
    monkeypatch.setattr("flows.generated_labels._MOST_POINTS_LOG2", 10)
    line = np.tile(np.linspace(0, 1, 1000)[:, None], (1, 5))
    with pytest.raises(StageError, match=r"\d+ of 100 points were found .* leave candidates.labels unset"):
        fill_box(line, 100, 0)
