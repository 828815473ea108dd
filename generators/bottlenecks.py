"""The bottleneck blocks of BigGAN-deep, whose skips drop channels or add some and convolve nothing else."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from generators.blocks import ConditionalBatchNorm, ConditionMap
from generators.layers import Layers


def _narrow(channels: int) -> int:
    """Channels inside a block: a quarter, but not so few that nothing passes."""
    return max(4, channels // 4)


class UpBottleneck(nn.Module):
    """Generator block: convolutions of 1, 3, 3 and 1 pixels, each after conditional batch norm and ReLU.

    Source: Brock, Donahue & Simonyan, 2019, arXiv 1809.11096, appendix B. The skip keeps the first ``outputs``
    channels.

    Args:
        inputs: channels in.
        outputs: channels out, at most ``inputs``.
        condition_map: of the batch norms.
        layers: makes the convolutions.
        up: whether the side is doubled, before the first of the wide kernels.
    """

    def __init__(self, inputs: int, outputs: int, condition_map: ConditionMap, layers: Layers, *, up: bool) -> None:
        super().__init__()
        self.outputs = outputs
        self.up = up
        narrow = _narrow(inputs)
        self.norm1 = ConditionalBatchNorm(inputs, condition_map)
        self.norm2 = ConditionalBatchNorm(narrow, condition_map)
        self.norm3 = ConditionalBatchNorm(narrow, condition_map)
        self.norm4 = ConditionalBatchNorm(narrow, condition_map)
        self.conv1 = layers.convolution(inputs, narrow, 1)
        self.conv2 = layers.convolution(narrow, narrow, 3)
        self.conv3 = layers.convolution(narrow, narrow, 3)
        self.conv4 = layers.convolution(narrow, outputs, 1)

    def forward(self, features: torch.Tensor, condition: object) -> torch.Tensor:
        """(B, inputs, H, W) to (B, outputs, H, W), or twice the side with ``up``."""
        hidden = self.conv1(functional.relu(self.norm1(features, condition)))
        hidden = functional.relu(self.norm2(hidden, condition))
        skip = features[:, : self.outputs]
        if self.up:
            hidden = functional.interpolate(hidden, scale_factor=2.0, mode="nearest")
            skip = functional.interpolate(skip, scale_factor=2.0, mode="nearest")
        hidden = self.conv3(functional.relu(self.norm3(self.conv2(hidden), condition)))
        hidden = self.conv4(functional.relu(self.norm4(hidden, condition)))
        added: torch.Tensor = hidden.add(skip)
        return added


class DownBottleneck(nn.Module):
    """Discriminator block: convolutions of 1, 3, 3 and 1 pixels, each after a ReLU.

    Source: Brock, Donahue & Simonyan, 2019, arXiv 1809.11096, appendix B. The skip is the input and, where more
    channels go out than in, a 1 x 1 convolution of it for the further ones.

    Args:
        inputs: channels in.
        outputs: channels out, at least ``inputs``.
        layers: makes the convolutions.
        pool: whether the side is halved, before the last convolution.
    """

    def __init__(self, inputs: int, outputs: int, layers: Layers, *, pool: bool) -> None:
        super().__init__()
        self.pool = pool
        narrow = _narrow(outputs)
        self.conv1 = layers.convolution(inputs, narrow, 1)
        self.conv2 = layers.convolution(narrow, narrow, 3)
        self.conv3 = layers.convolution(narrow, narrow, 3)
        self.conv4 = layers.convolution(narrow, outputs, 1)
        self.further = layers.convolution(inputs, outputs - inputs, 1) if outputs > inputs else None

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(B, inputs, H, W) to (B, outputs, H, W), or half the side with ``pool``."""
        hidden = self.conv1(functional.relu(features))
        hidden = self.conv3(functional.relu(self.conv2(functional.relu(hidden))))
        hidden, skip = functional.relu(hidden), features
        if self.pool:
            hidden, skip = functional.avg_pool2d(hidden, 2), functional.avg_pool2d(skip, 2)
        if self.further is not None:
            skip = torch.cat([skip, self.further(skip)], dim=1)
        added: torch.Tensor = self.conv4(hidden).add(skip)
        return added
