"""Self-attention over the positions of a feature map."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from data.errors import ConfigError
from generators.blocks import ImageShape
from generators.layers import SPECTRAL, Layers


class SelfAttention(nn.Module):
    """``x + gate * out(sum over j of softmax_j(theta_i . phi_j) g_j)`` for every position i.

    Source: Zhang et al., 2019, arXiv 1805.08318, with keys and values max-pooled by 2 as in the authors' code. The
    gate starts at 0, so that the layer starts as the identity. Products are not divided by a square root, as there.

    Args:
        channels: of the features; theta and phi have an eighth of them, g a half.
        layers: makes the four 1 x 1 convolutions, which have no biases.
    """

    def __init__(self, channels: int, layers: Layers = SPECTRAL) -> None:
        super().__init__()
        small, half = max(1, channels // 8), max(1, channels // 2)
        self.theta = layers.convolution(channels, small, 1, bias=False)
        self.phi = layers.convolution(channels, small, 1, bias=False)
        self.g = layers.convolution(channels, half, 1, bias=False)
        self.out = layers.convolution(half, channels, 1, bias=False)
        self.gate = nn.Parameter(torch.zeros(()))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(B, channels, H, W), H and W even, to the same shape."""
        queries = self.theta(features).flatten(2)
        keys = functional.max_pool2d(self.phi(features), 2).flatten(2)
        values = functional.max_pool2d(self.g(features), 2).flatten(2)
        # Written out: the fused kernel has no second derivative, which gradient penalties need.
        shares = torch.softmax((queries.transpose(1, 2) @ keys).float(), dim=2).to(values.dtype)
        # Not len(features): a traced program would then take batches of one length alone.
        attended = (values @ shares.transpose(1, 2)).reshape(features.shape[0], -1, *features.shape[2:])
        mixed: torch.Tensor = features + self.gate * self.out(attended)
        return mixed


def usual_side(image_shape: ImageShape) -> int:
    """Where SAGAN has its attention: at a side of 32, or half the image's side where that is smaller."""
    return min(32, image_shape[1] // 2)


def check_side(side: int, image_shape: ImageShape) -> int:
    """Returns ``side`` if a network for such images has a feature map of it, or if it is 0, for no attention.

    Raises:
        ConfigError: otherwise.
    """
    sides = [known for known in (4, 8, 16, 32, 64) if known < image_shape[1]]
    if side not in (0, *sides):
        raise ConfigError(
            f"option 'attention_side' must be 0, for none, or {', '.join(map(str, sides))} for images of "
            f"{image_shape[1]} pixels, got {side}; try {usual_side(image_shape)}."
        )
    return side
