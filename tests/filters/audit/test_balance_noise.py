"""Balance and label noise against counts by hand."""

from __future__ import annotations

import numpy as np
import pytest

from data.labels import Axis, LabelSpace
from filters.audit.balance import balance, normalised_entropy
from filters.audit.noise import label_noise, teacher_against

CLASSES = LabelSpace("class", ("a", "b", "c"))
ANGLE = LabelSpace("scalar", name="yaw", unit="degree", minimum=0, maximum=90)
POSE = LabelSpace("vector", axes=(Axis("yaw", "degree", 0, 90), Axis("size", "", 1, 3)))
MODELS = LabelSpace("class+scalar", ("a", "b"), name="yaw", unit="degree", minimum=0, maximum=10)


def test_balance_of_three_groups_of_which_one_is_missing():
    synthetic = np.repeat([0, 1], [6, 2])
    training = np.repeat([0, 1, 2], [1, 2, 1])
    found = balance(synthetic, training, ["a", "b", "c", "unused"])
    assert found["groups"] == [
        {"label": "a", "synthetic": 6, "training": 1},
        {"label": "b", "synthetic": 2, "training": 2},
        {"label": "c", "synthetic": 0, "training": 1},
    ]
    assert found["missing"] == ["c"]
    assert found["smallest"] == {"label": "c", "share": 0.0}
    assert found["largest"] == {"label": "a", "share": 0.75}
    assert found["ratio"] is None
    assert found["entropy"] == pytest.approx(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25)) / np.log(3))
    assert found["training_entropy"] == pytest.approx(1.5 * np.log(2) / np.log(3))
    assert found["total_variation"] == pytest.approx(0.5 * (0.5 + 0.25 + 0.25))


def test_balance_of_equal_sets_and_of_one_group():
    groups = np.array([0, 1, 1, 0])
    found = balance(groups, groups, ["a", "b"])
    assert (found["ratio"], found["entropy"], found["total_variation"], found["missing"]) == (1.0, 1.0, 0.0, [])
    assert balance(np.array([2]), np.array([2, 2]), ["a", "b", "c"])["entropy"] == 1.0
    assert normalised_entropy(np.array([1.0])) == 1.0


def test_a_group_that_only_the_synthetic_set_has_is_listed_and_no_share():
    found = balance(np.array([0, 1, 1]), np.array([0, 0]), ["a", "b"])
    assert [row["synthetic"] for row in found["groups"]] == [1, 2]
    assert found["largest"] == found["smallest"] == {"label": "a", "share": pytest.approx(1 / 3)}
    assert found["missing"] == []


def logits(probabilities) -> np.ndarray:
    return np.log(np.array(probabilities)).astype(np.float32)


def test_classes_against_the_teacher_by_hand():
    outputs = logits([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.3, 0.3, 0.4], [0.5, 0.25, 0.25]])
    found = teacher_against(outputs, np.array([0, 2, 2, 0]), CLASSES)
    assert found["rows"] == 4
    assert found["other_guess"] == 0.25
    assert found["doubt"] == pytest.approx((0.3 + 0.7 + 0.6 + 0.5) / 4)
    assert [(row["label"], row["rows"]) for row in found["per_class"]] == [("a", 2), ("c", 2)]
    assert [row["other_guess"] for row in found["per_class"]] == [0.0, 0.5]
    assert found["per_class"][1]["doubt"] == pytest.approx(0.65)
    assert found["values"] == []


def test_huge_logits_do_not_overflow():
    found = teacher_against(np.array([[1e4, -1e4, 0.0]], np.float32), np.array([1]), CLASSES)
    assert (found["other_guess"], found["doubt"]) == (1.0, 1.0)


def test_values_against_the_teacher_in_their_unit_and_of_the_range():
    (value,) = teacher_against(np.array([[10.0], [50.0]]), np.array([19.0, 45.5], np.float32), ANGLE)["values"]
    assert value == {"axis": "yaw", "unit": "degree", "mean_absolute": 6.75, "of_range": 0.075}
    found = teacher_against(np.array([[10.0, 2.0]]), np.array([[19.0, 1.0]], np.float32), POSE)
    assert [value["of_range"] for value in found["values"]] == [0.1, 0.5]
    assert "other_guess" not in found


def test_noise_adds_what_differs_from_the_teacher_and_what_the_teacher_gets_wrong():
    made = {"other_guess": 0.25, "doubt": 0.4, "values": []}
    real = {"other_guess": 0.05, "doubt": 0.1, "values": []}
    assert label_noise(made, real, soft=False) == {
        "label_against_teacher": 0.25,
        "teacher": 0.05,
        "total": pytest.approx(0.3),
    }
    assert label_noise(made, real, soft=True) == {"label_against_teacher": 0.0, "teacher": 0.1, "total": 0.1}


def test_noise_of_a_class_with_a_value_is_the_mean_of_both():
    outputs = np.concatenate([logits([[0.9, 0.1], [0.2, 0.8]]), [[3.0], [4.0]]], axis=1)
    made = teacher_against(outputs, np.array([[1, 5.0], [1, 4.0]], np.float32), MODELS)
    real = teacher_against(outputs, np.array([[0, 3.0], [1, 4.0]], np.float32), MODELS)
    found = label_noise(made, real, soft=False)
    assert found["label_against_teacher"] == pytest.approx((0.5 + 0.1) / 2)
    assert found["teacher"] == 0.0


def test_noise_is_at_most_one():
    real = {"values": [{"of_range": 0.8}]}
    assert label_noise(real, real, soft=False)["total"] == 1.0
