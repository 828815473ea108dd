"""What mixed images are labelled with: the teacher's answers, or both labels by the coefficient; for all four kinds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import softmax

from data.compute import Compute
from data.errors import DataError
from data.labels import Axis, LabelSpace
from data.recipes.mixes import sample_mixes
from students.training_data import DeviceBatches, Rows, TrainingData

ROWS, MIXES = 20, 33
SPACES = {
    "class": LabelSpace("class", ("a", "b", "c")),
    "scalar": LabelSpace("scalar", name="angle", unit="degree", minimum=0, maximum=90),
    "vector": LabelSpace("vector", axes=(Axis("a", "", 0, 9), Axis("b", "", -5, 5))),
    "class+scalar": LabelSpace("class+scalar", ("a", "b"), name="age", minimum=0, maximum=60),
}


def batches(space, *, teacher):
    """Batches of real and mixed rows; their labels, mixes, answers, and the mean and deviation of the outputs."""
    rng = np.random.default_rng(3)
    low, high = (np.array([getattr(axis, end) for axis in space.dimensions]) for end in ("minimum", "maximum"))
    values = low + rng.random((ROWS, len(low))) * (high - low) if space.dimensions else None
    labels = space.join(rng.integers(0, space.classes, ROWS) if space.has_classes else None, values)
    images = rng.integers(0, 256, (ROWS, 1, 6, 6), dtype=np.uint8)
    mixes = sample_mixes(ROWS, "mixup", 1.0, MIXES, 6, 4)
    answers = rng.normal(size=(MIXES, space.outputs)).astype(np.float32) * 7
    mean = np.r_[np.zeros(space.classes), np.full(len(low), 4.0)].astype(np.float32)
    std = np.r_[np.ones(space.classes), np.full(len(low), 2.5)].astype(np.float32)
    data = TrainingData(Rows(images, labels), Rows(images, labels, answers, soft_labels=teacher, mixes=mixes))
    made = DeviceBatches(
        data, space, batch_size=16, real_fraction=0.5, seed=0, label_mean=torch.from_numpy(mean),
        label_std=torch.from_numpy(std), teacher_outputs=False, compute=Compute(torch.device("cpu")),
    )  # fmt: skip
    return made, labels, mixes, answers, mean, std


@pytest.mark.parametrize("kind", SPACES)
def test_the_teacher_labels_what_it_was_asked_about(kind):
    space = SPACES[kind]
    made, _, _, answers, mean, std = batches(space, teacher=True)
    expected = (answers - mean) / std
    if space.has_classes:
        expected[:, : space.classes] = softmax(answers[:, : space.classes].astype(np.float64), axis=1)
    np.testing.assert_allclose(made.targets(1)[0].numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", SPACES)
def test_without_it_both_labels_count_by_the_coefficient(kind):
    space = SPACES[kind]
    made, labels, mixes, _, mean, std = batches(space, teacher=False)
    expected = []
    for first, second, share in zip(mixes.first, mixes.second, mixes.coefficient.astype(np.float64), strict=True):
        both = []
        for row in (first, second):
            one = np.zeros(space.outputs)
            if space.has_classes:
                one[space.class_part(labels)[row]] = 1.0
            one[space.classes :] = space.continuous_part(labels)[row]
            both.append(one)
        expected.append((share * both[0] + (1 - share) * both[1] - mean) / std)
    np.testing.assert_allclose(made.targets(1)[0].numpy(), np.stack(expected), rtol=1e-4, atol=1e-5)


def test_synthetic_values_are_never_soft():
    space = SPACES["scalar"]
    images, labels = np.zeros((4, 1, 6, 6), np.uint8), np.zeros(4, np.float32)
    rows = Rows(images, labels, np.zeros((4, 1), np.float32), soft_labels=True)
    with pytest.raises(DataError, match="synthetic rows: soft labels must be of classes, got scalar labels"):
        DeviceBatches(
            TrainingData(Rows(images, labels), rows), space, batch_size=4, real_fraction=0.5, seed=0, label_mean=0.0,
            label_std=1.0, teacher_outputs=False, compute=Compute(torch.device("cpu")),
        )  # fmt: skip
