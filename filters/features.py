"""The features that judge images: a small classifier or regressor of the real ones, frozen.

Its pooled trunk serves distances between sets of images, its image-sized layer the density ratio.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from data.batches import to_unit
from data.compute import Compute
from data.labels import LabelSpace
from data.random import derive_seed
from data.workspace import Workspace
from filters.fitted import FittedFiles
from filters.fitting import fit_on_images
from filters.label_loss import label_loss

FILES = FittedFiles("extractor.safetensors", "features.json", stage="features")


class FeatureNetwork(Protocol):
    """What the density ratio can read: a frozen network that normalises images itself."""

    @property
    def feature_size(self) -> int:
        """Numbers F in a feature."""
        ...

    def features(self, images: Tensor) -> Tensor:
        """Features float32 (B, F) of images uint8 (B, C, H, W)."""
        ...


class ResidualBlock(nn.Module):
    """A residual block that may halve the image; its shortcut is a 1x1 convolution.

    Args:
        channels_in: channels of the input.
        channels: channels of the output.
        stride: 1 or 2.
    """

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(channels)
        self.shortcut = nn.Conv2d(channels_in, channels, 1, stride, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """Maps (B, channels_in, H, W) to (B, channels, H / stride, W / stride)."""
        hidden = functional.relu(self.first_norm(self.first(inputs)))
        return functional.relu(self.second_norm(self.second(hidden)) + self.shortcut(inputs))


class Extractor(nn.Module):
    """A small residual trunk, a linear layer as large as the image, and a head that is only for its training.

    Source: Ding et al. 2023 (cDR-RS). Differs from the paper in: a smaller trunk than ResNet-34; the same kind of
    extractor for labels with values (the paper takes a sparse auto-encoder there); a linear head; images in [-1, 1]
    both in training and in extraction (the official code normalises them differently in the two).

    Args:
        image_shape: channels, height and width.
        outputs: outputs of the head: one a class, then one a continuous dimension of a label.
        width: channels of the first stage; each stage halves the image and doubles them, up to 8 times.
    """

    def __init__(self, image_shape: tuple[int, int, int], outputs: int, width: int = 16) -> None:
        super().__init__()
        self.outputs = outputs
        channels, height, columns = image_shape
        layers: list[nn.Module] = [ResidualBlock(channels, width, 1)]
        side, last = min(height, columns), width
        while side >= 8 and last < 8 * width:
            layers.append(ResidualBlock(last, 2 * last, 2))
            side, last = (side + 1) // 2, 2 * last
        self.trunk = nn.Sequential(*layers)
        self.image_sized = nn.Linear(last, channels * height * columns)
        self.head = nn.Sequential(
            nn.BatchNorm1d(channels * height * columns),
            nn.ReLU(),
            nn.Linear(channels * height * columns, outputs),
        )

    @property
    def feature_size(self) -> int:
        """Numbers in a feature, C * H * W."""
        return self.image_sized.out_features

    @property
    def pooled_size(self) -> int:
        """Numbers P in a pooled feature: channels of the last stage."""
        return self.image_sized.in_features

    def pooled(self, images: Tensor) -> Tensor:
        """The trunk's output averaged over the image, float32 (B, P), of images uint8 (B, C, H, W)."""
        pooled: Tensor = self.trunk(to_unit(images)).mean(dim=(2, 3))
        return pooled.float()

    def features(self, images: Tensor) -> Tensor:
        """The raw output of the image-sized layer, float32 (B, C * H * W), of images uint8 (B, C, H, W)."""
        features: Tensor = self.image_sized(self.pooled(images))
        return features.float()

    def forward(self, images: Tensor) -> Tensor:
        """Logits, then normalised values, float32 (B, outputs), of images uint8 (B, C, H, W)."""
        outputs: Tensor = self.head(self.features(images))
        return outputs.float()


