"""The parts that residual GAN networks share: the plan of channels, conditional batch norm, and residual blocks."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from data.errors import ConfigError
from generators.layers import PLAIN, SPECTRAL, Layers
from generators.spectral import full_precision

SIDES = (8, 16, 32, 64, 128)

#: Channels, height and width.
ImageShape = tuple[int, int, int]

#: Makes the layer that maps a condition to one number a channel: an embedding, a linear layer, or both.
ConditionMap = Callable[[int], nn.Module]


def channel_plan(image_shape: ImageShape, width: int) -> list[int]:
    """Channels at the sides 4, 8, ... up to the image's own side: ``width`` there, doubled at each halving.

    The growth stops at 8 x ``width``, as in the 32-pixel networks of Miyato et al. (2018).

    Raises:
        ConfigError: if the image is not square with a side that is a power of two from 8 to 128.
    """
    _, height, side = image_shape
    if height != side or side not in SIDES:
        nearest = min(SIDES, key=lambda known: abs(known - max(height, side)))
        raise ConfigError(
            f"images for this generator must be square with a side of {', '.join(map(str, SIDES))} pixels, "
            f"got {height} x {side}; try padding or resizing the source to {nearest} x {nearest}."
        )
    halvings = side.bit_length() - 3
    return [width * min(2**level, 8) for level in range(halvings, -1, -1)]


def check_at_least(least: int, **options: int) -> None:
    """Raises ConfigError if one of a family's options is smaller."""
    for name, value in options.items():
        if value < least:
            raise ConfigError(f"option '{name}' of a generator must be at least {least}, got {value}.")


class ConditionalBatchNorm(nn.Module):
    """Batch norm whose gain and bias come from the condition: ``normalised * (1 + gain(c)) + bias(c)``.

    Source: de Vries et al., 2017, arXiv 1707.00683; the form of CcGAN (Ding et al., 2023, arXiv 2011.07466).

    Args:
        channels: channels of the input.
        condition_map: makes the maps from a condition to one number a channel; None for a plain batch norm with a gain
            and a bias of its own, which ignores the condition.
    """

    def __init__(self, channels: int, condition_map: ConditionMap | None) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=condition_map is None)
        self.gain = condition_map(channels) if condition_map else None
        self.bias = condition_map(channels) if condition_map else None

    def forward(self, features: torch.Tensor, condition: object) -> torch.Tensor:
        """Features (B, channels, H, W) and a condition of B rows to features of the same shape."""
        normalised: torch.Tensor = self.norm(features)
        if self.gain is None or self.bias is None:
            return normalised
        with full_precision(features):
            gain = (1.0 + self.gain(condition)).to(normalised.dtype)[:, :, None, None]
            bias = self.bias(condition).to(normalised.dtype)[:, :, None, None]
        scaled: torch.Tensor = normalised * gain + bias
        return scaled


class UpBlock(nn.Module):
    """Generator block: conditional batch norm, ReLU, nearest up-sampling, two convolutions, and a skip.

    Source: Miyato & Koyama, 2018, arXiv 1802.05637. The skip's 1 x 1 convolution comes before the
    up-sampling, which is the same function at a quarter of the work.
    """

    def __init__(self, inputs: int, outputs: int, condition_map: ConditionMap | None, layers: Layers = PLAIN) -> None:
        super().__init__()
        self.norm1 = ConditionalBatchNorm(inputs, condition_map)
        self.norm2 = ConditionalBatchNorm(outputs, condition_map)
        self.conv1 = layers.convolution(inputs, outputs, 3)
        self.conv2 = layers.convolution(outputs, outputs, 3)
        self.skip = layers.convolution(inputs, outputs, 1)

    def forward(self, features: torch.Tensor, condition: object) -> torch.Tensor:
        """(B, inputs, H, W) to (B, outputs, 2 H, 2 W)."""
        hidden = functional.relu(self.norm1(features, condition))
        hidden = self.conv1(functional.interpolate(hidden, scale_factor=2.0, mode="nearest"))
        hidden = self.conv2(functional.relu(self.norm2(hidden, condition)))
        skip = functional.interpolate(self.skip(features), scale_factor=2.0, mode="nearest")
        # A sum takes the memory format of its first operand, and a convolution's output is in the right one.
        added: torch.Tensor = hidden.add(skip)
        return added


class DownBlock(nn.Module):
    """Discriminator block: two convolutions, average pooling, and a skip.

    Source: Miyato & Koyama, 2018, arXiv 1802.05637. The skip pools before its 1 x 1 convolution, which is
    the same function at a quarter of the work.

    Args:
        inputs: channels in.
        outputs: channels out.
        pool: whether the side is halved.
        first: whether the input is the image, which a leading ReLU would cut.
        layers: makes the convolutions.
    """

    def __init__(self, inputs: int, outputs: int, *, pool: bool, first: bool, layers: Layers = SPECTRAL) -> None:
        super().__init__()
        self.pool = pool
        self.first = first
        self.conv1 = layers.convolution(inputs, outputs, 3)
        self.conv2 = layers.convolution(outputs, outputs, 3)
        self.skip = layers.convolution(inputs, outputs, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(B, inputs, H, W) to (B, outputs, H, W), or half the side with ``pool``."""
        hidden = features if self.first else functional.relu(features)
        hidden = self.conv2(functional.relu(self.conv1(hidden)))
        if self.pool:
            features, hidden = functional.avg_pool2d(features, 2), functional.avg_pool2d(hidden, 2)
        added: torch.Tensor = hidden.add(self.skip(features))
        return added
