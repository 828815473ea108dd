"""Self-attention against an explicit loop over positions."""

from __future__ import annotations

import pytest
import torch

from data.errors import ConfigError
from generators.attention import SelfAttention, check_side, usual_side
from generators.bodies import DiscriminatorBody, GeneratorBody
from generators.layers import PLAIN


def test_it_starts_as_the_identity() -> None:
    features = torch.randn(2, 16, 4, 4)
    assert torch.equal(SelfAttention(16)(features), features)


@pytest.mark.parametrize("channels", [2, 16])
def test_it_equals_a_loop_over_positions(channels: int) -> None:
    torch.manual_seed(0)
    layer = SelfAttention(channels).eval()
    torch.nn.init.constant_(layer.gate, 0.7)
    features = torch.randn(2, channels, 4, 6)
    theta, phi, g, out = (part.weight[:, :, 0, 0].detach() for part in (layer.theta, layer.phi, layer.g, layer.out))
    assert len(theta) == len(phi) == max(1, channels // 8)
    assert len(g) == max(1, channels // 2)
    expected = torch.empty_like(features)
    for image, mixed in zip(features, expected, strict=True):
        keys, values = [], []
        for row in range(0, 4, 2):
            for column in range(0, 6, 2):
                window = image[:, row : row + 2, column : column + 2].flatten(1)
                keys.append((phi @ window).amax(dim=1))
                values.append((g @ window).amax(dim=1))
        for row in range(4):
            for column in range(6):
                here = image[:, row, column]
                shares = torch.stack([(theta @ here) @ key for key in keys]).softmax(dim=0)
                seen = sum(share * value for share, value in zip(shares, values, strict=True))
                mixed[:, row, column] = here + 0.7 * (out @ seen)
    torch.testing.assert_close(layer(features).detach(), expected)


def test_it_has_second_derivatives_and_survives_autocast() -> None:
    layer = SelfAttention(8, PLAIN)
    torch.nn.init.constant_(layer.gate, 1.0)
    features = torch.randn(1, 8, 4, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(layer(features).sum(), features, create_graph=True)
    gradient.square().sum().backward()
    assert layer.theta.weight.grad.abs().sum() > 0
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = layer(features)
    torch.testing.assert_close(rounded, layer(features), atol=0.1, rtol=0.1)


@pytest.mark.parametrize(("side", "expected"), [(8, 4), (16, 8), (32, 16), (64, 32), (128, 32)])
def test_it_stands_at_32_pixels_or_at_half_of_a_smaller_side(side: int, expected: int) -> None:
    shape = (1, side, side)
    assert usual_side(shape) == expected
    seen = []
    generator = GeneratorBody(shape, 3, 2, None, attention_side=expected)
    discriminator = DiscriminatorBody(shape, 2, attention_side=expected)
    layers = [layer for body in (generator, discriminator) for layer in body.modules()]
    layers = [layer for layer in layers if isinstance(layer, SelfAttention)]
    assert len(layers) == 2
    for layer in layers:
        layer.register_forward_hook(lambda _layer, inputs, _output: seen.append(inputs[0].shape[-1]))
    discriminator(generator(torch.randn(2, 3), None))
    assert seen == [expected, expected]


def test_a_side_that_no_feature_map_has_is_refused() -> None:
    assert [check_side(side, (1, 16, 16)) for side in (0, 4, 8)] == [0, 4, 8]
    with pytest.raises(ConfigError, match="must be 0, for none, or 4, 8 for images of 16 pixels, got 16; try 8"):
        check_side(16, (1, 16, 16))
