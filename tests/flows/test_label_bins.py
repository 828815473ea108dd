"""Groups of labels against loops."""

import numpy as np
import pytest

from data.labels import Axis, LabelSpace
from flows.label_bins import axis_bins, kept_shares, label_groups

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


@pytest.mark.parametrize("space", [POSE, MODELS])
def test_kept_shares_equal_a_loop(space):
    rng = np.random.default_rng(1)
    labels = np.stack([rng.integers(0, 3, 60), rng.uniform(0, 10, 60)], axis=1).astype(np.float32)
    kept = np.flatnonzero(rng.random(60) < 0.5)
    rows = {(row["axis"], row["label"]): (row["candidates"], row["kept"]) for row in kept_shares(labels, kept, space)}
    expected = {}
    for place, axis in enumerate(space.dimensions):
        step = (axis.maximum - axis.minimum) / 18
        for row in range(60):
            number = min(int((labels[row, place + space.has_classes] - axis.minimum) // step), 17)
            low = axis.minimum + number * step
            key = axis.name, f"{low:g} to {low + step:g} {axis.unit}".strip()
            total, count = expected.get(key, (0, 0))
            expected[key] = total + 1, count + (row in kept)
    assert rows == expected
    assert sum(total for total, _ in rows.values()) == 60 * len(space.dimensions)


def test_classes_have_no_axes():
    assert kept_shares(np.array([0, 1]), np.array([0]), CLASSES) == []
