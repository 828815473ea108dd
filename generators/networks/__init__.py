"""The conditional GAN networks, one file each; the file's name is the network's name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from data.labels import LabelSpace
from data.options import check_options
from data.registry import Registry

if TYPE_CHECKING:
    from torch import nn


class GanNetwork(Protocol):
    """A pair of networks; the fields of the frozen dataclass that implements it are its options.

    The generator maps latents (B, latent_size) and labels (B,) to images (B, C, H, W) in [-1, 1]; the
    discriminator maps images and labels to scores (B,). Labels are int64 classes, or scalar labels
    normalised to [0, 1], float32.
    """

    @property
    def latent_size(self) -> int:
        """Length of the generator's latent vector."""
        ...

    def generator(self, image_shape: tuple[int, int, int], label_space: LabelSpace) -> nn.Module:
        """A freshly initialised generator."""
        ...

    def discriminator(self, image_shape: tuple[int, int, int], label_space: LabelSpace) -> nn.Module:
        """A freshly initialised discriminator."""
        ...


networks: Registry[Callable[..., GanNetwork]] = Registry("generator", "generators.networks")


def build_network(name: str, options: Mapping[str, Any]) -> GanNetwork:
    """The network registered under ``name``, with ``options`` in place of its defaults.

    Raises:
        ConfigError: if the network or one of the options is unknown, or a value has the wrong type.
    """
    factory = networks.get(name)
    defaults = {key: item.default for key, item in inspect.signature(factory).parameters.items()}
    return factory(**check_options(f"generator '{name}'", options, defaults))
