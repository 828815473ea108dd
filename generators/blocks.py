"""The parts that the GAN networks share: conditional batch norm, residual blocks, and the two bodies."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import cast

import torch
from torch import nn
from torch.nn import functional

from data.errors import ConfigError
from generators.spectral import full_precision, spectral

SIDES = (8, 16, 32, 64, 128)

#: Makes the layer that maps a condition to one number a channel: an embedding or a linear layer.
ConditionMap = Callable[[int], nn.Module]


def channel_plan(image_shape: tuple[int, int, int], width: int) -> list[int]:
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


def convolution(inputs: int, outputs: int, size: int) -> nn.Conv2d:
    """A convolution that keeps the side, Xavier-initialised (gain sqrt 2 for 3 x 3, as SNGAN)."""
    layer = nn.Conv2d(inputs, outputs, size, padding=size // 2)
    nn.init.xavier_uniform_(layer.weight, gain=2**0.5 if size > 1 else 1.0)
    nn.init.zeros_(cast(torch.Tensor, layer.bias))
    return layer


class ConditionalBatchNorm(nn.Module):
    """Batch norm whose gain and bias come from the condition: ``normalised * (1 + gain(c)) + bias(c)``.

    Source: de Vries et al., 2017, arXiv 1707.00683; the form of CcGAN (Ding et al., 2023, arXiv 2011.07466).

    Args:
        channels: channels of the input.
        condition_map: makes the maps from a condition to one number a channel; both start at zero.
    """

    def __init__(self, channels: int, condition_map: ConditionMap) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.gain = condition_map(channels)
        self.bias = condition_map(channels)
        for layer in (self.gain, self.bias):
            nn.init.zeros_(cast(torch.Tensor, layer.weight))

    def forward(self, images: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Features (B, channels, H, W) and a condition of B rows to features of the same shape."""
        normalised = self.norm(images)
        with full_precision(images):
            gain = (1.0 + self.gain(condition)).to(normalised.dtype)[:, :, None, None]
            bias = self.bias(condition).to(normalised.dtype)[:, :, None, None]
        scaled: torch.Tensor = normalised * gain + bias
        return scaled


class UpBlock(nn.Module):
    """Generator block: conditional batch norm, ReLU, nearest up-sampling, two convolutions, and a skip.

    Source: Miyato & Koyama, 2018, arXiv 1802.05637. The skip's 1 x 1 convolution comes before the
    up-sampling, which is the same function at a quarter of the work.
    """

    def __init__(self, inputs: int, outputs: int, condition_map: ConditionMap) -> None:
        super().__init__()
        self.norm1 = ConditionalBatchNorm(inputs, condition_map)
        self.norm2 = ConditionalBatchNorm(outputs, condition_map)
        self.conv1 = convolution(inputs, outputs, 3)
        self.conv2 = convolution(outputs, outputs, 3)
        self.skip = convolution(inputs, outputs, 1)

    def forward(self, features: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """(B, inputs, H, W) to (B, outputs, 2 H, 2 W)."""
        hidden = functional.relu(self.norm1(features, condition))
        hidden = self.conv1(functional.interpolate(hidden, scale_factor=2.0, mode="nearest"))
        hidden = self.conv2(functional.relu(self.norm2(hidden, condition)))
        skip = functional.interpolate(self.skip(features), scale_factor=2.0, mode="nearest")
        # A sum takes the memory format of its first operand, and a convolution's output is in the right one.
        added: torch.Tensor = hidden.add(skip)
        return added


class DownBlock(nn.Module):
    """Discriminator block: two convolutions with spectral norm, average pooling, and a skip.

    Source: Miyato & Koyama, 2018, arXiv 1802.05637. The skip pools before its 1 x 1 convolution, which is
    the same function at a quarter of the work.

    Args:
        inputs: channels in.
        outputs: channels out.
        pool: whether the side is halved.
        first: whether the input is the image, which a leading ReLU would cut.
    """

    def __init__(self, inputs: int, outputs: int, *, pool: bool, first: bool) -> None:
        super().__init__()
        self.pool = pool
        self.first = first
        self.conv1 = spectral(convolution(inputs, outputs, 3))
        self.conv2 = spectral(convolution(outputs, outputs, 3))
        self.skip = spectral(convolution(inputs, outputs, 1))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(B, inputs, H, W) to (B, outputs, H, W), or half the side with ``pool``."""
        hidden = features if self.first else functional.relu(features)
        hidden = self.conv2(functional.relu(self.conv1(hidden)))
        if self.pool:
            features, hidden = functional.avg_pool2d(features, 2), functional.avg_pool2d(hidden, 2)
        added: torch.Tensor = hidden.add(self.skip(features))
        return added


class GeneratorBody(nn.Module):
    """Latent and condition to an image: linear layer, up blocks, batch norm, ReLU, convolution, tanh."""

    def __init__(
        self, image_shape: tuple[int, int, int], latent_size: int, width: int, condition_map: ConditionMap
    ) -> None:
        super().__init__()
        plan = channel_plan(image_shape, width)
        self.start = nn.Linear(latent_size, plan[0] * 16)
        nn.init.xavier_uniform_(self.start.weight)
        nn.init.zeros_(self.start.bias)
        self.blocks = nn.ModuleList(UpBlock(inputs, outputs, condition_map) for inputs, outputs in pairwise(plan))
        self.norm = nn.BatchNorm2d(plan[-1])
        self.end = convolution(plan[-1], image_shape[0], 3)

    def forward(self, latents: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Latents (B, latent_size) and a condition of B rows to float32 images (B, C, H, W) in [-1, 1]."""
        features = self.start(latents).unflatten(1, (-1, 4, 4))
        for block in self.blocks:
            features = block(features, condition)
        image: torch.Tensor = self.end(functional.relu(self.norm(features)))
        return image.float().tanh()


class DiscriminatorBody(nn.Module):
    """Image to its last feature map, (B, features, 4, 4) after a ReLU."""

    def __init__(self, image_shape: tuple[int, int, int], width: int) -> None:
        super().__init__()
        plan = [image_shape[0], *reversed(channel_plan(image_shape, width))]
        last = len(plan) - 2
        self.features = plan[-1]
        self.blocks = nn.Sequential(
            *(DownBlock(plan[i], plan[i + 1], pool=i < last, first=i == 0) for i in range(last + 1))
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (B, C, H, W) to features."""
        return functional.relu(self.blocks(images))
