"""Which weights of a training are kept: the last, or the best on validation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from students.evaluation import Metric, at_least_as_good


class Selection:
    """The kept weights, as part of the checkpointed state so that a resume keeps the same ones.

    Args:
        metric: what validation values mean.
        best: whether the best weights are kept (of equals the later), or always the last.
    """

    def __init__(self, metric: Metric, best: bool) -> None:
        self.metric = metric
        self.best = best
        self.value: float | None = None
        self.steps_done = 0
        self._weights: dict[str, Tensor] = {}

    def offer(self, model: torch.nn.Module, value: float, steps_done: int) -> bool:
        """Keeps the model's weights if they are to be kept; says whether they were.

        Args:
            model: the model as it is now.
            value: its validation value.
            steps_done: training steps done so far.
        """
        if self.best and self.value is not None and not at_least_as_good(self.metric, value, self.value):
            return False
        self.value, self.steps_done = value, steps_done
        self._weights = {key: item.detach().clone() for key, item in model.state_dict().items()}
        return True

    def restore(self, model: torch.nn.Module) -> None:
        """Puts the kept weights into the model."""
        model.load_state_dict(self._weights)

    def state_dict(self) -> dict[str, Any]:
        """The kept weights with their value and step."""
        return {"value": self.value, "steps_done": self.steps_done, "weights": self._weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes a state that ``state_dict`` gave."""
        self.value, self.steps_done = state["value"], state["steps_done"]
        self._weights = state["weights"]
