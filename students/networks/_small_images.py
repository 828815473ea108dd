"""How networks of the literature take small images, and how their weights start."""

from __future__ import annotations

from torch import nn

from data.errors import ConfigError
from students.networks import ImageShape

#: Least height and width of an image.
LEAST_SIDE = 8


def check_side(network: str, image_shape: ImageShape) -> int:
    """The shorter side of an image.

    Raises:
        ConfigError: if it is below 8 pixels.
    """
    _, height, width = image_shape
    if min(height, width) < LEAST_SIDE:
        raise ConfigError(f"network '{network}' must have images of at least 8x8, got {height}x{width}; try 'convnet'.")
    return min(height, width)


def halvings(network: str, image_shape: ImageShape, wanted: int) -> tuple[bool, ...]:
    """Which of the places where a network halves the image do so.

    The last feature map keeps at least 2x2 pixels, so that batch normalisation has something to average over, also in
    a batch of one. What does not fit is left out at the beginning, where resolution is worth most: of 4 halvings an
    8x8 image gets the last 2, a 16x16 image the last 3.

    Args:
        network: its name, for messages.
        image_shape: channels, height and width; either side at least 8 pixels.
        wanted: halvings of the architecture.

    Returns:
        ``wanted`` flags, in the order of the layers.

    Raises:
        ConfigError: if the image is too small.
    """
    possible = check_side(network, image_shape).bit_length() - 2
    left_out = max(0, wanted - possible)
    return (False,) * left_out + (True,) * (wanted - left_out)


def start_weights(network: nn.Module) -> nn.Module:
    """Draws the weights of all convolutions for ReLU by their outputs (He et al., 2015); biases of them become 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network
