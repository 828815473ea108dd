"""The monitors: each fires on the stream of scores that it is for, and stays silent on healthy ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from data.checkpoint import load_state, save_state
from generators.health import Health
from generators.turns import Outcome

STEPS = 1000  # so that the window is 100 steps


def outcome(step: int, real: float, fake: float, spread: float, loss: float = 1.0) -> Outcome:
    """64 scores around each of two means."""
    noise = spread * torch.randn(2, 64, generator=torch.Generator().manual_seed(step))
    return Outcome({"adversarial": torch.tensor(loss)}, fake + noise[0], real + noise[1])


class Stream:
    """A monitored training, step by step."""

    def __init__(self, folder: Path, steps: int = STEPS) -> None:
        self.said: list[str] = []
        self.path = folder / "warnings.json"
        self.health = Health(self.path, self.said.append, steps=steps, guessing=2.0, device=torch.device("cpu"))
        self.step = 0

    def feed(self, steps: int, real: float, fake: float, spread: float, loss: float = 1.0) -> dict[str, float]:
        numbers = {}
        for _ in range(steps):
            self.health.watch(self.step, outcome(self.step, real, fake, spread, loss))
            if self.step % 50 == 0:
                numbers = self.health.check(self.step + 1)
            self.step += 1
        return numbers

    @property
    def kinds(self) -> list[str]:
        return [finding["kind"] for finding in json.loads(self.path.read_text(encoding="utf-8"))]


def test_a_healthy_training_gives_no_warning(tmp_path: Path) -> None:
    stream = Stream(tmp_path)
    numbers = stream.feed(800, 0.4, -0.3, 0.7)
    assert 0.6 < numbers["told_apart"] < 0.8
    stream.health.check_judged({"step": 500, "distance": 0.1, "diversity": 0.8})
    for _ in range(20):
        stream.health.check_memory(800, 0.3)
    assert stream.said == []
    assert json.loads(stream.path.read_text(encoding="utf-8")) == []


def test_a_discriminator_that_has_won_is_named_once_with_the_share(tmp_path: Path) -> None:
    stream = Stream(tmp_path)
    stream.feed(600, 3.0, -3.0, 0.5)
    assert len(stream.said) == 1
    assert "the discriminator has won: it tells 100.0% of real and generated images apart" in stream.said[0]
    assert "discriminator_learning_rate" in stream.said[0]
    (finding,) = json.loads(stream.path.read_text(encoding="utf-8"))
    assert finding["kind"] == "discriminator_won"
    assert finding["number"] == pytest.approx(1.0, abs=1e-3)
    assert finding["step"] == 201
    assert finding["sentence"] == stream.said[0]


def test_the_share_told_apart_is_that_of_the_recent_window(tmp_path: Path) -> None:
    stream = Stream(tmp_path)
    stream.feed(300, 0.1, -0.1, 1.0)
    assert stream.kinds == []
    stream.feed(100, 5.0, -5.0, 0.1)
    assert stream.kinds == []  # old steps still count
    stream.feed(500, 5.0, -5.0, 0.1)
    assert stream.kinds == ["discriminator_won"]


def test_a_blind_discriminator_is_named_but_not_one_whose_scores_differ(tmp_path: Path) -> None:
    stream = Stream(tmp_path)
    stream.feed(600, 0.3, 0.3, 0.5)
    assert stream.kinds == ["discriminator_blind"]
    assert "scores real ones" in stream.said[0]
    (tmp_path / "other").mkdir()
    fooled = Stream(tmp_path / "other")
    fooled.feed(600, 0.5, 1.5, 0.1)  # it prefers generated images
    assert fooled.kinds == ["discriminator_blind"]
    (tmp_path / "third").mkdir()
    shifted = Stream(tmp_path / "third")
    shifted.feed(600, 2.5, 1.5, 0.1)  # every sign is +, so half are right, but the order is learnt
    assert shifted.kinds == []


def test_a_loss_far_above_guessing_is_named(tmp_path: Path) -> None:
    stream = Stream(tmp_path)
    stream.feed(600, -5.0, 5.0, 1.0, loss=14.0)
    assert "diverging" in stream.kinds
    assert "loss is 14, where guessing costs 2" in " ".join(stream.said)


def test_numbers_that_are_not_finite_are_left_to_the_log(tmp_path: Path) -> None:
    stream = Stream(tmp_path)
    stream.feed(300, 0.4, -0.4, 0.7, loss=float("inf"))
    stream.feed(300, float("nan"), -0.4, 0.7, loss=float("nan"))
    assert stream.kinds == []


def test_collapsed_modes_are_named_with_their_diversity(tmp_path: Path) -> None:
    stream = Stream(tmp_path)
    stream.health.check_judged({"step": 100, "distance": 0.1, "diversity": 0.01})  # the first tenth
    stream.health.check_judged({"step": 250, "distance": 0.1})
    stream.health.check_judged({"step": 500, "distance": 0.1, "diversity": 0.12})
    stream.health.check_judged({"step": 750, "distance": 0.1, "diversity": 0.05})
    assert len(stream.said) == 1
    assert stream.said[0].startswith("After 500 steps modes collapse")
    assert "differ only 12% as much as real ones" in stream.said[0]


def test_memorising_must_last(tmp_path: Path) -> None:
    stream = Stream(tmp_path)
    stream.health.check_memory(500, 1.0)
    assert stream.kinds == []
    for _ in range(12):
        stream.health.check_memory(600, 1.0)
    assert stream.kinds == ["discriminator_memorises"]


def test_short_trainings_are_not_judged_by_their_first_steps(tmp_path: Path) -> None:
    stream = Stream(tmp_path, steps=20)
    stream.feed(20, 3.0, -3.0, 0.5)
    assert stream.kinds == []


@pytest.mark.parametrize("cut", [150, 230, 390])
def test_a_resumed_training_says_the_same(tmp_path: Path, cut: int) -> None:
    def play(stream: Stream, until: int) -> None:
        while stream.step < until:
            won = stream.step >= 100
            stream.feed(1, *((4.0, -4.0, 0.1) if won else (0.4, -0.4, 1.0)))

    (tmp_path / "whole").mkdir()
    whole = Stream(tmp_path / "whole")
    play(whole, 700)
    stream = Stream(tmp_path)
    play(stream, cut)
    save_state(tmp_path / "state", stream.health.state_dict())
    play(stream, 700)  # goes on, and is killed
    resumed = Stream(tmp_path)
    resumed.health.load_state_dict(load_state(tmp_path / "state"))
    assert resumed.kinds == []
    resumed.step = cut
    play(resumed, 700)
    assert resumed.path.read_bytes() == whole.path.read_bytes()
    assert resumed.said == whole.said
    assert len(whole.said) == 1
