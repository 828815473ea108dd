"""Methods for scalars and vectors against explicit loops, closed forms and torch's own distributions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from data.errors import ConfigError
from students.methods import Batch, ErrorStatistics, Features, Sizes, auxiliary_of, make_method
from students.methods.attentive_imitation import attention
from students.methods.gaussian_kl import SMALLEST_TEACHER_STD, gaussian_kl_loss, negative_log_likelihood
from students.methods.mse import row_errors, smooth_l1, squared_error
from students.methods.outlier_rejection import ROUNDING, outliers, robust_errors
from students.methods.pairwise_difference import pairwise_error

ERRORS = ErrorStatistics(minimum=0.1, maximum=4.1, mean=1.0, std=0.5)
ROWS = 7


def example(axes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs and teacher (B, L), and labels, (B,) where L is 1."""
    rng = torch.Generator().manual_seed(axes)
    outputs, teacher, labels = torch.randn(3, ROWS, axes, generator=rng, dtype=torch.float64)
    return outputs, teacher, labels[:, 0] if axes == 1 else labels


def by_hand(first: Tensor, second: Tensor) -> list[float]:
    """Squared error of each row, mean over axes, in plain numbers."""
    rows = zip(first.reshape(ROWS, -1).tolist(), second.reshape(ROWS, -1).tolist(), strict=True)
    return [sum((a - b) ** 2 for a, b in zip(*row, strict=True)) / len(row[0]) for row in rows]


def parts_of(name: str, options: Mapping[str, Any], batch: Batch, outputs: Tensor) -> dict[str, float]:
    return {key: part.item() for key, part in make_method(name, options)(batch, outputs, 0.3).items()}


def close(parts: Mapping[str, float], expected: Mapping[str, float]) -> None:
    assert parts == pytest.approx(dict(expected), abs=1e-12)


@pytest.mark.parametrize("axes", [1, 3])
def test_errors_of_rows_equal_a_loop(axes: int) -> None:
    outputs, teacher, labels = example(axes)
    assert row_errors(outputs, labels).tolist() == pytest.approx(by_hand(outputs, labels))
    assert squared_error(outputs, teacher).item() == pytest.approx(sum(by_hand(outputs, teacher)) / ROWS)
    with pytest.raises(ValueError, match=r"must have the shape \(7, 2\)"):
        row_errors(torch.zeros(7, 2), torch.zeros(7))


def test_smooth_l1_is_that_of_torch() -> None:
    differences = torch.linspace(-3, 3, 121, dtype=torch.float64).requires_grad_(True)
    expected = torch.nn.functional.smooth_l1_loss(differences, torch.zeros_like(differences), reduction="none")
    torch.testing.assert_close(smooth_l1(differences), expected)
    (own,) = torch.autograd.grad(smooth_l1(differences).sum(), differences)
    torch.testing.assert_close(own, *torch.autograd.grad(expected.sum(), differences))


@pytest.mark.parametrize("axes", [1, 3])
@pytest.mark.parametrize("margin", [0.0, 0.2])
def test_teacher_bounded_equals_a_loop(axes: int, margin: float) -> None:
    outputs, teacher, labels = example(axes)
    own, bound = by_hand(outputs, labels), by_hand(teacher, labels)
    counted = [e if e + margin > limit else 0.0 for e, limit in zip(own, bound, strict=True)]
    assert 0 < sum(item > 0 for item in counted) < ROWS
    label = torch.nn.functional.smooth_l1_loss(outputs, labels.reshape(outputs.shape)).item()
    options = {"bound_weight": 0.7, "margin": margin}
    close(
        parts_of("teacher_bounded", options, Batch(labels, teacher), outputs),
        {"label": label, "bound": 0.7 * sum(counted) / ROWS},
    )


def test_a_student_that_beats_the_teacher_by_the_margin_is_let_go() -> None:
    labels, teacher = torch.zeros(1), torch.ones(1, 1)
    for error, margin, counts in ((0.9, 0.0, False), (1.1, 0.0, True), (0.9, 0.3, True), (0.8, 0.3, False)):
        parts = parts_of("teacher_bounded", {"margin": margin}, Batch(labels, teacher), torch.tensor([[error]]))
        assert (parts["bound"] > 0) is counts


