"""ShuffleNet for small images (Zhang et al., 2018, arXiv 1707.01083)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data.errors import ConfigError
from students.networks import ImageShape, networks
from students.networks._shuffle import Shuffle
from students.networks._small_images import halvings, start_weights

#: Channels of the first layer.
_STEM = 24
_BLOCKS = (4, 8, 4)


class ShuffleUnit(nn.Module):
    """A grouped 1x1 convolution, a shuffle, a 3x3 convolution of each channel, a grouped 1x1 convolution.

    Args:
        channels_in: channels of the input.
        channels: channels of the output.
        groups: groups of the 1x1 convolutions; the first one is whole where the input is the stem's.
        stride: 2 halves the image.
        joined: whether the input, averaged where the image is halved, is put beside the result and not added to it.
    """

    def __init__(self, channels_in: int, channels: int, groups: int, stride: int, joined: bool) -> None:
        super().__init__()
        made = channels - channels_in if joined else channels
        inner = made // 4
        self.body = nn.Sequential(
            nn.Conv2d(channels_in, inner, 1, groups=1 if channels_in == _STEM else groups, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(inplace=True),
            Shuffle(1 if channels_in == _STEM else groups),
            nn.Conv2d(inner, inner, 3, stride, 1, groups=inner, bias=False),
            nn.BatchNorm2d(inner),
            nn.Conv2d(inner, made, 1, groups=groups, bias=False),
            nn.BatchNorm2d(made),
        )
        self.beside: nn.Module = nn.AvgPool2d(3, 2, 1) if stride == 2 else nn.Identity()
        self.joined = joined

    def forward(self, inputs: Tensor) -> Tensor:
        """Maps (B, channels_in, H, W) to (B, channels, H / stride, W / stride)."""
        made, beside = self.body(inputs), self.beside(inputs)
        return F.relu(torch.cat([made, beside], dim=1) if self.joined else made + beside)


@networks.register("shufflenet_v1")
def build(image_shape: ImageShape, outputs: int, *, channels: int = 240, groups: int = 3) -> nn.Module:
    """Three stages of shuffle units, each halving the image in its first unit, then the global average.

    In the form of Tian, Krishnan and Isola (2020, arXiv 1910.10699) for CIFAR: the first layer is a 1x1 convolution of
    24 channels at the image's own size, and a unit that joins makes a quarter of what it adds inside.

    Args:
        image_shape: channels, height and width, at least 8 pixels on either side; smaller than 16 is halved less often.
        outputs: number of outputs K.
        channels: of the first stage, a multiple of 4 groups; doubled in each of the other two.
        groups: of the 1x1 convolutions: 1, 2, 3 or 6.

    Returns:
        A network that maps (B, C, H, W) to (B, K).

    Raises:
        ConfigError: for numbers or an image that do not fit.
    """
    if groups not in (1, 2, 3, 6):
        raise ConfigError(f"option 'groups' of network 'shufflenet_v1' must be 1, 2, 3 or 6, got {groups}; try 3.")
    if channels <= _STEM or channels % (4 * groups):
        near = max(2 * _STEM, round(channels / (4 * groups)) * 4 * groups)
        raise ConfigError(
            f"option 'channels' of network 'shufflenet_v1' must be above {_STEM} and a multiple of {4 * groups}, "
            f"4 times the groups, got {channels}; try {near}."
        )
    layers: list[nn.Module] = [
        nn.Conv2d(image_shape[0], _STEM, 1, bias=False),
        nn.BatchNorm2d(_STEM),
        nn.ReLU(inplace=True),
    ]
    previous = _STEM
    for stage, halved in enumerate(halvings("shufflenet_v1", image_shape, len(_BLOCKS))):
        for number in range(_BLOCKS[stage]):
            stride = 2 if halved and not number else 1
            layers.append(ShuffleUnit(previous, channels << stage, groups, stride, joined=not number))
            previous = channels << stage
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(previous, outputs)]
    return start_weights(nn.Sequential(*layers))
