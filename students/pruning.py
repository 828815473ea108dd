"""Magnitude pruning of a network whose copy stands beside it as a second teacher."""

from __future__ import annotations

import copy

import torch
from torch import nn

from data.errors import ConfigError


@torch.no_grad()
def pruned_copy(network: nn.Module, amount: float) -> nn.Module:
    """A copy in evaluation mode in which the smallest weights of each convolution and linear layer are 0.

    Source: the layer-wise unstructured L1 pruning of R2KD (Kim et al., 2024, arXiv 2311.13934). Each layer loses the
    same share of its own weights; biases and normalisation stay as they are, and nothing is tuned afterwards. Differs
    from the release in: the copy is in evaluation mode, so that its answer to an image depends on that image alone.

    Args:
        network: any network; it stays as it is. ``Conv2d`` and ``Linear`` layers are pruned; weights that it
            keeps in another way, such as the joint projection of ``MultiheadAttention``, are not.
        amount: share of the weights, in [0, 1): exactly ``round(amount * n)`` of the n weights of a layer become 0.

    Returns:
        A network of the same class on the same device.

    Raises:
        ConfigError: if ``amount`` is out of range.
    """
    if not 0.0 <= amount < 1.0:
        raise ConfigError(f"amount of pruning must be in [0, 1), got {amount}; try 0.1.")
    pruned = copy.deepcopy(network).eval()
    for layer in pruned.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            size = layer.weight.abs().flatten()
            smallest = size.topk(round(amount * size.numel()), largest=False).indices
            chosen = torch.zeros_like(size, dtype=torch.bool).index_fill_(0, smallest, True)
            layer.weight.masked_fill_(chosen.view(layer.weight.shape), 0.0)
    return pruned
