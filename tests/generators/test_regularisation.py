"""R1 and consistency against closed forms and explicit gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from generators.regularisation import consistency_loss, r1_penalty


def test_r1_of_a_linear_score_is_half_its_squared_weights() -> None:
    weights = torch.randn(3 * 4 * 4, requires_grad=True)
    penalty = r1_penalty(lambda images: images.flatten(1) @ weights + 3.0, torch.randn(5, 3, 4, 4))
    assert penalty.item() == pytest.approx(0.5 * weights.square().sum().item(), rel=1e-5)
    penalty.backward()
    torch.testing.assert_close(weights.grad, weights.detach())


def test_r1_equals_one_gradient_an_image_and_its_own_gradient_finite_differences() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(12, 1)).double()
    images = torch.randn(4, 1, 4, 4)

    def score(batch: torch.Tensor) -> torch.Tensor:
        return network(batch.double())[:, 0]

    expected = 0.0
    for image in images:
        leaf = image[None].double().requires_grad_(True)
        score(leaf).backward()
        expected += 0.5 * leaf.grad.square().sum().item() / 4
    network.zero_grad()
    penalty = r1_penalty(score, images)
    assert penalty.item() == pytest.approx(expected, rel=1e-5)
    penalty.backward()
    weight = network[3].weight
    found, step = weight.grad[0, 5].item(), 1e-3
    with torch.no_grad():
        weight[0, 5] += step
    above = r1_penalty(score, images).item()
    with torch.no_grad():
        weight[0, 5] -= 2 * step
    assert found == pytest.approx((above - r1_penalty(score, images).item()) / (2 * step), rel=1e-2)


def test_r1_is_float32_within_autocast_and_differentiates_attention_twice() -> None:
    queries = nn.Linear(8, 8)

    def score(images: torch.Tensor) -> torch.Tensor:
        assert not torch.is_autocast_enabled("cpu")
        tokens = queries(images.flatten(2).transpose(1, 2))
        return functional.scaled_dot_product_attention(tokens, tokens, tokens).sum(dim=(1, 2))

    with torch.autocast("cpu", dtype=torch.bfloat16):
        penalty = r1_penalty(score, torch.randn(2, 8, 2, 2, dtype=torch.bfloat16))
    assert penalty.dtype == torch.float32
    penalty.backward()
    assert queries.weight.grad.abs().sum() > 0


def test_consistency_equals_the_explicit_sum() -> None:
    real, fake, real_again, fake_again = torch.randn(4, 6)
    expected = sum((a - b) ** 2 for a, b in zip(real.tolist(), real_again.tolist(), strict=True)) / 6
    expected += sum((a - b) ** 2 for a, b in zip(fake.tolist(), fake_again.tolist(), strict=True)) / 6
    assert consistency_loss(real, fake, real_again, fake_again).item() == pytest.approx(expected, rel=1e-5)
    assert consistency_loss(real.bfloat16(), fake, real.bfloat16(), fake).item() == 0.0