@pytest.mark.parametrize("axes", [1, 3])
def test_upper_bound_equals_a_loop(axes: int) -> None:
    outputs, teacher, labels = example(axes)
    own, bound, distance = by_hand(outputs, labels), by_hand(teacher, labels), by_hand(outputs, teacher)
    pulled = [d if e > limit else 0.0 for d, e, limit in zip(distance, own, bound, strict=True)]
    assert 0 < sum(item > 0 for item in pulled) < ROWS
    close(
        parts_of("upper_bound", {"label_weight": 0.3}, Batch(labels, teacher), outputs),
        {"label": 0.3 * sum(own) / ROWS, "teacher": 0.7 * sum(pulled) / ROWS},
    )


def test_upper_bound_is_imitation_where_the_teacher_is_right() -> None:
    outputs, _, labels = example(3)
    batch = Batch(labels, labels)
    for share in (0.0, 0.4, 1.0):
        options = {"label_weight": share}
        close(parts_of("upper_bound", options, batch, outputs), parts_of("imitation", options, batch, outputs))


@pytest.mark.parametrize("axes", [1, 3])
def test_attentive_imitation_equals_a_loop(axes: int) -> None:
    outputs, teacher, labels = example(axes)
    wrong, distance = by_hand(teacher, labels), by_hand(outputs, teacher)
    trust = [min(max(1 - e / 4.0, 0.0), 1.0) for e in wrong]
    close(
        parts_of("attentive_imitation", {"label_weight": 0.3}, Batch(labels, teacher, errors=ERRORS), outputs),
        {
            "label": 0.3 * sum(by_hand(outputs, labels)) / ROWS,
            "teacher": 0.7 * sum(phi * d for phi, d in zip(trust, distance, strict=True)) / ROWS,
        },
    )


def test_attention_is_a_share() -> None:
    labels, teacher = torch.zeros(4), torch.tensor([[0.0], [1.0], [2.0], [2.5]])
    assert attention(teacher, labels, ERRORS).tolist() == pytest.approx([1.0, 0.75, 0.0, 0.0])
    equal = ErrorStatistics(minimum=0.3, maximum=0.3, mean=0.3, std=0.0)
    assert attention(teacher, labels, equal).tolist() == [1.0] * 4


def test_attention_without_spread_is_imitation() -> None:
    outputs, teacher, labels = example(3)
    errors = ErrorStatistics(minimum=0.3, maximum=0.3, mean=0.3, std=0.0)
    attentive = parts_of("attentive_imitation", {}, Batch(labels, teacher, errors=errors), outputs)
    close(attentive, parts_of("imitation", {}, Batch(labels, teacher), outputs))


@pytest.mark.parametrize("axes", [1, 3])
def test_outlier_rejection_equals_a_loop(axes: int) -> None:
    outputs, teacher, labels = example(axes)
    threshold, label, pull = 0.8, 0.0, 0.0
    wrong, own = by_hand(teacher, labels), by_hand(outputs, labels)
    rejected = [(e - ERRORS.mean) / ERRORS.std > threshold for e in wrong]
    assert 0 < sum(rejected) < ROWS
    for row in range(ROWS):
        if not rejected[row]:
            label += own[row]
            continue
        distances = (outputs[row] - teacher[row]).abs().tolist()
        pull += sum((d * d + ROUNDING**2) ** 0.25 - math.sqrt(ROUNDING) for d in distances) / axes
    batch = Batch(labels, teacher, errors=ERRORS)
    close(
        parts_of("outlier_rejection", {"threshold": threshold}, batch, outputs),
        {"label": label / ROWS, "teacher": pull / ROWS},
    )


def test_outliers_are_counted_by_their_z_score() -> None:
    labels, teacher = torch.zeros(3), torch.tensor([[1.0], [1.4], [1.5]])
    assert outliers(teacher, labels, ERRORS, 2.0).tolist() == [False, False, True]
    equal = ErrorStatistics(minimum=1.0, maximum=1.0, mean=1.0, std=0.0)
    assert outliers(teacher[:1], labels[:1], equal, 2.0).tolist() == [False]


def test_the_robust_pull_is_a_root_with_a_bounded_slope() -> None:
    distance = torch.tensor([[0.0], [1e-8], [math.sqrt(2.0) * ROUNDING], [0.5], [9.0]], dtype=torch.float64)
    distance.requires_grad_(True)
    pull = robust_errors(distance, torch.zeros(5, 1, dtype=torch.float64))
    torch.testing.assert_close(pull[3:] + math.sqrt(ROUNDING), distance[3:, 0].sqrt(), atol=1e-4, rtol=0)
    (slope,) = torch.autograd.grad(pull.sum(), distance)
    assert pull[0] == 0
    assert slope[0] == 0
    # The steepest place is at sqrt(2) times the rounding.
    assert slope.max() == slope[2]
    assert 0.31 / math.sqrt(ROUNDING) < slope[2].item() < 0.32 / math.sqrt(ROUNDING)


