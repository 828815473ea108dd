"""Which weights of a training are kept, the last or the best on validation, and when it has gone on for long enough."""

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
        patience: validations in a row without a better one after which training may stop; 0 for never.
    """

    def __init__(self, metric: Metric, best: bool, patience: int = 0) -> None:
        self.metric = metric
        self.best = best
        self.patience = patience
        self.value: float | None = None
        self.steps_done = 0
        self.validated_at = 0
        #: Whether training is to stop, as the processes that train together have agreed.
        self.enough = False
        self._weights: dict[str, Tensor] = {}
        self._top: float | None = None
        self._since = 0

    def offer(self, model: torch.nn.Module, value: float, steps_done: int) -> bool:
        """Keeps the model's weights if they are to be kept; says whether they were.

        Args:
            model: the model as it is now.
            value: its validation value.
            steps_done: training steps done so far.
        """
        self.validated_at = steps_done
        # Whichever weights are kept, patience runs out where validation stops getting better; a tie is not better.
        better = self._top is None or not at_least_as_good(self.metric, self._top, value)
        self._since = 0 if better else self._since + 1
        self._top = value if better else self._top
        if self.best and self.value is not None and not at_least_as_good(self.metric, value, self.value):
            return False
        self.value, self.steps_done = value, steps_done
        self._weights = {key: item.detach().clone() for key, item in model.state_dict().items()}
        return True

    def exhausted(self) -> bool:
        """Whether as many validations as ``patience`` have come since the best one."""
        return 0 < self.patience <= self._since

    def restore(self, model: torch.nn.Module) -> None:
        """Puts the kept weights into the model."""
        model.load_state_dict(self._weights)

    def state_dict(self) -> dict[str, Any]:
        """The kept weights with their value and step, and what patience counts."""
        return {
            "value": self.value,
            "steps_done": self.steps_done,
            "validated_at": self.validated_at,
            "top": self._top,
            "since": self._since,
            "weights": self._weights,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes a state that ``state_dict`` gave."""
        self.value, self.steps_done = state["value"], state["steps_done"]
        self.validated_at, self._top, self._since = state["validated_at"], state["top"], state["since"]
        self._weights = state["weights"]
