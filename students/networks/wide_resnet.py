"""Wide residual networks (Zagoruyko and Komodakis, 2016, arXiv 1605.07146)."""

from __future__ import annotations

from torch import Tensor, nn

from data.errors import ConfigError
from students.networks import ImageShape, networks
from students.networks._small_images import check_side, start_weights


class PreActivationBlock(nn.Module):
    """Twice batch normalisation, ReLU and a 3x3 convolution, with a shortcut.

    Where the number of channels changes, the shortcut is a 1x1 convolution of the normalised input.

    Args:
        channels_in: channels of the input.
        channels: channels of the output.
        stride: stride of the first convolution.
    """

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.before = nn.Sequential(nn.BatchNorm2d(channels_in), nn.ReLU(inplace=True))
        self.body = nn.Sequential(
            nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
        )
        self.shortcut: nn.Module | None = None
        if stride != 1 or channels_in != channels:
            self.shortcut = nn.Conv2d(channels_in, channels, 1, stride, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """Maps (B, channels_in, H, W) to (B, channels, H / stride, W / stride)."""
        normalised = self.before(inputs)
        beside = inputs if self.shortcut is None else self.shortcut(normalised)
        outputs: Tensor = self.body(normalised) + beside
        return outputs


@networks.register("wide_resnet")
def build(image_shape: ImageShape, outputs: int, *, depth: int = 16, widen: int = 2) -> nn.Module:
    """Three stages of pre-activation blocks with 16k, 32k and 64k channels, halving the image twice.

    WRN-40-2 is depth 40 with widen 2.

    Differs from the paper in: no dropout.

    Args:
        image_shape: channels, height and width, at least 8 pixels on either side.
        outputs: number of outputs K.
        depth: layers, 6n + 4: 10, 16, 22, 28, 40.
        widen: the factor k of the channels.

    Returns:
        A network that maps (B, C, H, W) to (B, K).

    Raises:
        ConfigError: for a depth, a factor or an image that does not fit.
    """
    if depth < 10 or (depth - 4) % 6:
        near = max(10, round((depth - 4) / 6) * 6 + 4)
        raise ConfigError(
            f"option 'depth' of network 'wide_resnet' must be 6n + 4 with n >= 1, got {depth}; try {near}."
        )
    if widen < 1:
        raise ConfigError(f"option 'widen' of network 'wide_resnet' must be at least 1, got {widen}; try 2.")
    check_side("wide_resnet", image_shape)
    layers: list[nn.Module] = [nn.Conv2d(image_shape[0], 16, 3, 1, 1, bias=False)]
    previous = 16
    for stage in range(3):
        channels = 16 * widen << stage
        for number in range((depth - 4) // 6):
            layers.append(PreActivationBlock(previous, channels, 2 if stage and not number else 1))
            previous = channels
    layers += [nn.BatchNorm2d(previous), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return start_weights(nn.Sequential(*layers, nn.Linear(previous, outputs)))
