"""The hinge losses of conditional GANs, with weights for soft vicinities."""

from __future__ import annotations

import torch
from torch.nn import functional


def hinge_discriminator_loss(
    real_scores: torch.Tensor,
    fake_scores: torch.Tensor,
    real_weights: torch.Tensor | None = None,
    fake_weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """``mean(w_r relu(1 - D(real))) + mean(w_g relu(1 + D(fake)))``.

    Source: Lim & Ye, 2017, arXiv 1705.02894; with weights, the soft vicinal loss of CcGAN (Ding et al.,
    2023, arXiv 2011.07466) as its code computes it: not divided by the sum of the weights.

    Args:
        real_scores: scores of real images, shape (B,).
        fake_scores: scores of fake images, shape (B,).
        real_weights: weight of each real image, shape (B,), >= 0; None for 1.
        fake_weights: weight of each fake image, shape (B,), >= 0; None for 1.

    Returns:
        The loss, a float32 scalar.
    """
    real = functional.relu(1.0 - real_scores.float())
    fake = functional.relu(1.0 + fake_scores.float())
    if real_weights is not None:
        real = real * real_weights
    if fake_weights is not None:
        fake = fake * fake_weights
    return real.mean() + fake.mean()


def hinge_generator_loss(fake_scores: torch.Tensor) -> torch.Tensor:
    """``-mean(D(fake))``, the generator's part of the hinge loss (Lim & Ye, 2017, arXiv 1705.02894).

    Args:
        fake_scores: scores of fake images, shape (B,).

    Returns:
        The loss, a float32 scalar.
    """
    return -fake_scores.float().mean()
