"""SAGAN: self-attention, and spectral norm in both networks; for class labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from data.labels import LabelSpace
from generators.attention import usual_side
from generators.blocks import ImageShape, check_at_least
from generators.conditions import LabelInput
from generators.layers import SPECTRAL
from generators.networks import PROJECTION, Heads, networks
from generators.residual import ResidualDiscriminator, ResidualGenerator


@networks.register("sagan")
@dataclass(frozen=True)
class Sagan:
    """SNGAN's residual networks with self-attention in both, and spectral norm in the generator too.

    Source: Zhang et al., 2019, arXiv 1805.08318. Differs from it: any square side from 8 to 128; attention at
    32 pixels, or at half the side of a smaller image; batch-norm maps start at zero.

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
        return ResidualGenerator(
            image_shape,
            LabelInput.of(label_space),
            latent_size=self.latent_size,
            width=self.width,
            attention_side=usual_side(image_shape),
            layers=SPECTRAL,
        )

    def discriminator(self, image_shape: ImageShape, label_space: LabelSpace, heads: Heads = PROJECTION) -> nn.Module:
        """A freshly initialised discriminator."""
        return ResidualDiscriminator(
            image_shape,
            LabelInput.of(label_space),
            heads,
            width=self.width,
            pooled=True,
            attention_side=usual_side(image_shape),
        )
