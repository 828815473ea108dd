"""The exponential moving average of a network, which is what is sampled."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn


class Ema:
    """A copy of a network whose weights and float buffers follow the network's as a moving average.

    Source: Yazici et al., 2019, arXiv 1806.04498. The decay of step s is min(decay, (1 + s) / (10 + s)), so
    that the initial weights are forgotten in short trainings too. Batch-norm statistics are averaged like weights.

    Args:
        network: the network to follow; it is copied.
        decay: largest decay, in [0, 1).
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Moves the average towards ``network`` after the 0-based step ``step``."""
        weight = 1.0 - min(self.decay, (1 + step) / (10 + step))
        current = network.state_dict()
        for name, average in self.network.state_dict().items():
            if average.is_floating_point():
                average.lerp_(current[name], weight)
            else:
                average.copy_(current[name])

    def state_dict(self) -> dict[str, Any]:
        """The averaged weights."""
        return self.network.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes averaged weights."""
        self.network.load_state_dict(state)
