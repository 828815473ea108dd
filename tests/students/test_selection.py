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


@pytest.mark.parametrize("best", [True, False])
def test_patience_runs_out_where_nothing_gets_better_whichever_weights_are_kept(best: bool) -> None:
    selection, model = Selection("mae", best, patience=2), torch.nn.Linear(1, 1)
    ends = []
    for number, value in enumerate([3.0, 2.0, 2.0, 1.5, 1.6, 1.5, 1.0], 1):
        selection.offer(model, value, 10 * number)
        ends.append(selection.exhausted())
    # A tie is not better, and what is better starts the count anew.
    assert ends == [False, False, False, False, False, True, False]
    assert selection.validated_at == 70
    endless = Selection("accuracy", best)
    for number in range(9):
        endless.offer(model, 50.0 - number, number)
    assert not endless.exhausted()


def test_patience_survives_a_file(tmp_path: Path) -> None:
    selection, model = Selection("accuracy", True, patience=2), torch.nn.Linear(1, 1)
    for number, value in enumerate([60.0, 50.0], 1):
        selection.offer(model, value, number)
    save_state(tmp_path / "state", selection.state_dict())
    again = Selection("accuracy", True, patience=2)
    again.load_state_dict(load_state(tmp_path / "state"))
    assert not again.exhausted()
    again.offer(model, 55.0, 3)
    assert again.exhausted()
    assert (again.value, again.steps_done, again.validated_at) == (60.0, 1, 3)
