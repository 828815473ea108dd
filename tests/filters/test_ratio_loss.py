"""The conditional Softplus loss against a loop, a known stationary point and finite differences."""

from __future__ import annotations

import math

import pytest
import torch

from filters.ratio_loss import csp_loss


def test_it_equals_a_loop() -> None:
    rng = torch.Generator().manual_seed(0)
    fake, real = torch.rand(2, 7, generator=rng, dtype=torch.float64) * 3

    def sigmoid(value: float) -> float:
        return 1 / (1 + math.exp(-value))

    expected = sum(sigmoid(v) * v - math.log1p(math.exp(v)) for v in fake.tolist()) / 7
    expected -= sum(sigmoid(v) for v in real.tolist()) / 7
    parts = csp_loss(fake, real, 0.05)
    assert parts["divergence"].item() == pytest.approx(expected, abs=1e-12)
    assert parts["penalty"].item() == pytest.approx(0.05 * (sum(fake.tolist()) / 7 - 1) ** 2, abs=1e-12)


def test_its_gradient_vanishes_at_the_true_ratio_and_nowhere_near() -> None:
    """On three cells with probabilities p_g and p_r the loss is a sum over cells; psi = p_r / p_g is its minimum."""
    generated = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    real = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)

    def loss(psi: torch.Tensor) -> torch.Tensor:
        # Cells repeated in proportion to their probability make batch means exact expectations.
        fake = psi.repeat_interleave((generated * 10).round().long())
        true = psi.repeat_interleave((real * 10).round().long())
        return torch.stack(list(csp_loss(fake, true).values())).sum()

    psi = (real / generated).requires_grad_(True)
    (gradient,) = torch.autograd.grad(loss(psi), psi)
    torch.testing.assert_close(gradient, torch.zeros(3).double(), atol=1e-12, rtol=0)
    least = loss(psi).item()
    for cell in range(3):
        for change in (-0.1, 0.1):
            moved = psi.detach().clone()
            moved[cell] += change
            assert loss(moved).item() > least


def test_gradients_agree_with_finite_differences() -> None:
    rng = torch.Generator().manual_seed(1)
    fake, real = (2 * torch.rand(2, 5, generator=rng, dtype=torch.float64)).unbind()
    fake, real = fake.clone().requires_grad_(True), real.clone().requires_grad_(True)
    assert torch.autograd.gradcheck(lambda f, r: torch.stack(list(csp_loss(f, r).values())).sum(), (fake, real))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_finite(dtype: torch.dtype) -> None:
    fake, real = torch.tensor([0.0, 3.0, 6e4], dtype=dtype), torch.tensor([0.0, 1.0, 6e4], dtype=dtype)
    parts = csp_loss(fake, real)
    assert all(torch.isfinite(part) and part.dtype == torch.float32 for part in parts.values())


def test_a_batch_of_one() -> None:
    parts = csp_loss(torch.tensor([1.0]), torch.tensor([1.0]))
    assert parts["penalty"].item() == 0.0
