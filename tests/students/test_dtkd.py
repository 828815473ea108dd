"""Dynamic temperatures: golden values, identities, limits, and rows that have no usable maximum."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from data.errors import ConfigError
from students.methods import Batch, least_classes, make_method
from students.methods.dkd import dkd_losses
from students.methods.dtkd import (
    DynamicTemperature,
    centred,
    dtkd_loss,
    dynamic_temperatures,
    exact_temperatures,
    unusable_rows,
)
from students.methods.kd import kd_loss


def golden() -> tuple[Tensor, Tensor, Tensor]:
    i = torch.arange(4, dtype=torch.float64)[:, None]
    j = torch.arange(5, dtype=torch.float64)[None, :]
    teacher = 3 * torch.sin(1 + 1.3 * i + 0.7 * j) + 2
    student = 2 * torch.cos(0.5 + 0.9 * i - 0.4 * j) + 1.5
    return student, teacher, torch.tensor([0, 2, 4, 1])


def dynamic(student: Tensor, teacher: Tensor, reference: float = 4.0) -> Tensor:
    return dtkd_loss(student, teacher, dynamic_temperatures(student, teacher, reference))


def test_golden_values() -> None:
    student, teacher, _ = golden()
    of_teacher, of_student = dynamic_temperatures(student, teacher, 4.0)
    assert of_teacher[:, 0].tolist() == pytest.approx([4.701706, 4.403772, 3.494334, 6.199716], abs=5e-7)
    assert of_student[:, 0].tolist() == pytest.approx([3.298294, 3.596228, 4.505666, 1.800284], abs=5e-7)
    assert dynamic(student, teacher).item() == pytest.approx(1.0980221365, abs=1e-9)
    exact, _ = exact_temperatures(student, teacher, 4.0)
    assert exact[:, 0].tolist() == pytest.approx([6.584953, 6.182386, 4.310066, 5.992726], abs=5e-7)


def test_it_equals_a_loop() -> None:
    student, teacher, _ = golden()
    total = 0.0
    for row in range(4):
        x, y = max(teacher[row].tolist()), max(student[row].tolist())
        hot, cold = 2 * x / (x + y) * 4, 2 * y / (x + y) * 4
        p, q = torch.softmax(teacher[row] / hot, 0), torch.softmax(student[row] / cold, 0)
        total += hot * cold * (p * (p / q).log()).sum().item() / 4
    assert dynamic(student, teacher).item() == pytest.approx(total, abs=1e-12)


def test_temperatures_add_up_and_make_the_maxima_equal() -> None:
    student, teacher, _ = golden()
    of_teacher, of_student = dynamic_temperatures(student, teacher, 3.0)
    torch.testing.assert_close(of_teacher + of_student, torch.full((4, 1), 6.0, dtype=torch.float64))
    assert (of_teacher * of_student <= 9.0 + 1e-12).all()
    x, y = teacher.amax(1, keepdim=True), student.amax(1, keepdim=True)
    torch.testing.assert_close(x / of_teacher, (x + y) / 6.0)
    torch.testing.assert_close(y / of_student, (x + y) / 6.0)


def test_equal_maxima_give_kd_and_proportional_logits_give_nothing() -> None:
    student, teacher, _ = golden()
    level = student + teacher.amax(1, keepdim=True) - student.amax(1, keepdim=True)
    assert dynamic(level, teacher).item() == pytest.approx(kd_loss(level, teacher, 4.0).item(), abs=1e-12)
    assert dynamic(0.3 * teacher, teacher).item() == pytest.approx(0.0, abs=1e-13)
    assert kd_loss(0.3 * teacher, teacher, 4.0).item() > 0.1


def test_detached_gradient_has_a_closed_form_and_differs_at_the_largest_logit_only() -> None:
    student, teacher, labels = golden()
    student.requires_grad_(True)
    gradients = {}
    for detach in (True, False):
        options = {"detach": detach, "alpha": 1.0, "beta": 0.0, "gamma": 0.0, "warmup": 0.0}
        part = make_method("dtkd", options)(Batch(labels, teacher), student, 0.0)["dtkd"]
        (gradients[detach],) = torch.autograd.grad(part, student)
    of_teacher, of_student = dynamic_temperatures(student.detach(), teacher, 4.0)
    gap = torch.softmax(student.detach() / of_student, 1) - torch.softmax(teacher / of_teacher, 1)
    torch.testing.assert_close(gradients[True], of_teacher * gap / 4, atol=1e-14, rtol=0)
    differs = (gradients[True] - gradients[False]).abs() > 1e-9
    largest = torch.nn.functional.one_hot(student.argmax(1), 5).bool()
    assert torch.equal(differs, largest)


def test_shifts_matter_unless_maxima_are_of_centred_logits() -> None:
    student, teacher, labels = golden()
    batch, shifted = Batch(labels, teacher), Batch(labels, teacher + 5.0)
    for center, same in ((False, False), (True, True)):
        method = make_method("dtkd", {"center": center})
        before, after = (method(item, student, 0.5)["dtkd"].item() for item in (batch, shifted))
        assert (before == pytest.approx(after, abs=1e-10)) is same


def test_rows_without_a_positive_maximum_fall_back_to_kd() -> None:
    student, teacher, _ = golden()
    low = teacher.clone()
    low[1] -= low[1].max() + 0.5
    assert unusable_rows(student, teacher).tolist() == [False] * 4
    assert unusable_rows(student, low).float().mean().item() == 0.25
    assert unusable_rows(low, low).tolist() == unusable_rows(student, low).tolist() == [False, True, False, False]
    assert not unusable_rows(student, low, center=True).any()
    assert unusable_rows(torch.ones_like(student), low, center=True).all()
    of_teacher, of_student = dynamic_temperatures(student, low, 4.0)
    assert of_teacher[1].item() == of_student[1].item() == 4.0
    assert (of_teacher[[0, 2, 3]] != 4.0).all()
    assert dynamic(student[1:2], low[1:2]).item() == pytest.approx(
        kd_loss(student[1:2], low[1:2], 4.0).item(), abs=1e-13
    )


def test_a_sum_of_maxima_near_zero_sends_finite_gradients() -> None:
    student = torch.tensor([[1.0, 0.0], [-1.0, -2.0], [0.0, 0.0]], dtype=torch.float64, requires_grad=True)
    teacher = torch.tensor([[-1.0, -2.0], [1.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
    loss = dynamic(student, teacher)
    torch.autograd.backward(loss)
    assert torch.isfinite(loss)
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()


def test_exact_temperatures_make_both_sharpnesses_equal() -> None:
    rng = torch.Generator().manual_seed(0)
    student, teacher = (
        torch.randn(2, 200, 10, generator=rng, dtype=torch.float64) * torch.tensor([1.0, 4.0])[:, None, None]
    )

    def gap(temperatures: tuple[Tensor, Tensor]) -> float:
        of_teacher, of_student = temperatures
        sharpness = [(centred(z) / t).logsumexp(1) for z, t in ((teacher, of_teacher), (student, of_student))]
        return (sharpness[0] - sharpness[1]).abs().mean().item()

    exact = exact_temperatures(student, teacher, 4.0)
    torch.testing.assert_close(exact[0] + exact[1], torch.full((200, 1), 8.0, dtype=torch.float64))
    same = (torch.full((200, 1), 4.0),) * 2
    assert gap(exact) < 1e-12
    assert gap(exact) < gap(dynamic_temperatures(student, teacher, 4.0, center=True)) < gap(same)
    narrow = exact_temperatures(student.float(), teacher.float(), 4.0)
    torch.testing.assert_close(narrow[0].double(), exact[0], atol=1e-4, rtol=1e-4)


def test_exact_temperatures_of_constant_rows_are_the_reference() -> None:
    student, teacher, _ = golden()
    for pair in ((torch.ones_like(student), teacher), (student, torch.zeros_like(teacher))):
        of_teacher, of_student = exact_temperatures(*pair, 4.0)
        assert of_teacher.tolist() == of_student.tolist() == [[4.0]] * 4
    assert exact_temperatures(teacher, teacher, 4.0)[0][:, 0].tolist() == pytest.approx([4.0] * 4, abs=1e-9)


def test_exact_temperatures_are_constants_to_the_gradient() -> None:
    student, teacher, labels = golden()
    student.requires_grad_(True)
    method = make_method("dtkd", {"exact": True, "warmup": 0.0, "alpha": 1.0})
    (gradient,) = torch.autograd.grad(method(Batch(labels, teacher), student, 0.0)["dtkd"], student)
    of_teacher, of_student = exact_temperatures(student, teacher, 4.0)
    gap = torch.softmax(student.detach() / of_student, 1) - torch.softmax(teacher / of_teacher, 1)
    torch.testing.assert_close(gradient, of_teacher * gap / 4, atol=1e-14, rtol=0)


def test_one_logit_has_no_loss() -> None:
    student, teacher, _ = golden()
    assert dynamic(student[:, :1], teacher[:, :1]).item() == 0.0


def test_decoupled_with_the_weights_of_kd_is_the_undivided_loss() -> None:
    student, teacher, labels = golden()
    total = 0.0
    for row in range(4):
        rows = slice(row, row + 1)
        of_teacher, _ = dynamic_temperatures(student[rows], teacher[rows], 4.0)
        a = torch.softmax(teacher[rows] / of_teacher, 1)[0, labels[row]].item()
        options = {"decoupled": True, "alpha": 1.0, "warmup": 0.0, "non_target_weight": 1.0 - a}
        batch = Batch(labels[rows], teacher[rows])
        total += make_method("dtkd", options)(batch, student[rows], 0.0)["dtkd"].item() / 4
    assert total == pytest.approx(1.0980221365, abs=1e-9)


def test_decoupled_with_equal_maxima_is_dkd() -> None:
    student, teacher, labels = golden()
    level = student + teacher.amax(1, keepdim=True) - student.amax(1, keepdim=True)
    options = {"decoupled": True, "alpha": 1.0, "warmup": 0.0, "target_weight": 1.5, "non_target_weight": 2.0}
    found = make_method("dtkd", options)(Batch(labels, teacher), level, 0.0)["dtkd"].item()
    target, rest = dkd_losses(level, teacher, labels, 4.0)
    assert found == pytest.approx((1.5 * target + 2.0 * rest).item(), abs=1e-11)


def test_parts_are_weighed_and_the_teachers_are_warmed_up() -> None:
    student, teacher, labels = golden()
    method = make_method("dtkd", {"alpha": 2.0, "beta": 0.5, "gamma": 3.0, "warmup": 0.1})
    for progress, factor in ((0.0, 0.0), (0.05, 0.5), (0.1, 1.0), (0.9, 1.0)):
        parts = method(Batch(labels, teacher), student, progress)
        assert parts["ce"].item() == pytest.approx(3.0 * 1.5627947425, abs=1e-8)
        assert parts["dtkd"].item() == pytest.approx(factor * 2.0 * 1.0980221365, abs=1e-8)
        assert parts["kd"].item() == pytest.approx(factor * 0.5 * 1.4601812656, abs=1e-8)


@pytest.mark.parametrize("option", ["reference", "alpha", "beta", "gamma", "warmup", "target_weight"])
def test_options_out_of_range_are_refused(option: str) -> None:
    with pytest.raises(ConfigError, match=f"option '{option}' of method 'dtkd' must be .*, got -1.0; try"):
        make_method("dtkd", {option: -1.0})


@pytest.mark.parametrize("options", [{"center": True}, {"exact": True}])
def test_two_classes_leave_centred_logits_nothing_to_teach(options: dict[str, bool]) -> None:
    student, teacher, labels = golden()
    student, teacher = student[:, :2].requires_grad_(True), teacher[:, :2]
    agree = student.argmax(1) == teacher.argmax(1)
    method = make_method("dtkd", options)
    assert least_classes(method) == 3
    assert least_classes(make_method("dtkd")) == 2
    temperatures = DynamicTemperature(**options).temperatures(student, teacher)
    (gradient,) = torch.autograd.grad(dtkd_loss(student, teacher, temperatures), student)
    assert agree.any()
    torch.testing.assert_close(gradient[agree], torch.zeros_like(gradient[agree]), atol=1e-9, rtol=0)
    message = "method 'dtkd' must have at least 3 classes, got 2; try center false and exact false"
    with pytest.raises(ConfigError, match=message):
        method(Batch(labels % 2, teacher), student, 0.0)
    assert make_method("dtkd")(Batch(labels % 2, teacher), student, 0.5)["dtkd"].item() > 0
