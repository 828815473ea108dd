"""What becomes of labels under every mode and for every kind of label."""

from __future__ import annotations

import numpy as np
import pytest

from data.errors import ConfigError
from data.labels import Axis, LabelSpace
from filters.relabelling import relabel

CLASSES = LabelSpace("class", ("a", "b", "c", "d"))
SCALAR = LabelSpace("scalar", maximum=90.0)
VECTOR = LabelSpace("vector", axes=(Axis("yaw", "degree", 0.0, 90.0), Axis("tilt", "degree", -10.0, 10.0)))
BOTH = LabelSpace("class+scalar", ("a", "b", "c"), "size", "cm", 10.0, 50.0)


def test_relabelling_of_classes() -> None:
    outputs = np.array([[0, 3, 1, 0], [5, 0, 0, 0]], np.float32)
    labels = np.array([2, 0])
    for mode in ("none", "soft"):
        unchanged = relabel(labels, outputs, CLASSES, mode)
        assert unchanged.tolist() == [2, 0]
        assert unchanged is not labels
    hard = relabel(labels, outputs, CLASSES, "hard")
    assert hard.tolist() == [1, 0]
    assert hard.dtype == np.int64


def test_relabelling_of_scalars() -> None:
    outputs, labels = np.array([[10.0], [95.0]], np.float32), np.array([12.0, 90.0], np.float32)
    assert relabel(labels, outputs, SCALAR, "none").tolist() == [12.0, 90.0]
    hard = relabel(labels, outputs, SCALAR, "hard")
    assert hard.tolist() == [10.0, 95.0]
    assert hard.dtype == np.float32
    with pytest.raises(ConfigError, match="of scalar labels must be 'none', 'values' or 'hard', got 'soft'"):
        relabel(labels, outputs, SCALAR, "soft")
    with pytest.raises(ConfigError, match="got 'firm'"):
        relabel(labels, outputs, SCALAR, "firm")  # type: ignore[arg-type]


def test_relabelling_of_vectors() -> None:
    outputs, labels = np.array([[10.0, -12.0]], np.float32), np.array([[12.0, 9.0]], np.float32)
    unchanged = relabel(labels, outputs, VECTOR, "none")
    assert unchanged.tolist() == [[12.0, 9.0]]
    assert unchanged is not labels
    for mode in ("hard", "values"):
        assert relabel(labels, outputs, VECTOR, mode).tolist() == [[10.0, -12.0]]
        assert relabel(labels, outputs, VECTOR, mode).dtype == np.float32
    with pytest.raises(ConfigError, match="of vector labels must be 'none', 'values' or 'hard', got 'soft'"):
        relabel(labels, outputs, VECTOR, "soft")


def test_relabelling_of_classes_with_a_scalar() -> None:
    outputs = np.array([[0, 3, 1, 12.5], [5, 0, 0, 60.0]], np.float32)
    labels = np.array([[2, 20.0], [0, 50.0]], np.float32)
    assert relabel(labels, outputs, BOTH, "none").tolist() == [[2.0, 20.0], [0.0, 50.0]]
    assert relabel(labels, outputs, BOTH, "values").tolist() == [[2.0, 12.5], [0.0, 60.0]]
    assert relabel(labels, outputs, BOTH, "hard").tolist() == [[1.0, 12.5], [0.0, 60.0]]
    assert relabel(labels, outputs, BOTH, "hard").dtype == np.float32
    # Probabilities stand in for the class; the value is the teacher's.
    assert relabel(labels, outputs, BOTH, "soft").tolist() == [[2.0, 12.5], [0.0, 60.0]]
    with pytest.raises(
        ConfigError, match=r"of class\+scalar labels must be 'none', 'values', 'hard' or 'soft', got 'x'"
    ):
        relabel(labels, outputs, BOTH, "x")  # type: ignore[arg-type]


def test_values_are_the_labels_of_classes_and_the_predictions_of_scalars() -> None:
    assert relabel(np.array([2]), np.array([[5.0, 0, 0, 0]], np.float32), CLASSES, "values").tolist() == [2]
    assert relabel(np.array([2.0]), np.array([[5.0]], np.float32), SCALAR, "values").tolist() == [5.0]
