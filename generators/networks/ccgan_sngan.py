"""SNGAN of CcGAN, for scalars, vectors, and classes with a scalar."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from data.labels import LabelSpace
from generators.blocks import ImageShape, check_at_least
from generators.conditions import LabelInput, check_label_input
from generators.embedding import check_embedding_size
from generators.networks import PROJECTION, Heads, networks
from generators.residual import ResidualDiscriminator, ResidualGenerator


@networks.register("ccgan_sngan")
@dataclass(frozen=True)
class CcganSngan:
    """Residual GAN whose batch norm and projection take an embedding of the label's continuous values.

    Source: Ding et al., 2023, arXiv 2011.07466 (SNGAN with improved or naive label input). Differs from it: any square
    side from 8 to 128, narrower by default, batch-norm maps start at zero. Vectors, and classes with a scalar, are
    this project's own: a class has tables of its own, which are added to the maps of the value.

    Args:
        width: channels at the image's own side; doubled at each halving, at most eightfold.
        latent_size: length of the latent vector.
        embedding_size: length of the label embedding, a multiple of 8, at least 32.
        label_input: "ili" for batch norms and projection that take a trained embedding of the label; "nli" for the
            normalised label itself, added to the generator's first layer and projected.

    Raises:
        ConfigError: if an option is out of its range.
    """

    label_kinds: ClassVar[frozenset[str]] = frozenset({"scalar", "vector", "class+scalar"})

    width: int = 24
    latent_size: int = 128
    embedding_size: int = 128
    label_input: str = "ili"

    def __post_init__(self) -> None:
        check_at_least(1, width=self.width, latent_size=self.latent_size)
        check_embedding_size(self.embedding_size)
        check_label_input(self.label_input)

    @property
    def uses_embedding(self) -> bool:
        """Whether both halves hold a label embedding."""
        return self.label_input == "ili"

    def _inputs(self, label_space: LabelSpace) -> LabelInput:
        return LabelInput.of(label_space, self.embedding_size if self.uses_embedding else 0)

    def generator(self, image_shape: ImageShape, label_space: LabelSpace) -> nn.Module:
        """A freshly initialised generator, whose label embedding, if it has one, is untrained."""
        inputs = self._inputs(label_space)
        return ResidualGenerator(image_shape, inputs, latent_size=self.latent_size, width=self.width)

    def discriminator(self, image_shape: ImageShape, label_space: LabelSpace, heads: Heads = PROJECTION) -> nn.Module:
        """A freshly initialised discriminator, whose label embedding, if it has one, is untrained."""
        return ResidualDiscriminator(image_shape, self._inputs(label_space), heads, width=self.width, pooled=False)
