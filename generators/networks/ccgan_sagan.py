"""SAGAN of CcGAN, for scalars, vectors, and classes with a scalar."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from data.labels import LabelSpace
from generators.attention import usual_side
from generators.blocks import ImageShape, check_at_least
from generators.conditions import LabelInput, check_label_input
from generators.embedding import check_embedding_size
from generators.layers import SPECTRAL
from generators.networks import PROJECTION, Heads, networks
from generators.residual import ResidualDiscriminator, ResidualGenerator


@networks.register("ccgan_sagan")
@dataclass(frozen=True)
class CcganSagan:
    """``ccgan_sngan`` with self-attention in both networks, and spectral norm in the generator too.

    Source: Ding et al., 2021, arXiv 2104.03164 (the SAGAN that cGAN-KD trains on continuous labels), after Zhang et
    al., 2019, arXiv 1805.08318. Differs from it: as ``ccgan_sngan``; attention at 32 pixels, or at half the side of a
    smaller image; batch norms keep their usual momentum, so that short trainings have statistics too.

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
        return ResidualGenerator(
            image_shape,
            self._inputs(label_space),
            latent_size=self.latent_size,
            width=self.width,
            attention_side=usual_side(image_shape),
            layers=SPECTRAL,
        )

    def discriminator(self, image_shape: ImageShape, label_space: LabelSpace, heads: Heads = PROJECTION) -> nn.Module:
        """A freshly initialised discriminator, whose label embedding, if it has one, is untrained."""
        return ResidualDiscriminator(
            image_shape,
            self._inputs(label_space),
            heads,
            width=self.width,
            pooled=False,
            attention_side=usual_side(image_shape),
        )
