"""Hinge losses against their closed form."""

from __future__ import annotations

import pytest
import torch

from generators.losses import hinge_discriminator_loss, hinge_generator_loss


def test_hinge_discriminator_loss_equals_the_explicit_sum() -> None:
    real = torch.tensor([2.0, 0.5, -1.0])
    fake = torch.tensor([-2.0, 0.5, 1.0])
    loss = hinge_discriminator_loss(real, fake)
    assert loss.item() == pytest.approx((0.0 + 0.5 + 2.0) / 3 + (0.0 + 1.5 + 2.0) / 3)


def test_weights_scale_single_terms_and_are_not_normalised() -> None:
    real, fake = torch.tensor([0.0, 0.0]), torch.tensor([0.0, 0.0])
    loss = hinge_discriminator_loss(real, fake, torch.tensor([0.5, 0.0]), torch.tensor([0.25, 0.25]))
    assert loss.item() == pytest.approx(0.25 + 0.25)


def test_generator_loss_is_minus_the_mean_score_in_float32() -> None:
    scores = torch.tensor([1.0, 3.0], dtype=torch.bfloat16)
    loss = hinge_generator_loss(scores)
    assert loss.dtype == torch.float32
    assert loss.item() == -2.0
