"""The adversarial losses of conditional GANs, with the weights of soft vicinities."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

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
    return _weighted_mean(real, real_weights) + _weighted_mean(fake, fake_weights)


def hinge_generator_loss(fake_scores: torch.Tensor) -> torch.Tensor:
    """``-mean(D(fake))``, the generator's part of the hinge loss (Lim & Ye, 2017, arXiv 1705.02894).

    Args:
        fake_scores: scores of fake images, shape (B,).

    Returns:
        The loss, a float32 scalar.
    """
    return -fake_scores.float().mean()


def non_saturating_discriminator_loss(
    real_scores: torch.Tensor,
    fake_scores: torch.Tensor,
    real_weights: torch.Tensor | None = None,
    fake_weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """``-mean(w_r log s(D(real))) - mean(w_g log(1 - s(D(fake))))`` with the logistic function s.

    Source: Goodfellow et al., 2014, arXiv 1406.2661; with weights, the soft vicinal loss of CcGAN (Ding et al., 2023,
    arXiv 2011.07466). Differs from the code of the latter: computed as softplus of the scores, so that no score is
    too large for it.

    Args:
        real_scores: scores of real images, logits, shape (B,).
        fake_scores: scores of fake images, logits, shape (B,).
        real_weights: weight of each real image, shape (B,), >= 0; None for 1.
        fake_weights: weight of each fake image, shape (B,), >= 0; None for 1.

    Returns:
        The loss, a float32 scalar.
    """
    real = functional.softplus(-real_scores.float())
    fake = functional.softplus(fake_scores.float())
    return _weighted_mean(real, real_weights) + _weighted_mean(fake, fake_weights)


def non_saturating_generator_loss(fake_scores: torch.Tensor) -> torch.Tensor:
    """``-mean(log s(D(fake)))`` with the logistic function s (Goodfellow et al., 2014, arXiv 1406.2661).

    Args:
        fake_scores: scores of fake images, logits, shape (B,).

    Returns:
        The loss, a float32 scalar.
    """
    return functional.softplus(-fake_scores.float()).mean()


def _weighted_mean(terms: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
    return (terms if weights is None else terms * weights).mean()


class AdversarialLoss(NamedTuple):
    """The two sides of an adversarial loss.

    Attributes:
        discriminator: (real scores, fake scores, real weights, fake weights) to a scalar.
        generator: fake scores to a scalar.
        guessing: the discriminator's loss where every score is 0 and every weight 1.
    """

    discriminator: Callable[..., torch.Tensor]
    generator: Callable[[torch.Tensor], torch.Tensor]
    guessing: float


ADVERSARIAL_LOSSES = {
    "hinge": AdversarialLoss(hinge_discriminator_loss, hinge_generator_loss, 2.0),
    "non_saturating": AdversarialLoss(
        non_saturating_discriminator_loss, non_saturating_generator_loss, 1.3862943611198906
    ),
}
