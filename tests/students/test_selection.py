"""Which weights are kept."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from data.checkpoint import load_state, save_state
from students.evaluation import Metric
from students.selection import Selection


def offered(selection: Selection, values: list[float]) -> torch.nn.Linear:
    model = torch.nn.Linear(1, 1)
    for number, value in enumerate(values, 1):
        with torch.no_grad():
            model.weight.fill_(number)
        selection.offer(model, value, number)
    selection.restore(model)
    return model


@pytest.mark.parametrize(
    ("metric", "best", "values", "kept"),
    [
        ("accuracy", True, [50.0, 90.0, 70.0], 2),
        ("accuracy", True, [90.0, 90.0, 70.0], 2),  # of equals the later
        ("mae", True, [3.0, 1.0, 2.0], 2),
        ("mae", True, [float("inf"), 2.0], 2),
        ("error", True, [30.0, 12.0, 15.0], 2),
        ("accuracy", False, [50.0, 90.0, 70.0], 3),
    ],
)
def test_the_right_weights_are_kept(metric: Metric, best: bool, values: list[float], kept: int) -> None:
    selection = Selection(metric, best)
    assert offered(selection, values).weight.item() == kept
    assert selection.steps_done == kept
    assert selection.value == values[kept - 1]


def test_the_state_survives_a_file(tmp_path: Path) -> None:
    for selection in (Selection("mae", True), Selection("mae", True)):
        save_state(tmp_path / "empty", selection.state_dict())
        again = Selection("mae", True)
        again.load_state_dict(load_state(tmp_path / "empty"))
        assert again.value is None
    offered(selection, [2.0, 3.0])
    save_state(tmp_path / "full", selection.state_dict())
    again.load_state_dict(load_state(tmp_path / "full"))
    model = torch.nn.Linear(1, 1)
    again.restore(model)
    assert (model.weight.item(), again.value, again.steps_done) == (1.0, 2.0, 1)
