"""ShuffleNetV2 for small images (Ma et al., 2018, arXiv 1807.11164)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from data.errors import ConfigError
from students.networks import ImageShape, networks
from students.networks._shuffle import Shuffle
from students.networks._small_images import halvings, start_weights

#: Channels of the three stages and of the last layer, by factor.
CHANNELS = {
    "0.5": (48, 96, 192, 1024),
    "1": (116, 232, 464, 1024),
    "1.5": (176, 352, 704, 1024),
    "2": (244, 488, 976, 2048),
}
_STEM = 24
_BLOCKS = (4, 8, 4)


def pointwise(channels_in: int, channels: int) -> list[nn.Module]:
    """A 1x1 convolution, batch normalisation and ReLU."""
    return [nn.Conv2d(channels_in, channels, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]


def depthwise(channels: int, stride: int) -> list[nn.Module]:
    """A 3x3 convolution of each channel and batch normalisation."""
    return [nn.Conv2d(channels, channels, 3, stride, 1, groups=channels, bias=False), nn.BatchNorm2d(channels)]


class ShuffleUnit(nn.Module):
    """Works on one half of the channels, leaves the other as it is, and shuffles the two.

    Args:
        channels: even number of channels of input and output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.body = nn.Sequential(*pointwise(half, half), *depthwise(half, 1), *pointwise(half, half))
        self.shuffle = Shuffle(2)

    def forward(self, inputs: Tensor) -> Tensor:
        """Maps (B, channels, H, W) to the same shape."""
        left, right = inputs.chunk(2, dim=1)
        outputs: Tensor = self.shuffle(torch.cat([left, self.body(right)], dim=1))
        return outputs


class DownUnit(nn.Module):
    """Works on all channels twice, side by side, and shuffles the two results.

    Args:
        channels_in: channels of the input.
        channels: even number of channels of the output.
        stride: 2 halves the image.
    """

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        half = channels // 2
        self.left = nn.Sequential(*depthwise(channels_in, stride), *pointwise(channels_in, half))
        self.right = nn.Sequential(*pointwise(channels_in, half), *depthwise(half, stride), *pointwise(half, half))
        self.shuffle = Shuffle(2)

    def forward(self, inputs: Tensor) -> Tensor:
        """Maps (B, channels_in, H, W) to (B, channels, H / stride, W / stride)."""
        outputs: Tensor = self.shuffle(torch.cat([self.left(inputs), self.right(inputs)], dim=1))
        return outputs


@networks.register("shufflenet_v2")
def build(image_shape: ImageShape, outputs: int, *, width: str = "1") -> nn.Module:
    """Three stages of split-and-shuffle units, each halving the image in its first unit, a 1x1 layer, global average.

    In the form of Tian, Krishnan and Isola (2020, arXiv 1910.10699) for CIFAR: the first layer is a 1x1 convolution of
    24 channels at the image's own size.

    Args:
        image_shape: channels, height and width, at least 8 pixels on either side; smaller than 16 is halved less often.
        outputs: number of outputs K.
        width: factor of the channels: "0.5", "1", "1.5" or "2".

    Returns:
        A network that maps (B, C, H, W) to (B, K).

    Raises:
        ConfigError: for a factor or an image that does not fit.
    """
    if width not in CHANNELS:
        raise ConfigError(
            f"option 'width' of network 'shufflenet_v2' must be one of {', '.join(CHANNELS)}, got '{width}'; try '1'."
        )
    *stages, last = CHANNELS[width]
    layers = pointwise(image_shape[0], _STEM)
    previous = _STEM
    for channels, blocks, halved in zip(
        stages, _BLOCKS, halvings("shufflenet_v2", image_shape, len(stages)), strict=True
    ):
        layers.append(DownUnit(previous, channels, 2 if halved else 1))
        layers += [ShuffleUnit(channels) for _ in range(blocks - 1)]
        previous = channels
    layers += [*pointwise(previous, last), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(last, outputs)]
    return start_weights(nn.Sequential(*layers))
