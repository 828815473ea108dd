"""The moving average against its closed form."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from generators.ema import Ema


def test_average_equals_the_weighted_sum_of_all_states() -> None:
    network = nn.BatchNorm1d(1)
    ema = Ema(network, 0.6)
    expected_weight, expected_mean = 1.0, 0.0
    for step in range(12):
        with torch.no_grad():
            network.weight.fill_(float(step))
            network.running_mean.fill_(-float(step))
            network.num_batches_tracked.fill_(step)
        ema.update(network, step)
        decay = min(0.6, (1 + step) / (10 + step))
        expected_weight = decay * expected_weight + (1 - decay) * step
        expected_mean = decay * expected_mean - (1 - decay) * step
    averaged = ema.network
    assert averaged.weight.item() == pytest.approx(expected_weight, rel=1e-6)
    assert averaged.running_mean.item() == pytest.approx(expected_mean, rel=1e-6)
    assert averaged.num_batches_tracked.item() == 11


def test_a_short_training_forgets_its_initial_weights() -> None:
    network = nn.Linear(1, 1)
    nn.init.constant_(network.weight, 100.0)
    ema = Ema(network, 0.999)
    nn.init.constant_(network.weight, 1.0)
    for step in range(50):
        ema.update(network, step)
    assert abs(ema.network.weight.item() - 1.0) < 1e-3


def test_average_needs_no_gradient_stays_in_evaluation_mode_and_resumes() -> None:
    network = nn.Linear(2, 2)
    ema = Ema(network, 0.5)
    assert not ema.network.training
    assert not any(parameter.requires_grad for parameter in ema.network.parameters())
    twin = Ema(nn.Linear(2, 2), 0.5)
    twin.load_state_dict(copy.deepcopy(ema.state_dict()))
    assert torch.equal(twin.network.weight, ema.network.weight)