def train_extractor(
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[Any],
    label_space: LabelSpace,
    *,
    width: int = 16,
    steps: int = 1000,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    weight_decay: float = 1e-4,
    shift_pixels: int = 0,
    log_every: int = 50,
    seed: int,
    compute: Compute,
    workspace: Workspace,
) -> Extractor:
    """Trains an extractor and writes what ``load_extractor`` reads, and ``features.jsonl``, into the workspace.

    The loss is ``label_loss``; AdamW and a cosine. Plain SGD diverges on squared errors here, because the head sums
    over as many features as the image has pixels.

    Args:
        images: uint8 (N, C, H, W).
        labels: a column of the label space, in its own units, (N, ...).
        label_space: what labels mean.
        width: channels of the first stage.
        steps: optimiser steps, at least 1.
        batch_size: rows a batch, at least 2.
        learning_rate: the first and highest.
        weight_decay: of all parameters.
        shift_pixels: largest random shift of training images.
        log_every: steps between log rows.
        seed: initial weights, order of rows and augmentation.
        compute: where and in what precision.
        workspace: the folder, checkpoints and log.

    Returns:
        The extractor on the device, in evaluation mode, without gradients.

    Raises:
        StageError: if the loss becomes non-finite.
    """
    channels, height, columns = images.shape[1:]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "initial"))
        extractor = Extractor((channels, height, columns), label_space.outputs, width)
    compute.place(extractor)

    def loss(seen: Tensor, conditions: Tensor) -> dict[str, Tensor]:
        with compute.autocast():
            outputs = extractor(seen)
        return {"label": label_loss(outputs, conditions, label_space)}

    fit_on_images(
        extractor,
        loss,
        images,
        labels,
        label_space,
        name="features",
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        shift_pixels=shift_pixels,
        log_every=log_every,
        seed=seed,
        compute=compute,
        workspace=workspace,
    )
    FILES.save(workspace.folder, extractor, (channels, height, columns), label_space, width)
    return extractor


def load_extractor(folder: Path, compute: Compute) -> Extractor:
    """Reads what ``train_extractor`` wrote: an extractor on the device, in evaluation mode, without gradients.

    Raises:
        DataError: if the files are missing, damaged or do not fit each other.
    """
    return FILES.load(folder, Extractor, compute)


def extract(network: FeatureNetwork, images: npt.NDArray[np.uint8], compute: Compute, batch_size: int = 256) -> Tensor:
    """Features of many images, on blocks of one fixed size so that a row's features do not depend on its neighbours.

    Args:
        network: on the device of ``compute``, in evaluation mode.
        images: uint8 (n, C, H, W).
        compute: where and in what precision.
        batch_size: images a block; the last is padded with zeros.

    Returns:
        float32 (n, F) on the device.
    """
    return _on_blocks(network.features, network.feature_size, images, compute, batch_size)


def pooled_features(
    extractor: Extractor, images: npt.NDArray[np.uint8], compute: Compute, batch_size: int = 256
) -> npt.NDArray[np.float32]:
    """Pooled features of many images, on blocks as in ``extract``; float32 (n, P)."""
    return _on_blocks(extractor.pooled, extractor.pooled_size, images, compute, batch_size).cpu().numpy()


def answers(
    extractor: Extractor, images: npt.NDArray[np.uint8], compute: Compute, batch_size: int = 256
) -> npt.NDArray[np.float32]:
    """Logits, then normalised values, of many images, on blocks as in ``extract``; float32 (n, K)."""
    return _on_blocks(extractor, extractor.outputs, images, compute, batch_size).cpu().numpy()


def _on_blocks(
    function: Callable[[Tensor], Tensor], size: int, images: npt.NDArray[np.uint8], compute: Compute, batch_size: int
) -> Tensor:
    # Made outside of inference mode, so that it can be trained on.
    results = torch.empty(len(images), size, device=compute.device)
    with torch.inference_mode():
        for start in range(0, len(images), batch_size):
            rows = images[start : start + batch_size]
            block = np.zeros((batch_size, *images.shape[1:]), np.uint8)
            block[: len(rows)] = rows
            with compute.autocast():
                made = function(compute.images(torch.from_numpy(block)))
            results[start : start + len(rows)] = made[: len(rows)]
    return results
