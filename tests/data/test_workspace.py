"""Steps that resume, shards, logs, and the numbers that stop a stage."""

import json

import pytest
import torch

from data.checkpoint import load_state, load_weights, save_state, save_weights
from data.errors import DataError, StageError
from data.workspace import Workspace, read_log


class Stop(Exception):
    """Stands for a kill."""


def train(folder, stop_at=None, total=20):
    """Adam on a small network, with the step's own randomness; returns the weights."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 1))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    workspace = Workspace(folder, checkpoint_seconds=0)
    done = []
    for step in workspace.steps("training", total, {"network": network, "optimizer": optimizer}, log_every=3):
        rng = torch.Generator().manual_seed(step)
        loss = network(torch.randn(16, 4, generator=rng)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        if step == stop_at:
            workspace.log(step, loss=123.0)
            raise Stop
        optimizer.step()
        done.append(step)
        if workspace.should_log(step):
            workspace.log(step, loss=loss.item())
    return network.state_dict(), done, workspace


def test_resumed_training_is_bit_identical(tmp_path):
    expected, _, _ = train(tmp_path / "whole")
    with pytest.raises(Stop):
        train(tmp_path / "cut", stop_at=11)
    resumed, done, workspace = train(tmp_path / "cut")
    assert done == list(range(11, 20))
    assert all(torch.equal(expected[key], resumed[key]) for key in expected)
    log = read_log(workspace.path("training.jsonl"))
    assert [row["step"] for row in log] == [0, 3, 6, 9, 12, 15, 18, 19]
    assert log == read_log(tmp_path / "whole" / "training.jsonl")


def test_finished_steps_are_not_repeated(tmp_path):
    expected, _, _ = train(tmp_path)
    again, done, _ = train(tmp_path)
    assert done == []
    assert all(torch.equal(expected[key], again[key]) for key in expected)


def test_checkpoint_interval_is_kept(tmp_path):
    workspace = Workspace(tmp_path, checkpoint_seconds=1000)
    network = torch.nn.Linear(1, 1)
    saved = []
    for _ in workspace.steps("training", 3, {"network": network}):
        saved.append((workspace.state_folder / "training.safetensors").exists())
    assert saved == [False, False, False]
    assert load_state(workspace.state_folder / "training.safetensors")["step"] == 3


def test_steps_that_were_told_to_stop_are_finished(tmp_path):
    network, told = torch.nn.Linear(1, 1), []

    def stop(done):
        told.append(done)
        return done == 3

    steps = list(Workspace(tmp_path).steps("training", 10, {"network": network}, stop=stop))
    assert steps == [0, 1, 2]
    assert told == [1, 2, 3]
    assert load_state(tmp_path / ".state" / "training.safetensors")["step"] == 3
    assert list(Workspace(tmp_path).steps("training", 10, {"network": network}, stop=stop)) == []
    assert told == [1, 2, 3]


def test_non_finite_number_stops_with_its_parts(tmp_path):
    workspace = Workspace(tmp_path)
    steps = workspace.steps("training", 3, {})
    next(steps)
    with pytest.raises(StageError, match=r"training: loss became non-finite at step 0 .*learning rate"):
        workspace.log(0, loss=float("nan"), rate=0.1)
    saved = json.loads((tmp_path / "nonfinite.json").read_text())
    assert saved == {"during": "training", "step": 0, "numbers": {"loss": "nan", "rate": "0.1"}}


def test_shards_yield_only_what_is_missing(tmp_path):
    workspace = Workspace(tmp_path)
    for number, path in workspace.shards("part", 4):
        if number == 2:
            break
        path.write_text(str(number))
    left = []
    for number, path in Workspace(tmp_path).shards("part", 4):
        path.write_text(str(number))
        left.append(number)
    assert left == [2, 3]
    assert [path.read_text() for path in workspace.shard_paths("part", 4)] == ["0", "1", "2", "3"]


def test_progress_is_reported_at_the_end(tmp_path):
    seen = []
    workspace = Workspace(tmp_path, progress=lambda *report: seen.append(report[:3]))
    for _ in workspace.steps("training", 5, {}):
        pass
    assert seen[-1] == ("training", 5, 5)


def test_state_keeps_containers_and_types(tmp_path):
    state = {"a": [1, 2.5, None, True, "x"], "b": {0: torch.arange(3), "c": {"d": torch.zeros(0)}}, "e": ()}
    save_state(tmp_path / "s.safetensors", state)
    loaded = load_state(tmp_path / "s.safetensors")
    assert loaded["a"] == state["a"]
    assert torch.equal(loaded["b"][0], torch.arange(3))
    assert loaded["b"]["c"]["d"].shape == (0,)
    assert loaded["e"] == []


@pytest.mark.parametrize("content", [b"", b"garbage" * 10, b"\x80\x04\x95"])
def test_unreadable_checkpoint_is_named(tmp_path, content):
    path = tmp_path / "s.safetensors"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"s\.safetensors cannot be read"):
        load_state(path)


def test_weights_round_trip_and_refuse_another_network(tmp_path):
    network, other = torch.nn.Linear(2, 3), torch.nn.Linear(2, 3)
    save_weights(tmp_path / "w.safetensors", network)
    load_weights(tmp_path / "w.safetensors", other)
    assert torch.equal(network.weight, other.weight)
    with pytest.raises(DataError, match="cannot be loaded into Linear"):
        load_weights(tmp_path / "w.safetensors", torch.nn.Linear(5, 3))
    with pytest.raises(DataError, match="cannot be loaded"):
        load_weights(tmp_path / "absent.safetensors", other)
