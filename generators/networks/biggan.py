"""BigGAN: one class embedding shared by all blocks, and a piece of the latent for each; for class labels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional

from data.errors import ConfigError
from data.labels import LabelSpace
from generators.attention import SelfAttention, check_side
from generators.blocks import ImageShape, UpBlock, channel_plan, check_at_least
from generators.conditions import LabelInput
from generators.layers import Layers
from generators.networks import PROJECTION, Heads, networks
from generators.residual import ResidualDiscriminator

_LAYERS = Layers(spectral_norm=True, initial="normal")


class BigganGenerator(nn.Module):
    """Latents and classes to images; each block's batch norms see [class embedding, its piece of the latent].

    Args:
        image_shape: channels, height and width.
        classes: number of classes.
        latent_size: length of a latent, at least one number for the first layer and one a block.
        width: channels at the image's own side.
        shared_size: length of the class embedding.
        attention_side: side of the features that attention works on; 0 for none.

    Raises:
        ConfigError: if the latent is too short.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        classes: int,
        *,
        latent_size: int,
        width: int,
        shared_size: int,
        attention_side: int,
    ) -> None:
        super().__init__()
        plan = channel_plan(image_shape, width)
        parts = len(plan)
        if latent_size < parts:
            raise ConfigError(
                f"option 'latent_size' of generator 'biggan' must be at least {parts} for images of {image_shape[1]} "
                f"pixels, one number for each part, got {latent_size}; try 128."
            )
        # The first layer has what is left over when the blocks' pieces are equal.
        piece = latent_size // parts
        self.pieces = [latent_size - piece * (parts - 1), *(piece,) * (parts - 1)]
        self.shared = nn.Embedding(classes, shared_size)
        nn.init.orthogonal_(self.shared.weight)
        self.start = _LAYERS.linear(self.pieces[0], plan[0] * 16)
        condition_map = partial(_LAYERS.linear, shared_size + piece, bias=False)
        self.blocks = nn.ModuleList(
            UpBlock(inputs, outputs, condition_map, _LAYERS) for inputs, outputs in pairwise(plan)
        )
        self.norm = nn.BatchNorm2d(plan[-1])
        self.end = _LAYERS.convolution(plan[-1], image_shape[0], 3)
        # Number of the block that attention stands before.
        self.attended = attention_side.bit_length() - 3
        self.attention = SelfAttention(plan[self.attended], _LAYERS) if attention_side else None

    def forward(self, latents: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        """Latents (B, latent_size) and int64 classes (B,) to float32 images (B, C, H, W) in [-1, 1]."""
        first, *pieces = torch.split(latents, self.pieces, dim=1)
        shared = self.shared(classes)
        features = self.start(first).unflatten(1, (-1, 4, 4))
        for number, (block, piece) in enumerate(zip(self.blocks, pieces, strict=True)):
            if self.attention is not None and number == self.attended:
                features = self.attention(features)
            features = block(features, torch.cat([shared, piece], dim=1))
        image: torch.Tensor = self.end(functional.relu(self.norm(features)))
        return image.float().tanh()


@networks.register("biggan")
@dataclass(frozen=True)
class Biggan:
    """Residual GAN with a shared class embedding, a latent for every block, and spectral norm in both networks.

    Source: Brock, Donahue & Simonyan, 2019, arXiv 1809.11096. Differs from it: any square side from 8 to 128; channels
    as ``sngan``; initial weights with a standard deviation of 0.02 and no orthogonal regularisation, as in the
    trainings of cGAN-KD (Ding et al., 2021, arXiv 2104.03164); the class embedding starts orthogonal; batch norm
    on one device.

    Args:
        width: channels at the image's own side; doubled at each halving, at most eightfold.
        latent_size: length of the latent vector, cut into one piece for the first layer and one for each block.
        shared_size: length of the class embedding.
        attention_side: side of the features that self-attention works on, in both networks; 0 for none.

    Raises:
        ConfigError: if an option is out of its range.
    """

    label_kinds: ClassVar[frozenset[str]] = frozenset({"class"})
    uses_embedding: ClassVar[bool] = False

    width: int = 24
    latent_size: int = 128
    shared_size: int = 128
    attention_side: int = 0

    def __post_init__(self) -> None:
        check_at_least(1, width=self.width, latent_size=self.latent_size, shared_size=self.shared_size)

    def generator(self, image_shape: ImageShape, label_space: LabelSpace) -> nn.Module:
        """A freshly initialised generator."""
        return BigganGenerator(
            image_shape,
            label_space.classes,
            latent_size=self.latent_size,
            width=self.width,
            shared_size=self.shared_size,
            attention_side=check_side(self.attention_side, image_shape),
        )

    def discriminator(self, image_shape: ImageShape, label_space: LabelSpace, heads: Heads = PROJECTION) -> nn.Module:
        """A freshly initialised discriminator."""
        return ResidualDiscriminator(
            image_shape,
            LabelInput.of(label_space),
            heads,
            width=self.width,
            pooled=True,
            attention_side=check_side(self.attention_side, image_shape),
            layers=_LAYERS,
        )
