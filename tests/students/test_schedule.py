"""The learning rate against torch's own schedules."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch

from data.errors import ConfigError
from students.schedule import check_milestones, learning_rate_at


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


@pytest.mark.parametrize(
    ("schedule", "theirs"),
    [
        ("linear", lambda descent: torch.optim.lr_scheduler.LinearLR(descent, 1.0, 1e-12, total_iters=40)),
        (
            "step",
            lambda descent: torch.optim.lr_scheduler.MultiStepLR(descent, milestones=[25, 30, 35], gamma=0.1),
        ),
        ("constant", lambda descent: torch.optim.lr_scheduler.ConstantLR(descent, factor=1.0)),
    ],
)
def test_the_other_schedules_equal_torch(schedule: Any, theirs: Callable[[Any], Any]) -> None:
    descent = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.4)
    reference = theirs(descent)
    for step in range(40):
        rate = learning_rate_at(step, steps=40, peak=0.4, schedule=schedule, milestones=(0.625, 0.75, 0.875))
        assert rate == pytest.approx(descent.param_groups[0]["lr"], rel=1e-6)
        assert rate > 0
        descent.step()
        reference.step()


def test_every_schedule_begins_at_the_peak_once_it_is_warm() -> None:
    for schedule in ("cosine", "step", "linear", "constant"):
        rates = [
            learning_rate_at(step, steps=10, peak=1.0, warmup_steps=3, schedule=schedule, milestones=(0.5,))
            for step in range(10)
        ]
        assert rates[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])
        assert all(later <= earlier for earlier, later in pairwise(rates[3:]))


def test_what_is_no_schedule_is_refused() -> None:
    with pytest.raises(ConfigError, match="schedule must be 'cosine', 'step', 'linear' or 'constant', got 'slow'"):
        learning_rate_at(0, steps=3, peak=1.0, schedule="slow")  # type: ignore[arg-type]
    for milestones in ((0.5, 0.5), (0.7, 0.2), (0.0,), (1.0,)):
        with pytest.raises(ConfigError, match="milestones must be rising shares of the steps"):
            check_milestones(milestones)
    check_milestones(())