@pytest.mark.parametrize("axes", [1, 3])
def test_pairwise_difference_equals_a_loop(axes: int) -> None:
    outputs, teacher, labels = example(axes)
    pairs = [
        ((outputs[i] - outputs[j]) - (teacher[i] - teacher[j])).square().mean().item()
        for i in range(ROWS)
        for j in range(ROWS)
        if i != j
    ]
    assert pairwise_error(outputs, teacher).item() == pytest.approx(sum(pairs) / len(pairs), abs=1e-12)
    variance = (outputs - teacher).var(dim=0, unbiased=True).mean().item()
    close(
        parts_of("pairwise_difference", {"anchor_weight": 0.3}, Batch(labels, teacher), outputs),
        {"pairs": 2 * variance, "label": 0.3 * sum(by_hand(outputs, labels)) / ROWS},
    )


def test_pairs_are_blind_to_an_offset_and_one_row_has_none() -> None:
    outputs, teacher, _ = example(3)
    moved = outputs + torch.tensor([1.0, -2.0, 30.0])
    torch.testing.assert_close(pairwise_error(moved, teacher), pairwise_error(outputs, teacher))
    single = outputs[:1].clone().requires_grad_(True)
    loss = pairwise_error(single, teacher[:1])
    assert loss.item() == 0
    assert torch.autograd.grad(loss, single)[0].abs().sum() == 0


@pytest.mark.parametrize("axes", [1, 3])
def test_gaussian_kl_is_that_of_torch(axes: int) -> None:
    outputs, teacher, labels = example(axes)
    log_variance = torch.linspace(-3, 2, ROWS * axes, dtype=torch.float64).reshape(ROWS, axes)
    student = torch.distributions.Normal(outputs, (log_variance / 2).exp())
    expected = torch.distributions.kl_divergence(torch.distributions.Normal(teacher, 0.4), student).mean()
    torch.testing.assert_close(gaussian_kl_loss(outputs, log_variance, teacher, 0.4), expected)
    likelihood = student.log_prob(labels.reshape(outputs.shape)).mean() + math.log(2 * math.pi) / 2
    torch.testing.assert_close(negative_log_likelihood(outputs, log_variance, labels), -likelihood)


def test_gaussian_kl_is_zero_and_flat_where_the_two_are_equal() -> None:
    teacher = example(3)[1]
    outputs = teacher.clone().requires_grad_(True)
    log_variance = torch.full_like(teacher, 2 * math.log(0.3)).requires_grad_(True)
    loss = gaussian_kl_loss(outputs, log_variance, teacher, 0.3)
    assert loss.item() == pytest.approx(0.0, abs=1e-15)
    for gradient in torch.autograd.grad(loss, (outputs, log_variance)):
        assert gradient.abs().max().item() < 1e-15


def gaussian(options: Mapping[str, Any], errors: ErrorStatistics | None) -> tuple[dict[str, float], nn.Module]:
    outputs, teacher, labels = example(3)
    method = make_method("gaussian_kl", options)
    features = Features(torch.linspace(-1, 1, ROWS * 5, dtype=torch.float64).reshape(ROWS, 5))
    head = auxiliary_of(method, Sizes(3, student=Features(features.pooled[:1])))
    assert head is not None
    head.double()
    batch = Batch(labels, teacher, student_features=features, errors=errors, auxiliary=head)
    return parts_of("gaussian_kl", options, batch, outputs), head


def test_gaussian_kl_takes_the_teachers_std_from_its_errors() -> None:
    outputs, teacher, labels = example(3)
    zeros = torch.zeros_like(outputs)
    for mean, std in ((0.09, 0.3), (0.0, SMALLEST_TEACHER_STD)):
        parts, head = gaussian({"label_weight": 0.2}, ErrorStatistics(0.0, 1.0, mean, 0.1))
        close(
            parts,
            {
                "label": 0.2 * negative_log_likelihood(outputs, zeros, labels).item(),
                "teacher": 0.8 * gaussian_kl_loss(outputs, zeros, teacher, std).item(),
            },
        )
        # The log variance starts as that of the standardised labels.
        assert [parameter.abs().sum().item() for parameter in head.parameters()] == [0.0, 0.0]
        assert [tuple(parameter.shape) for parameter in head.parameters()] == [(3, 5), (3,)]


