"""What one image costs a network, in multiply-adds."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from students.networks import ImageShape


def multiply_adds(network: nn.Module, image_shape: ImageShape) -> int:
    """Multiply-adds of a forward pass of one image: those of convolutions, linear layers and attention.

    One forward pass on zeros is counted, so that every architecture is counted alike, one's own included. Additions of
    biases, normalisation, activations and pooling are left out, as in the tables of the literature.

    Args:
        network: maps (B, C, H, W) to (B, K), floating point; on any device. Its state and mode are left as they were.
        image_shape: channels, height and width of the image.

    Returns:
        Multiply-adds; a floating point operation count that counts both is twice that.
    """
    modes = {module: module.training for module in network.modules()}
    found = next(network.parameters(), torch.empty(0))
    network.eval()
    fast = torch.backends.mha.get_fastpath_enabled()
    # Fused attention is one operator that the counter does not know on every device; its plain form is products.
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            network(torch.zeros((1, *image_shape), dtype=found.dtype, device=found.device))
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for module, mode in modes.items():
            module.training = mode
    return int(counter.get_total_flops()) // 2
