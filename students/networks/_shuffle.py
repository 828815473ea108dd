"""The channel shuffle of both ShuffleNets."""

from __future__ import annotations

from torch import Tensor, nn


class Shuffle(nn.Module):
    """Spreads the channels of every group over all groups: channel j of group i becomes channel i of group j.

    Args:
        groups: number of groups.
    """

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, inputs: Tensor) -> Tensor:
        """Maps (B, C, H, W) to the same shape."""
        rows, channels, height, width = inputs.shape
        grouped = inputs.reshape(rows, self.groups, channels // self.groups, height, width)
        return grouped.transpose(1, 2).reshape(rows, channels, height, width)
