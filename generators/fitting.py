"""A generator and a discriminator of one family, from their first weights to the files they end in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from data.compute import Compute
from data.random import derive_seed
from data.workspace import Workspace
from generators.adversarial import train_adversarially
from generators.card import describe_network, save_generator
from generators.fidelity.judge import Judge
from generators.networks import GanNetwork, build_network, check_serves
from generators.objective import Objective
from generators.overfitting import HeldOut
from generators.ratio_head import save_density_ratio
from generators.recipe import Recipe
from generators.sampling import Sampler
from generators.turns import Draw


@dataclass(frozen=True)
class Pair:
    """Both networks of a family, and what they are for.

    Args:
        name: registered name of the family.
        family: with its options.
        generator: (latents, conditions) -> images in [-1, 1].
        discriminator: (images, conditions) -> Verdict with the heads of ``objective``.
        image_shape: (C, H, W).
        objective: the losses of both, and the label space.
    """

    name: str
    family: GanNetwork
    generator: nn.Module
    discriminator: nn.Module
    image_shape: tuple[int, int, int]
    objective: Objective


def build_pair(
    name: str, options: Mapping[str, Any] | None, image_shape: tuple[int, int, int], objective: Objective, seed: int
) -> Pair:
    """The family registered under ``name`` with initial weights of ``seed``.

    Raises:
        ConfigError: for an unknown family or option, a family that does not serve such labels, heads that do not
            fit them, or images of an unfit size.
    """
    family, label_space = build_network(name, options or {}), objective.label_space
    check_serves(name, label_space.kind)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "initial"))
        generator = family.generator(image_shape, label_space)
        discriminator = family.discriminator(image_shape, label_space, objective.heads)
    return Pair(name, family, generator, discriminator, image_shape, objective)


def fit_pair(
    pair: Pair,
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[Any],
    recipe: Recipe,
    *,
    draw: Callable[[int], Draw],
    aim: Callable[[int], npt.NDArray[Any]],
    described: Mapping[str, Any],
    validation: tuple[npt.NDArray[np.uint8], npt.NDArray[Any]] | None,
    judge: Judge | None,
    warn: Callable[[str], None] | None,
    compile_networks: bool,
    seed: int,
    compute: Compute,
    workspace: Workspace,
) -> dict[str, Any]:
    """Trains both networks and writes the generator and its card.

    Args:
        pair: the networks.
        images: uint8 (N, C, H, W).
        labels: a column of the label space, (N, ...).
        recipe: how to train.
        draw: the batch of a discriminator step.
        aim: the conditions of a generator step.
        described: what the card says of the training beside the recipe.
        validation: images and labels that nobody trains on, or None.
        judge: of the snapshots, or None.
        warn: is told once of each thing that goes wrong.
        compile_networks: whether torch.compile makes both networks faster.
        seed: of everything random.
        compute: device and precision.
        workspace: folder of the artifact, logs and checkpoints.

    Returns:
        The numbers of ``train_adversarially``.
    """
    space, latent_size = pair.objective.label_space, pair.family.latent_size
    bare = describe_network(pair.name, pair.family, pair.image_shape, space, {})
    held_out = None
    if validation is not None:
        parts = [(part[0], space.conditions(part[1])) for part in ((images, labels), validation)]
        held_out = HeldOut.choose(parts[0], parts[1], latent_size, derive_seed(seed, "held_out"))
    averaged, discriminator, numbers = train_adversarially(
        images,
        pair.generator,
        pair.discriminator,
        pair.objective,
        recipe,
        draw=draw,
        aim=aim,
        latent_size=latent_size,
        judge=None if judge is None else lambda step, network: judge(step, Sampler(network, bare, compute).sample),
        held_out=held_out,
        warn=warn,
        compile_networks=compile_networks,
        seed=seed,
        compute=compute,
        workspace=workspace,
    )
    training = {
        "images": len(labels),
        "seed": seed,
        **asdict(recipe),
        **described,
        "heads": asdict(pair.objective.heads),
        **{key: numbers[key] for key in ("steps_done", "stopped_by", "chosen_step")},
    }
    if pair.objective.heads.density_ratio:
        save_density_ratio(workspace.folder, discriminator)
    card = describe_network(pair.name, pair.family, pair.image_shape, space, training)
    save_generator(workspace.folder, card, averaged)
    return numbers
