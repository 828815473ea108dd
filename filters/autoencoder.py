"""The sparse auto-encoder whose code the density ratio may read in place of a classifier's features."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from data.batches import to_unit
from data.compute import Compute
from data.errors import ConfigError
from data.labels import LabelSpace
from data.random import derive_seed
from data.workspace import Workspace
from filters.fitted import FittedFiles
from filters.fitting import fit_on_images
from filters.label_loss import label_loss

FILES = FittedFiles("autoencoder.safetensors", "autoencoder.json", stage="ratio")

SMALLEST_SIDE = 8

#: Stages that halve the image, at most; the side that is left is at least 2.
MOST_STAGES = 4


class Answer(NamedTuple):
    """What an auto-encoder says of B images, all float32.

    Attributes:
        code: at least 0, (B, C * H * W).
        reconstruction: in [-1, 1], (B, C, H, W).
        outputs: logits, then normalised values, (B, K).
    """

    code: Tensor
    reconstruction: Tensor
    outputs: Tensor


class SparseAutoencoder(nn.Module):
    """Encodes an image as a code of the image's size that is at least 0, from which image and label are told.

    Source: cDR-RS (Ding et al. 2023, arXiv 2103.11166), its extractor for regression. Differs from the paper in: any
    image of at least 8 pixels a side (the paper: 64); a quarter of the paper's channels by default; nearest
    upsampling with a convolution in place of transposed ones; a label head with one hidden layer and a linear end;
    labels of every kind.

    Args:
        image_shape: channels, height and width; either side at least 8.
        outputs: outputs of the label head: one a class, then one a continuous dimension of a label.
        width: channels of the first stage; each stage halves the image and doubles them, up to 4 times.

    Raises:
        ConfigError: if a side is below 8 pixels.
    """

    def __init__(self, image_shape: tuple[int, int, int], outputs: int, width: int = 16) -> None:
        super().__init__()
        channels, height, columns = image_shape
        check_side(image_shape)
        self.outputs = outputs
        self.image_shape = image_shape
        sides, widths = [(height, columns)], [channels]
        while len(sides) <= MOST_STAGES and min(sides[-1]) >= 4:
            sides.append((sides[-1][0] // 2, sides[-1][1] // 2))
            widths.append(min(width * 2 ** (len(widths) - 1), 4 * width))
        size, deepest = channels * height * columns, widths[-1] * sides[-1][0] * sides[-1][1]
        down = [_down(before, after) for before, after in pairwise(widths)]
        self.encoder = nn.Sequential(*down, nn.Flatten(), nn.Linear(deepest, size), nn.ReLU())
        up: list[nn.Module] = [nn.Linear(size, deepest), nn.ReLU(), nn.Unflatten(1, (widths[-1], *sides[-1]))]
        for place in range(len(sides) - 1, 0, -1):
            up += _up(widths[place], widths[place - 1] if place > 1 else widths[1], sides[place - 1])
        self.decoder = nn.Sequential(*up, nn.Conv2d(widths[1], channels, 3, 1, 1), nn.Tanh())
        hidden = 4 * width
        self.head = nn.Sequential(
            nn.Linear(size, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, outputs)
        )

    @property
    def feature_size(self) -> int:
        """Numbers in a code, C * H * W."""
        return int(np.prod(self.image_shape))

    def features(self, images: Tensor) -> Tensor:
        """The code, float32 (B, C * H * W), of images uint8 (B, C, H, W)."""
        code: Tensor = self.encoder(to_unit(images))
        return code.float()

    def forward(self, images: Tensor) -> Answer:
        """Code, reconstruction and label of images uint8 (B, C, H, W)."""
        code = self.features(images)
        return Answer(code, self.decoder(code).float(), self.head(code).float())


def check_side(image_shape: tuple[int, int, int]) -> None:
    """Checks that an auto-encoder can be built for images of a shape.

    Raises:
        ConfigError: if a side is below 8 pixels.
    """
    if min(image_shape[1:]) < SMALLEST_SIDE:
        raise ConfigError(
            f"ratio.features 'autoencoder' must have images of at least {SMALLEST_SIDE} pixels a side, got "
            f"{image_shape[1]}x{image_shape[2]}; try 'classifier'."
        )


def _down(channels_in: int, channels: int) -> nn.Sequential:
    """Halves the image, rounding down, and looks once more."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels, 4, 2, 1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
    )


