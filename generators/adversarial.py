"""The adversarial training loop that class and continuous GANs share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from data.checkpoint import Stateful
from data.compute import Compute
from data.random import derive_seed
from data.workspace import Workspace, read_log
from generators.budget import Budget
from generators.ema import Ema
from generators.health import FINDINGS_FILE, Health
from generators.objective import Objective
from generators.overfitting import HeldOut
from generators.recipe import Recipe
from generators.snapshots import SNAPSHOTS_FILE, Snapshots
from generators.turns import Draw, Game, Outcome

LOG_NAME = "generator"

#: Steps done and averaged generator to named numbers; "distance" (lower is better) decides which weights are kept.
JudgeNetwork = Callable[[int, nn.Module], Mapping[str, float]]


def train_adversarially(
    images: npt.NDArray[np.uint8],
    generator: nn.Module,
    discriminator: nn.Module,
    objective: Objective,
    recipe: Recipe,
    *,
    draw: Callable[[int], Draw],
    aim: Callable[[int], npt.NDArray[Any]],
    latent_size: int,
    judge: JudgeNetwork | None,
    held_out: HeldOut | None,
    warn: Callable[[str], None] | None,
    compile_networks: bool,
    seed: int,
    compute: Compute,
    workspace: Workspace,
) -> tuple[nn.Module, nn.Module, dict[str, Any]]:
    """Trains a conditional GAN with DiffAugment and an average of the generator's weights.

    A step is a function of the seed, its number and the state, all of which a checkpoint holds.

    Args:
        images: uint8 (N, C, H, W).
        generator: (latents, conditions) -> images in [-1, 1].
        discriminator: (images, conditions) -> Verdict with the heads of ``objective``.
        objective: the losses of both.
        recipe: everything else that a user may set.
        draw: the batch of a discriminator step, a pure function of that step's number.
        aim: the conditions of a generator step, a pure function of its number.
        latent_size: length of a latent vector.
        judge: judges the snapshots; without one the last weights are kept.
        held_out: images that tell whether the discriminator memorises; None if there are none.
        warn: is told once of each thing that goes wrong.
        compile_networks: whether torch.compile makes both networks faster; the same weights, but other roundings.
        seed: of latents, augmentation and dropout.
        compute: device and precision.
        workspace: keeps the log, the history of the snapshots, the warnings and the checkpoints.

    Returns:
        The averaged generator of the best snapshot; the discriminator, of the same one where it has a density ratio;
        and the last logged numbers with "steps_done", "stopped_by" ("steps" or "max_minutes"), "chosen_step" and what
        the judge said of it.
    """
    generator, discriminator = compute.place(generator), compute.place(discriminator)
    betas = (recipe.first_momentum, 0.999)
    generator_adam = torch.optim.Adam(generator.parameters(), lr=recipe.generator_learning_rate, betas=betas)
    discriminator_adam = torch.optim.Adam(
        discriminator.parameters(), lr=recipe.discriminator_learning_rate, betas=betas
    )
    ema = Ema(generator, recipe.ema_decay)
    # The density ratio is between real images and those of the generator that is kept, so both are kept together.
    kept = {"generator": ema.network} | ({"discriminator": discriminator} if objective.heads.density_ratio else {})
    history = Snapshots(
        workspace.path(SNAPSHOTS_FILE), kept, steps=recipe.steps, count=recipe.snapshots if judge else 0
    )
    monitor = Health(
        workspace.path(FINDINGS_FILE),
        warn,
        steps=recipe.steps,
        guessing=objective.adversarial.guessing,
        device=compute.device,
    )
    budget = Budget(recipe.max_minutes)
    if compile_networks:
        generator.compile()
        discriminator.compile()
    game = Game(images, generator, discriminator, objective, recipe, latent_size, compute)

    def look(done: int) -> None:
        if judge is not None:
            monitor.check_judged(history.take(done, lambda done: judge(done, ema.network)))

    state: dict[str, Stateful] = {
        "generator": generator,
        "discriminator": discriminator,
        "ema": ema,
        "generator_adam": generator_adam,
        "discriminator_adam": discriminator_adam,
        "snapshots": history,
        "health": monitor,
        "budget": budget,
    }
    with torch.random.fork_rng([compute.device] if compute.device.type == "cuda" else []):
        for step in workspace.steps(LOG_NAME, recipe.steps, state, stop=budget.spent):
            rng = compute.generator(derive_seed(seed, LOG_NAME, step))
            torch.manual_seed(derive_seed(seed, "dropout", step))
            for turn in range(recipe.discriminator_steps):
                number = step * recipe.discriminator_steps + turn
                discriminator_adam.zero_grad()
                judged = game.discriminator_turn(draw(number), number, rng)
                discriminator_gradient = limit_gradient(discriminator, recipe.gradient_clip)
                discriminator_adam.step()
            generator_adam.zero_grad()
            made = game.generator_turn(aim(step), rng)
            generator_gradient = limit_gradient(generator, recipe.gradient_clip)
            generator_adam.step()
            ema.update(generator, step)
            monitor.watch(step, judged)

            if workspace.should_log(step):
                numbers = {**loggable("d", judged), **loggable("g", made), **monitor.check(step + 1)}
                numbers |= {"d_gradient": discriminator_gradient.item(), "g_gradient": generator_gradient.item()}
                if held_out is not None:
                    numbers["memorised"] = held_out.memorised(discriminator, ema.network, compute)
                    monitor.check_memory(step + 1, numbers["memorised"])
                workspace.log(step, **numbers)
            if history.due(step + 1):
                look(step + 1)
    if history.missing(budget.steps_done):
        look(budget.steps_done)
    chosen = {f"chosen_{name}": value for name, value in history.finish(budget.steps_done).items()}
    ended = {
        "steps_done": budget.steps_done,
        "stopped_by": "steps" if budget.steps_done == recipe.steps else "max_minutes",
    }
    # Read back, so that a stage resumed after its last step reports the same numbers.
    last = read_log(workspace.path(f"{LOG_NAME}.jsonl"))[-1:]
    logged = {key: float(value) for row in last for key, value in row.items() if key != "step"}
    return ema.network, discriminator, {**logged, **ended, **chosen}


def limit_gradient(network: nn.Module, largest: float | None) -> torch.Tensor:
    """Scales a network's gradient down to a norm of at most ``largest``; returns the norm before, a scalar."""
    parameters = [parameter for parameter in network.parameters() if parameter.grad is not None]
    norm = torch.nn.utils.get_total_norm([cast(torch.Tensor, parameter.grad) for parameter in parameters])
    if largest is not None:
        torch.nn.utils.clip_grads_with_norm_(parameters, largest, norm)
    return norm


def loggable(letter: str, outcome: Outcome) -> dict[str, float]:
    """A turn's numbers: the loss, its parts where there are several, and mean scores.

    R1 counts many times as much in the few steps that have it, so that it stays out of the sum.
    """
    parts = {name: loss.item() for name, loss in outcome.losses.items()}
    numbers = {f"{letter}_loss": sum(value for name, value in parts.items() if name != "r1")}
    if len(parts) > 1:
        numbers |= {f"{letter}_{name}": value for name, value in parts.items()}
    if len(outcome.real_scores):
        numbers |= {"d_real": outcome.real_scores.mean().item(), "d_fake": outcome.fake_scores.mean().item()}
    return numbers
