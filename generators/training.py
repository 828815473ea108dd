"""Training a class-conditional GAN."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch

from data.batches import Batches
from data.compute import Compute
from data.labels import LabelSpace
from data.random import derive_seed
from data.workspace import Workspace
from generators.adversarial import Draw, train_adversarially
from generators.card import describe_network, save_generator
from generators.networks import build_network


def balanced_rows(labels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Rows in which every class that occurs is equally frequent: rows of rarer classes repeat.

    Args:
        labels: classes, int64, shape (N,).

    Returns:
        Row numbers, int64, each row at least once; 0 .. N - 1 if the classes are balanced already.
    """
    counts = np.bincount(labels)
    largest = counts.max()
    pieces = [np.resize(np.flatnonzero(labels == label), largest) for label in np.flatnonzero(counts)]
    return np.sort(np.concatenate(pieces)).astype(np.int64)


def train_class_gan(
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64],
    label_space: LabelSpace,
    *,
    network: str = "sngan",
    network_options: Mapping[str, Any] | None = None,
    steps: int = 2000,
    batch_size: int = 32,
    discriminator_steps: int = 1,
    generator_learning_rate: float = 4e-4,
    discriminator_learning_rate: float = 4e-4,
    first_momentum: float = 0.0,
    ema_decay: float = 0.999,
    augment: Sequence[str] = ("translation", "cutout"),
    seed: int,
    compute: Compute,
    workspace: Workspace,
) -> dict[str, float]:
    """Trains a class-conditional GAN and writes ``generator.safetensors`` and ``generator.json``.

    Source: Miyato & Koyama, 2018, arXiv 1802.05637, with DiffAugment (Zhao et al., 2020, arXiv 2006.10738).
    Differs from it: classes are balanced by repetition, a fake batch has the labels of the real one, and the
    averaged weights are what is saved.

    Args:
        images: uint8 (N, C, H, W), square with a side of 8, 16, 32, 64 or 128.
        labels: int64 (N,).
        label_space: of ``labels``.
        network: registered name of the network.
        network_options: its options; others keep their defaults.
        steps: generator steps.
        batch_size: images a step.
        discriminator_steps: discriminator steps before each generator step.
        generator_learning_rate: of Adam.
        discriminator_learning_rate: of Adam.
        first_momentum: Adam's beta 1.
        ema_decay: largest decay of the weight average.
        augment: DiffAugment operations, some of "color", "translation", "cutout"; empty for none.
        seed: of everything random.
        compute: device and precision.
        workspace: folder of the artifact, log ``generator.jsonl`` and checkpoints.

    Returns:
        The last logged d_loss, g_loss, and mean scores d_real and d_fake.

    Raises:
        ConfigError: for an unknown network, option or operation, or images of an unfit size.
        StageError: if a loss becomes non-finite.
    """
    image_shape = cast(tuple[int, int, int], images.shape[1:])
    pair = build_network(network, network_options or {})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "initial"))
        generator = pair.generator(image_shape, label_space)
        discriminator = pair.discriminator(image_shape, label_space)
    rows = balanced_rows(labels)
    real_batches = Batches(len(rows), batch_size, derive_seed(seed, "discriminator"))
    aim_batches = Batches(len(rows), batch_size, derive_seed(seed, "aim"))

    def draw(step: int) -> Draw:
        chosen = rows[real_batches.at(step)]
        return Draw(chosen, labels[chosen], labels[chosen])

    averaged, numbers = train_adversarially(
        images,
        generator,
        discriminator,
        draw=draw,
        aim=lambda step: labels[rows[aim_batches.at(step)]],
        latent_size=pair.latent_size,
        steps=steps,
        discriminator_steps=discriminator_steps,
        generator_learning_rate=generator_learning_rate,
        discriminator_learning_rate=discriminator_learning_rate,
        first_momentum=first_momentum,
        ema_decay=ema_decay,
        augment=augment,
        seed=seed,
        compute=compute,
        workspace=workspace,
    )
    training = {"images": len(labels), "steps": steps, "batch_size": batch_size, "seed": seed}
    save_generator(workspace.folder, describe_network(network, pair, image_shape, label_space, training), averaged)
    return numbers