def _up(channels_in: int, channels: int, side: tuple[int, int]) -> list[nn.Module]:
    return [
        nn.Upsample(size=side, mode="nearest"),
        nn.Conv2d(channels_in, channels, 3, 1, 1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
    ]


def autoencoder_loss(
    answer: Answer,
    images: Tensor,
    conditions: Tensor,
    label_space: LabelSpace,
    *,
    sparsity_weight: float = 1e-3,
    label_weight: float = 1.0,
) -> dict[str, Tensor]:
    """MSE of the reconstruction + sparsity_weight * mean of the code + label_weight * ``label_loss``.

    Args:
        answer: to the images.
        images: uint8 (B, C, H, W); reconstructed in [-1, 1].
        conditions: what ``label_tensor`` gives, (B, ...).
        label_space: what labels mean.
        sparsity_weight: the code is at least 0, so that its mean is an L1 term.
        label_weight: weight of the label's loss.

    Returns:
        ``reconstruction``, ``sparsity`` and ``label``, scalars whose sum is minimised.
    """
    return {
        "reconstruction": functional.mse_loss(answer.reconstruction, to_unit(images)),
        "sparsity": sparsity_weight * answer.code.mean(),
        "label": label_weight * label_loss(answer.outputs, conditions, label_space),
    }


def train_autoencoder(
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[Any],
    label_space: LabelSpace,
    *,
    width: int = 16,
    steps: int = 1000,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    weight_decay: float = 1e-4,
    sparsity_weight: float = 1e-3,
    label_weight: float = 1.0,
    log_every: int = 50,
    seed: int,
    compute: Compute,
    workspace: Workspace,
) -> SparseAutoencoder:
    """Trains an auto-encoder and writes what ``load_autoencoder`` reads, and ``autoencoder.jsonl``.

    Args:
        images: uint8 (N, C, H, W), either side at least 8.
        labels: a column of the label space, in its own units, (N, ...).
        label_space: what labels mean.
        width: channels of the first stage.
        steps: optimiser steps, at least 1.
        batch_size: rows a batch, at least 2.
        learning_rate: the first and highest.
        weight_decay: of all parameters.
        sparsity_weight: see ``autoencoder_loss``.
        label_weight: see ``autoencoder_loss``.
        log_every: steps between log rows.
        seed: initial weights and order of rows.
        compute: where and in what precision.
        workspace: the folder, checkpoints and log.

    Returns:
        The auto-encoder on the device, in evaluation mode, without gradients.

    Raises:
        ConfigError: if a side is below 8 pixels.
        StageError: if the loss becomes non-finite.
    """
    channels, height, columns = images.shape[1:]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "initial"))
        network = SparseAutoencoder((channels, height, columns), label_space.outputs, width)
    compute.place(network)

    def loss(seen: Tensor, conditions: Tensor) -> dict[str, Tensor]:
        with compute.autocast():
            answer: Answer = network(seen)
        weights = {"sparsity_weight": sparsity_weight, "label_weight": label_weight}
        return autoencoder_loss(answer, seen, conditions, label_space, **weights)

    fit_on_images(
        network,
        loss,
        images,
        labels,
        label_space,
        name="autoencoder",
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        shift_pixels=0,
        log_every=log_every,
        seed=seed,
        compute=compute,
        workspace=workspace,
    )
    FILES.save(workspace.folder, network, (channels, height, columns), label_space, width)
    return network


def load_autoencoder(folder: Path, compute: Compute) -> SparseAutoencoder:
    """Reads what ``train_autoencoder`` wrote: on the device, in evaluation mode, without gradients.

    Raises:
        DataError: if the files are missing, damaged or do not fit each other.
    """
    return FILES.load(folder, SparseAutoencoder, compute)
