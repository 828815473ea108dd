"""The adversarial training loop that class and continuous GANs share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from data.batches import to_unit
from data.checkpoint import Stateful
from data.compute import Compute
from data.random import derive_seed
from data.workspace import Workspace, read_log
from generators.augment import check_operations, diff_augment
from generators.ema import Ema
from generators.losses import hinge_discriminator_loss, hinge_generator_loss

LOG_NAME = "generator"


@dataclass(frozen=True)
class Draw:
    """What one discriminator step trains on; every array has B rows.

    Attributes:
        rows: rows of the real images, int64.
        labels: labels that the discriminator is told, for real and fake alike.
        fake_labels: labels that the generator is told.
        real_weights: weights of the real images in the loss, float32; None for 1.
        fake_weights: weights of the fake images, float32; None for 1.
    """

    rows: npt.NDArray[np.int64]
    labels: npt.NDArray[Any]
    fake_labels: npt.NDArray[Any]
    real_weights: npt.NDArray[np.float32] | None = None
    fake_weights: npt.NDArray[np.float32] | None = None


def train_adversarially(
    images: npt.NDArray[np.uint8],
    generator: nn.Module,
    discriminator: nn.Module,
    *,
    draw: Callable[[int], Draw],
    aim: Callable[[int], npt.NDArray[Any]],
    latent_size: int,
    steps: int,
    discriminator_steps: int,
    generator_learning_rate: float,
    discriminator_learning_rate: float,
    first_momentum: float,
    ema_decay: float,
    augment: Sequence[str],
    seed: int,
    compute: Compute,
    workspace: Workspace,
) -> tuple[nn.Module, dict[str, float]]:
    """Trains a conditional GAN with hinge loss, DiffAugment and an average of the generator's weights.

    Args:
        images: uint8 (N, C, H, W).
        generator: (latents, labels) -> images in [-1, 1].
        discriminator: (images, labels) -> scores.
        draw: the batch of a discriminator step, a pure function of that step's number.
        aim: the labels of a generator step, a pure function of its number.
        latent_size: length of a latent vector.
        steps: generator steps.
        discriminator_steps: discriminator steps before each generator step.
        generator_learning_rate: of Adam.
        discriminator_learning_rate: of Adam.
        first_momentum: Adam's beta 1; beta 2 is 0.999.
        ema_decay: largest decay of the weight average.
        augment: DiffAugment operations.
        seed: of latents and augmentation.
        compute: device and precision.
        workspace: keeps the log and the checkpoints.

    Returns:
        The averaged generator, and the last logged numbers.
    """
    check_operations(augment)
    generator, discriminator = compute.place(generator), compute.place(discriminator)
    betas = (first_momentum, 0.999)
    generator_adam = torch.optim.Adam(generator.parameters(), lr=generator_learning_rate, betas=betas)
    discriminator_adam = torch.optim.Adam(discriminator.parameters(), lr=discriminator_learning_rate, betas=betas)
    ema = Ema(generator, ema_decay)

    def put(values: npt.NDArray[Any] | None) -> torch.Tensor | None:
        return None if values is None else torch.from_numpy(values).to(compute.device)

    def make(labels: npt.NDArray[Any], rng: torch.Generator) -> torch.Tensor:
        latents = torch.randn(len(labels), latent_size, generator=rng, device=compute.device)
        with compute.autocast():
            made: torch.Tensor = generator(latents, put(labels))
        return made

    state: dict[str, Stateful] = {
        "generator": generator,
        "discriminator": discriminator,
        "ema": ema,
        "generator_adam": generator_adam,
        "discriminator_adam": discriminator_adam,
    }
    for step in workspace.steps(LOG_NAME, steps, state):
        rng = compute.generator(derive_seed(seed, LOG_NAME, step))
        discriminator.requires_grad_(True)
        for turn in range(discriminator_steps):
            batch = draw(step * discriminator_steps + turn)
            real = to_unit(compute.images(torch.from_numpy(images[batch.rows])))
            with torch.no_grad():
                fake = make(batch.fake_labels, rng)
            seen = compute.images(diff_augment(torch.cat([real, fake]), augment, rng))
            with compute.autocast():
                scores = discriminator(seen, put(np.tile(batch.labels, 2)))
            real_scores, fake_scores = scores.chunk(2)
            discriminator_loss = hinge_discriminator_loss(
                real_scores, fake_scores, put(batch.real_weights), put(batch.fake_weights)
            )
            discriminator_adam.zero_grad()
            torch.autograd.backward(discriminator_loss)
            discriminator_adam.step()

        discriminator.requires_grad_(False)
        labels = aim(step)
        seen = compute.images(diff_augment(make(labels, rng), augment, rng))
        with compute.autocast():
            scores = discriminator(seen, put(labels))
        generator_loss = hinge_generator_loss(scores)
        generator_adam.zero_grad()
        torch.autograd.backward(generator_loss)
        generator_adam.step()
        ema.update(generator, step)

        if workspace.should_log(step):
            workspace.log(
                step,
                d_loss=discriminator_loss.item(),
                g_loss=generator_loss.item(),
                d_real=real_scores.mean().item(),
                d_fake=fake_scores.mean().item(),
            )
    # Read back, so that a stage resumed after its last step reports the same numbers.
    last = read_log(workspace.path(f"{LOG_NAME}.jsonl"))[-1:]
    numbers = {key: float(value) for row in last for key, value in row.items() if key != "step"}
    return ema.network, numbers
