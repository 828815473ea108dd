"""Comparative KD: golden values, all groups one by one, what it cannot see, and how outputs are re-centred."""

from __future__ import annotations

import math
from itertools import combinations, permutations
from typing import Any

import pytest
import torch
from torch import Tensor

from data.errors import ConfigError
from students.methods import Batch, group_sizes, make_method, recentring_of
from students.methods.ckd import all_comparisons, differences, recentring
from students.methods.kd import kd_loss


def golden() -> tuple[Tensor, Tensor, Tensor]:
    i = torch.arange(4, dtype=torch.float64)[:, None]
    j = torch.arange(5, dtype=torch.float64)[None, :]
    teacher = 3 * torch.sin(1 + 1.3 * i + 0.7 * j) + 2
    student = 2 * torch.cos(0.5 + 0.9 * i - 0.4 * j) + 1.5
    return student, teacher, torch.tensor([0, 2, 4, 1])


def random_outputs(rows: int, columns: int) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(rows)
    student, teacher = 3 * torch.randn(2, rows, columns, generator=rng, dtype=torch.float64)
    return student, teacher


def loss(batch: Batch, outputs: Tensor, **options: Any) -> dict[str, float]:
    method = make_method("ckd", options)
    batch = Batch(batch.labels, batch.teacher(), groups=group_sizes(method), kind=batch.kind)
    return {name: part.item() for name, part in method(batch, outputs, 0.0).items()}


def test_golden_values() -> None:
    student, teacher, labels = golden()
    assert all_comparisons(student, teacher).item() == pytest.approx(11.8917614286, abs=1e-9)
    parts = loss(Batch(labels, teacher), student, distance="kl")
    assert parts["teacher_differences"] == pytest.approx(2.1179312439, abs=1e-9)
    everything = loss(Batch(labels, teacher), student, pairing="all_in_batch")
    assert everything["teacher_differences"] == pytest.approx(11.8917614286, abs=1e-9)


def test_all_in_batch_is_the_mean_over_all_ordered_pairs() -> None:
    student, teacher, labels = golden()
    one_hot = torch.nn.functional.one_hot(labels, 5).double()
    for target, name in ((teacher, "teacher_differences"), (one_hot, "label_differences")):
        pairs = [
            sum(((student[a] - student[b]) - (target[a] - target[b]))[c].item() ** 2 for c in range(5)) / 5
            for a, b in permutations(range(4), 2)
        ]
        found = loss(Batch(labels, teacher), student, pairing="all_in_batch")[name]
        assert found == pytest.approx(sum(pairs) / 12, abs=1e-12)


@pytest.mark.parametrize(("positive", "negative"), [(1, 1), (2, 1), (2, 2), (3, 1)])
def test_all_in_batch_is_the_mean_over_all_groups(positive: int, negative: int) -> None:
    student, teacher = random_outputs(6, 3)
    rows = [
        [*first, *second]
        for first in combinations(range(6), positive)
        for second in combinations(sorted(set(range(6)) - set(first)), negative)
    ]
    assert len(rows) == math.comb(6, positive) * math.comb(6 - positive, negative)
    # All groups as one batch of sampled comparisons.
    index = torch.tensor(rows).reshape(-1)
    batch = Batch(torch.zeros(len(index), 3, dtype=torch.float64), teacher[index], kind="vector")
    sampled = loss(batch, student[index], positive=positive, negative=negative)
    found = all_comparisons(student, teacher, positive, negative).item()
    assert sampled["teacher_differences"] == pytest.approx(found, abs=1e-12)
    variance = (student - teacher).var(dim=0).mean().item()
    assert found == pytest.approx((1 / positive + 1 / negative) * variance, abs=1e-12)


def test_sampled_comparisons_equal_a_loop() -> None:
    student, teacher = random_outputs(6, 4)
    labels = torch.tensor([0, 3, 1, 1, 2, 0])
    expected = {"label_differences": 0.0, "teacher_differences": 0.0}
    for start in (0, 3):
        a, b, q = start, start + 1, start + 2
        for c in range(4):
            own = (student[a, c] + student[b, c]).item() / 2 - student[q, c].item()
            other = (teacher[a, c] + teacher[b, c]).item() / 2 - teacher[q, c].item()
            known = ((labels[a] == c).item() + (labels[b] == c).item()) / 2 - (labels[q] == c).item()
            expected["label_differences"] += 0.5 * (own - known) ** 2 / 8
            expected["teacher_differences"] += 2.0 * (own - other) ** 2 / 8
    found = loss(Batch(labels, teacher), student, positive=2, label_weight=0.5, teacher_weight=2.0)
    assert found == pytest.approx(expected, abs=1e-12)


