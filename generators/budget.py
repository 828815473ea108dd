"""The wall time that a training may take."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any


class Budget:
    """Counts the seconds and the steps of a training over all its resumes.

    Seconds between the last checkpoint and a kill are not counted: the steps made in them are made again.

    Args:
        minutes: after which the training ends; None for no limit.
        clock: seconds that never run backwards.
    """

    def __init__(self, minutes: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.steps_done = 0
        self._minutes = minutes
        self._clock = clock
        self._started = clock()

    @property
    def seconds(self) -> float:
        """Spent so far."""
        return self._clock() - self._started

    def spent(self, done: int) -> bool:
        """Notes how many steps are done; true if the time is up."""
        self.steps_done = done
        return self._minutes is not None and self.seconds >= 60 * self._minutes

    def state_dict(self) -> dict[str, Any]:
        """What was spent."""
        return {"seconds": self.seconds, "steps_done": self.steps_done}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on counting from what was spent."""
        self._started = self._clock() - state["seconds"]
        self.steps_done = state["steps_done"]
