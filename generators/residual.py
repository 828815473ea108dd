"""The pair of residual networks that SNGAN, SAGAN and their continuous forms differ from by arguments only."""

from __future__ import annotations

import torch
from torch import nn

from generators.blocks import ImageShape
from generators.bodies import DiscriminatorBody, GeneratorBody
from generators.conditions import LabelInput
from generators.heads import Head
from generators.layers import PLAIN, SPECTRAL, Layers
from generators.networks import Heads, Verdict


class ResidualGenerator(nn.Module):
    """Latents and conditions to images; holds the frozen label embedding, if the labels have one.

    Labels set the gains and biases of the batch norms. With the naive label input they are added to the first linear
    layer's output instead, through a linear map, so that several values can be told apart; the batch norms are plain.

    Args:
        image_shape: channels, height and width.
        inputs: how labels enter.
        latent_size: length of a latent.
        width: channels at the image's own side.
        attention_side: side of the features that attention works on; 0 for none.
        layers: makes linear layer and convolutions.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        inputs: LabelInput,
        *,
        latent_size: int,
        width: int,
        attention_side: int = 0,
        layers: Layers = PLAIN,
    ) -> None:
        super().__init__()
        self.inputs = inputs
        self.embedding = inputs.embedding()
        self.body = GeneratorBody(
            image_shape,
            latent_size,
            width,
            None if inputs.naive else inputs.zero_layer,
            added_map=inputs.layer if inputs.naive else None,
            attention_side=attention_side,
            layers=layers,
        )

    def forward(self, latents: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
        """Latents (B, latent_size) and conditions of B labels to images (B, C, H, W) in [-1, 1]."""
        images: torch.Tensor = self.body(latents, self.inputs.read(conditions, self.embedding))
        return images


class ResidualDiscriminator(nn.Module):
    """Images and conditions to verdicts; holds the frozen label embedding, if the labels have one.

    Args:
        image_shape: channels, height and width.
        inputs: how labels enter.
        heads: what it answers.
        width: channels of the first block.
        pooled: whether features are summed over positions, or all of them are kept.
        attention_side: side of the features that attention works on; 0 for none.
        layers: makes the convolutions.

    Raises:
        ConfigError: if a head does not fit the labels.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        inputs: LabelInput,
        heads: Heads,
        *,
        width: int,
        pooled: bool,
        attention_side: int = 0,
        layers: Layers = SPECTRAL,
    ) -> None:
        super().__init__()
        self.inputs = inputs
        self.pooled = pooled
        self.embedding = inputs.embedding()
        self.body = DiscriminatorBody(image_shape, width, attention_side=attention_side, layers=layers)
        self.head = Head(self.body.features * (1 if pooled else 16), inputs, heads)

    def forward(self, images: torch.Tensor, conditions: torch.Tensor) -> Verdict:
        """Images (B, C, H, W) in [-1, 1] and conditions of B labels to a verdict."""
        features = self.body(images).float()
        features = features.sum(dim=(2, 3)) if self.pooled else features.flatten(1)
        verdict: Verdict = self.head(features, self.inputs.read(conditions, self.embedding))
        return verdict
