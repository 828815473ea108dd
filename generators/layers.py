"""How the layers of a network are made: initial weights, and spectral norm or none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import nn

from generators.spectral import spectral

Initial = Literal["xavier", "normal", "orthogonal"]


@dataclass(frozen=True)
class Layers:
    """Makes the convolutions and linear layers of a network.

    Args:
        spectral_norm: whether weights are divided by their spectral norm (Miyato et al., 2018, arXiv 1802.05957).
        initial: weights at the start: "xavier" is uniform with a gain of sqrt 2 for 3 x 3 kernels, as SNGAN; "normal"
            has a standard deviation of 0.02, as DCGAN; "orthogonal" as BigGAN. Biases start at zero.
    """

    spectral_norm: bool = False
    initial: Initial = "xavier"

    def convolution(self, inputs: int, outputs: int, size: int, *, stride: int = 1, bias: bool = True) -> nn.Module:
        """A convolution with an odd kernel ``size`` that keeps the side, or divides it by ``stride``."""
        layer = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=bias)
        return self._finish(layer, gain=2**0.5 if size > 1 else 1.0)

    def transposed(self, inputs: int, outputs: int, *, start: bool = False, bias: bool = False) -> nn.Module:
        """A transposed 4 x 4 convolution that doubles the side, or at the ``start`` makes 4 x 4 of 1 x 1."""
        layer = nn.ConvTranspose2d(inputs, outputs, 4, 1 if start else 2, 0 if start else 1, bias=bias)
        return self._finish(layer)

    def linear(self, inputs: int, outputs: int, *, bias: bool = True) -> nn.Module:
        """A linear layer."""
        return self._finish(nn.Linear(inputs, outputs, bias=bias))

    def _finish(self, layer: nn.Module, gain: float = 1.0) -> nn.Module:
        weight = cast(torch.Tensor, layer.weight)
        if self.initial == "xavier":
            nn.init.xavier_uniform_(weight, gain=gain)
        elif self.initial == "normal":
            nn.init.normal_(weight, std=0.02)
        else:
            nn.init.orthogonal_(weight)
        if layer.bias is not None:
            nn.init.zeros_(cast(torch.Tensor, layer.bias))
        return spectral(layer) if self.spectral_norm else layer


#: As SNGAN's generator.
PLAIN = Layers()
#: As SNGAN's discriminator, and both networks of SAGAN.
SPECTRAL = Layers(spectral_norm=True)
#: As both networks of BigGAN-deep.
ORTHOGONAL = Layers(spectral_norm=True, initial="orthogonal")
