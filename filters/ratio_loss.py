"""The conditional Softplus loss of density ratios (Ding et al. 2023, cDR-RS, arXiv 2104.03164)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def csp_loss(ratios_fake: Tensor, ratios_real: Tensor, penalty_weight: float = 0.01) -> dict[str, Tensor]:
    """Bregman divergence of the softplus between true and estimated ratio, and a pull of the mean to 1.

    divergence = mean_g[sigmoid(psi) psi - softplus(psi)] - mean_r[sigmoid(psi)];
    penalty = lambda (mean_g[psi] - 1)^2, since E_g[p_r / p_g] = 1. Its minimiser over psi >= 0 is p_r / p_g.

    Args:
        ratios_fake: psi of generated images, (B,).
        ratios_real: psi of real images with the same labels, (B,).
        penalty_weight: lambda.

    Returns:
        ``divergence`` and ``penalty``, scalars whose sum is minimised.
    """
    fake = ratios_fake.float() if ratios_fake.element_size() < 4 else ratios_fake
    real = ratios_real.float() if ratios_real.element_size() < 4 else ratios_real
    divergence = (fake.sigmoid() * fake - functional.softplus(fake)).mean() - real.sigmoid().mean()
    return {"divergence": divergence, "penalty": penalty_weight * (fake.mean() - 1.0).square()}
