"""Groups of labels against loops."""

import numpy as np

from data.labels import Axis, LabelSpace
from flows.label_bins import axis_bins, label_groups, label_windows

CLASSES = LabelSpace("class", ("a", "b", "c"))
ANGLE = LabelSpace("scalar", name="yaw", unit="degree", minimum=0, maximum=90)
POSE = LabelSpace("vector", axes=(Axis("yaw", "degree", 0.0, 90.0), Axis("tilt", "", -10.0, 10.0)))
MODELS = LabelSpace("class+scalar", ("a", "b", "c"), "yaw", "degree", maximum=90)


def test_bins_are_equal_and_hold_what_lies_outside():
    bins, names = axis_bins(np.array([-5, 0, 4.9, 5, 89.9, 90, 95]), ANGLE.dimensions[0])
    assert bins.tolist() == [0, 0, 0, 1, 17, 17, 17]
    assert (names[0], names[17], len(names)) == ("0 to 5 degree", "85 to 90 degree", 18)
    assert axis_bins(np.zeros(0), Axis("share"), 4)[1] == ["0 to 0.25", "0.25 to 0.5", "0.5 to 0.75", "0.75 to 1"]


def test_groups_are_classes_or_bins():
    assert label_groups(np.array([2, 0]), CLASSES)[0].tolist() == [2, 0]
    groups, names = label_groups(np.array([[2, 30.0], [0, 80.0]], np.float32), MODELS)
    assert groups.tolist() == [2, 0]
    assert groups.dtype == np.int64
    assert names == ["a", "b", "c"]
    assert label_groups(np.array([12.5], np.float32), ANGLE)[0].tolist() == [2]


def test_cells_of_vectors_carry_the_name_of_what_is_in_them():
    rng = np.random.default_rng(0)
    labels = np.stack([rng.uniform(0, 90, 200), rng.uniform(-10, 10, 200)], axis=1).astype(np.float32)
    groups, names = label_groups(labels, POSE)
    assert len(names) == len(set(names)) == 16
    for group, (yaw, tilt) in zip(groups.tolist(), labels.tolist(), strict=True):
        low, tilt_low = 22.5 * (yaw // 22.5), 5 * (tilt // 5)
        assert names[group] == f"yaw {low:g} to {low + 22.5:g} degree, tilt {tilt_low:g} to {tilt_low + 5:g}"
    assert len(label_groups(np.zeros((1, 5)), LabelSpace("vector", axes=tuple(map(Axis, "abcde"))))[1]) == 32


def test_windows_are_bins_of_every_class():
    rng = np.random.default_rng(0)
    labels = np.stack([rng.integers(0, 3, 100), rng.uniform(0, 90, 100)], axis=1).astype(np.float32)
    groups, names = label_windows(labels, MODELS, 9)
    assert len(names) == 27
    for group, (own, yaw) in zip(groups.tolist(), labels.tolist(), strict=True):
        assert names[group] == f"{'abc'[int(own)]}, {10 * (yaw // 10):g} to {10 * (yaw // 10) + 10:g} degree"
    for space, column in ((CLASSES, np.array([2, 0])), (ANGLE, labels[:, 1]), (POSE, labels)):
        assert label_windows(column, space, 9)[0].tolist() == label_groups(column, space, 9)[0].tolist()


def test_the_number_of_bins_and_cells_is_a_choice():
    assert len(label_groups(np.zeros(1), ANGLE, 5)[1]) == 5
    assert len(label_groups(np.zeros((1, 2)), POSE, 9)[1]) == 9
