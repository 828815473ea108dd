"""Every loss against an explicit loop in Python's own floats."""

from __future__ import annotations

import math

import pytest
import torch

from generators.class_losses import acgan_discriminator_loss, acgan_generator_loss, d2d_ce_loss
from generators.label_losses import (
    density_ratio_discriminator_loss,
    density_ratio_generator_loss,
    label_regression_discriminator_loss,
    label_regression_generator_loss,
)
from generators.losses import (
    ADVERSARIAL_LOSSES,
    hinge_discriminator_loss,
    hinge_generator_loss,
    non_saturating_discriminator_loss,
    non_saturating_generator_loss,
)


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def logistic(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def test_hinge_discriminator_loss_equals_the_explicit_sum() -> None:
    real = torch.tensor([2.0, 0.5, -1.0])
    fake = torch.tensor([-2.0, 0.5, 1.0])
    loss = hinge_discriminator_loss(real, fake)
    assert loss.item() == pytest.approx((0.0 + 0.5 + 2.0) / 3 + (0.0 + 1.5 + 2.0) / 3)


def test_weights_scale_single_terms_and_are_not_normalised() -> None:
    real, fake = torch.tensor([0.0, 0.0]), torch.tensor([0.0, 0.0])
    loss = hinge_discriminator_loss(real, fake, torch.tensor([0.5, 0.0]), torch.tensor([0.25, 0.25]))
    assert loss.item() == pytest.approx(0.25 + 0.25)


def test_hinge_generator_loss_is_minus_the_mean_score_in_float32() -> None:
    scores = torch.tensor([1.0, 3.0], dtype=torch.bfloat16)
    loss = hinge_generator_loss(scores)
    assert loss.dtype == torch.float32
    assert loss.item() == -2.0


@pytest.mark.parametrize("weighted", [False, True])
def test_non_saturating_losses_equal_the_logarithms_written_out(weighted: bool) -> None:
    real, fake = numbers(7, seed=1), numbers(7, seed=2)
    real_weights, fake_weights = (numbers(7, seed=seed).abs() if weighted else None for seed in (3, 4))
    expected = 0.0
    for i in range(7):
        real_weight, fake_weight = (1.0 if each is None else each[i].item() for each in (real_weights, fake_weights))
        expected -= real_weight * math.log(logistic(real[i].item())) / 7
        expected -= fake_weight * math.log(1 - logistic(fake[i].item())) / 7
    loss = non_saturating_discriminator_loss(real, fake, real_weights, fake_weights)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    expected = sum(-math.log(logistic(score)) for score in fake.tolist()) / 7
    assert non_saturating_generator_loss(fake).item() == pytest.approx(expected, rel=1e-5)


def test_non_saturating_losses_stay_finite_and_keep_their_gradient_at_any_score() -> None:
    scores = torch.tensor([-1e4], requires_grad=True)
    loss = non_saturating_discriminator_loss(scores, -scores) + non_saturating_generator_loss(scores)
    assert loss.item() == pytest.approx(3e4)
    loss.backward()
    assert scores.grad.item() == pytest.approx(-3.0)


@pytest.mark.parametrize("name", ["hinge", "non_saturating"])
def test_guessing_is_the_loss_of_scores_of_zero(name: str) -> None:
    loss = ADVERSARIAL_LOSSES[name]
    assert loss.discriminator(torch.zeros(3), torch.zeros(3)).item() == pytest.approx(loss.guessing, rel=1e-6)


def test_acgan_losses_equal_the_softmax_written_out() -> None:
    real, fake = numbers(5, 4, seed=1), numbers(5, 4, seed=2)
    real_classes, fake_classes = torch.tensor([0, 3, 1, 1, 2]), torch.tensor([2, 2, 0, 3, 1])

    def cross_entropy(logits: torch.Tensor, classes: torch.Tensor) -> float:
        total = 0.0
        for row, label in zip(logits.tolist(), classes.tolist(), strict=True):
            total -= math.log(math.exp(row[label]) / sum(math.exp(value) for value in row))
        return total / len(logits)

    loss = acgan_discriminator_loss(real, real_classes, fake, fake_classes)
    assert loss.item() == pytest.approx(
        cross_entropy(real, real_classes) + 0.1 * cross_entropy(fake, fake_classes), rel=1e-5
    )
    assert acgan_discriminator_loss(real, real_classes, fake, fake_classes, 0.0).item() == pytest.approx(
        cross_entropy(real, real_classes), rel=1e-5
    )
    assert acgan_generator_loss(fake, fake_classes).item() == pytest.approx(cross_entropy(fake, fake_classes), rel=1e-5)


def d2d_loop(
    embeddings: torch.Tensor, proxies: torch.Tensor, classes: torch.Tensor, margin: float, temperature: float
) -> float:
    total = 0.0
    for i, label in enumerate(classes.tolist()):
        towards = math.exp(min(float(embeddings[i] @ proxies[label]) - margin, 0.0) / temperature)
        away = 0.0
        for j, other in enumerate(classes.tolist()):
            if other != label:
                away += math.exp(max(float(embeddings[i] @ embeddings[j]) - (1 - margin), 0.0) / temperature)
        total -= math.log(towards / (towards + away))
    return total / len(classes)


@pytest.mark.parametrize(("margin", "temperature"), [(0.98, 0.5), (0.7, 0.1), (1.0, 2.0)])
def test_d2d_ce_equals_the_explicit_loop(margin: float, temperature: float) -> None:
    unit = torch.nn.functional.normalize
    embeddings, proxies = unit(numbers(9, 5, seed=1)), unit(numbers(4, 5, seed=2))
    classes = torch.tensor([0, 1, 2, 3, 0, 0, 1, 2, 0])
    loss = d2d_ce_loss(embeddings, proxies, classes, margin=margin, temperature=temperature)
    assert loss.item() == pytest.approx(d2d_loop(embeddings, proxies, classes, margin, temperature), rel=1e-4)


def test_d2d_ce_is_stable_at_a_small_temperature_and_zero_without_other_classes() -> None:
    embeddings = torch.nn.functional.normalize(numbers(6, 3)).requires_grad_(True)
    proxies = torch.nn.functional.normalize(numbers(2, 3, seed=1))
    loss = d2d_ce_loss(embeddings, proxies, torch.tensor([0, 1, 0, 1, 0, 1]), temperature=1e-3)
    loss.backward()
    assert math.isfinite(loss.item())
    assert loss.item() > 100
    assert embeddings.grad.isfinite().all()
    assert d2d_ce_loss(embeddings, proxies, torch.zeros(6, dtype=torch.int64)).item() == 0.0


@pytest.mark.parametrize("dimensions", [1, 3])
def test_label_regression_costs_what_lies_outside_the_vicinity(dimensions: int) -> None:
    predicted, labels = numbers(6, dimensions, seed=1), numbers(6, dimensions, seed=2)
    kappas = numbers(6, dimensions, seed=3).abs()
    terms, plain = [], []
    for i in range(6):
        for j in range(dimensions):
            error = abs(predicted[i, j].item() - labels[i, j].item())
            terms.append(max(error - kappas[i, j].item(), 0.0))
            plain.append(error)
    loss = label_regression_discriminator_loss(predicted, labels, kappas)
    assert loss.item() == pytest.approx(math.fsum(terms) / len(terms), rel=1e-5)
    assert label_regression_generator_loss(predicted, labels).item() == pytest.approx(
        math.fsum(plain) / len(plain), rel=1e-5
    )


def test_density_ratio_losses_equal_the_formula() -> None:
    real, fake = numbers(6, seed=1).abs(), numbers(8, seed=2).abs()
    divergence = sum(logistic(v) * v - math.log(1 + math.exp(v)) for v in fake.tolist()) / 8
    divergence -= sum(logistic(v) for v in real.tolist()) / 6
    mean = sum(fake.tolist()) / 8
    assert density_ratio_discriminator_loss(real, fake, 0.3).item() == pytest.approx(
        divergence + 0.3 * (mean - 1) ** 2, rel=1e-5
    )
    assert density_ratio_generator_loss(fake).item() == pytest.approx((mean - 1) ** 2, rel=1e-5)


def test_the_density_ratio_loss_is_least_at_the_true_ratio() -> None:
    # Two outcomes with real frequencies 3/4, 1/4 and generated ones 1/2, 1/2: the ratios are 3/2 and 1/2.
    psi = torch.tensor([1.0, 1.0], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([psi], max_iter=100, tolerance_grad=1e-12, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = density_ratio_discriminator_loss(psi[[0, 0, 0, 1]], psi, 0.0)
        loss.backward()
        return loss

    optimiser.step(closure)
    torch.testing.assert_close(psi.detach(), torch.tensor([1.5, 0.5], dtype=torch.float64), atol=2e-3, rtol=0)


@pytest.mark.parametrize("loss", [loss for pair in ADVERSARIAL_LOSSES.values() for loss in pair[:2]])
def test_adversarial_losses_are_float32_for_half_precision_scores(loss: object) -> None:
    scores = torch.ones(4, dtype=torch.bfloat16)
    value = loss(scores) if loss in (hinge_generator_loss, non_saturating_generator_loss) else loss(scores, scores)
    assert value.dtype == torch.float32
