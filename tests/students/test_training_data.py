"""Batches of real and synthetic rows against what was put in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from data.compute import Compute
from data.errors import ConfigError, DataError
from data.labels import Axis, LabelSpace
from data.views import ViewRule
from students.augmentation import Augmentation
from students.team import Team
from students.training_data import DeviceBatches, Rows, TrainingData, batch_shares, error_statistics

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


def test_soft_labels_of_views_are_the_mean_of_their_probabilities() -> None:
    plain = rows(10, 0)
    assert plain.teacher_outputs is not None
    answers = np.stack([plain.teacher_outputs, -2 * plain.teacher_outputs])
    data = TrainingData(replace(plain, teacher_outputs=answers, soft_labels=True, views=ViewRule(1)))
    images, batch = batches(data).at(0)
    for row, image in enumerate(images):
        found = torch.from_numpy(answers[:, int(image[0, 0, 0])]).softmax(1)
        torch.testing.assert_close(batch.labels[row], (found[0] + found[1]) / 2)


def test_targets_of_a_part_are_those_of_its_batches() -> None:
    def both(count: int, first: int, soft: bool = False) -> Rows:
        number = np.arange(first, first + count, dtype=np.float32)
        images = np.broadcast_to(number[:, None, None, None], (count, 1, 8, 8)).astype(np.uint8)
        outputs = np.stack([number, number + 1, number * 0, number + 0.5], 1)
        return Rows(images, np.stack([number % 3, number], 1), outputs, soft_labels=soft)

    first, second = both(10, 0), both(30, 100, True)
    assert first.teacher_outputs is not None
    views = replace(first, teacher_outputs=np.stack([first.teacher_outputs - 1, first.teacher_outputs + 3]))
    scale = {"label_mean": torch.tensor([0.0, 0.0, 0.0, 4.0]), "label_std": torch.tensor([1.0, 1.0, 1.0, 2.0])}
    for real in (replace(views, views=ViewRule(1)), first):
        for synthetic in (second, replace(second, soft_labels=False)):
            loader = batches(TrainingData(real, synthetic), BOTH, label_smoothing=0.3, **scale)
            for step in range(3):
                images, batch = loader.at(step)
                for row, image in enumerate(images[:, 0, 0, 0].tolist()):
                    part = int(image >= 100)
                    labels, teacher = loader.targets(part)
                    assert teacher is not None
                    torch.testing.assert_close(labels[image - 100 * part, :3], batch.labels[row])
                    torch.testing.assert_close(labels[image - 100 * part, 3:], batch.both()[1][row])
                    if part or real is first:
                        torch.testing.assert_close(teacher[image - 100 * part], batch.teacher()[row])
            if real is not first:
                mean = (torch.from_numpy(first.teacher_outputs + 1) - scale["label_mean"]) / scale["label_std"]
                torch.testing.assert_close(loader.targets(0)[1], mean)
    labels, teacher = batches(TrainingData(rows(10, 0, SCALAR)), SCALAR, teacher_outputs=False).targets(0)
    assert (labels.shape, teacher) == ((10, 1), None)


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


@pytest.mark.parametrize("fraction", [0.1, 0.3, 0.5, 0.75, 0.9])
@pytest.mark.parametrize("group_size", [1, 3])
@pytest.mark.parametrize("batch_size", [1, 2, 4, 6, 9])
def test_the_batch_size_that_is_named_is_the_least_that_works(
    fraction: float, group_size: int, batch_size: int
) -> None:
    works = {}
    for size in range(1, 200):
        try:
            batch_shares(size, fraction, 2, group_size)
        except ConfigError as error:
            works[size] = str(error)
    if batch_size not in works:
        return
    message = works[batch_size]
    least = min(size for size in range(1, 200) if size not in works)
    assert message.startswith("distill.")
    assert message.endswith((f"; try {least}.", f"; try 0.5 or distill.training.batch_size={least}."))
    if "try 0.5" in message:
        assert batch_shares(batch_size, 0.5, 2, group_size)


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


def test_groups_come_comparison_by_comparison_and_never_mix_parts() -> None:
    loader = batches(TrainingData(rows(9, 0), rows(30, 100)), groups=(2, 1), batch_size=13, real_fraction=0.5)
    assert loader.shares == [6, 6]
    seen = set()
    for step in range(126):
        images, batch = loader.at(step)
        numbers = images[:, 0, 0, 0].long()
        assert batch.groups == (2, 1)
        assert batch.teacher()[:, 0].tolist() == numbers.tolist()
        compared = numbers.reshape(-1, 3)
        assert ((compared < 100).sum(dim=1) % 3 == 0).all()
        assert (compared[:2] < 100).all()
        assert all(len(set(group)) == 3 for group in compared.tolist())
        seen |= {tuple(group) for group in compared[:2].tolist()}
    # 9 choose 2 times 7 comparisons, each once in a pass: 126 steps of two.
    assert len(seen) == 36 * 7
    assert torch.equal(loader.at(5)[0], batches(
        TrainingData(rows(9, 0), rows(30, 100)), groups=(2, 1), batch_size=13, real_fraction=0.5
    ).at(5)[0])  # fmt: skip


def test_a_recipe_gives_the_groups() -> None:
    given = (np.array([[0], [3]]), np.array([[7, 2], [1, 9]]))
    loader = batches(TrainingData(replace(rows(10, 0), groups=given)), groups=(1, 2), batch_size=6)
    images, _ = loader.at(0)
    compared = {tuple(group) for group in images[:, 0, 0, 0].reshape(2, 3).tolist()}
    assert compared == {(0, 7, 2), (3, 1, 9)}
    with pytest.raises(ConfigError, match="must have 1 and 1 rows for this method, got 1 and 2"):
        batches(TrainingData(replace(rows(10, 0), groups=given)), groups=(1, 1))


def test_groups_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match="batch_size must hold a comparison of 9 rows, got 8"):
        batches(TrainingData(rows(10, 0)), groups=(4, 5))
    with pytest.raises(ConfigError, match="real rows must be at least 4 for groups of 2 and 2, got 3"):
        batches(TrainingData(rows(3, 0)), groups=(2, 2))
    with pytest.raises(ConfigError, match=r"in a batch of 8 in groups of 4, got 0\.1"):
        batches(TrainingData(rows(10, 0), rows(10, 100)), groups=(2, 2), real_fraction=0.1)


def test_the_student_sees_the_view_that_the_teacher_answered() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (6, 1, 8, 8)).astype(np.uint8)
    rule = ViewRule(seed=9, shift_pixels=2, flip=True)
    numbers = torch.arange(6)
    every = torch.stack([rule(torch.from_numpy(images), numbers, view) for view in range(4)])
    answers = every.float().mean(dim=(2, 3, 4))[..., None].repeat(1, 1, 4).numpy()
    real = Rows(images, np.arange(6) % 4, answers, views=rule)
    synthetic = rows(5, 100)
    loader = batches(TrainingData(real, synthetic), real_fraction=0.5, augmentation=Augmentation(3, True))
    views = set()
    for step in range(60):
        seen, batch = loader.at(step)
        torch.testing.assert_close(seen[:4].float().mean(dim=(1, 2, 3)), batch.teacher()[:4, 0])
        for image, label in zip(seen[:4], batch.labels[:4], strict=True):
            # Which of the views it is; labels tell the row but for 0 and 4, 1 and 5.
            match = (every == image).all(dim=(2, 3, 4)).nonzero().tolist()
            assert all(row % 4 == label for _, row in match)
            views.add(match[0][0])
        # Synthetic rows have no views and are augmented as ever.
        assert batch.teacher()[4:, 0].tolist() == seen[4:].amax(dim=(1, 2, 3)).tolist()
    assert views == {0, 1, 2, 3}
    assert any(bool((loader.at(step)[0][4:] == 0).any()) for step in range(5))
    with pytest.raises(DataError, match=r"real rows: teacher outputs must have shape \(V, N, K\), got \(6, 4\)"):
        batches(TrainingData(replace(real, teacher_outputs=answers[0])))
    with pytest.raises(DataError, match=r"must have shape \(6, 4\), got \(4, 6, 4\)"):
        batches(TrainingData(replace(real, views=None)))


def test_views_are_for_methods_that_read_the_teachers_answers() -> None:
    answers = np.zeros((2, 10, 4), np.float32)
    real = replace(rows(10, 1), teacher_outputs=answers, views=ViewRule(0, 3, True))
    images, batch = batches(TrainingData(real), teacher_outputs=False).at(0)
    assert torch.equal(images, images[:, :, :1, :1].expand_as(images))  # not shifted
    assert batch.teacher_outputs is None


@pytest.mark.parametrize("soft", [False, True])
def test_hard_labels_are_smoothed_as_torch_smooths_them(soft: bool) -> None:
    data = TrainingData(rows(10, 0), replace(rows(30, 100), soft_labels=soft))
    images, batch = batches(data, teacher_outputs=False, label_smoothing=0.2).at(0)
    logits = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
    numbers = images[:, 0, 0, 0].long()
    hard = numbers < 100 if soft else numbers >= 0
    expected = torch.nn.functional.cross_entropy(logits, numbers % 3, label_smoothing=0.2, reduction="none")
    found = -(batch.labels * logits.log_softmax(dim=1)).sum(dim=1)
    torch.testing.assert_close(found[hard], expected[hard])
    if soft:
        plain = batches(data, teacher_outputs=False).at(0)[1]
        assert torch.equal(batch.labels[~hard], plain.labels[~hard])


def test_scalars_are_never_smoothed() -> None:
    smooth = batches(TrainingData(rows(10, 0, SCALAR)), SCALAR, label_smoothing=0.3)
    assert torch.equal(smooth.at(0)[1].labels, batches(TrainingData(rows(10, 0, SCALAR)), SCALAR).at(0)[1].labels)


def test_processes_share_a_batch_row_by_row() -> None:
    data = TrainingData(rows(10, 0), rows(30, 100))
    whole = batches(data, real_fraction=0.5)
    shared = [batches(data, real_fraction=0.5, team=Team(rank, 2)) for rank in (0, 1)]
    for step in range(6):
        together = whole.at(step)[0][:, 0, 0, 0].tolist()
        first, second = (loader.at(step)[0][:, 0, 0, 0].tolist() for loader in shared)
        assert first[:2] + second[:2] + first[2:] + second[2:] == together
        assert shared[1].rows_at(step) == whole.rows_at(step)
    assert shared[0].shares == [2, 2]
    with pytest.raises(ConfigError, match="must be a multiple of 3 processes, got 4 and 4"):
        batches(data, real_fraction=0.5, team=Team(0, 3))


def test_the_teachers_errors_are_those_of_standardised_values() -> None:
    space = BOTH
    labels = np.array([[0.0, 10.0], [1.0, 20.0], [2.0, 50.0]], np.float32)
    outputs = np.array([[9, 9, 9, 12.0], [9, 9, 9, 20.0], [9, 9, 9, 44.0]], np.float32)
    given = Rows(np.zeros((3, 1, 8, 8), np.uint8), labels, outputs)
    found = error_statistics(given, space, np.array([1.0, 1.0, 1.0, 2.0]))
    errors = np.array([1.0, 0.0, 9.0])
    assert (found.minimum, found.maximum) == (0.0, 9.0)
    assert (found.mean, found.std) == (pytest.approx(errors.mean()), pytest.approx(errors.std()))
    views = replace(given, teacher_outputs=np.stack([outputs, outputs + np.array([0, 0, 0, 4.0], np.float32)]))
    both = error_statistics(views, space, np.array([1.0, 1.0, 1.0, 2.0]))
    assert both.mean == pytest.approx(np.r_[errors, 9.0, 4.0, 1.0].mean())
    with pytest.raises(DataError, match="teacher outputs must be there for the teacher's errors"):
        error_statistics(replace(given, teacher_outputs=None), space, 1.0)
