"""The learning rate against torch's own schedules."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from students.schedule import learning_rate_at


def test_cosine_equals_torch() -> None:
    descent = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(descent, T_max=20)
    for step in range(20):
        assert learning_rate_at(step, steps=20, peak=0.4) == pytest.approx(descent.param_groups[0]["lr"], rel=1e-9)
        descent.step()
        schedule.step()


def test_warm_up_rises_linearly_to_the_peak_then_falls() -> None:
    rates = [learning_rate_at(step, steps=12, peak=1.0, warmup_steps=4) for step in range(12)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert all(later < earlier for earlier, later in pairwise(rates[4:]))
    assert rates[8] == pytest.approx(0.5)
    assert rates[-1] > 0