def test_kl_form_puts_differences_through_the_softmax() -> None:
    student, teacher, labels = golden()
    expected = {"label_differences": 0.0, "teacher_differences": 0.0}
    for a, b in ((0, 1), (2, 3)):
        one_hot = torch.nn.functional.one_hot(labels, 5).double()
        q = torch.softmax((student[a] - student[b]) / 4, 0).tolist()
        for name, target in (("label_differences", one_hot), ("teacher_differences", teacher)):
            p = torch.softmax((target[a] - target[b]) / 4, 0).tolist()
            expected[name] += 16 * sum(x * math.log(x / y) for x, y in zip(p, q, strict=True)) / 2
    assert loss(Batch(labels, teacher), student, distance="kl") == pytest.approx(expected, abs=1e-12)


def test_kl_form_at_large_temperatures_is_a_centred_squared_error() -> None:
    student, teacher, labels = golden()
    own, other = (differences(item, 1, 1) for item in (student, teacher))
    gap = (own - other) - (own - other).mean(dim=1, keepdim=True)
    limit = gap.square().sum(dim=1).mean().item() / (2 * 5)
    found = loss(Batch(labels, teacher), student, distance="kl", temperature=1e4)["teacher_differences"]
    assert found == pytest.approx(limit, rel=1e-3)


@pytest.mark.parametrize("options", [{"distance": "mse"}, {"distance": "kl"}, {"pairing": "all_in_batch"}])
def test_a_common_offset_is_not_seen(options: dict[str, Any]) -> None:
    student, teacher, labels = golden()
    constant = torch.tensor([5.0, -3.0, 0.0, 1.0, 8.0], dtype=torch.float64)
    batch = Batch(labels, teacher)
    assert loss(batch, teacher + constant, **options)["teacher_differences"] == pytest.approx(0.0, abs=1e-13)
    one_hot = torch.nn.functional.one_hot(labels, 5).double()
    assert loss(batch, one_hot + constant, **options)["label_differences"] == pytest.approx(0.0, abs=1e-13)
    assert loss(batch, student + constant, **options) == pytest.approx(loss(batch, student, **options), abs=1e-12)
    # The gradient of a bias is the sum over rows.
    bias = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    method = make_method("ckd", options)
    parts = method(Batch(labels, teacher, groups=group_sizes(method)), student + bias, 0.0)
    (gradient,) = torch.autograd.grad(parts["label_differences"] + parts["teacher_differences"], bias)
    torch.testing.assert_close(gradient, torch.zeros(5, dtype=torch.float64), atol=1e-14, rtol=0)


def test_only_the_squared_form_is_the_same_when_groups_change_places() -> None:
    student, teacher, labels = golden()
    swapped = torch.tensor([1, 0, 3, 2])
    there = {
        form: loss(Batch(labels, teacher), student, distance=form)["teacher_differences"] for form in ("mse", "kl")
    }
    back = {
        form: loss(Batch(labels[swapped], teacher[swapped]), student[swapped], distance=form)["teacher_differences"]
        for form in ("mse", "kl")
    }
    assert there["mse"] == pytest.approx(back["mse"], abs=1e-13)
    assert abs(there["kl"] - back["kl"]) > 1e-3


def test_the_same_rows_in_both_groups_have_no_loss() -> None:
    student, teacher, labels = golden()
    twice = torch.tensor([0, 0, 2, 2])
    for form in ("mse", "kl"):
        parts = loss(Batch(labels[twice], teacher[twice]), student[twice], distance=form)
        assert parts == pytest.approx({"label_differences": 0.0, "teacher_differences": 0.0}, abs=1e-15)


def test_one_row_has_nothing_to_be_compared_with() -> None:
    student, teacher, labels = golden()
    parts = loss(Batch(labels[:1], teacher[:1]), student[:1], pairing="all_in_batch")
    assert parts == {"label_differences": 0.0, "teacher_differences": 0.0}


def test_scalars_are_compared_by_the_variance_of_residuals() -> None:
    student, teacher = random_outputs(5, 1)
    labels = torch.tensor([0.5, -1.0, 2.0, 0.0, 1.0], dtype=torch.float64)
    parts = loss(Batch(labels, teacher, kind="scalar"), student, pairing="all_in_batch", anchor_weight=0.3)
    assert parts["teacher_differences"] == pytest.approx(2 * (student - teacher).var().item(), abs=1e-12)
    assert parts["label_differences"] == pytest.approx(2 * (student[:, 0] - labels).var().item(), abs=1e-12)
    assert parts["mse"] == pytest.approx(0.3 * (student[:, 0] - labels).square().mean().item(), abs=1e-12)


