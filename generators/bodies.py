"""The residual bodies of SNGAN, SAGAN and BigGAN's discriminator: latents to images, and images to features."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from generators.attention import SelfAttention
from generators.blocks import ConditionMap, DownBlock, ImageShape, UpBlock, channel_plan
from generators.layers import PLAIN, SPECTRAL, Layers
from generators.spectral import full_precision


class GeneratorBody(nn.Module):
    """Latent and condition to an image: linear layer, up blocks, batch norm, ReLU, convolution, tanh.

    Args:
        image_shape: channels, height and width.
        latent_size: length of a latent.
        width: channels at the image's own side.
        condition_map: makes the maps to gains and biases of the blocks' batch norms; None for plain ones.
        added_map: makes a map from the condition to what is added to the first linear layer's output; None for nothing.
        attention_side: side of the features that attention works on; 0 for none.
        layers: makes linear layer and convolutions.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        latent_size: int,
        width: int,
        condition_map: ConditionMap | None,
        *,
        added_map: ConditionMap | None = None,
        attention_side: int = 0,
        layers: Layers = PLAIN,
    ) -> None:
        super().__init__()
        plan = channel_plan(image_shape, width)
        self.start = layers.linear(latent_size, plan[0] * 16)
        self.blocks = nn.ModuleList(
            UpBlock(inputs, outputs, condition_map, layers) for inputs, outputs in pairwise(plan)
        )
        self.norm = nn.BatchNorm2d(plan[-1])
        self.end = layers.convolution(plan[-1], image_shape[0], 3)
        self.added = added_map(plan[0] * 16) if added_map else None
        # Number of the block that attention stands before.
        self.attended = attention_side.bit_length() - 3
        self.attention = SelfAttention(plan[self.attended], layers) if attention_side else None

    def forward(self, latents: torch.Tensor, condition: object) -> torch.Tensor:
        """Latents (B, latent_size) and a condition of B rows to float32 images (B, C, H, W) in [-1, 1]."""
        features = self.start(latents)
        if self.added is not None:
            # bf16 would round neighbouring labels to the same number.
            with full_precision(features):
                features = features.float() + self.added(condition)
        features = features.unflatten(1, (-1, 4, 4))
        for number, block in enumerate(self.blocks):
            if self.attention is not None and number == self.attended:
                features = self.attention(features)
            features = block(features, condition)
        image: torch.Tensor = self.end(functional.relu(self.norm(features)))
        return image.float().tanh()


class DiscriminatorBody(nn.Module):
    """Image to its last feature map, (B, features, 4, 4) after a ReLU.

    Args:
        image_shape: channels, height and width.
        width: channels of the first block.
        attention_side: side of the features that attention works on; 0 for none.
        layers: makes the convolutions.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        width: int,
        *,
        attention_side: int = 0,
        layers: Layers = SPECTRAL,
    ) -> None:
        super().__init__()
        plan = [image_shape[0], *reversed(channel_plan(image_shape, width))]
        last = len(plan) - 2
        blocks: list[nn.Module] = []
        for number, (inputs, outputs) in enumerate(pairwise(plan)):
            blocks.append(DownBlock(inputs, outputs, pool=number < last, first=number == 0, layers=layers))
            if number < last and image_shape[1] >> (number + 1) == attention_side:
                blocks.append(SelfAttention(outputs, layers))
        self.features = plan[-1]
        self.blocks = nn.Sequential(*blocks)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (B, C, H, W) to features."""
        return functional.relu(self.blocks(images))
