"""The conditional GAN networks, one family a file; the file's name is the family's name."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol

from data.errors import ConfigError
from data.labels import LabelSpace
from data.options import check_options
from data.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor, nn

Conditioning = Literal["projection", "acgan", "reacgan"]


@dataclass(frozen=True)
class Heads:
    """What a discriminator answers beside whether an image is real.

    Args:
        conditioning: how it judges the label: "projection" adds an inner product of features and label to the
            score (any label space); "acgan" and "reacgan" classify instead (labels with a class; a value beside the
            class is still projected).
        label_regression: whether it predicts the continuous part of the label (CcGAN-AVAR).
        density_ratio: whether it estimates p_real(x | y) / p_generated(x | y) (CcGAN-AVAR).
    """

    conditioning: Conditioning = "projection"
    label_regression: bool = False
    density_ratio: bool = False


#: The heads of a plain projection discriminator.
PROJECTION = Heads()


class Verdict(NamedTuple):
    """What a discriminator says of B images; all float32, what its ``Heads`` do not ask for is None.

    Attributes:
        scores: the larger the more real, (B,).
        class_logits: of an auxiliary classifier ("acgan"), (B, classes).
        embeddings: unit vectors of the images ("reacgan"), (B, E).
        proxies: unit vectors of the classes ("reacgan"), (classes, E).
        predicted_labels: normalised continuous labels (``label_regression``), (B, L).
        ratios: density ratios, at least 0 (``density_ratio``), (B,).
    """

    scores: Tensor
    class_logits: Tensor | None = None
    embeddings: Tensor | None = None
    proxies: Tensor | None = None
    predicted_labels: Tensor | None = None
    ratios: Tensor | None = None


class GanNetwork(Protocol):
    """A family of network pairs; the fields of the frozen dataclass that implements it are its options.

    The generator maps latents (B, latent_size) and labels to float32 images (B, C, H, W) in [-1, 1]; the
    discriminator maps images and labels to a ``Verdict``. Both take labels as ``LabelSpace.conditions`` gives
    them: int64 (B,) for classes, normalised float32 (B,), (B, L) or (B, 2) for the other label spaces.

    Attributes:
        label_kinds: the kinds of label space that the family serves.
        uses_embedding: whether generator and discriminator hold a ``LabelEmbedding`` named ``embedding``, to be
            trained before them; its size is the option ``embedding_size``.
    """

    label_kinds: ClassVar[frozenset[str]]

    @property
    def latent_size(self) -> int:
        """Length of the generator's latent vector."""
        ...

    @property
    def uses_embedding(self) -> bool:
        """Whether both halves hold a label embedding."""
        ...

    def generator(self, image_shape: tuple[int, int, int], label_space: LabelSpace) -> nn.Module:
        """A freshly initialised generator."""
        ...

    def discriminator(
        self, image_shape: tuple[int, int, int], label_space: LabelSpace, heads: Heads = PROJECTION
    ) -> nn.Module:
        """A freshly initialised discriminator with these heads.

        Raises:
            ConfigError: if a head does not fit the label space.
        """
        ...


networks: Registry[type[Any]] = Registry("generator", "generators.networks")


def build_network(name: str, options: Mapping[str, Any]) -> GanNetwork:
    """The family registered under ``name``, with ``options`` in place of its defaults.

    Raises:
        ConfigError: if the family or one of the options is unknown, or a value has the wrong type.
    """
    factory = networks.get(name)
    defaults = {key: item.default for key, item in inspect.signature(factory).parameters.items()}
    network: GanNetwork = factory(**check_options(f"generator '{name}'", options, defaults))
    return network


def check_serves(name: str, kind: str) -> None:
    """Checks that a family serves a kind of label.

    Raises:
        ConfigError: naming the families that do.
    """
    served = networks.get(name).label_kinds
    if kind not in served:
        fitting = [other for other in networks.names() if kind in networks.get(other).label_kinds]
        raise ConfigError(
            f"network must serve {kind} labels, got '{name}', which serves {' and '.join(sorted(served))} labels; "
            f"try {' or '.join(fitting)}."
        )
