"""BigGAN-deep: bottleneck blocks, which all see the whole latent beside the class; for class labels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional

from data.labels import LabelSpace
from generators.attention import SelfAttention, check_side
from generators.blocks import ImageShape, channel_plan, check_at_least
from generators.bottlenecks import DownBottleneck, UpBottleneck
from generators.conditions import LabelInput
from generators.heads import Head
from generators.layers import ORTHOGONAL
from generators.networks import PROJECTION, Heads, Verdict, networks


class DeepGenerator(nn.Module):
    """Latents and classes to images; the first layer and every batch norm see [latent, class embedding].

    Args:
        image_shape: channels, height and width.
        classes: number of classes.
        latent_size: length of a latent.
        width: channels at the image's own side.
        shared_size: length of the class embedding.
        depth: blocks a doubling of the side.
        attention_side: side of the features that attention works on; 0 for none.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        classes: int,
        *,
        latent_size: int,
        width: int,
        shared_size: int,
        depth: int,
        attention_side: int,
    ) -> None:
        super().__init__()
        plan = channel_plan(image_shape, width)
        told = latent_size + shared_size
        self.shared = nn.Embedding(classes, shared_size)
        nn.init.orthogonal_(self.shared.weight)
        self.start = ORTHOGONAL.linear(told, plan[0] * 16)
        condition_map = partial(ORTHOGONAL.linear, told, bias=False)
        blocks: list[nn.Module] = []
        for inputs, outputs in pairwise(plan):
            blocks += [UpBottleneck(inputs, inputs, condition_map, ORTHOGONAL, up=False) for _ in range(depth - 1)]
            blocks.append(UpBottleneck(inputs, outputs, condition_map, ORTHOGONAL, up=True))
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.BatchNorm2d(plan[-1])
        self.end = ORTHOGONAL.convolution(plan[-1], image_shape[0], 3)
        level = attention_side.bit_length() - 3
        # Number of the block that attention stands before.
        self.attended = level * depth
        self.attention = SelfAttention(plan[level], ORTHOGONAL) if attention_side else None

    def forward(self, latents: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        """Latents (B, latent_size) and int64 classes (B,) to float32 images (B, C, H, W) in [-1, 1]."""
        told = torch.cat([latents, self.shared(classes)], dim=1)
        features = self.start(told).unflatten(1, (-1, 4, 4))
        for number, block in enumerate(self.blocks):
            if self.attention is not None and number == self.attended:
                features = self.attention(features)
            features = block(features, told)
        image: torch.Tensor = self.end(functional.relu(self.norm(features)))
        return image.float().tanh()


class DeepDiscriminator(nn.Module):
    """Images and classes to verdicts.

    Args:
        image_shape: channels, height and width.
        inputs: how labels enter.
        heads: what it answers.
        width: channels at the image's own side.
        depth: blocks a halving of the side.
        attention_side: side of the features that attention works on; 0 for none.
    """

    def __init__(
        self, image_shape: ImageShape, inputs: LabelInput, heads: Heads, *, width: int, depth: int, attention_side: int
    ) -> None:
        super().__init__()
        plan = list(reversed(channel_plan(image_shape, width)))
        self.inputs = inputs
        blocks: list[nn.Module] = [ORTHOGONAL.convolution(image_shape[0], width, 3)]
        for level, (narrow, wide) in enumerate(pairwise(plan), start=1):
            blocks.append(DownBottleneck(narrow, wide, ORTHOGONAL, pool=True))
            blocks += [DownBottleneck(wide, wide, ORTHOGONAL, pool=False) for _ in range(depth - 1)]
            if image_shape[1] >> level == attention_side:
                blocks.append(SelfAttention(wide, ORTHOGONAL))
        self.blocks = nn.Sequential(*blocks)
        self.head = Head(plan[-1], inputs, heads)

    def forward(self, images: torch.Tensor, conditions: torch.Tensor) -> Verdict:
        """Images (B, C, H, W) in [-1, 1] and int64 classes (B,) to a verdict."""
        features = functional.relu(self.blocks(images)).float().sum(dim=(2, 3))
        verdict: Verdict = self.head(features, self.inputs.read(conditions))
        return verdict


@networks.register("biggan_deep")
@dataclass(frozen=True)
class BigganDeep:
    """Deep residual GAN of bottleneck blocks, with spectral norm in both networks.

    Source: Brock, Donahue & Simonyan, 2019, arXiv 1809.11096, appendix B. Differs from it: any square side from 8 to
    128; channels as ``sngan``; bottlenecks of at least 4 channels; orthogonal initial weights without the
    regularisation.

    Args:
        width: channels at the image's own side; doubled at each halving, at most eightfold. Blocks work on a quarter.
        latent_size: length of the latent vector, all of which reaches every block.
        shared_size: length of the class embedding.
        depth: blocks a doubling or halving of the side.
        attention_side: side of the features that self-attention works on, in both networks; 0 for none.

    Raises:
        ConfigError: if an option is out of its range.
    """

    label_kinds: ClassVar[frozenset[str]] = frozenset({"class"})
    uses_embedding: ClassVar[bool] = False

    width: int = 48
    latent_size: int = 128
    shared_size: int = 128
    depth: int = 2
    attention_side: int = 0

    def __post_init__(self) -> None:
        check_at_least(
            1, width=self.width, latent_size=self.latent_size, shared_size=self.shared_size, depth=self.depth
        )

    def generator(self, image_shape: ImageShape, label_space: LabelSpace) -> nn.Module:
        """A freshly initialised generator."""
        return DeepGenerator(
            image_shape,
            label_space.classes,
            latent_size=self.latent_size,
            width=self.width,
            shared_size=self.shared_size,
            depth=self.depth,
            attention_side=check_side(self.attention_side, image_shape),
        )

    def discriminator(self, image_shape: ImageShape, label_space: LabelSpace, heads: Heads = PROJECTION) -> nn.Module:
        """A freshly initialised discriminator."""
        return DeepDiscriminator(
            image_shape,
            LabelInput.of(label_space),
            heads,
            width=self.width,
            depth=self.depth,
            attention_side=check_side(self.attention_side, image_shape),
        )
