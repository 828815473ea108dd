"""Training a class-conditional GAN."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Unpack, cast

import numpy as np
import numpy.typing as npt

from data.batches import Batches
from data.compute import Compute
from data.labels import LabelSpace
from data.random import derive_seed
from data.workspace import Workspace
from generators.fidelity.judge import Judge
from generators.fitting import build_pair, fit_pair
from generators.networks import Conditioning
from generators.objective import Objective
from generators.recipe import Recipe, RecipeOptions
from generators.turns import Draw


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
    loss: str = "hinge",
    conditioning: Conditioning = "projection",
    auxiliary_weight: float = 1.0,
    validation: tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]] | None = None,
    judge: Judge | None = None,
    warn: Callable[[str], None] | None = None,
    compile_networks: bool = False,
    seed: int,
    compute: Compute,
    workspace: Workspace,
    **recipe: Unpack[RecipeOptions],
) -> dict[str, Any]:
    """Trains a class-conditional GAN and writes ``generator.safetensors`` and ``generator.json``.

    Source: Miyato & Koyama, 2018, arXiv 1802.05637 (projection), Odena et al., 2017, arXiv 1610.09585 (ACGAN) or Kang
    et al., 2021, arXiv 2111.01118 (ReACGAN), with DiffAugment (Zhao et al., 2020, arXiv 2006.10738). Differs from
    them: classes are balanced by repetition, a fake batch has the labels of the real one, and the averaged weights of
    the best snapshot are what is saved.

    Args:
        images: uint8 (N, C, H, W), square with a side of 8, 16, 32, 64 or 128.
        labels: int64 (N,).
        label_space: of ``labels``.
        network: registered name of the network.
        network_options: its options; others keep their defaults.
        loss: adversarial loss, "hinge" or "non_saturating".
        conditioning: how the discriminator judges the class: "projection", "acgan" or "reacgan".
        auxiliary_weight: of the classification loss of the last two, > 0.
        validation: images and labels that nobody trains on; they tell whether the discriminator memorises.
        judge: (steps done, function that samples the averaged weights) to named numbers, at each snapshot; the one with
            the least "distance" is saved. None saves the last weights.
        warn: is told once, in a sentence, of each thing that goes wrong; see ``health``.
        compile_networks: whether torch.compile makes both networks faster.
        seed: of everything random.
        compute: device and precision.
        workspace: folder of the artifact, with ``generator.jsonl``, ``snapshots.jsonl`` and ``warnings.json``, and of
            the checkpoints.
        **recipe: fields of ``Recipe``; those that are left out have its defaults.

    Returns:
        The last logged d_loss, g_loss, mean scores d_real and d_fake, and further numbers of the log; steps_done,
        stopped_by, chosen_step and what the judge said of it.

    Raises:
        ConfigError: for an unknown network, option or operation, a network that does not serve classes, a setting out
            of its range, or images of an unfit size.
        StageError: if a loss becomes non-finite.
    """
    settings = Recipe(**recipe)
    objective = Objective(label_space, loss, conditioning, auxiliary_weight)
    image_shape = cast(tuple[int, int, int], images.shape[1:])
    pair = build_pair(network, network_options, image_shape, objective, seed)
    rows = balanced_rows(labels)
    real_batches = Batches(len(rows), settings.batch_size, derive_seed(seed, "discriminator"))
    aim_batches = Batches(len(rows), settings.batch_size, derive_seed(seed, "aim"))

    def draw(step: int) -> Draw:
        chosen = rows[real_batches.at(step)]
        return Draw(chosen, labels[chosen], labels[chosen])

    return fit_pair(
        pair,
        images,
        labels,
        settings,
        draw=draw,
        aim=lambda step: labels[rows[aim_batches.at(step)]],
        described={"loss": loss, "conditioning": conditioning, "auxiliary_weight": auxiliary_weight},
        validation=validation,
        judge=judge,
        warn=warn,
        compile_networks=compile_networks,
        seed=seed,
        compute=compute,
        workspace=workspace,
    )
