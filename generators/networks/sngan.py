"""SNGAN with a projection discriminator, for class labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from data.labels import LabelSpace
from generators.blocks import ImageShape, check_at_least
from generators.conditions import LabelInput
from generators.networks import PROJECTION, Heads, networks
from generators.residual import ResidualDiscriminator, ResidualGenerator


@networks.register("sngan")
@dataclass(frozen=True)
class Sngan:
    """Residual GAN with class-conditional batch norm, spectral norm in D and projection.

    Source: Miyato & Koyama, 2018, arXiv 1802.05637. Differs from it: any square side from 8 to 128, with
    as many blocks as that takes down to 4 x 4.

    Args:
        width: channels at the image's own side; doubled at each halving, at most eightfold.
        latent_size: length of the latent vector.

    Raises:
        ConfigError: if an option is below 1.
    """

    label_kinds: ClassVar[frozenset[str]] = frozenset({"class"})
    uses_embedding: ClassVar[bool] = False

    width: int = 24
    latent_size: int = 128

    def __post_init__(self) -> None:
        check_at_least(1, width=self.width, latent_size=self.latent_size)

    def generator(self, image_shape: ImageShape, label_space: LabelSpace) -> nn.Module:
        """A freshly initialised generator."""
        inputs = LabelInput.of(label_space)
        return ResidualGenerator(image_shape, inputs, latent_size=self.latent_size, width=self.width)

    def discriminator(self, image_shape: ImageShape, label_space: LabelSpace, heads: Heads = PROJECTION) -> nn.Module:
        """A freshly initialised discriminator."""
        return ResidualDiscriminator(image_shape, LabelInput.of(label_space), heads, width=self.width, pooled=True)
