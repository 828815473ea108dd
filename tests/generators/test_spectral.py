"""Spectral norm against a singular value decomposition."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from generators.spectral import spectral


@pytest.mark.parametrize(
    ("layer", "shape"),
    [(nn.Conv2d(3, 6, 3), (2, 3, 8, 8)), (nn.Linear(5, 7, bias=False), (2, 5)), (nn.Embedding(4, 9), None)],
)
def test_converged_weight_has_largest_singular_value_one(layer: nn.Module, shape: tuple[int, ...] | None) -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        layer.weight.copy_(3.0 * torch.randn_like(layer.weight))
    original = layer.weight.detach().clone()
    normalised = spectral(layer).train()
    inputs = torch.zeros(2, dtype=torch.int64) if shape is None else torch.randn(shape)
    for _ in range(100):
        normalised(inputs)
    exact = torch.linalg.svdvals(original.flatten(1).double())[0].item()
    torch.testing.assert_close(normalised.weight, original / exact, rtol=1e-4, atol=1e-5)


def test_gradient_is_that_of_the_quotient_with_fixed_singular_vectors() -> None:
    torch.manual_seed(0)
    layer = spectral(nn.Linear(4, 3)).eval()
    weight = layer.parametrizations.weight.original
    norm = layer.parametrizations.weight[0]
    reference = weight.detach().clone().requires_grad_(True)
    probe = torch.randn(3, 4)
    (layer.weight * probe).sum().backward()
    (reference / (norm.left @ reference @ norm.right) * probe).sum().backward()
    torch.testing.assert_close(weight.grad, reference.grad)


def test_iterates_in_training_only_and_its_state_resumes_exactly() -> None:
    torch.manual_seed(0)
    layer = spectral(nn.Linear(4, 4))
    twin = copy.deepcopy(layer)
    inputs = torch.randn(2, 4)
    layer.eval()
    before = {key: value.clone() for key, value in layer.state_dict().items()}
    layer(inputs)
    assert all(torch.equal(before[key], value) for key, value in layer.state_dict().items())
    layer.train()
    layer(inputs)
    twin.load_state_dict(layer.state_dict())
    assert torch.equal(layer(inputs), twin(inputs))
    assert not torch.equal(before["parametrizations.weight.0.left"], layer.parametrizations.weight[0].left)


def test_estimate_is_float32_under_autocast() -> None:
    layer = spectral(nn.Linear(8, 8, bias=False))
    plain = layer(torch.eye(8)).detach()
    layer.eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer.weight.dtype == torch.float32
        torch.testing.assert_close(layer(torch.eye(8)).float(), plain, rtol=2e-2, atol=1e-2)


def test_averaged_weights_have_norm_one_although_their_singular_vectors_are_averages_too() -> None:
    torch.manual_seed(0)
    layer = spectral(nn.Linear(12, 8, bias=False))
    average = copy.deepcopy(layer).eval()
    for _ in range(200):
        with torch.no_grad():
            layer.parametrizations.weight.original.add_(0.05 * torch.randn(8, 12))
        layer(torch.zeros(1, 12))
        for key, value in average.state_dict().items():
            value.lerp_(layer.state_dict()[key], 0.02)
    assert average.parametrizations.weight[0].left.norm() < 0.97
    assert torch.linalg.svdvals(average.weight)[0].item() == pytest.approx(1.0, abs=0.05)
