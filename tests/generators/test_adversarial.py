"""The adversarial loop, on networks so small that every setting can be compared with a second way to compute it."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from data.batches import Batches, to_unit
from data.compute import Compute
from data.labels import LabelSpace
from data.workspace import Workspace, read_log
from generators import adversarial
from generators.adversarial import train_adversarially
from generators.budget import Budget
from generators.losses import hinge_discriminator_loss
from generators.networks import Verdict
from generators.objective import Objective
from generators.overfitting import HeldOut
from generators.recipe import Recipe
from generators.turns import Draw, Game, Outcome

SPACE = LabelSpace("class", names=("dark", "bright"))
CPU = Compute(torch.device("cpu"))
LABELS = np.arange(40, dtype=np.int64) % 2
IMAGES = np.clip(
    60 + 120 * LABELS[:, None, None, None] + np.random.default_rng(0).normal(0, 30, (40, 1, 8, 8)), 0, 255
).astype(np.uint8)


class Painter(nn.Module):
    """A generator without batch statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 64))

    def forward(self, latents: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        told = torch.cat([latents, nn.functional.one_hot(labels, 2).float()], dim=1)
        return self.body(told).tanh().reshape(-1, 1, 8, 8)


class Critic(nn.Module):
    """A discriminator with an auxiliary classifier and dropout."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.LeakyReLU(0.2), nn.Dropout(dropout))
        self.score, self.classes = nn.Linear(16, 2), nn.Linear(16, 2)

    def forward(self, images: torch.Tensor, labels: torch.Tensor) -> Verdict:
        features = self.body(images)
        return Verdict(self.score(features).gather(1, labels[:, None])[:, 0], self.classes(features))


def networks(dropout: float = 0.0) -> tuple[nn.Module, nn.Module]:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return Painter(), Critic(dropout)


Weights = dict[str, torch.Tensor]


def train(
    workspace: Workspace,
    *,
    dropout: float = 0.0,
    judge: Any = None,
    objective: Objective | None = None,
    **settings: Any,
) -> tuple[Weights, Weights, dict[str, Any]]:
    further = {key: settings.pop(key) for key in ("warn", "compile_networks") if key in settings}
    recipe = Recipe(**{"steps": 12, "batch_size": 8, "generator_learning_rate": 1e-2, **settings})
    batches, aims = Batches(40, recipe.batch_size, 1), Batches(40, recipe.batch_size, 2)

    def draw(step: int) -> Draw:
        rows = batches.at(step)
        return Draw(rows, LABELS[rows], LABELS[rows], np.linspace(0.5, 1, recipe.batch_size, dtype=np.float32))

    averaged, discriminator, numbers = train_adversarially(
        IMAGES,
        *networks(dropout),
        objective or Objective(SPACE),
        recipe,
        draw=draw,
        aim=lambda step: LABELS[aims.at(step)],
        latent_size=4,
        judge=judge,
        held_out=HeldOut.choose((IMAGES, LABELS), (255 - IMAGES, LABELS), 4, 0),
        **{"warn": None, "compile_networks": False, **further},
        seed=5,
        compute=CPU,
        workspace=workspace,
    )
    return averaged.state_dict(), discriminator.state_dict(), numbers


def same(first: Weights, second: Weights) -> bool:
    return all(torch.equal(value, second[key]) for key, value in first.items())


def close(first: Weights, second: Weights) -> None:
    for key, value in first.items():
        torch.testing.assert_close(value, second[key], rtol=1e-4, atol=1e-5)


EVERYTHING: dict[str, Any] = {
    "augment": ("color", "translation", "cutout"),
    "flip": True,
    "r1_weight": 0.5,
    "r1_every": 3,
    "consistency_weight": 2.0,
    "discriminator_steps": 2,
    "gradient_clip": 0.8,
}


@pytest.mark.parametrize("loss", ["hinge", "non_saturating"])
@pytest.mark.parametrize("accumulate", [2, 3, 8])
def test_a_batch_in_parts_gives_the_gradients_of_the_whole(tmp_path: Path, accumulate: int, loss: str) -> None:
    objective = Objective(SPACE, loss, "acgan")
    whole = train(Workspace(tmp_path / "a"), objective=objective, steps=4, **EVERYTHING)
    parts = train(Workspace(tmp_path / "b"), objective=objective, steps=4, accumulate=accumulate, **EVERYTHING)
    close(whole[0], parts[0])
    close(whole[1], parts[1])
    for first, second in zip(*(read_log(tmp_path / name / "generator.jsonl") for name in "ab"), strict=True):
        assert first == pytest.approx(second, rel=1e-3, abs=1e-4)


def test_every_setting_changes_the_training_and_is_logged(tmp_path: Path) -> None:
    plain = train(Workspace(tmp_path / "plain"), augment=())[1]
    for name, value in [*EVERYTHING.items(), ("loss", "non_saturating")]:
        settings = {"augment": (), name: value} if name != "loss" else {"augment": ()}
        objective = Objective(SPACE, value) if name == "loss" else None
        changed = train(Workspace(tmp_path / name), objective=objective, **settings)[1]
        assert same(plain, changed) == (name == "r1_every"), name
    columns = {name: set(read_log(tmp_path / name / "generator.jsonl")[0]) for name in EVERYTHING}
    assert columns["flip"] == {
        "step", "d_loss", "d_real", "d_fake", "g_loss", "told_apart", "d_gradient", "g_gradient", "memorised"
    }  # fmt: skip
    assert columns["r1_weight"] - columns["flip"] == {"d_adversarial", "d_r1"}
    assert columns["consistency_weight"] - columns["flip"] == {"d_adversarial", "d_consistency"}


def turn(discriminator: nn.Module, number: int = 0, **settings: Any) -> Outcome:
    game = Game(IMAGES, networks()[0], discriminator, Objective(SPACE), Recipe(augment=(), **settings), 4, CPU)
    draw = Draw(np.arange(8), LABELS[:8], LABELS[:8])
    rng = torch.Generator().manual_seed(3)
    return game.discriminator_turn(draw, number, rng)


def test_a_discriminator_turn_equals_the_loss_written_out() -> None:
    generator, discriminator = networks()
    rng = torch.Generator().manual_seed(3)
    labels = torch.from_numpy(LABELS[:8])
    fake = generator(torch.randn(8, 4, generator=rng), labels)
    real = to_unit(torch.from_numpy(IMAGES[:8])).requires_grad_(True)
    scores = discriminator(real, labels).scores
    (slopes,) = torch.autograd.grad(scores.sum(), real, create_graph=True)
    # With one image a part, R1 is the mean of single squared gradients.
    loss = hinge_discriminator_loss(scores, discriminator(fake.detach(), labels).scores)
    penalty = 0.5 * 0.7 * 4 * sum(slope.square().sum() for slope in slopes) / 8
    (loss + penalty).backward()
    expected = [parameter.grad for parameter in discriminator.score.parameters()]
    other = copy.deepcopy(discriminator)
    other.zero_grad()
    found = turn(other, 8, r1_weight=0.7, r1_every=4)
    assert found.losses["adversarial"].item() == pytest.approx(loss.item(), rel=1e-5)
    assert found.losses["r1"].item() == pytest.approx(penalty.item(), rel=1e-5)
    for gradient, wanted in zip(other.score.parameters(), expected, strict=True):
        torch.testing.assert_close(gradient.grad, wanted, rtol=1e-4, atol=1e-6)


def test_r1_comes_every_few_turns_with_as_much_weight() -> None:
    having = [number for number in range(9) if "r1" in turn(networks()[1], number, r1_weight=1.0, r1_every=4).losses]
    assert having == [0, 4, 8]


def test_consistency_costs_something_only_where_scores_change_with_a_small_move() -> None:
    discriminator = networks()[1]
    assert turn(discriminator, consistency_weight=1.0).losses["consistency"] > 0
    nn.init.zeros_(discriminator.score.weight)
    assert turn(discriminator, consistency_weight=1.0).losses["consistency"] == 0


@pytest.mark.parametrize("largest", [None, 1e-3])
def test_gradients_are_clipped_to_their_norm(largest: float | None) -> None:
    discriminator = networks()[1]
    turn(discriminator)
    used = [parameter for parameter in discriminator.parameters() if parameter.grad is not None]
    gradients = torch.cat([parameter.grad.flatten() for parameter in used])
    norm = adversarial.limit_gradient(discriminator, largest)
    assert norm.item() == pytest.approx(math.sqrt(gradients.square().sum().item()), rel=1e-5)
    clipped = torch.cat([parameter.grad.flatten() for parameter in used])
    torch.testing.assert_close(clipped, gradients if largest is None else gradients * largest / norm, rtol=1e-2, atol=0)


class StoppingWorkspace(Workspace):
    """A workspace whose training dies at a step, after a checkpoint of the step before."""

    def __init__(self, folder: Path, stop: int) -> None:
        super().__init__(folder, checkpoint_seconds=0.0)
        self.stop = stop

    def report(self, task: str, done: int, total: int) -> None:
        if done == self.stop:
            raise KeyboardInterrupt


def judge(done: int, network: nn.Module) -> dict[str, float]:
    """Likes the weights of the middle of the training."""
    norm = float(sum(value.square().sum() for value in network.state_dict().values()))
    return {"distance": abs(done - 8) + 1e-6 * norm, "diversity": 0.1 if done > 6 else 1.0}


@pytest.mark.parametrize("stops", [[1], [4, 9], [12], [5, 6, 7]])
def test_a_resumed_training_with_every_setting_equals_the_uninterrupted_one(tmp_path: Path, stops: list[int]) -> None:
    settings = {**EVERYTHING, "dropout": 0.4, "judge": judge, "snapshots": 4, "accumulate": 2}
    whole = train(Workspace(tmp_path / "whole"), **settings)
    said: list[str] = []
    for stop in stops:
        with pytest.raises(KeyboardInterrupt):
            train(StoppingWorkspace(tmp_path / "cut", stop), **settings)
        torch.rand(3)
    resumed = train(Workspace(tmp_path / "cut"), warn=said.append, **settings)
    assert same(whole[0], resumed[0])
    assert same(whole[1], resumed[1])
    assert whole[2] == resumed[2]
    for name in ("generator.jsonl", "snapshots.jsonl", "warnings.json"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert [row["step"] for row in read_log(tmp_path / "whole" / "snapshots.jsonl")] == [3, 6, 9, 12]
    assert json.loads((tmp_path / "whole" / "warnings.json").read_text())[0]["kind"] == "modes_collapse"
    assert len(said) == (stops[-1] < 10)
    again = train(Workspace(tmp_path / "whole"), **settings)
    assert again[2] == whole[2]
    assert same(again[0], whole[0])


def test_the_best_snapshot_is_what_a_shorter_training_ends_with(tmp_path: Path) -> None:
    best = train(Workspace(tmp_path / "a"), judge=judge, snapshots=4)
    assert best[2]["chosen_step"] == 9
    assert best[2]["chosen_diversity"] == 0.1
    shorter = train(Workspace(tmp_path / "b"), steps=9)
    assert same(best[0], shorter[0])
    assert shorter[2]["chosen_step"] == 9
    assert not (tmp_path / "b" / "snapshots.jsonl").exists()
    last = train(Workspace(tmp_path / "c"), judge=judge, snapshots=0)
    assert last[2]["chosen_step"] == 12


def clock(monkeypatch: pytest.MonkeyPatch, minutes_a_look: float) -> None:
    now = iter(range(100_000))
    monkeypatch.setattr(adversarial, "Budget", lambda minutes: Budget(minutes, lambda: 60 * minutes_a_look * next(now)))


def test_a_training_whose_time_is_up_ends_cleanly_and_stays_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock(monkeypatch, 1.0)
    settings = {"max_minutes": 5.0, "judge": judge, "snapshots": 2}
    weights, _, numbers = train(Workspace(tmp_path / "a"), **settings)
    assert (numbers["steps_done"], numbers["stopped_by"]) == (5, "max_minutes")
    # The last weights are judged although no snapshot was due.
    assert [row["step"] for row in read_log(tmp_path / "a" / "snapshots.jsonl")] == [5]
    assert numbers["chosen_step"] == 5
    assert same(weights, train(Workspace(tmp_path / "b"), steps=5)[0])
    again = train(Workspace(tmp_path / "a"), **settings)
    assert again[2] == numbers
    assert same(again[0], weights)
    enough = train(Workspace(tmp_path / "c"), **{**settings, "max_minutes": 500.0})
    assert (enough[2]["steps_done"], enough[2]["stopped_by"]) == (12, "steps")


def test_time_before_a_kill_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock(monkeypatch, 1.0)
    with pytest.raises(KeyboardInterrupt):
        train(StoppingWorkspace(tmp_path, 4), max_minutes=8.0)
    numbers = train(Workspace(tmp_path), max_minutes=8.0)[2]
    # Three steps and three checkpoints took six minutes; the next look is the seventh.
    assert numbers["steps_done"] == 5
    assert numbers["stopped_by"] == "max_minutes"


def test_the_global_random_state_is_neither_used_nor_changed(tmp_path: Path) -> None:
    first = train(Workspace(tmp_path / "a"), dropout=0.5)
    torch.rand(9)
    state = torch.random.get_rng_state()
    second = train(Workspace(tmp_path / "b"), dropout=0.5)
    assert torch.equal(state, torch.random.get_rng_state())
    assert same(first[1], second[1])
    assert not same(first[1], train(Workspace(tmp_path / "c"))[1])


def test_a_look_at_the_memory_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = train(Workspace(tmp_path / "a"), dropout=0.5)
    monkeypatch.setattr(HeldOut, "memorised", lambda *_: 0.0)
    assert same(first[1], train(Workspace(tmp_path / "b"), dropout=0.5)[1])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiled_networks_learn_the_same_and_keep_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    compile_in_place = nn.Module.compile
    compiled_modules = []

    def compile_with_backend(module: nn.Module) -> None:
        compiled_modules.append(module)
        compile_in_place(module, backend=backend)

    monkeypatch.setattr(nn.Module, "compile", compile_with_backend)
    settings = {"steps": 3, "r1_weight": 1.0, "r1_every": 2, "augment": ()}
    plain = train(Workspace(tmp_path / "a"), **settings)
    compiled = train(Workspace(tmp_path / "b"), compile_networks=True, **settings)
    assert [type(module) for module in compiled_modules] == [Painter, Critic]
    assert list(plain[0]) == list(compiled[0])
    close(plain[0], compiled[0])
    close(plain[1], compiled[1])
