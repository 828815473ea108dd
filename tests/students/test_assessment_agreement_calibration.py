"""Agreement and calibration against explicit loops, closed forms and other libraries."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import brier_score_loss, log_loss

from data.labels import Axis, LabelSpace
from students.assessment.agreement import agreement, log_softmax
from students.assessment.calibration import (
    QUANTILES,
    brier_score,
    calibration,
    equal_mass_bins,
    equal_width_bins,
    expected_calibration_error,
    negative_log_likelihood,
)

CLASSES = LabelSpace("class", tuple("abcde"))
POSE = LabelSpace("vector", axes=(Axis("yaw", "degree", -10, 90), Axis("tilt", "radian", 0, 1)))
BOTH = LabelSpace("class+scalar", ("a", "b"), name="yaw", unit="degree", minimum=0, maximum=90)


def logits(seed: int, rows: int = 200, classes: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 2, (rows, classes)).astype(np.float32)


def test_class_agreement_is_a_loop_and_torchs_divergence():
    student, teacher = logits(0), logits(1)
    found = agreement(student, teacher, CLASSES)
    same = 0
    for first, second in zip(student.tolist(), teacher.tolist(), strict=True):
        same += first.index(max(first)) == second.index(max(second))
    assert found["top1"] == pytest.approx(100 * same / 200)
    own, taught = (torch.tensor(values).double().log_softmax(1) for values in (student, teacher))
    assert found["divergence"] == pytest.approx(F.kl_div(own, taught, log_target=True, reduction="batchmean").item())
    assert found["values"] == []
    itself = agreement(teacher, teacher + 3, CLASSES)
    assert itself["top1"] == 100
    assert itself["divergence"] == pytest.approx(0, abs=1e-6)


def test_divergence_of_certain_models_is_finite_and_has_its_closed_form():
    teacher, student = np.array([[200.0, 0.0]]), np.array([[0.0, 200.0]])
    assert agreement(student, teacher, LabelSpace("class", ("a", "b")))["divergence"] == pytest.approx(200)
    # Teacher certain, student even: log 2.
    even = agreement(np.zeros((1, 2)), teacher, LabelSpace("class", ("a", "b")))
    assert even["divergence"] == pytest.approx(math.log(2))


def test_agreement_of_values_is_in_their_units():
    teacher = np.array([[10.0, 0.5], [20.0, 0.7], [30.0, 0.9]])
    student = teacher + np.array([[3.0, 0.1], [-4.0, 0.1], [0.0, -0.1]])
    yaw, tilt = agreement(student, teacher, POSE)["values"]
    assert (yaw["axis"], yaw["unit"]) == ("yaw", "degree")
    assert yaw["rmse"] == pytest.approx(math.sqrt(25 / 3))
    assert yaw["mean_absolute"] == pytest.approx(7 / 3)
    assert [tilt["rmse"], tilt["mean_absolute"]] == pytest.approx([0.1, 0.1])


def test_both_parts_of_labels_with_both():
    teacher, student = np.array([[2.0, 1.0, 45.0]]), np.array([[1.0, 2.0, 40.0]])
    found = agreement(student, teacher, BOTH)
    assert found["top1"] == 0
    assert found["values"][0]["rmse"] == pytest.approx(5)
    measured = calibration(student, np.array([[0.0, 50.0]]), BOTH, 10)
    assert measured["nll"] == pytest.approx(1 + math.log(1 + math.exp(-1)))
    assert measured["residuals"][0]["bias"] == pytest.approx(-10)


def loop_error(confidence, right, count) -> float:
    """Bin for bin as in Guo et al., 2017, eq. 3."""
    total = 0.0
    for place in range(count):
        inside = [
            (c, r)
            for c, r in zip(confidence, right, strict=True)
            if place / count < c <= (place + 1) / count or (place == 0 and c == 0)
        ]
        if inside:
            gap = abs(sum(c for c, _ in inside) - sum(r for _, r in inside))
            total += gap / len(confidence)
    return total


@pytest.mark.parametrize("count", [2, 10, 15])
def test_calibration_error_is_a_loop_over_bins(count):
    found, truth = logits(2), np.random.default_rng(3).integers(0, 5, 200)
    probabilities = torch.tensor(found).double().softmax(1).numpy()
    confidence, right = probabilities.max(1), probabilities.argmax(1) == truth
    measured = calibration(found, truth, CLASSES, count)
    assert measured["ece"] == pytest.approx(100 * loop_error(confidence, right, count))
    assert sum(bin["count"] for bin in measured["reliability"]) == 200
    order = np.argsort(confidence)
    pieces = np.array_split(order, count)
    gaps = [len(rows) / 200 * abs(confidence[rows].mean() - right[rows].mean()) for rows in pieces]
    assert measured["adaptive_ece"] == pytest.approx(100 * sum(gaps))


def test_edges_belong_to_the_bin_below():
    bins = equal_width_bins(np.array([0.0, 0.5, 0.500001, 1.0]), np.array([True, True, False, True]), 2)
    assert [bin.count for bin in bins] == [2, 2]
    assert [bin.accuracy for bin in bins] == [1.0, 0.5]
    assert (bins[1].low, bins[1].high) == (0.5, 1.0)


def test_a_calibrated_and_a_boastful_model():
    confidence = np.full(100, 0.75)
    right = np.arange(100) < 75
    assert expected_calibration_error(equal_width_bins(confidence, right, 15)) == pytest.approx(0)
    assert expected_calibration_error(equal_mass_bins(confidence, right, 1)) == pytest.approx(0)
    assert expected_calibration_error(equal_width_bins(np.ones(100), right, 15)) == pytest.approx(0.25)


@pytest.mark.parametrize(("accuracy", "error"), [(0.95, 1.13), (0.90, 2.02)])
def test_a_calibrated_model_has_an_error_by_chance(accuracy, error):
    rng = np.random.default_rng(0)
    found = []
    for _ in range(300):
        confidence = np.clip(1 - rng.exponential(1 - accuracy, 1000), 0.1, 1)
        bins = equal_width_bins(confidence, rng.random(1000) < confidence, 15)
        found.append(100 * expected_calibration_error(bins))
    assert np.mean(found) == pytest.approx(error, abs=4 * np.std(found) / np.sqrt(300))


def test_fewer_predictions_than_bins():
    bins = equal_mass_bins(np.array([0.9, 0.6]), np.array([True, False]), 15)
    assert [(bin.count, bin.confidence, bin.accuracy) for bin in bins] == [(1, 0.6, 0.0), (1, 0.9, 1.0)]
    assert expected_calibration_error(bins) == pytest.approx((0.6 + 0.1) / 2)


def test_likelihood_and_brier_are_those_of_scikit_learn():
    found, truth = logits(6), np.random.default_rng(7).integers(0, 5, 200)
    probabilities = np.exp(log_softmax(found))
    assert negative_log_likelihood(found, truth) == pytest.approx(log_loss(truth, probabilities, labels=range(5)))
    one_against_rest = [brier_score_loss(truth == place, probabilities[:, place]) for place in range(5)]
    assert brier_score(found, truth) == pytest.approx(sum(one_against_rest))


def test_residuals_are_prediction_less_label():
    labels = np.zeros(101, np.float32)
    outputs = np.linspace(-1, 3, 101)[:, None]
    measured = calibration(outputs, labels, LabelSpace("scalar", unit="year"), 15)
    (residual,) = measured["residuals"]
    assert set(measured) == {"residuals"}
    assert residual["bias"] == pytest.approx(1)
    assert residual["unit"] == "year"
    assert list(residual["quantiles"].values()) == pytest.approx([4 * share - 1 for share in QUANTILES])


@pytest.mark.parametrize("rows", [0, 3])
def test_rows_must_fit(rows):
    with pytest.raises(ValueError, match="same rows"):
        calibration(logits(0)[:rows], np.zeros(rows and 2, np.int64), CLASSES, 15)
    with pytest.raises(ValueError, match="same shape"):
        agreement(logits(0)[:rows], logits(0)[: rows and 2], CLASSES)
