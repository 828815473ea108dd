"""MobileNetV2 for small images (Sandler et al., 2018, arXiv 1801.04381)."""

from __future__ import annotations

from torch import Tensor, nn

from data.errors import ConfigError
from students.networks import ImageShape, networks
from students.networks._small_images import halvings, start_weights

#: Factor of expansion (0 stands for the option), channels at width 1, blocks, whether the first halves the image.
_STAGES = (
    (1, 16, 1, False),
    (0, 24, 2, False),
    (0, 32, 3, True),
    (0, 64, 4, True),
    (0, 96, 3, False),
    (0, 160, 3, True),
    (0, 320, 1, False),
)


class InvertedResidual(nn.Module):
    """A 1x1 convolution to more channels, a 3x3 one of each channel, a linear 1x1 one to few channels.

    Args:
        channels_in: channels of the input.
        channels: channels of the output; equal ones at stride 1 get a shortcut.
        stride: stride of the 3x3 convolution.
        expansion: channels between are so many times those of the input.
    """

    def __init__(self, channels_in: int, channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = channels_in * expansion
        self.body = nn.Sequential(
            *convolution(channels_in, inner, 1),
            *convolution(inner, inner, 3, stride, groups=inner),
            *convolution(inner, channels, 1)[:2],
        )
        self.shortcut = stride == 1 and channels_in == channels

    def forward(self, inputs: Tensor) -> Tensor:
        """Maps (B, channels_in, H, W) to (B, channels, H / stride, W / stride)."""
        outputs: Tensor = self.body(inputs)
        return inputs + outputs if self.shortcut else outputs


def convolution(channels_in: int, channels: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Convolution, batch normalisation and ReLU."""
    return [
        nn.Conv2d(channels_in, channels, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    ]


@networks.register("mobilenet_v2")
def build(image_shape: ImageShape, outputs: int, *, width: float = 0.5, expansion: int = 6) -> nn.Module:
    """Inverted residuals in seven stages, the image halved by the first layer and by three of the stages.

    In the form of Tian, Krishnan and Isola (2020, arXiv 1910.10699) for CIFAR: the second stage keeps its size, the
    first block has its 1x1 convolution too, ReLU stands for ReLU6, and the linear layer has no dropout before it.

    Args:
        image_shape: channels, height and width, at least 8 pixels on either side; smaller than 32 is halved less often.
        outputs: number of outputs K.
        width: factor of all channels but the last 1280, which it only raises.
        expansion: factor of the channels inside a block.

    Returns:
        A network that maps (B, C, H, W) to (B, K).

    Raises:
        ConfigError: for a factor or an image that does not fit.
    """
    if width < 1 / 16:
        raise ConfigError(f"option 'width' of network 'mobilenet_v2' must be at least 0.0625, got {width}; try 0.5.")
    if expansion < 1:
        raise ConfigError(f"option 'expansion' of network 'mobilenet_v2' must be at least 1, got {expansion}; try 6.")
    halved = iter(halvings("mobilenet_v2", image_shape, 4))
    previous = int(32 * width)
    layers = convolution(image_shape[0], previous, 3, 2 if next(halved) else 1)
    for factor, channels_at_1, blocks, halving in _STAGES:
        channels = int(channels_at_1 * width)
        stride = 2 if halving and next(halved) else 1
        for number in range(blocks):
            layers.append(InvertedResidual(previous, channels, 1 if number else stride, factor or expansion))
            previous = channels
    last = int(1280 * max(width, 1.0))
    layers += [*convolution(previous, last, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(last, outputs)]
    return start_weights(nn.Sequential(*layers))
