"""Snapshots: when they are taken, which is kept, and that a resume changes nothing."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from data.checkpoint import load_state, save_state
from data.workspace import read_log
from generators.snapshots import Snapshots


def network() -> nn.Module:
    return nn.BatchNorm1d(1)


def run(
    path: Path, distances: dict[int, float], *, steps: int = 100, cut: int | None = None
) -> tuple[nn.Module, dict[str, float]]:
    """Takes snapshots of a network whose weight is the number of steps done; may be cut off and resumed."""
    followed = network()
    snapshots = Snapshots(path, {"generator": followed}, steps=steps, count=len(distances))
    for done in distances:
        if done == cut:
            save_state(path.with_suffix(".safetensors"), snapshots.state_dict())
            snapshots.take(done, lambda _: {"distance": -5.0})  # after the checkpoint; must be undone
            followed = network()
            snapshots = Snapshots(path, {"generator": followed}, steps=steps, count=len(distances))
            snapshots.load_state_dict(load_state(path.with_suffix(".safetensors")))
        nn.init.constant_(followed.weight, float(done))
        followed.num_batches_tracked.fill_(done)
        snapshots.take(done, lambda done: {"distance": distances[done], "diversity": 0.5})
    return followed, snapshots.finish(max(distances))


@pytest.mark.parametrize(("steps", "count"), [(100, 8), (2000, 8), (10, 8), (3, 8), (7, 1), (10, 0)])
def test_snapshots_are_spread_evenly_and_the_last_is_at_the_end(tmp_path: Path, steps: int, count: int) -> None:
    snapshots = Snapshots(tmp_path / "s.jsonl", {}, steps=steps, count=count)
    due = [done for done in range(1, steps + 1) if snapshots.due(done)]
    assert len(due) == min(steps, count)
    assert not count or due[-1] == steps
    if count and steps % count == 0:
        assert due == list(range(steps // count, steps + 1, steps // count))
    gaps = {after - before for before, after in zip([0, *due], due, strict=False)}
    assert not gaps or max(gaps) - min(gaps) <= 1


@pytest.mark.parametrize("cut", [None, 50, 75])
def test_the_least_distance_wins_and_a_resume_changes_nothing(tmp_path: Path, cut: int | None) -> None:
    kept, chosen = run(tmp_path / "s.jsonl", {25: 3.0, 50: 1.0, 75: 1.0, 100: 2.0}, cut=cut)
    assert chosen == {"step": 50, "distance": 1.0, "diversity": 0.5}
    assert kept.weight.item() == 50
    assert kept.num_batches_tracked.item() == 50
    rows = [(row["step"], row["distance"]) for row in read_log(tmp_path / "s.jsonl")]
    assert rows == [(25, 3.0), (50, 1.0), (75, 1.0), (100, 2.0)]


def test_the_first_quarter_wins_only_if_it_is_all_there_is(tmp_path: Path) -> None:
    kept, chosen = run(tmp_path / "a.jsonl", {5: 0.1, 25: 0.2, 26: 9.0, 100: 8.0})
    assert (kept.weight.item(), chosen["step"]) == (100, 100)
    kept, chosen = run(tmp_path / "b.jsonl", {5: 0.3, 25: 0.2})
    assert (kept.weight.item(), chosen["step"]) == (25, 25)


def test_a_judge_without_a_finite_distance_leaves_the_last_weights(tmp_path: Path) -> None:
    followed = network()
    snapshots = Snapshots(tmp_path / "s.jsonl", {"generator": followed}, steps=4, count=2)
    snapshots.take(2, lambda _: {"distance": math.nan})
    snapshots.take(4, lambda _: {"diversity": 0.1})
    nn.init.constant_(followed.weight, 7.0)
    assert snapshots.finish(4) == {"step": 4}
    assert followed.weight.item() == 7
    assert read_log(tmp_path / "s.jsonl") == [{"step": 2}, {"step": 4, "diversity": 0.1}]


def test_a_kept_snapshot_does_not_follow_the_network(tmp_path: Path) -> None:
    followed = network()
    snapshots = Snapshots(tmp_path / "s.jsonl", {"generator": followed}, steps=2, count=2)
    nn.init.constant_(followed.weight, 1.0)
    snapshots.take(1, lambda _: {"distance": 1.0})
    with torch.no_grad():
        followed.weight.add_(1.0)
    assert not snapshots.missing(1)
    assert snapshots.missing(2)
    snapshots.finish(2)
    assert followed.weight.item() == 1.0


def test_rows_of_a_training_without_a_checkpoint_are_forgotten(tmp_path: Path) -> None:
    (tmp_path / "s.jsonl").write_text('{"step": 5}\n', encoding="utf-8")
    Snapshots(tmp_path / "s.jsonl", {}, steps=10, count=2)
    assert not (tmp_path / "s.jsonl").exists()
