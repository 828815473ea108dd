"""A plain convolutional network for very small students."""

from __future__ import annotations

from torch import nn

from data.errors import ConfigError
from students.networks import ImageShape, networks


@networks.register("convnet")
def build(image_shape: ImageShape, outputs: int, *, channels: int = 16, blocks: int = 3) -> nn.Module:
    """Blocks of 3x3 convolution, batch normalisation and ReLU, max pooling between them, then the global average.

    Every block has the same number of channels.

    Args:
        image_shape: channels, height and width; either side at least 2 ** (blocks - 1) pixels.
        outputs: number of outputs K.
        channels: channels of every block.
        blocks: number of blocks.

    Returns:
        A network that maps (B, C, H, W) to (B, K).

    Raises:
        ConfigError: for numbers that do not fit.
    """
    if channels < 1 or blocks < 1:
        raise ConfigError(
            f"options 'channels' and 'blocks' of network 'convnet' must be at least 1, got {channels} and {blocks}."
        )
    if min(image_shape[1:]) < 2 ** (blocks - 1):
        raise ConfigError(
            f"option 'blocks' of network 'convnet' must be at most {min(image_shape[1:]).bit_length()} "
            f"for {image_shape[1]}x{image_shape[2]} images, got {blocks}."
        )
    layers: list[nn.Module] = []
    for number in range(blocks):
        if number:
            layers.append(nn.MaxPool2d(2))
        layers += [
            nn.Conv2d(channels if number else image_shape[0], channels, 3, 1, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        ]
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, outputs))
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return network
