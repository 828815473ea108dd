"""Formulas of the methods against golden numbers, explicit loops and closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from data.errors import ConfigError
from students.methods import (
    Batch,
    class_probabilities,
    fitting_methods,
    make_method,
    target_classes,
    warmed_up,
)
from students.methods.ce import cross_entropy
from students.methods.kd import kd_loss
from students.methods.mse import squared_error


def golden() -> tuple[Tensor, Tensor, Tensor]:
    """Student logits, teacher logits and labels whose losses are known to ten digits."""
    i = torch.arange(4, dtype=torch.float64)[:, None]
    j = torch.arange(5, dtype=torch.float64)[None, :]
    teacher = 3 * torch.sin(1 + 1.3 * i + 0.7 * j) + 2
    student = 2 * torch.cos(0.5 + 0.9 * i - 0.4 * j) + 1.5
    return student, teacher, torch.tensor([0, 2, 4, 1])


def test_golden_values() -> None:
    student, teacher, labels = golden()
    assert cross_entropy(student, labels).item() == pytest.approx(1.5627947425, abs=1e-9)
    assert kd_loss(student, teacher, 4.0).item() == pytest.approx(1.4601812656, abs=1e-9)
    assert kd_loss(student, teacher, 1.0).item() == pytest.approx(0.7168130639, abs=1e-9)


def test_cross_entropy_equals_a_loop() -> None:
    student, teacher, labels = golden()
    soft = torch.softmax(teacher, dim=1)
    hard_total = soft_total = 0.0
    for row in range(4):
        normaliser = math.log(sum(math.exp(value) for value in student[row].tolist()))
        hard_total += normaliser - student[row, labels[row]].item()
        soft_total += sum(soft[row, c].item() * (normaliser - student[row, c].item()) for c in range(5))
    assert cross_entropy(student, labels).item() == pytest.approx(hard_total / 4, abs=1e-12)
    assert cross_entropy(student, soft).item() == pytest.approx(soft_total / 4, abs=1e-12)
    one_hot = torch.nn.functional.one_hot(labels, 5).double()
    assert cross_entropy(student, one_hot).item() == pytest.approx(hard_total / 4, abs=1e-12)


def test_kd_equals_a_loop_and_its_closed_gradient() -> None:
    student, teacher, _ = golden()
    student.requires_grad_(True)
    temperature, total = 2.5, 0.0
    for row in range(4):
        p = torch.softmax(teacher[row] / temperature, 0).tolist()
        q = torch.softmax(student[row].detach() / temperature, 0).tolist()
        total += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    loss = kd_loss(student, teacher, temperature)
    assert loss.item() == pytest.approx(temperature**2 * total / 4, abs=1e-12)
    (gradient,) = torch.autograd.grad(loss, student)
    expected = temperature * (torch.softmax(student / temperature, 1) - torch.softmax(teacher / temperature, 1)) / 4
    torch.testing.assert_close(gradient, expected.detach(), atol=1e-14, rtol=0)


def test_kd_is_zero_at_equality_and_blind_to_shifts() -> None:
    student, teacher, _ = golden()
    assert kd_loss(teacher, teacher, 4.0).item() == pytest.approx(0.0, abs=1e-15)
    shifted = kd_loss(student + 3.0, teacher - 7.0, 4.0).item()
    assert shifted == pytest.approx(kd_loss(student, teacher, 4.0).item(), abs=1e-12)


def test_kd_weighs_its_parts() -> None:
    student, teacher, labels = golden()
    parts = make_method("kd", {"alpha": 0.25, "temperature": 4})(Batch(labels, teacher), student, 0.0)
    assert parts["ce"].item() == pytest.approx(0.75 * 1.5627947425, abs=1e-9)
    assert parts["kd"].item() == pytest.approx(0.25 * 1.4601812656, abs=1e-9)


def test_imitation_is_the_blended_target_up_to_a_constant() -> None:
    rng = torch.Generator().manual_seed(0)
    outputs, teacher = torch.randn(2, 6, 1, generator=rng, dtype=torch.float64)
    labels = torch.randn(6, generator=rng, dtype=torch.float64)
    parts = make_method("imitation", {"label_weight": 0.3})(Batch(labels, teacher), outputs, 0.0)
    loop_label = loop_teacher = blend = 0.0
    for row in range(6):
        yh, y, t = outputs[row, 0].item(), labels[row].item(), teacher[row, 0].item()
        loop_label += 0.3 * (yh - y) ** 2 / 6
        loop_teacher += 0.7 * (yh - t) ** 2 / 6
        blend += ((yh - (0.3 * y + 0.7 * t)) ** 2 + 0.3 * 0.7 * (y - t) ** 2) / 6
    assert parts["label"].item() == pytest.approx(loop_label, abs=1e-12)
    assert parts["teacher"].item() == pytest.approx(loop_teacher, abs=1e-12)
    assert sum(part.item() for part in parts.values()) == pytest.approx(blend, abs=1e-12)


def test_squared_error_never_broadcasts() -> None:
    outputs = torch.tensor([[1.0], [2.0], [4.0]])
    assert squared_error(outputs, torch.tensor([1.0, 0.0, 1.0])).item() == pytest.approx((0 + 4 + 9) / 3)
    for wrong in ((9,), (3, 3), (1, 3), (1, 1)):
        with pytest.raises(ValueError, match=r"must have the shape \(3, 1\) of the outputs"):
            squared_error(outputs, torch.zeros(wrong))


def test_squared_error_of_vectors_equals_a_loop() -> None:
    rng = torch.Generator().manual_seed(1)
    outputs, targets = torch.randn(2, 5, 3, generator=rng, dtype=torch.float64)
    loop = sum((outputs[row, axis] - targets[row, axis]).item() ** 2 for row in range(5) for axis in range(3))
    assert squared_error(outputs, targets).item() == pytest.approx(loop / 15, abs=1e-12)
    # As many numbers, in another order, are not the same targets.
    for wrong in (targets.T, targets.reshape(-1), targets[:, :1], targets[:1]):
        with pytest.raises(ValueError, match=r"must have the shape \(5, 3\)"):
            squared_error(outputs, wrong)


def joint_example() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Student and teacher outputs (4, 6) whose logits are the golden ones, classes and values."""
    student, teacher, labels = golden()
    values = torch.tensor([[0.5], [-1.0], [2.0], [0.25]], dtype=torch.float64)
    predictions = torch.tensor([[0.0], [-1.5], [1.0], [0.75]], dtype=torch.float64)
    imitated = torch.tensor([[0.25], [-1.0], [1.5], [-0.25]], dtype=torch.float64)
    return torch.cat([student, predictions], 1), torch.cat([teacher, imitated], 1), labels, values


