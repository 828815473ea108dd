"""Averaged weights against the sum that they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from data.labels import LabelSpace
from students.averaging import WeightAverage
from students.model import ImageModel, build_model


def model() -> ImageModel:
    space = LabelSpace("class", ("a", "b"))
    return build_model("convnet", {"channels": 2, "blocks": 1}, (1, 8, 8), space, np.zeros(1), np.ones(1))


def test_the_average_is_that_of_all_weights_so_far() -> None:
    source = model()
    average = WeightAverage(source, 0.6)
    weights = [parameter.detach().clone() for parameter in source.parameters()]
    for step in range(1, 17):
        with torch.no_grad():
            for parameter in source.parameters():
                parameter.add_(step)
            source(torch.rand(3, 1, 8, 8) * 255)  # moves the statistics of BatchNorm
        average.update(step)
        decay = min(0.6, (1 + step) / (10 + step))  # 0.6 from step 13 on
        weights = [
            decay * mean + (1 - decay) * parameter.detach()
            for mean, parameter in zip(weights, source.parameters(), strict=True)
        ]
    for mine, expected in zip(average.model.parameters(), weights, strict=True):
        torch.testing.assert_close(mine, expected, check_stride=False)
        assert not mine.requires_grad
    for mine, theirs in zip(average.model.buffers(), source.buffers(), strict=True):
        assert torch.equal(mine, theirs)


def test_without_decay_it_is_the_model_itself() -> None:
    source = model()
    average = WeightAverage(source, 0.0)
    average.update(1)
    assert average.model is source
    assert average.state_dict() == {}


@pytest.mark.parametrize("decay", [0.5, 0.99])
def test_its_state_goes_on(decay: float) -> None:
    source = model()
    first = WeightAverage(source, decay)
    with torch.no_grad():
        for parameter in source.parameters():
            parameter.mul_(2)
    first.update(1)
    second = WeightAverage(source, decay)
    second.load_state_dict(first.state_dict())
    for mine, theirs in zip(second.model.parameters(), first.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    assert not torch.equal(next(second.model.parameters()), next(source.parameters()))
