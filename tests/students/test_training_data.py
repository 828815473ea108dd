"""Batches of real and synthetic rows against what was put in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from data.compute import Compute
from data.errors import ConfigError, DataError
from data.labels import Axis, LabelSpace
from students.training_data import DeviceBatches, Rows, TrainingData, batch_shares

COMPUTE = Compute(torch.device("cpu"))
CLASSES = LabelSpace("class", ("a", "b", "c", "d"))
SCALAR = LabelSpace("scalar", maximum=90.0)
POSE = LabelSpace("vector", axes=(Axis("yaw", "degree", 0.0, 90.0), Axis("tilt", "radian", -300.0, 300.0)))
BOTH = LabelSpace("class+scalar", ("a", "b", "c"), maximum=90.0)


def rows(count: int, first: int, space: LabelSpace = CLASSES) -> Rows:
    """Rows whose image, label and teacher outputs all tell the row's number."""
    number = np.arange(first, first + count)
    images = np.broadcast_to(number[:, None, None, None], (count, 1, 8, 8)).astype(np.uint8)
    if space.kind == "class":
        return Rows(images, number % 3, np.stack([number, number + 1.0, number * 0, number], 1).astype(np.float32))
    return Rows(images, number.astype(np.float32), (number[:, None] + 0.5).astype(np.float32))


def batches(data: TrainingData, space: LabelSpace = CLASSES, **changes: object) -> DeviceBatches:
    settings: dict[str, object] = {
        "batch_size": 8, "real_fraction": 0.25, "seed": 5, "label_mean": 0.0, "label_std": 1.0,
        "teacher_outputs": True, "compute": COMPUTE,
    }  # fmt: skip
    return DeviceBatches(data, space, **{**settings, **changes})  # type: ignore[arg-type]


def test_columns_stay_together_and_shares_are_fixed() -> None:
    loader = batches(TrainingData(rows(10, 0), rows(30, 100)))
    for step in range(12):
        images, batch = loader.at(step)
        number = images[:, 0, 0, 0].long()
        assert images.dtype == torch.uint8
        assert (number < 100).tolist() == [True] * 2 + [False] * 6
        assert batch.labels.tolist() == (number % 3).tolist()
        assert batch.teacher()[:, 0].tolist() == number.tolist()


def test_every_row_comes_once_an_epoch() -> None:
    loader = batches(TrainingData(rows(10, 0), rows(30, 100)))
    seen = torch.cat([loader.at(step)[0][:, 0, 0, 0] for step in range(5)]).tolist()
    assert sorted(number for number in seen if number < 100) == list(range(10))
    assert sorted(number for number in seen if number >= 100) == list(range(100, 130))


def test_real_rows_alone_fill_the_batch() -> None:
    loader = batches(TrainingData(rows(10, 0)), teacher_outputs=False)
    images, batch = loader.at(3)
    assert len(images) == 8
    assert batch.teacher_outputs is None


def test_soft_labels_replace_only_the_synthetic_ones() -> None:
    data = TrainingData(rows(10, 0), replace(rows(30, 100), soft_labels=True))
    images, batch = batches(data, teacher_outputs=False).at(0)
    assert batch.labels.shape == (8, 4)
    for row, image in enumerate(images):
        number = int(image[0, 0, 0])
        expected = torch.zeros(4)
        expected[number % 3] = 1.0
        if number >= 100:
            expected = torch.tensor([number, number + 1.0, 0.0, number]).softmax(0)
        torch.testing.assert_close(batch.labels[row], expected)


def test_scalars_are_standardised() -> None:
    data = TrainingData(rows(10, 0, SCALAR), rows(30, 100, SCALAR))
    images, batch = batches(data, SCALAR, label_mean=4.0, label_std=2.0).at(1)
    number = images[:, 0, 0, 0].float()
    torch.testing.assert_close(batch.labels, (number - 4.0) / 2.0)
    torch.testing.assert_close(batch.teacher(), ((number + 0.5 - 4.0) / 2.0)[:, None])


def test_every_axis_of_a_vector_is_standardised_by_its_own_scale() -> None:
    def poses(count: int, first: int) -> Rows:
        number = np.arange(first, first + count, dtype=np.float32)
        images = np.broadcast_to(number[:, None, None, None], (count, 1, 8, 8)).astype(np.uint8)
        return Rows(images, np.stack([number, -2 * number], 1), np.stack([number + 0.5, number], 1))

    scale = {"label_mean": torch.tensor([4.0, 6.0]), "label_std": torch.tensor([2.0, 8.0])}
    images, batch = batches(TrainingData(poses(10, 0), poses(30, 100)), POSE, **scale).at(1)
    assert batch.labels.shape == batch.teacher().shape == (8, 2)
    assert batch.values is None
    for row, image in enumerate(images):
        number = float(image[0, 0, 0])
        assert batch.labels[row].tolist() == [(number - 4.0) / 2.0, (-2 * number - 6.0) / 8.0]
        assert batch.teacher()[row].tolist() == [(number + 0.5 - 4.0) / 2.0, (number - 6.0) / 8.0]


