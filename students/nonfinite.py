"""Stops a training whose loss is no longer finite, and says at which step, with what, and on which rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from data.errors import StageError
from data.files import write_json
from data.workspace import Workspace

#: Steps whose losses wait on the device before they are looked at together, so that no step waits for the device.
AT_ONCE = 50


class FiniteGuard:
    """Remembers the loss of every step and looks at them every so often; the first non-finite one stops the training.

    It is part of the checkpointed state and looks when it is asked for its own: no checkpoint is ever written behind a
    loss that was not finite.

    Args:
        workspace: where ``nonfinite.json`` is written.
        rows_of: the rows of a step's batch by part, for that file.
        rate_at: the learning rate of a step, for that file.
    """

    def __init__(
        self, workspace: Workspace, rows_of: Callable[[int], Mapping[str, list[int]]], rate_at: Callable[[int], float]
    ) -> None:
        self._workspace = workspace
        self._rows_of = rows_of
        self._rate_at = rate_at
        self._seen: list[tuple[int, Mapping[str, Tensor]]] = []

    def saw(self, step: int, parts: Mapping[str, Tensor]) -> None:
        """Takes note of the parts of a step's loss.

        Raises:
            StageError: see ``check``.
        """
        self._seen.append((step, {name: part.detach() for name, part in parts.items()}))
        if len(self._seen) >= AT_ONCE:
            self.check()

    def check(self) -> None:
        """Looks at all losses that it has not yet looked at.

        Raises:
            StageError: if one of them is not finite.
        """
        seen, self._seen = self._seen, []
        if not seen:
            return
        losses = torch.stack([part for _, parts in seen for part in parts.values()])
        if bool(losses.isfinite().all()):
            return
        for step, parts in seen:
            numbers = {name: part.item() for name, part in parts.items()}
            if not math.isfinite(sum(numbers.values())):
                self._stop(step, numbers)

    def _stop(self, step: int, numbers: Mapping[str, float]) -> None:
        bad = sorted(key for key, value in numbers.items() if not math.isfinite(value))
        path = self._workspace.path("nonfinite.json")
        if not self._workspace.follows:
            write_json(
                path,
                {
                    "during": "training",
                    "step": step,
                    "numbers": {key: repr(value) for key, value in numbers.items()},
                    "learning_rate": self._rate_at(step),
                    "rows": dict(self._rows_of(step)),
                },
            )
        raise StageError(
            f"training: {', '.join(bad)} became non-finite at step {step} "
            f"({', '.join(f'{key}={value:g}' for key, value in numbers.items())}); "
            f"try a lower learning rate or precision fp32; rows and numbers are in {path}."
        )

    def state_dict(self) -> dict[str, Any]:
        """Nothing, after a look.

        Raises:
            StageError: see ``check``.
        """
        self.check()
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes a state that ``state_dict`` gave."""
