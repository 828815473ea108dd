"""ACGAN: plain transposed and strided convolutions, and a discriminator that classifies; for class labels."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional

from data.errors import ConfigError
from data.labels import LabelSpace
from generators.blocks import ImageShape, channel_plan, check_at_least
from generators.conditions import LabelInput
from generators.heads import Head
from generators.layers import Layers
from generators.networks import Heads, Verdict, networks

#: What this discriminator was made for.
ACGAN = Heads("acgan")

_GENERATOR = Layers(initial="normal")
_DISCRIMINATOR = Layers(spectral_norm=True, initial="normal")


def _batch_norm(channels: int) -> nn.BatchNorm2d:
    layer = nn.BatchNorm2d(channels)
    nn.init.normal_(layer.weight, mean=1.0, std=0.02)
    return layer


class AcganGenerator(nn.Module):
    """[latent, one-hot class] to images: a linear layer, then transposed convolutions with batch norm and ReLU.

    Args:
        image_shape: channels, height and width.
        classes: number of classes.
        latent_size: length of a latent.
        width: channels at half the image's side.
    """

    def __init__(self, image_shape: ImageShape, classes: int, *, latent_size: int, width: int) -> None:
        super().__init__()
        # At the sides 4, 8, ... up to half the image's own.
        plan = channel_plan(image_shape, width)[1:]
        self.classes = classes
        self.start = _GENERATOR.linear(latent_size + classes, 2 * plan[0])
        layers = [_GENERATOR.transposed(2 * plan[0], plan[0], start=True), _batch_norm(plan[0]), nn.ReLU()]
        for inputs, outputs in pairwise(plan):
            layers += [_GENERATOR.transposed(inputs, outputs), _batch_norm(outputs), nn.ReLU()]
        self.body = nn.Sequential(*layers, _GENERATOR.transposed(plan[-1], image_shape[0]))

    def forward(self, latents: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        """Latents (B, latent_size) and int64 classes (B,) to float32 images (B, C, H, W) in [-1, 1]."""
        told = torch.cat([latents, functional.one_hot(classes, self.classes).to(latents.dtype)], dim=1)
        image: torch.Tensor = self.body(self.start(told)[:, :, None, None])
        return image.float().tanh()


class AcganDiscriminator(nn.Module):
    """Images to verdicts: pairs of a strided and a plain convolution down to 4 x 4, then linear heads.

    Args:
        image_shape: channels, height and width.
        inputs: how labels enter.
        heads: what it answers.
        width: channels of the first convolution; doubled by each next one, at most 32-fold.
        dropout: share of features that a training pass leaves out.
    """

    def __init__(
        self, image_shape: ImageShape, inputs: LabelInput, heads: Heads, *, width: int, dropout: float
    ) -> None:
        super().__init__()
        self.inputs = inputs
        halvings = len(channel_plan(image_shape, width)) - 1
        plan = [image_shape[0], *(width * min(2**level, 32) for level in range(2 * halvings))]
        layers: list[nn.Module] = []
        for number, (narrow, wide) in enumerate(pairwise(plan)):
            layers.append(_DISCRIMINATOR.convolution(narrow, wide, 3, stride=2 - number % 2, bias=False))
            if number:
                layers.append(_batch_norm(wide))
            layers += [nn.LeakyReLU(0.2), nn.Dropout(dropout)]
        self.body = nn.Sequential(*layers)
        self.head = Head(plan[-1] * 16, inputs, heads, spectral_norm=False)

    def forward(self, images: torch.Tensor, conditions: torch.Tensor) -> Verdict:
        """Images (B, C, H, W) in [-1, 1] and int64 classes (B,) to a verdict."""
        features = self.body(images).float().flatten(1)
        verdict: Verdict = self.head(features, self.inputs.read(conditions))
        return verdict


@networks.register("acgan")
@dataclass(frozen=True)
class Acgan:
    """Plain convolutional GAN, made for the auxiliary classifier; every other conditioning works too.

    Source: Odena, Olah & Shlens, 2017, arXiv 1610.09585, in the layers and with the defaults of cDR-RS (Ding et al.,
    2023, arXiv 2103.11166) for CIFAR-10. Differs from it: any square side from 8 to 128.

    Args:
        width: the generator's channels at half the image's side; doubled at each halving, at most eightfold.
        latent_size: length of the latent vector.
        discriminator_width: channels of the discriminator's first convolution; doubled by each next, at most 32-fold.
        dropout: share of the discriminator's features that a training pass leaves out, in [0, 1). Its masks come from
            torch's global generator.

    Raises:
        ConfigError: if an option is out of its range.
    """

    label_kinds: ClassVar[frozenset[str]] = frozenset({"class"})
    uses_embedding: ClassVar[bool] = False

    width: int = 48
    latent_size: int = 128
    discriminator_width: int = 16
    dropout: float = 0.5

    def __post_init__(self) -> None:
        check_at_least(1, width=self.width, latent_size=self.latent_size, discriminator_width=self.discriminator_width)
        if not 0.0 <= self.dropout < 1.0:
            raise ConfigError(f"option 'dropout' of generator 'acgan' must lie in [0, 1), got {self.dropout}.")

    def generator(self, image_shape: ImageShape, label_space: LabelSpace) -> nn.Module:
        """A freshly initialised generator."""
        return AcganGenerator(image_shape, label_space.classes, latent_size=self.latent_size, width=self.width)

    def discriminator(self, image_shape: ImageShape, label_space: LabelSpace, heads: Heads = ACGAN) -> nn.Module:
        """A freshly initialised discriminator."""
        inputs = LabelInput.of(label_space)
        return AcganDiscriminator(image_shape, inputs, heads, width=self.discriminator_width, dropout=self.dropout)
