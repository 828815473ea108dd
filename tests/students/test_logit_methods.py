"""Methods on cached logits: golden values, explicit loops, identities and invariances."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from data.errors import ConfigError
from students.methods import Batch, Sizes, auxiliary_of, least_classes, make_method
from students.methods.cckd import conditioned_losses, conditioned_target_loss, confidence
from students.methods.correlation import correlation_losses, doubt
from students.methods.cswt import column_distance, similarity, weighted_temperatures
from students.methods.ctkd import learned_temperature, reversal_strength, reversed_gradient
from students.methods.dist import dist_losses
from students.methods.dkd import decoupled_divergences, dkd_losses, non_target
from students.methods.kd import kd_loss
from students.methods.lskd import standardised_logits
from students.methods.nkd import nkd_losses

CE = 1.5627947425


def golden() -> tuple[Tensor, Tensor, Tensor]:
    i = torch.arange(4, dtype=torch.float64)[:, None]
    j = torch.arange(5, dtype=torch.float64)[None, :]
    teacher = 3 * torch.sin(1 + 1.3 * i + 0.7 * j) + 2
    student = 2 * torch.cos(0.5 + 0.9 * i - 0.4 * j) + 1.5
    return student, teacher, torch.tensor([0, 2, 4, 1])


def parts_of(name: str, options: dict[str, Any], progress: float = 0.5) -> dict[str, float]:
    student, teacher, labels = golden()
    method = make_method(name, options)
    batch = Batch(labels, teacher, auxiliary=auxiliary_of(method, Sizes(5)))
    return {part: value.item() for part, value in method(batch, student, progress).items()}


def softmax(values: list[float], temperature: float = 1.0) -> list[float]:
    powers = [math.exp(value / temperature) for value in values]
    return [power / sum(powers) for power in powers]


# DKD


def test_dkd_golden_values() -> None:
    student, teacher, labels = golden()
    target, rest = dkd_losses(student, teacher, labels, 4.0)
    assert target.item() == pytest.approx(0.1565404976, abs=1e-9)
    assert rest.item() == pytest.approx(1.5820109899, abs=1e-9)
    parts = parts_of("dkd", {})
    assert parts["target"] + parts["non_target"] == pytest.approx(12.8126284165, abs=1e-9)
    assert parts["ce"] == pytest.approx(CE, abs=1e-9)


def test_dkd_equals_a_loop() -> None:
    student, teacher, labels = golden()
    expected = [0.0, 0.0]
    for row in range(4):
        y = labels[row].item()
        a, b = softmax(teacher[row].tolist(), 2.5)[y], softmax(student[row].tolist(), 2.5)[y]
        expected[0] += 2.5**2 * (a * math.log(a / b) + (1 - a) * math.log((1 - a) / (1 - b))) / 4
        others = [c for c in range(5) if c != y]
        p, q = (softmax([logits[row, c].item() for c in others], 2.5) for logits in (teacher, student))
        expected[1] += 2.5**2 * sum(x * math.log(x / z) for x, z in zip(p, q, strict=True)) / 4
    found = dkd_losses(student, teacher, labels, 2.5)
    assert [item.item() for item in found] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_kd_is_both_halves_of_dkd(temperature: float) -> None:
    student, teacher, labels = golden()
    s, t = student / temperature, teacher / temperature
    target, rest = decoupled_divergences(s, t, labels)
    a = torch.softmax(t, 1).gather(1, labels[:, None])[:, 0]
    whole = (torch.softmax(t, 1) * (t.log_softmax(1) - s.log_softmax(1))).sum(1)
    torch.testing.assert_close(target + (1 - a) * rest, whole, atol=2e-15, rtol=0)


def test_dkd_of_a_sure_teacher_keeps_its_digits_in_float32() -> None:
    student, teacher, labels = golden()
    sure = teacher + 60.0 * torch.nn.functional.one_hot(labels, 5)
    wide = dkd_losses(student, sure, labels, 1.0)
    narrow = dkd_losses(student.float(), sure.float(), labels, 1.0)
    assert [item.item() for item in narrow] == pytest.approx([item.item() for item in wide], rel=1e-5)
    # 1 - p would be 0 here, and its logarithm without bound.
    assert (1 - torch.softmax(sure.float(), 1).gather(1, labels[:, None])).min() == 0


def test_non_target_logits_are_the_others_in_order() -> None:
    student, _, labels = golden()
    for row in range(4):
        others = [student[row, c].item() for c in range(5) if c != labels[row]]
        assert non_target(student, labels)[row].tolist() == others


def test_dkd_warms_up_its_teacher_and_not_its_labels() -> None:
    full, half = parts_of("dkd", {"warmup": 0.2}, 0.2), parts_of("dkd", {"warmup": 0.2}, 0.1)
    assert half == pytest.approx({**{name: value / 2 for name, value in full.items()}, "ce": full["ce"]})


# DIST


def both(losses: tuple[Tensor, Tensor]) -> float:
    return losses[0].item() + losses[1].item()


def test_dist_golden_values() -> None:
    student, teacher, _ = golden()
    assert both(dist_losses(student, teacher, 4.0)) == pytest.approx(18.3573531804, abs=1e-9)
    assert both(dist_losses(student, teacher, 1.0)) == pytest.approx(1.0476340476, abs=1e-9)
    parts = parts_of("dist", {})
    assert parts["inter"] + parts["intra"] == pytest.approx(2 * 18.3573531804, abs=1e-8)


def test_dist_is_the_correlation_of_numpy() -> None:
    student, teacher, _ = golden()
    p, q = (torch.softmax(item / 2, 1).numpy() for item in (teacher, student))
    inter = np.mean([1 - np.corrcoef(p[row], q[row])[0, 1] for row in range(4)])
    intra = np.mean([1 - np.corrcoef(p[:, c], q[:, c])[0, 1] for c in range(5)])
    found = dist_losses(student, teacher, 2.0)
    assert [item.item() for item in found] == pytest.approx([4 * inter, 4 * intra], abs=1e-5)


def test_dist_sees_the_scale_of_logits_and_no_shift_of_a_row() -> None:
    student, teacher, _ = golden()
    before = both(dist_losses(student, teacher, 1.0))
    assert both(dist_losses(student + 3.0, teacher, 1.0)) == pytest.approx(before, abs=1e-12)
    assert abs(both(dist_losses(student, 3 * teacher, 1.0)) - before) > 1e-3


@pytest.mark.parametrize("name", ["dist", "correlation", "lskd"])
def test_correlations_and_z_scores_of_two_classes_are_refused(name: str) -> None:
    student, teacher, labels = golden()
    with pytest.raises(ConfigError, match=f"method '{name}' must have at least 3 classes, got 2; try kd"):
        make_method(name)(Batch(labels % 2, teacher[:, :2]), student[:, :2], 0.0)
    assert [least_classes(make_method(item)) for item in (name, f"kd+{name}", "kd+dkd")] == [3, 3, 2]


# Logit standardisation


def test_lskd_golden_value() -> None:
    assert parts_of("lskd", {})["kd"] == pytest.approx(9 * 0.5040128858, abs=1e-8)
    assert parts_of("lskd", {})["ce"] == pytest.approx(0.1 * CE, abs=1e-9)


def test_standardised_logits_are_z_scores() -> None:
    student, _, _ = golden()
    expected = stats.zscore(student.numpy(), axis=1, ddof=1)
    np.testing.assert_allclose(standardised_logits(student).numpy(), expected, atol=1e-6)
    assert standardised_logits(torch.full((2, 3), 4.0)).tolist() == [[0.0] * 3] * 2


@pytest.mark.parametrize("base", ["kd", "dkd"])
def test_lskd_sees_no_positive_affine_map_of_either_side(base: str) -> None:
    student, teacher, labels = golden()
    method = make_method("lskd", {"base": base, "ce_weight": 0.0})

    def loss(own: Tensor, other: Tensor) -> float:
        return sum(part.item() for part in method(Batch(labels, other), own, 0.5).values())

    before = loss(student, teacher)
    assert loss(3 * student - 2, teacher) == pytest.approx(before, abs=2e-5)
    assert loss(student, 0.5 * teacher + 7) == pytest.approx(before, abs=2e-5)


def test_lskd_gradients_have_no_mean_and_no_component_along_the_logits() -> None:
    student, teacher, _ = golden()
    student.requires_grad_(True)
    loss = kd_loss(standardised_logits(student), standardised_logits(teacher), 2.0)
    (gradient,) = torch.autograd.grad(loss, student)
    assert gradient.sum(1).abs().max().item() < 1e-14
    along = (gradient * (student - student.mean(1, keepdim=True))).sum(1).abs().max().item()
    assert along < 1e-6
    assert gradient.abs().max().item() > 1e-2


def test_lskd_on_dkd_weighs_both_halves() -> None:
    student, teacher, labels = golden()
    target, rest = dkd_losses(standardised_logits(student), standardised_logits(teacher), labels, 2.0)
    options = {"base": "dkd", "teacher_weight": 3.0, "alpha": 0.5, "beta": 2.0, "warmup": 1.0}
    parts = parts_of("lskd", options, 0.5)
    assert parts["target"] == pytest.approx(0.5 * 3.0 * 0.5 * target.item(), abs=1e-12)
    assert parts["non_target"] == pytest.approx(0.5 * 3.0 * 2.0 * rest.item(), abs=1e-12)


# Curriculum temperature


def test_ctkd_starts_at_its_temperature_and_reverses_by_a_cosine() -> None:
    assert learned_temperature(torch.ones(()), 1.0, 20.0).item() == pytest.approx(15.62, abs=5e-3)
    strengths = [reversal_strength(epoch / 240, 10 / 240) for epoch in (0, 1, 5, 10, 200)]
    assert strengths == pytest.approx([0.0, -0.0244717, -0.5, -1.0, -1.0], abs=1e-7)
    assert reversal_strength(0.0, 0.0) == -1.0


def test_ctkd_is_kd_at_its_temperature() -> None:
    student, teacher, _ = golden()
    temperature = 2.0 + 5.0 / (1 + math.exp(-1.0))
    parts = parts_of("ctkd", {"low": 2.0, "span": 5.0, "teacher_weight": 0.5})
    assert parts["kd"] == pytest.approx(0.5 * kd_loss(student, teacher, temperature).item(), rel=1e-6)
    assert parts["ce"] == pytest.approx(0.1 * CE, abs=1e-9)


@pytest.mark.parametrize(("progress", "factor"), [(0.05, -0.5), (0.5, -1.0)])
def test_ctkd_turns_the_gradient_of_the_temperature_and_not_that_of_the_student(progress: float, factor: float) -> None:
    student, teacher, labels = golden()
    student.requires_grad_(True)
    method = make_method("ctkd", {"warmup": 0.1, "teacher_weight": 1.0})
    network = auxiliary_of(method, Sizes(5))
    assert network is not None
    network.double()
    (theta,) = network.parameters()
    part = method(Batch(labels, teacher, auxiliary=network), student, progress)["kd"]
    of_theta, of_student = torch.autograd.grad(part, (theta, student))
    plain = kd_loss(student, teacher, learned_temperature(theta, 1.0, 20.0))
    true_theta, true_student = torch.autograd.grad(plain, (theta, student))
    assert part.item() == plain.item()
    assert of_theta.item() == pytest.approx(factor * true_theta.item(), rel=1e-12)
    assert true_theta.item() != 0.0
    torch.testing.assert_close(of_student, true_student, atol=1e-15, rtol=0)


def test_reversed_gradient_keeps_the_value_to_the_last_bit() -> None:
    value = torch.tensor([0.1, 1e30, -7.3e-12], requires_grad=True)
    found = reversed_gradient(value, -0.3)
    assert torch.equal(found, value)
    (gradient,) = torch.autograd.grad(found.sum(), value)
    assert gradient.tolist() == pytest.approx([-0.3] * 3)


# Cosine-similarity weighted temperature


def test_cswt_golden_values() -> None:
    student, teacher, _ = golden()
    similarities = similarity(student, teacher)
    assert similarities.tolist() == pytest.approx([0.880081, 0.175107, 0.913918, 0.967074], abs=5e-7)
    temperatures = weighted_temperatures(similarities, 2.0, 6.0)[:, 0].tolist()
    assert temperatures == pytest.approx([2.439377, 6.0, 2.268477, 2.0], abs=5e-7)


def test_cswt_equals_a_loop() -> None:
    student, teacher, _ = golden()
    hot = weighted_temperatures(similarity(student, teacher), 1.5, 5.0)[:, 0].tolist()
    for name, temperatures in (("fixed", [3.0] * 4), ("adaptive", hot)):
        p = [softmax(teacher[row].tolist(), temperatures[row]) for row in range(4)]
        q = [softmax(student[row].tolist(), temperatures[row]) for row in range(4)]
        distance = 0.0
        for c in range(5):
            dot = sum(p[row][c] * q[row][c] for row in range(4))
            lengths = math.sqrt(sum(p[row][c] ** 2 for row in range(4)) * sum(q[row][c] ** 2 for row in range(4)))
            distance += (1 - dot / lengths) / 5
        expected = 2 * (sum(temperatures) / 4) ** 2 * distance
        parts = parts_of("cswt", {"low": 1.5, "high": 5.0, "temperature": 3.0})
        assert parts[name] == pytest.approx(expected, abs=1e-5)


def test_cswt_rows_that_are_equally_similar_get_the_lowest_temperature() -> None:
    assert weighted_temperatures(torch.full((3,), 0.7), 2.0, 6.0).tolist() == [[2.0]] * 3
    assert weighted_temperatures(torch.tensor([0.4]), 2.0, 6.0).tolist() == [[2.0]]
    student, teacher, _ = golden()
    assert column_distance(teacher, teacher, 4.0).item() == pytest.approx(0.0, abs=1e-5)
    assert not similarity(student.requires_grad_(True), teacher).requires_grad


# NKD


def test_nkd_golden_value_and_loop() -> None:
    student, teacher, labels = golden()
    parts = parts_of("nkd", {})
    assert parts["target"] + parts["non_target"] == pytest.approx(2.6074383699, abs=1e-9)
    assert parts["ce"] == pytest.approx(CE, abs=1e-9)
    expected = [0.0, 0.0]
    for row in range(4):
        y = labels[row].item()
        p, q = softmax(teacher[row].tolist()), softmax(student[row].tolist())
        expected[0] -= p[y] * math.log(q[y]) / 4
        others = [c for c in range(5) if c != y]
        p, q = (softmax([logits[row, c].item() for c in others], 3.0) for logits in (teacher, student))
        expected[1] -= 9.0 * sum(x * math.log(z) for x, z in zip(p, q, strict=True)) / 4
    found = nkd_losses(student, teacher, labels, 3.0)
    assert [item.item() for item in found] == pytest.approx(expected, abs=1e-12)


def test_nkd_of_a_sure_teacher_without_the_rest_doubles_the_cross_entropy() -> None:
    student, _, labels = golden()
    sure = 1000.0 * torch.nn.functional.one_hot(labels, 5).double()
    parts = make_method("nkd", {"gamma": 0.0})(Batch(labels, sure), student, 0.0)
    assert parts["target"].item() == pytest.approx(parts["ce"].item(), abs=1e-12)
    assert sum(part.item() for part in parts.values()) == pytest.approx(2 * CE, abs=1e-8)


# CCKD


def test_cckd_golden_values() -> None:
    _, teacher, labels = golden()
    found = confidence(teacher, labels)[:, 0].tolist()
    assert found == pytest.approx([0.304833, 0.018189, 0.710817, 0.005410], abs=5e-7)
    assert sum(parts_of("cckd", {}).values()) == pytest.approx(1.6535330400, abs=1e-9)
    assert parts_of("cckd", {"form": "target"})["blend"] == pytest.approx(1.6535330400, abs=1e-9)


def test_cckd_forms_equal_loops_and_each_other_at_temperature_one_only() -> None:
    student, teacher, labels = golden()
    for temperature in (1.0, 2.5):
        of_teacher = of_labels = blended = 0.0
        for row in range(4):
            y = labels[row].item()
            share = softmax(teacher[row].tolist())[y]
            p = softmax(teacher[row].tolist(), temperature)
            q, hard = softmax(student[row].tolist(), temperature), softmax(student[row].tolist())
            of_teacher -= share * sum(a * math.log(b) for a, b in zip(p, q, strict=True)) / 4
            of_labels -= (1 - share) * math.log(hard[y]) / 4
            blend = [share * a + (1 - share) * (c == y) for c, a in enumerate(p)]
            blended -= sum(a * math.log(b) for a, b in zip(blend, q, strict=True)) / 4
        found = [item.item() for item in conditioned_losses(student, teacher, labels, temperature)]
        assert found == pytest.approx([of_teacher, of_labels], abs=1e-12)
        target = conditioned_target_loss(student, teacher, labels, temperature).item()
        assert target == pytest.approx(blended, abs=1e-12)
        assert (sum(found) == pytest.approx(target, abs=1e-12)) is (temperature == 1.0)


# Correlation matching


def test_doubt_is_the_entropy_of_scipy_over_that_of_a_guess() -> None:
    _, teacher, _ = golden()
    expected = stats.entropy(torch.softmax(teacher, 1).numpy(), axis=1) / math.log(5)
    np.testing.assert_allclose(doubt(teacher).numpy(), expected, atol=1e-12)
    extremes = torch.tensor([[0.0, 0.0, 0.0], [1000.0, 0.0, 0.0]])
    assert doubt(extremes).tolist() == pytest.approx([1.0, 0.0], abs=1e-6)


def test_correlation_with_hard_ranks_is_that_of_scipy() -> None:
    rng = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 4, 5, generator=rng, dtype=torch.float64)
    weights = doubt(teacher).tolist()
    values = ranks = 0.0
    for row in range(4):
        p, q = torch.softmax(teacher[row] / 4, 0), torch.softmax(student[row] / 4, 0)
        values += (1 - weights[row]) * (1 - stats.pearsonr(p, q).statistic) / 4
        ranks += weights[row] * (1 - stats.spearmanr(teacher[row], student[row]).statistic) / 4
    found = correlation_losses(student, teacher, 4.0, 1e-5)
    assert [item.item() for item in found] == pytest.approx([values, ranks], abs=1e-6)
    parts = make_method("correlation", {"rank_scale": 1e-5})(Batch(torch.arange(4), teacher), student, 0.0)
    assert parts["pearson"].item() == pytest.approx(2 * 16 * values, abs=1e-5)
    assert parts["spearman"].item() == pytest.approx(2 * 16 * ranks, abs=1e-5)


def test_soft_ranks_of_logits_see_no_positive_affine_map() -> None:
    student, teacher, _ = golden()
    _, before = correlation_losses(student, teacher, 4.0, 0.5)
    _, after = correlation_losses(3 * student + 1, teacher, 4.0, 0.5)
    assert after.item() == pytest.approx(before.item(), abs=1e-6)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("dkd", {"alpha": -1.0}),
        ("dkd", {"beta": -1.0}),
        ("dkd", {"temperature": 0.0}),
        ("dkd", {"warmup": 1.5}),
        ("dist", {"gamma": -0.1}),
        ("dist", {"temperature": -1.0}),
        ("lskd", {"base": "rkd"}),
        ("lskd", {"teacher_weight": -1.0}),
        ("ctkd", {"low": 0.0}),
        ("ctkd", {"span": 0.0}),
        ("cswt", {"low": 0.0}),
        ("cswt", {"high": 1.0}),
        ("nkd", {"gamma": -1.0}),
        ("cckd", {"form": "both"}),
        ("cckd", {"temperature": 0.0}),
        ("correlation", {"rank_scale": 0.0}),
    ],
)
def test_options_out_of_range_are_refused(name: str, options: dict[str, Any]) -> None:
    option = next(iter(options))
    with pytest.raises(ConfigError, match=rf"option '{option}' of method '{name}' must be .*, got .*; try"):
        make_method(name, options)


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("kd", "temperature"), ("kd", "alpha"), ("dist", "beta"), ("cswt", "high"), ("cswt", "low"),
        ("ckd", "teacher_weight"), ("mixup_kd", "alpha"), ("hint", "hint_weight"), ("r2kd", "prune"),
        ("r2kd", "cutmix_alpha"), ("ckd", "anchor_weight"),
    ],
)  # fmt: skip
def test_options_must_be_finite(name: str, option: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"'{option}' of method '{name}' must be .*, got {value}; try "):
        make_method(name, {option: value})
    with pytest.raises(ConfigError, match=f"'weight' of method '{name}' must be .*, got {value}; try 1"):
        make_method(f"{name}+rkd", {f"{name}.weight": value})
