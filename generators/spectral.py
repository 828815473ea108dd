"""Spectral normalisation, whose state resumes exactly."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import cast

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrize


def full_precision(like: torch.Tensor) -> AbstractContextManager[object]:
    """A context without autocast, for labels and norms that bf16 would round too coarsely."""
    return torch.autocast(like.device.type, enabled=False)


class SpectralNorm(nn.Module):
    """Divides a weight by its largest singular value, estimated by power iteration.

    Source: Miyato et al., 2018, arXiv 1802.05957, algorithm 1. Differs from it: one iteration a training
    forward pass after 15 at the start, always in float32 whatever the autocast; none in evaluation mode, where the
    singular vectors may be a moving average of many steps' and are brought to length 1 again.

    Args:
        weight: the weight, first axis = outputs.
    """

    left: torch.Tensor
    right: torch.Tensor

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        matrix = weight.detach().flatten(1)
        self.register_buffer("left", functional.normalize(torch.randn(matrix.shape[0]), dim=0))
        self.register_buffer("right", functional.normalize(torch.randn(matrix.shape[1]), dim=0))
        for _ in range(15):
            self._iterate(matrix)

    @torch.no_grad()
    def _iterate(self, matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        right = functional.normalize(torch.mv(matrix.t(), self.left), dim=0)
        left = functional.normalize(torch.mv(matrix, right), dim=0)
        self.left.copy_(left)
        self.right.copy_(right)
        # The buffers change in place at the next pass, while this pass's graph may still be needed.
        return left, right

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """The normalised weight, of the same shape."""
        with full_precision(weight):
            matrix = weight.flatten(1)
            if self.training:
                left, right = self._iterate(matrix)
            else:
                left, right = functional.normalize(self.left, dim=0), functional.normalize(self.right, dim=0)
            return weight / torch.dot(left, torch.mv(matrix, right))


def spectral(layer: nn.Module) -> nn.Module:
    """Puts spectral normalisation on a layer's weight; returns the layer."""
    return parametrize.register_parametrization(layer, "weight", SpectralNorm(cast(torch.Tensor, layer.weight)))
