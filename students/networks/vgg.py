"""Plain deep networks for small images (Simonyan and Zisserman, 2015, arXiv 1409.1556), with batch normalisation."""

from __future__ import annotations

from torch import nn

from data.errors import ConfigError
from students.networks import ImageShape, networks
from students.networks._small_images import check_side, halvings, start_weights

#: Convolutions of each block, by depth as the paper counts it: that of ImageNet's network with three linear layers.
BLOCKS = {8: (1, 1, 1, 1, 1), 11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
#: Channels of each block with width 64.
_TIMES = (1, 2, 4, 8, 8)


@networks.register("vgg")
def build(image_shape: ImageShape, outputs: int, *, depth: int = 8, width: int = 64) -> nn.Module:
    """Five blocks of 3x3 convolutions with batch normalisation and ReLU, max pooling between them, global average.

    In the form of Tian, Krishnan and Isola (2020, arXiv 1910.10699) for CIFAR: one linear layer in the place of three,
    and no pooling between the last two blocks unless images have 64 pixels a side or more.

    Args:
        image_shape: channels, height and width, at least 8 pixels on either side.
        outputs: number of outputs K.
        depth: 8, 11, 13, 16 or 19.
        width: channels of the first block; the others have 2, 4, 8 and 8 times as many.

    Returns:
        A network that maps (B, C, H, W) to (B, K).

    Raises:
        ConfigError: for a depth, a width or an image that does not fit.
    """
    if depth not in BLOCKS:
        near = min(BLOCKS, key=lambda known: abs(known - depth))
        raise ConfigError(
            f"option 'depth' of network 'vgg' must be one of {', '.join(map(str, BLOCKS))}, got {depth}; try {near}."
        )
    if width < 1:
        raise ConfigError(f"option 'width' of network 'vgg' must be at least 1, got {width}; try 64.")
    large = check_side("vgg", image_shape) >= 64
    pooled = iter(halvings("vgg", image_shape, 4 if large else 3))
    layers: list[nn.Module] = []
    previous = image_shape[0]
    for number, (count, times) in enumerate(zip(BLOCKS[depth], _TIMES, strict=True)):
        if number and next(pooled, False):
            layers.append(nn.MaxPool2d(2))
        for _ in range(count):
            channels = times * width
            layers += [nn.Conv2d(previous, channels, 3, 1, 1), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
            previous = channels
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(previous, outputs)]
    return start_weights(nn.Sequential(*layers))
