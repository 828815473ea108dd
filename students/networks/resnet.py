"""Residual networks for small images (He, Zhang, Ren and Sun, 2016, arXiv 1512.03385, section 4.2)."""

from __future__ import annotations

from torch import Tensor, nn

from data.errors import ConfigError
from students.networks import ImageShape, networks
from students.networks._small_images import check_side, start_weights


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch normalisation and a shortcut, which is a 1x1 convolution where shapes differ.

    Args:
        channels_in: channels of the input.
        channels: channels of the output.
        stride: stride of the first convolution.
    """

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )
        self.activation = nn.ReLU(inplace=True)

    def forward(self, inputs: Tensor) -> Tensor:
        """Maps (B, channels_in, H, W) to (B, channels, H / stride, W / stride)."""
        outputs: Tensor = self.activation(self.body(inputs) + self.shortcut(inputs))
        return outputs


@networks.register("resnet")
def build(image_shape: ImageShape, outputs: int, *, depth: int = 20, width: int = 16, stem: int = 0) -> nn.Module:
    """Three stages of basic blocks with w, 2w and 4w channels, halving the image twice, then the global average.

    Differs from the paper in: shortcuts between stages are 1x1 convolutions (its option B), not padding with zeros.

    Args:
        image_shape: channels, height and width, at least 8 pixels on either side.
        outputs: number of outputs K.
        depth: layers, 6n + 2: 8, 14, 20, 32, 44, 56, 110.
        width: channels w of the first stage.
        stem: channels of the first convolution; 0 takes w. The "x4" networks of Tian, Krishnan and Isola (2020, arXiv
            1910.10699) have width 64 and stem 32.

    Returns:
        A network that maps (B, C, H, W) to (B, K).

    Raises:
        ConfigError: for a depth, a width or an image that does not fit.
    """
    if depth < 8 or (depth - 2) % 6:
        near = max(8, round((depth - 2) / 6) * 6 + 2)
        raise ConfigError(f"option 'depth' of network 'resnet' must be 6n + 2 with n >= 1, got {depth}; try {near}.")
    if width < 1:
        raise ConfigError(f"option 'width' of network 'resnet' must be at least 1, got {width}; try 16.")
    if stem < 0:
        raise ConfigError(f"option 'stem' of network 'resnet' must be at least 0, got {stem}; try {width // 2}.")
    check_side("resnet", image_shape)
    previous = stem or width
    layers: list[nn.Module] = [
        nn.Conv2d(image_shape[0], previous, 3, 1, 1, bias=False),
        nn.BatchNorm2d(previous),
        nn.ReLU(inplace=True),
    ]
    for stage in range(3):
        for number in range((depth - 2) // 6):
            layers.append(BasicBlock(previous, width << stage, 2 if stage and not number else 1))
            previous = width << stage
    return start_weights(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(previous, outputs)))