def test_joint_is_cross_entropy_and_squared_error_of_its_parts() -> None:
    student, _, labels, values = joint_example()
    parts = make_method("joint", {"scalar_weight": 3.0})(Batch(labels, values=values), student, 0.0)
    assert set(parts) == {"ce", "mse"}
    assert parts["ce"].item() == pytest.approx(1.5627947425, abs=1e-9)
    assert parts["mse"].item() == pytest.approx(3.0 * (0.25 + 0.25 + 1.0 + 0.25) / 4, abs=1e-12)


def test_joint_kd_is_kd_of_the_class_and_imitation_of_the_scalar() -> None:
    student, teacher, labels, values = joint_example()
    options = {"alpha": 0.25, "temperature": 4.0, "label_weight": 0.3, "scalar_weight": 2.0}
    parts = make_method("joint_kd", options)(Batch(labels, teacher, values), student, 0.0)
    kd = make_method("kd", {"alpha": 0.25, "temperature": 4.0})(Batch(labels, teacher[:, :5]), student[:, :5], 0.0)
    imitation = make_method("imitation", {"label_weight": 0.3})(Batch(values, teacher[:, 5:]), student[:, 5:], 0.0)
    expected = {**kd, **{name: 2.0 * part for name, part in imitation.items()}}
    assert list(parts) == ["ce", "kd", "label", "teacher"]
    for name, part in parts.items():
        assert part.item() == pytest.approx(expected[name].item(), abs=1e-12), name
    errors = (0.25**2 + 0.5**2 + 0.5**2 + 1.0**2) / 4
    assert parts["teacher"].item() == pytest.approx(2.0 * 0.7 * errors, abs=1e-12)


def test_joint_methods_need_both_parts_of_the_label() -> None:
    student, teacher, labels, _ = joint_example()
    for name in ("joint", "joint_kd"):
        with pytest.raises(ValueError, match="batch must have values for this method, got none"):
            make_method(name)(Batch(labels, teacher), student, 0.0)


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("class", ["ce", "kd"]),
        ("scalar", ["imitation", "mse"]),
        ("vector", ["imitation", "mse"]),
        ("class+scalar", ["joint", "joint_kd"]),
    ],
)
def test_every_kind_of_label_has_a_baseline_and_a_distillation(kind: str, names: list[str]) -> None:
    assert set(names) <= set(fitting_methods(kind))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("kd", {"alpha": 1.5}),
        ("kd", {"temperature": 0.0}),
        ("imitation", {"label_weight": -0.1}),
        ("joint", {"scalar_weight": 0.0}),
        ("joint_kd", {"alpha": -0.5}),
        ("joint_kd", {"temperature": -1.0}),
        ("joint_kd", {"label_weight": 2.0}),
        ("joint_kd", {"scalar_weight": -1.0}),
    ],
)
def test_options_out_of_range_are_refused(name: str, options: dict[str, float]) -> None:
    with pytest.raises(
        ConfigError, match=rf"option '{next(iter(options))}' of method '{name}' must be .*, got .*; try"
    ):
        make_method(name, options)


def test_missing_teacher_outputs_are_named() -> None:
    student, _, labels = golden()
    with pytest.raises(ValueError, match="teacher_outputs"):
        make_method("kd")(Batch(labels), student, 0.0)


def test_labels_as_targets_and_as_probabilities() -> None:
    student, teacher, labels = golden()
    one_hot = class_probabilities(labels, student)
    assert torch.equal(one_hot, torch.nn.functional.one_hot(labels, 5).double())
    assert class_probabilities(labels, student.half()).dtype == torch.float32
    soft = torch.softmax(teacher, 1)
    assert torch.equal(class_probabilities(soft, student), soft)
    assert torch.equal(target_classes(labels), labels)
    assert target_classes(one_hot).tolist() == labels.tolist()
    assert target_classes(soft).tolist() == teacher.argmax(1).tolist()


def test_warm_up_is_linear_and_may_be_none() -> None:
    assert [warmed_up(step / 10, 0.4) for step in range(6)] == pytest.approx([0.0, 0.25, 0.5, 0.75, 1.0, 1.0])
    assert warmed_up(0.0, 0.0) == 1.0
