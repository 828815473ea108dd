"""Regularisers of the discriminator: R1 on real images, and balanced consistency."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


def r1_penalty(score: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor) -> torch.Tensor:
    """``mean(|grad_x D(x)|^2) / 2`` over real images, with a graph for the second backward pass.

    Source: Mescheder, Geiger & Nowozin, 2018, arXiv 1801.04406; computed lazily by the caller, every k-th step with k
    times the weight, as Karras et al., 2020, arXiv 1912.04958. Always float32, whatever the autocast.

    Args:
        score: images to scores (B,), each a function of its own image alone up to batch statistics.
        images: real images as the discriminator sees them, (B, C, H, W).

    Returns:
        The penalty, a float32 scalar.
    """
    # Fused attention kernels have no second derivative.
    with torch.autocast(images.device.type, enabled=False), sdpa_kernel(SDPBackend.MATH):
        leaves = images.detach().float().requires_grad_(True)
        (gradients,) = torch.autograd.grad(score(leaves).sum(), leaves, create_graph=True)
    return gradients.square().sum(dim=(1, 2, 3)).mean() / 2


def consistency_loss(
    real_scores: torch.Tensor, fake_scores: torch.Tensor, real_again: torch.Tensor, fake_again: torch.Tensor
) -> torch.Tensor:
    """``mean((D(x) - D(T(x)))^2)`` of the real images plus that of the generated ones.

    Source: Zhao et al., 2021, arXiv 2002.04724 (balanced consistency regularisation) with one weight for both.

    Args:
        real_scores: D(x), (B,).
        fake_scores: D(G(z)), (B,).
        real_again: D(T(x)), (B,).
        fake_again: D(T(G(z))), (B,).

    Returns:
        The loss, a float32 scalar.
    """
    real = (real_scores.float() - real_again.float()).square().mean()
    return real + (fake_scores.float() - fake_again.float()).square().mean()
