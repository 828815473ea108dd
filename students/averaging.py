"""Exponential moving average of weights."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from students.model import ImageModel


class WeightAverage:
    """The average that is validated, selected and saved in place of the weights; at decay 0 it is the weights.

    average <- d average + (1 - d) weights after every step, with d = min(decay, (1 + steps) / (10 + steps)), so that
    the first weights are soon forgotten (the warm start of TensorFlow's ExponentialMovingAverage; Polyak and Juditsky,
    1992, for averaging itself). Buffers, such as the statistics of BatchNorm, are copied: they are averages already.

    Args:
        model: whose weights are averaged; on its device, with its first weights.
        decay: in [0, 1).
    """

    def __init__(self, model: ImageModel, decay: float) -> None:
        self._source = model
        self._decay = decay
        self.model = copy.deepcopy(model).requires_grad_(False).eval() if decay > 0.0 else model

    @torch.no_grad()
    def update(self, steps_done: int) -> None:
        """Takes the weights after ``steps_done`` steps into the average."""
        if self.model is self._source:
            return
        decay = min(self._decay, (1.0 + steps_done) / (10.0 + steps_done))
        averaged: list[Tensor] = list(self.model.parameters())
        weights: list[Tensor] = list(self._source.parameters())
        torch._foreach_lerp_(averaged, weights, 1.0 - decay)
        for mine, theirs in zip(self.model.buffers(), self._source.buffers(), strict=True):
            mine.copy_(theirs)

    def state_dict(self) -> dict[str, Any]:
        """The averaged weights; nothing at decay 0, where they are saved as the model."""
        return {} if self.model is self._source else self.model.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes a state that ``state_dict`` gave."""
        if self.model is not self._source:
            self.model.load_state_dict(state)
