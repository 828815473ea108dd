"""SNGAN with a projection discriminator, for class labels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from data.labels import LabelSpace
from generators.blocks import DiscriminatorBody, GeneratorBody
from generators.networks import networks
from generators.spectral import full_precision, spectral


class SnganGenerator(nn.Module):
    """Latents and classes to images; every class has its own batch-norm gains and biases."""

    def __init__(self, image_shape: tuple[int, int, int], classes: int, latent_size: int, width: int) -> None:
        super().__init__()
        self.body = GeneratorBody(image_shape, latent_size, width, partial(nn.Embedding, classes))

    def forward(self, latents: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Latents (B, latent_size) and int64 classes (B,) to images (B, C, H, W) in [-1, 1]."""
        images: torch.Tensor = self.body(latents, labels)
        return images


class SnganDiscriminator(nn.Module):
    """Images and classes to scores: a linear score of the summed features, plus their product with the class."""

    def __init__(self, image_shape: tuple[int, int, int], classes: int, width: int) -> None:
        super().__init__()
        self.body = DiscriminatorBody(image_shape, width)
        self.score = spectral(nn.Linear(self.body.features, 1))
        self.projection = spectral(nn.Embedding(classes, self.body.features))

    def forward(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Images (B, C, H, W) in [-1, 1] and int64 classes (B,) to float32 scores (B,)."""
        features = self.body(images).float().sum(dim=(2, 3))
        with full_precision(features):
            scores: torch.Tensor = self.score(features)[:, 0] + (features * self.projection(labels)).sum(dim=1)
        return scores


@networks.register("sngan")
@dataclass(frozen=True)
class Sngan:
    """Residual GAN with class-conditional batch norm, spectral norm in D and projection.

    Source: Miyato & Koyama, 2018, arXiv 1802.05637. Differs from it: any square side from 8 to 128, with
    as many blocks as that takes down to 4 x 4.

    Args:
        width: channels at the image's own side; doubled at each halving, at most eightfold.
        latent_size: length of the latent vector.
    """

    width: int = 24
    latent_size: int = 128

    def generator(self, image_shape: tuple[int, int, int], label_space: LabelSpace) -> nn.Module:
        """A freshly initialised generator."""
        return SnganGenerator(image_shape, label_space.classes, self.latent_size, self.width)

    def discriminator(self, image_shape: tuple[int, int, int], label_space: LabelSpace) -> nn.Module:
        """A freshly initialised discriminator."""
        return SnganDiscriminator(image_shape, label_space.classes, self.width)
