"""Labels as people write them: what is understood, and what is refused in one sentence."""

from __future__ import annotations

import numpy as np
import pytest

from data.errors import ConfigError
from data.label_texts import find_class, label_grid, parse_label, parse_labels, parse_ranges
from data.labels import Axis, LabelSpace

CLASSES = LabelSpace("class", names=("T-shirt", "Shirt", "7", "ankle boot"))
YAW = LabelSpace("scalar", name="yaw", unit="degree", minimum=-10, maximum=90)
POSE = LabelSpace("vector", axes=(Axis("yaw", "degree", 0, 90), Axis("tilt", "degree", -20, 20)))
CHAIRS = LabelSpace("class+scalar", names=("chair, low", "chair 2"), name="yaw", unit="degree", maximum=90)


@pytest.mark.parametrize(
    ("space", "text", "expected"),
    [
        (CLASSES, "1", 1),
        (CLASSES, " Shirt ", 1),
        (CLASSES, "ANKLE boot", 3),
        (YAW, "37.5", 37.5),
        (YAW, "-1e1", -10),
        (POSE, "30,-12.5", [30, -12.5]),
        (CHAIRS, "chair 2,37.5", [1, 37.5]),
        (CHAIRS, "chair, low, 0", [0, 0]),
        (CHAIRS, "1,90", [1, 90]),
    ],
)
def test_labels_are_understood(space, text, expected):
    label = parse_label(text, space, "--label")
    assert label.dtype == space.dtype
    assert label.shape == space.label_shape
    assert label.tolist() == expected
    assert np.array_equal(parse_labels([text, text], space, "x"), np.stack([label, label]))


def test_digits_are_a_number_even_where_a_class_is_named_by_digits():
    assert find_class("2", CLASSES) == 2
    assert find_class("7", CLASSES) is None
    assert find_class("", CLASSES) is None
    twins = LabelSpace("class", names=("a", "A", "b"))
    assert [find_class(text, twins) for text in ("a", "A", "B")] == [0, 1, 2]
    assert find_class("ä", twins) is None


@pytest.mark.parametrize(
    ("space", "text", "sentence"),
    [
        (CLASSES, "4", r"--label must be a class number 0\.\.3 or a class name \(T-shirt, Shirt, 7, .*got '4'"),
        (CLASSES, "Shrt", r"got 'Shrt'; did you mean 'Shirt'\?"),
        (CLASSES, "-1", "class number"),
        (YAW, "left", "must be a number in degree for yaw, got 'left'"),
        (YAW, "nan", "must be a number"),
        (YAW, "90.1", r"must lie between -10 degree and 90 degree, got 90\.1"),
        (POSE, "30", r"must be 2 values with commas between them \(yaw, tilt\), got '30'"),
        (POSE, "30,21", "must lie between -20 degree and 20 degree, got 21 for tilt"),
        (CHAIRS, "37.5", "must be a class and a value with a comma between them, such as 'chair, low,45'"),
        (CHAIRS, "chair 3,37.5", r"did you mean 'chair 2'\?"),
    ],
)
def test_what_is_no_label_is_refused_in_one_sentence(space, text, sentence):
    with pytest.raises(ConfigError, match=sentence):
        parse_label(text, space, "--label")


def test_ranges_include_both_ends_and_make_grids():
    values = parse_ranges("0:90:4", YAW, "--range")
    assert [axis.tolist() for axis in values] == [[0, 30, 60, 90]]
    assert label_grid(YAW, values).tolist() == [0, 30, 60, 90]
    grid = label_grid(POSE, parse_ranges("0:90:2,-10:10:3", POSE, "--range"))
    assert grid.tolist() == [[0, -10], [0, 0], [0, 10], [90, -10], [90, 0], [90, 10]]
    assert label_grid(CHAIRS, parse_ranges("5:15:2", CHAIRS, "--range")).tolist() == [[0, 5], [0, 15], [1, 5], [1, 15]]
    assert label_grid(CHAIRS, [np.array([5.0])], [1]).tolist() == [[1, 5]]
    assert label_grid(CLASSES, []).tolist() == [0, 1, 2, 3]
    for space in (CLASSES, YAW, POSE, CHAIRS):
        middles = [np.array([(axis.minimum + axis.maximum) / 2]) for axis in space.dimensions]
        space.check(label_grid(space, middles), "grid")


@pytest.mark.parametrize(
    ("space", "text", "sentence"),
    [
        (CLASSES, "0:9:10", "got classes"),
        (YAW, "0:90", r"LOW:HIGH:COUNT with a COUNT of 1 to 10000, such as -10:90:10, got '0:90'"),
        (YAW, "0:90:0", "COUNT of 1"),
        (YAW, "0:90:99999999999999999999", "COUNT of 1"),
        (YAW, "0:91:3", "got 91"),
        (POSE, "0:90:3", r"each of 2 dimension\(s\)"),
    ],
)
def test_what_is_no_range_is_refused(space, text, sentence):
    with pytest.raises(ConfigError, match=sentence):
        parse_ranges(text, space, "--range")