@pytest.mark.parametrize("soft", [False, True])
def test_a_class_and_a_scalar_stay_together(soft: bool) -> None:
    def both(count: int, first: int, soft_labels: bool) -> Rows:
        number = np.arange(first, first + count, dtype=np.float32)
        images = np.broadcast_to(number[:, None, None, None], (count, 1, 8, 8)).astype(np.uint8)
        outputs = np.stack([number, number + 1, number * 0, number + 0.5], 1)
        return Rows(images, np.stack([number % 3, number], 1), outputs, soft_labels=soft_labels)

    data = TrainingData(both(10, 0, False), both(30, 100, soft))
    scale = {"label_mean": torch.tensor([0.0, 0.0, 0.0, 4.0]), "label_std": torch.tensor([1.0, 1.0, 1.0, 2.0])}
    images, batch = batches(data, BOTH, **scale).at(1)
    classes, values = batch.both()
    assert values.shape == (8, 1)
    assert classes.shape == ((8, 3) if soft else (8,))
    for row, image in enumerate(images):
        number = int(image[0, 0, 0])
        assert values[row].tolist() == [(number - 4.0) / 2.0]
        assert batch.teacher()[row].tolist() == [number, number + 1, 0.0, (number + 0.5 - 4.0) / 2.0]
        if not soft:
            assert classes[row] == number % 3
            continue
        expected = torch.tensor([number, number + 1.0, 0.0]).softmax(0) if number >= 100 else torch.eye(3)[number % 3]
        torch.testing.assert_close(classes[row], expected)


def test_the_order_of_real_rows_does_not_depend_on_synthetic_ones() -> None:
    mixed = batches(TrainingData(rows(10, 0), rows(30, 100)), real_fraction=0.5, batch_size=8)
    alone = batches(TrainingData(rows(10, 0)), batch_size=4)
    for step in range(5):
        assert torch.equal(mixed.at(step)[0][:4], alone.at(step)[0])


def test_a_share_without_rows_is_refused() -> None:
    assert batch_shares(7, 0.5, 2) == [4, 3]
    for fraction in (0.0, 1.0, 0.01):
        with pytest.raises(ConfigError, match="real_fraction must leave both kinds"):
            batch_shares(8, fraction, 2)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (replace(rows(5, 0), images=np.zeros((5, 1, 8, 8), np.float32)), "synthetic rows: images must be uint8"),
        (replace(rows(5, 0), images=np.zeros((5, 3, 8, 8), np.uint8)), "synthetic rows: images must be uint8"),
        (rows(0, 0), "N >= 1"),
        (replace(rows(5, 0), labels=np.zeros(4, np.int64)), r"labels must have shape \(5,\), got \(4,\)"),
        (replace(rows(5, 0), labels=np.full(5, 4)), r"must lie in 0\.\.3"),
        (replace(rows(5, 0), teacher_outputs=None), "teacher outputs must be there"),
        (replace(rows(5, 0), teacher_outputs=np.zeros((5, 1), np.float32)), r"must have shape \(5, 4\)"),
    ],
)
def test_rows_that_do_not_fit_are_named(broken: Rows, message: str) -> None:
    with pytest.raises(DataError, match=message):
        batches(TrainingData(rows(10, 0), broken))


def test_labels_of_another_kind_are_named() -> None:
    with pytest.raises(DataError, match=r"real rows: labels must have shape \(10, 2\), got \(10,\)"):
        batches(TrainingData(rows(10, 0, SCALAR)), POSE)
    with pytest.raises(DataError, match=r"real rows: labels must have shape \(10, 2\), got \(10,\)"):
        batches(TrainingData(rows(10, 0)), BOTH)


def test_soft_vectors_are_refused() -> None:
    labels = np.zeros((5, 2), np.float32)
    vectors = Rows(rows(5, 0).images, labels, labels, soft_labels=True)
    with pytest.raises(DataError, match="soft labels must be of classes, got vector labels"):
        batches(TrainingData(vectors), POSE)


def test_soft_scalars_are_refused() -> None:
    with pytest.raises(DataError, match="soft labels must be of classes"):
        batches(TrainingData(rows(10, 0, SCALAR), replace(rows(5, 0, SCALAR), soft_labels=True)), SCALAR)