def test_gaussian_kl_needs_the_teachers_errors_only_for_its_std() -> None:
    given, _ = gaussian({"teacher_std": 0.3}, None)
    close(given, gaussian({}, ErrorStatistics(0.0, 1.0, 0.09, 0.1))[0])
    assert make_method("gaussian_kl").needs - make_method("gaussian_kl", {"teacher_std": 0.3}).needs == {
        "teacher_errors"
    }


def test_the_log_variance_is_bounded_with_a_gradient() -> None:
    outputs, teacher, labels = example(1)
    head = nn.Linear(2, 1, bias=False).double()
    pooled = torch.ones(ROWS, 2, dtype=torch.float64)
    batch = Batch(labels, teacher, student_features=Features(pooled), errors=ERRORS, auxiliary=head)
    for size in (-20.0, 20.0):
        nn.init.constant_(head.weight, size)
        loss = torch.stack(list(make_method("gaussian_kl")(batch, outputs, 0.0).values())).sum()
        (gradient,) = torch.autograd.grad(loss, head.weight)
        assert math.isfinite(loss.item())
        assert (gradient * size > 0).all()


NAMES = (
    "teacher_bounded", "upper_bound", "attentive_imitation", "outlier_rejection", "pairwise_difference", "gaussian_kl",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_gradients_are_finite_where_all_three_are_equal(name: str, spread: float) -> None:
    target = spread * example(3)[1]
    outputs = target.clone().requires_grad_(True)
    features = Features(torch.ones(ROWS, 2, dtype=torch.float64))
    errors = (
        ErrorStatistics(0.0, 0.0, -1.0, 0.0) if name == "outlier_rejection" else ErrorStatistics(0.0, 0.0, 0.0, 0.0)
    )
    method = make_method(name)
    head = auxiliary_of(method, Sizes(3, student=features))
    batch = Batch(target, target, errors=errors, student_features=features, auxiliary=head and head.double())
    loss = torch.stack(list(method(batch, outputs, 0.0).values())).sum()
    (gradient,) = torch.autograd.grad(loss, outputs)
    assert loss.item() == pytest.approx(_at_equality(name), abs=1e-12)
    assert torch.isfinite(gradient).all()
    assert gradient.abs().max() == 0


def _at_equality(name: str) -> float:
    """With a log variance of 0 and a teacher of almost no spread, the Gaussian divergence alone is not 0."""
    std = SMALLEST_TEACHER_STD
    return 0.5 * (std**2 / 2 - math.log(std) - 0.5) if name == "gaussian_kl" else 0.0


WRONG: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("teacher_bounded", {"bound_weight": 0}, "'bound_weight' .* must be above 0"),
    ("teacher_bounded", {"margin": -0.1}, "'margin' .* must be at least 0"),
    ("upper_bound", {"label_weight": 1.1}, r"'label_weight' .* must be in \[0, 1\]"),
    ("attentive_imitation", {"label_weight": -0.1}, r"'label_weight' .* must be in \[0, 1\]"),
    ("outlier_rejection", {"threshold": 0}, "'threshold' .* must be above 0"),
    ("pairwise_difference", {"anchor_weight": 0}, "'anchor_weight' .* must be above 0"),
    ("gaussian_kl", {"label_weight": 2}, r"'label_weight' .* must be in \[0, 1\]"),
    ("gaussian_kl", {"teacher_std": -1}, "'teacher_std' .* must be at least 0"),
    ("gaussian_kl", {"teacher_std": math.nan}, "'teacher_std' .* must be at least 0"),
)


@pytest.mark.parametrize(("name", "options", "message"), WRONG)
def test_options_out_of_range_are_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_method(name, options)


def test_what_is_missing_is_named() -> None:
    outputs, teacher, labels = example(1)
    calls: tuple[Callable[[], object], ...] = (
        lambda: make_method("attentive_imitation")(Batch(labels, teacher), outputs, 0.0),
        lambda: make_method("outlier_rejection")(Batch(labels, teacher), outputs, 0.0),
    )
    for call in calls:
        with pytest.raises(ValueError, match="must have errors"):
            call()
    with pytest.raises(ValueError, match="must have the student's features"):
        auxiliary_of(make_method("gaussian_kl"), Sizes(1))