def test_an_anchor_of_classes_is_the_cross_entropy() -> None:
    student, teacher, labels = golden()
    parts = loss(Batch(labels, teacher), student, distance="kl", anchor_weight=0.5)
    assert parts["ce"] == pytest.approx(0.5 * 1.5627947425, abs=1e-9)
    soft = loss(Batch(torch.softmax(teacher, 1), teacher, kind="class"), student, anchor_weight=0.5)
    assert set(soft) == {"label_differences", "teacher_differences", "ce"}


@pytest.mark.parametrize("weights", [(1.0, 0.0), (1.0, 1.0), (2.0, 0.5)])
def test_recentred_outputs_have_the_least_absolute_error_of_all_shifts(weights: tuple[float, float]) -> None:
    student, teacher, labels = golden()
    one_hot = torch.nn.functional.one_hot(labels, 5).double()
    of_teacher, of_label = weights
    method = make_method("ckd", {"recenter_bias": True, "teacher_weight": of_teacher, "label_weight": of_label})
    found = recentring_of(method)
    assert found is not None
    shift = found(teacher.mean(0), student.mean(0), one_hot.mean(0)).requires_grad_(True)

    def error(moved: Tensor) -> Tensor:
        return of_teacher * (moved - teacher).square().mean() + of_label * (moved - one_hot).square().mean()

    (gradient,) = torch.autograd.grad(error(student + shift), shift)
    torch.testing.assert_close(gradient, torch.zeros(5, dtype=torch.float64), atol=1e-14, rtol=0)
    # A student that comparisons call perfect, up to a constant, is perfect afterwards.
    best = (of_teacher * teacher + of_label * one_hot) / (of_teacher + of_label)
    off = best + torch.tensor([4.0, -1.0, 0.0, 2.0, 9.0], dtype=torch.float64)
    moved = off + found(teacher.mean(0), off.mean(0), one_hot.mean(0))
    torch.testing.assert_close(moved, best, atol=1e-13, rtol=0)


def test_recentring_without_labels_takes_the_teachers_mean() -> None:
    means = torch.tensor([[3.0, 1.0], [1.0, 1.0], [0.5, 0.5]])
    assert recentring(*means, teacher_weight=1.0, label_weight=0.0).tolist() == [2.0, 0.0]
    assert recentring(*means, teacher_weight=1.0, label_weight=1.0).tolist() == [0.75, -0.25]
    assert recentring_of(make_method("ckd")) is None
    assert recentring_of(make_method("kd")) is None


def test_groups_and_tasks_follow_the_options() -> None:
    assert group_sizes(make_method("ckd", {"positive": 2})) == (2, 1)
    assert group_sizes(make_method("ckd", {"pairing": "all_in_batch"})) is None
    assert make_method("ckd").tasks == {"class", "scalar", "vector"}
    assert make_method("ckd", {"distance": "kl"}).tasks == {"class"}


def test_rows_that_are_no_whole_comparisons_are_refused() -> None:
    student, teacher, labels = golden()
    with pytest.raises(ValueError, match="comparisons of 3, got 4 rows"):
        loss(Batch(labels, teacher), student, positive=2)
    with pytest.raises(ValueError, match=r"groups of \(1, 1\) for method 'ckd', got None"):
        make_method("ckd")(Batch(labels, teacher), student, 0.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"distance": "l1"}, "'distance' of method 'ckd' must be mse or kl, got 'l1'; try mse"),
        ({"pairing": "some"}, "'pairing' of method 'ckd' must be sampled or all_in_batch"),
        ({"positive": 0}, "'positive' of method 'ckd' must be above 0, got 0; try 1"),
        ({"teacher_weight": 0.0}, "'teacher_weight' of method 'ckd' must be above 0"),
        ({"label_weight": -1.0}, "'label_weight' of method 'ckd' must be at least 0"),
        ({"distance": "kl", "pairing": "all_in_batch"}, "must be sampled with distance 'kl'"),
        ({"recenter_bias": True, "anchor_weight": 0.1}, "'anchor_weight' of method 'ckd' must be 0 where outputs are"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_method("ckd", options)


def test_kl_of_differences_is_kd_of_differences() -> None:
    student, teacher, labels = golden()
    found = loss(Batch(labels, teacher), student, distance="kl", temperature=2.0)["teacher_differences"]
    own, other = student[[0, 2]] - student[[1, 3]], teacher[[0, 2]] - teacher[[1, 3]]
    assert found == pytest.approx(kd_loss(own, other, 2.0).item(), abs=1e-13)
