import numpy as np
import pytest
import torch

from data.errors import DataError
from data.labels import KINDS, Axis, LabelSpace

YAW = Axis("yaw", "degree", -90.0, 90.0)
LIFT = Axis("elevation", "degree", 10.0, 50.0)
SPACES = {
    "class": LabelSpace("class", ("cat", "dog", "owl")),
    "scalar": LabelSpace("scalar", name="yaw", unit="degree", minimum=-90.0, maximum=90.0),
    "vector": LabelSpace("vector", axes=(YAW, LIFT)),
    "class+scalar": LabelSpace("class+scalar", ("cat", "dog", "owl"), "yaw", "degree", -90.0, 90.0),
}
LABELS = {
    "class": np.array([0, 2, 1]),
    "scalar": np.array([-90.0, 0.0, 45.0], np.float32),
    "vector": np.array([[-90, 10], [0, 30], [90, 50]], np.float32),
    "class+scalar": np.array([[0, -90], [2, 0], [1, 90]], np.float32),
}


def test_every_kind_is_here():
    assert set(SPACES) == set(LABELS) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_labels_survive_every_round_trip(kind):
    space, labels = SPACES[kind], LABELS[kind].astype(SPACES[kind].dtype)
    space.check(labels, "here")
    assert labels.shape[1:] == space.label_shape
    assert LabelSpace.from_dict(space.to_dict()) == space
    assert np.array_equal(space.restore(space.normalise(labels)), labels)
    classes = space.class_part(labels) if space.has_classes else None
    assert np.array_equal(space.join(classes, space.continuous_part(labels)), labels)
    assert space.join(classes, space.continuous_part(labels)).dtype == space.dtype
    if kind != "class":
        tensor = space.normalise(torch.from_numpy(labels))
        assert np.allclose(tensor.numpy(), space.normalise(labels), atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "outputs", "shape", "conditions"),
    [
        ("class", 3, (), [0, 2, 1]),
        ("scalar", 1, (), [0.0, 0.5, 0.75]),
        ("vector", 2, (2,), [[0, 0], [0.5, 0.5], [1, 1]]),
        ("class+scalar", 4, (2,), [[0, 0], [2, 0.5], [1, 1]]),
    ],
)
def test_sizes_and_conditions(kind, outputs, shape, conditions):
    space = SPACES[kind]
    assert (space.outputs, space.label_shape) == (outputs, shape)
    made = space.conditions(LABELS[kind])
    assert made.dtype == (np.int64 if kind == "class" else np.float32)
    assert np.allclose(made, conditions)


def test_labels_in_words():
    assert [SPACES[kind].describe(LABELS[kind][1]) for kind in KINDS] == [
        "owl", "0 degree", "yaw 0 degree, elevation 30 degree", "owl, 0 degree",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "labels", "words"),
    [
        ("vector", np.zeros(3, np.float32), r"vector labels must have shape \(N, 2\), got \(3,\)"),
        ("scalar", np.zeros((3, 1), np.float32), r"must have shape \(N,\)"),
        ("vector", np.array([[0, np.inf]], np.float32), "vector labels must be finite"),
        ("class+scalar", np.array([[3, 0.0]], np.float32), r"class labels must lie in 0\.\.2"),
        ("class+scalar", np.array([[0.5, 0.0]], np.float32), "whole numbers, got 0.5"),
        ("class", np.array([-1]), r"must lie in 0\.\.2, got -1"),
    ],
)
def test_labels_outside_their_space_are_refused(kind, labels, words):
    with pytest.raises(DataError, match=words):
        SPACES[kind].check(labels, "here")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"kind": "vector", "axes": (YAW,)}, "at least 2 axes, got 1"),
        ({"kind": "vector", "axes": (YAW, YAW)}, "distinct names"),
        ({"kind": "scalar", "axes": (YAW, LIFT)}, "must have no axes"),
        ({"kind": "scalar", "names": ("a", "b")}, "no class names"),
        ({"kind": "class+scalar"}, "at least 2 names"),
        ({"kind": "class+scalar", "names": ("a", "b"), "minimum": 2.0}, "minimum < maximum, got 2.0 and 1.0"),
        ({"kind": "scalar", "maximum": float("nan")}, "a finite range with minimum < maximum"),
        ({"kind": "picture"}, "must be one of"),
    ],
)
def test_nonsense_spaces_are_refused(fields, words):
    with pytest.raises(DataError, match=words):
        LabelSpace(**fields)


def test_only_labels_with_a_class_have_a_class_part():
    with pytest.raises(ValueError, match="must have a class, got a scalar"):
        SPACES["scalar"].class_part(LABELS["scalar"])
