"""Snapshots: averaged weights that are judged now and then while a GAN trains, and of which the best are kept."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from data.files import replace_durably

SNAPSHOTS_FILE = "snapshots.jsonl"

#: Steps done to named numbers; "distance" (lower is better) decides.
JudgeWeights = Callable[[int], Mapping[str, float]]
Row = dict[str, float]


class Snapshots:
    """The history of a training's snapshots, and the weights of the best.

    The best has the least distance. Those of the first quarter of the training rank behind all others: a distance of
    features is least sensitive where nothing is sharp yet, and may prefer colourful blobs to the first clear images.

    Args:
        path: of the history, one row a snapshot: steps done, and the judge's numbers.
        networks: those whose weights a snapshot holds.
        steps: of the whole training.
        count: snapshots evenly over the training, the last at its end; 0 for none.
    """

    def __init__(self, path: Path, networks: Mapping[str, nn.Module], *, steps: int, count: int) -> None:
        self._path = path
        self._networks = networks
        self._steps = steps
        self._count = count
        self._rows: list[Row] = []
        self._best: dict[str, dict[str, torch.Tensor]] = {}
        # Left behind by a training that was killed before its first checkpoint.
        path.unlink(missing_ok=True)

    def due(self, done: int) -> bool:
        """Whether a snapshot is to be taken when ``done`` steps are done."""
        return done * self._count // self._steps > (done - 1) * self._count // self._steps

    def missing(self, done: int) -> bool:
        """Whether the last weights, after ``done`` steps, were not judged: the training ended early."""
        return self._count > 0 and not any(row["step"] == done for row in self._rows)

    def take(self, done: int, judge: JudgeWeights) -> Row:
        """Judges the present weights, and keeps them if they are the best so far; returns their row."""
        numbers = {key: float(value) for key, value in judge(done).items() if math.isfinite(value)}
        row = {"step": done, **numbers}
        self._rows.append(row)
        self._write()
        if self._chosen() is row:
            self._best = {
                name: {key: value.detach().clone() for key, value in network.state_dict().items()}
                for name, network in self._networks.items()
            }
        return row

    def finish(self, done: int) -> Row:
        """Puts the best weights into the networks; without a snapshot the last ones stay.

        Returns:
            The row of the chosen snapshot; the steps done alone if there is none.
        """
        chosen = self._chosen()
        if chosen is None:
            return {"step": done}
        for name, network in self._networks.items():
            network.load_state_dict(self._best[name])
        return chosen

    def _chosen(self) -> Row | None:
        judged = [row for row in self._rows if "distance" in row]
        return min(judged, key=lambda row: (4 * row["step"] <= self._steps, row["distance"]), default=None)

    def _write(self) -> None:
        temporary = self._path.with_name(self._path.name + ".tmp")
        temporary.write_text("".join(json.dumps(row) + "\n" for row in self._rows), encoding="utf-8")
        replace_durably(temporary, self._path)

    def state_dict(self) -> dict[str, Any]:
        """History and best weights."""
        return {"rows": self._rows, "best": self._best}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes them back, and undoes rows of the file that are younger."""
        self._rows, self._best = list(state["rows"]), state["best"]
        if self._rows:
            self._write()
