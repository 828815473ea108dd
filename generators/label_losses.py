"""The losses of CcGAN-AVAR's two further heads: label regression and density ratio."""

from __future__ import annotations

import torch
from torch.nn import functional


def label_regression_discriminator_loss(
    predicted: torch.Tensor, labels: torch.Tensor, kappas: torch.Tensor | float = 0.0
) -> torch.Tensor:
    """``mean(relu(|r - y| - kappa))``: an error inside the vicinity costs nothing.

    Source: Ding et al., 2025, arXiv 2508.01725. Differs from it: the discriminator takes it of real images only. There,
    generated ones are labelled by a further pretrained network; without one, the label they were asked for would
    teach the head to believe the generator.

    Args:
        predicted: r, normalised continuous labels, (B, L).
        labels: y, the labels that the discriminator is told, (B, L).
        kappas: half-widths of the vicinities, (B, L), or one number.

    Returns:
        The loss, a float32 scalar.
    """
    return functional.relu((predicted.float() - labels).abs() - kappas).mean()


def label_regression_generator_loss(predicted: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """``mean(|r - y|)`` of generated images and the labels they were asked for (Ding et al., 2025, arXiv 2508.01725).

    Args:
        predicted: r, normalised continuous labels, (B, L).
        labels: y, (B, L).

    Returns:
        The loss, a float32 scalar.
    """
    return (predicted.float() - labels).abs().mean()


def density_ratio_discriminator_loss(
    real_ratios: torch.Tensor, fake_ratios: torch.Tensor, penalty_weight: float = 0.01
) -> torch.Tensor:
    """The softplus divergence between the true and the estimated density ratio, and a pull of its mean to 1.

    ``mean_g[s(psi) psi - softplus(psi)] - mean_r[s(psi)] + lambda (mean_g[psi] - 1)^2`` with the logistic function s.
    Source: Ding et al., 2023, arXiv 2103.11166 (cDR-RS); in a discriminator, 2025, arXiv 2508.01725. Its
    minimiser over psi >= 0 is p_real / p_generated, whose mean over generated images is 1.

    Args:
        real_ratios: psi of real images, >= 0, (B,).
        fake_ratios: psi of generated images of the same labels, >= 0, (B,).
        penalty_weight: lambda.

    Returns:
        The loss, a float32 scalar; it may be negative.
    """
    real, fake = real_ratios.float(), fake_ratios.float()
    divergence = (fake.sigmoid() * fake - functional.softplus(fake)).mean() - real.sigmoid().mean()
    return divergence + penalty_weight * (fake.mean() - 1.0).square()


def density_ratio_generator_loss(fake_ratios: torch.Tensor) -> torch.Tensor:
    """``(mean(psi) - 1)^2`` of generated images (Ding et al., 2025, arXiv 2508.01725).

    Args:
        fake_ratios: psi, >= 0, (B,).

    Returns:
        The loss, a float32 scalar.
    """
    return (fake_ratios.float().mean() - 1.0).square()
