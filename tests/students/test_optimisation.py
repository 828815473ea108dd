"""A step of descent against the update rules written out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from data.compute import Compute, pick_compute
from data.errors import ConfigError
from students.optimisation import Descent

CPU = Compute(torch.device("cpu"))


def descent(parameters: list[nn.Parameter], **changes: Any) -> Descent:
    settings: dict[str, Any] = {
        "optimizer": "sgd", "momentum": 0.0, "nesterov": False, "weight_decay": 0.0, "clip_norm": 0.0, "compute": CPU,
    }  # fmt: skip
    return Descent(parameters, lambda step: 0.1 / (step + 1), **{**settings, **changes})


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_follows_its_rule(nesterov: bool) -> None:
    weight = nn.Parameter(torch.tensor([2.0, -1.0]))
    taken = descent([weight], momentum=0.9, nesterov=nesterov, weight_decay=0.01)
    expected, velocity = torch.tensor([2.0, -1.0]), torch.zeros(2)
    for step in range(4):
        taken.step(weight.pow(3).sum(), step)
        gradient = 3 * expected**2 + 0.01 * expected
        velocity = gradient if step == 0 else 0.9 * velocity + gradient
        expected = expected - 0.1 / (step + 1) * (gradient + 0.9 * velocity if nesterov else velocity)
    torch.testing.assert_close(weight.detach(), expected)


def test_gradients_are_clipped_together() -> None:
    first, second = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    taken = descent([first, second], clip_norm=1.0)
    taken.step(30.0 * first.sum() + 40.0 * second.sum(), 0)
    torch.testing.assert_close([first.item(), second.item()], [-0.06, -0.08], atol=1e-6, rtol=1e-4)
    taken.step(0.3 * first.sum() + 0.4 * second.sum(), 0)  # a norm below the limit stays
    torch.testing.assert_close([first.item(), second.item()], [-0.09, -0.12], atol=1e-6, rtol=1e-4)


def test_its_state_is_all_that_it_remembers() -> None:
    def run(interrupted: bool) -> torch.Tensor:
        weight = nn.Parameter(torch.tensor([2.0, -1.0]))
        taken = descent([weight], optimizer="adamw", weight_decay=0.1)
        for step in range(6):
            if interrupted and step == 3:
                state, taken = taken.state_dict(), descent([weight], optimizer="adamw", weight_decay=0.1)
                taken.load_state_dict(state)
            taken.step(weight.pow(4).sum(), step)
        return weight.detach()

    assert torch.equal(run(True), run(False))


def test_half_precision_with_a_scaled_loss_is_for_gpus() -> None:
    with pytest.raises(ConfigError, match=r"compute\.precision 'fp16' must go with a CUDA device, got 'cpu'; try 'bf"):
        pick_compute("cpu", "fp16")
    assert pick_compute("cpu", "bf16").autocast_dtype is torch.bfloat16


@pytest.mark.gpu
def test_half_precision_finds_a_scale_and_leaves_out_steps_that_overflow() -> None:
    compute = pick_compute("cuda", "fp16")
    weight = nn.Parameter(torch.tensor([1.0], device=compute.device))
    taken = descent([weight], compute=compute)
    before = taken.state_dict()["scaler"]["scale"]
    taken.step(weight.sum() * 1e36, 0)
    assert weight.item() == 1.0
    assert taken.state_dict()["scaler"]["scale"] == before / 2
    taken.step(weight.sum(), 0)
    assert weight.item() == pytest.approx(0.9)
