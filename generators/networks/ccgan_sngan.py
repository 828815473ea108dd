"""SNGAN of CcGAN, for scalar labels: the label enters through its embedding."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from data.labels import LabelSpace
from generators.blocks import ConditionMap, DiscriminatorBody, GeneratorBody
from generators.embedding import LabelEmbedding
from generators.networks import networks
from generators.spectral import full_precision, spectral


def _linear_map(inputs: int) -> ConditionMap:
    return partial(nn.Linear, inputs, bias=False)


class CcganGenerator(nn.Module):
    """Latents and scalar labels to images; holds the frozen label embedding."""

    def __init__(self, image_shape: tuple[int, int, int], latent_size: int, width: int, embedding_size: int) -> None:
        super().__init__()
        self.embedding = LabelEmbedding(embedding_size)
        self.body = GeneratorBody(image_shape, latent_size, width, _linear_map(embedding_size))

    def forward(self, latents: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Latents (B, latent_size) and normalised float32 labels (B,) to images (B, C, H, W) in [-1, 1]."""
        with torch.no_grad():
            condition = self.embedding(labels)
        images: torch.Tensor = self.body(latents, condition)
        return images


class CcganDiscriminator(nn.Module):
    """Images and scalar labels to scores; holds the frozen label embedding."""

    def __init__(self, image_shape: tuple[int, int, int], width: int, embedding_size: int) -> None:
        super().__init__()
        self.embedding = LabelEmbedding(embedding_size)
        self.body = DiscriminatorBody(image_shape, width)
        self.score = spectral(nn.Linear(self.body.features * 16, 1))
        self.projection = spectral(nn.Linear(embedding_size, self.body.features * 16, bias=False))

    def forward(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Images (B, C, H, W) in [-1, 1] and normalised float32 labels (B,) to float32 scores (B,)."""
        features = self.body(images).float().flatten(1)
        with torch.no_grad():
            condition = self.embedding(labels)
        with full_precision(features):
            scores: torch.Tensor = self.score(features)[:, 0] + (features * self.projection(condition)).sum(dim=1)
        return scores


@networks.register("ccgan_sngan")
@dataclass(frozen=True)
class CcganSngan:
    """Residual GAN whose batch norm and projection take an embedding of the scalar label.

    Source: Ding et al., 2023, arXiv 2011.07466 (SNGAN with improved label input). Differs from it: any
    square side from 8 to 128, narrower by default, batch-norm maps start at zero.

    Args:
        width: channels at the image's own side; doubled at each halving, at most eightfold.
        latent_size: length of the latent vector.
        embedding_size: length of the label embedding, a multiple of 8, at least 32.
    """

    width: int = 24
    latent_size: int = 128
    embedding_size: int = 128

    def generator(self, image_shape: tuple[int, int, int], label_space: LabelSpace) -> nn.Module:
        """A freshly initialised generator, with an untrained label embedding."""
        del label_space
        return CcganGenerator(image_shape, self.latent_size, self.width, self.embedding_size)

    def discriminator(self, image_shape: tuple[int, int, int], label_space: LabelSpace) -> nn.Module:
        """A freshly initialised discriminator, with an untrained label embedding."""
        del label_space
        return CcganDiscriminator(image_shape, self.width, self.embedding_size)
