"""The features in which density ratios are learnt: a frozen classifier or regressor with an image-sized layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from data.batches import Batches, random_shift_flip, to_unit
from data.checkpoint import Stateful, save_weights
from data.compute import Compute
from data.labels import LabelSpace
from data.random import derive_seed
from data.workspace import Workspace
from filters.schedule import cosine

WEIGHTS = "extractor.safetensors"


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
    extractor for scalar labels (the paper takes a sparse auto-encoder there); a linear head; images in [-1, 1] both
    in training and in extraction (the official code normalises them differently in the two).

    Args:
        image_shape: channels, height and width.
        outputs: outputs of the head: number of classes, or 1.
        width: channels of the first stage; each stage halves the image and doubles them, up to 8 times.
    """

    def __init__(self, image_shape: tuple[int, int, int], outputs: int, width: int = 16) -> None:
        super().__init__()
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

    def features(self, images: Tensor) -> Tensor:
        """The raw output of the image-sized layer, float32 (B, C * H * W), of images uint8 (B, C, H, W)."""
        features: Tensor = self.image_sized(self.trunk(to_unit(images)).mean(dim=(2, 3)))
        return features.float()

    def forward(self, images: Tensor) -> Tensor:
        """Logits, or normalised labels, float32 (B, outputs), of images uint8 (B, C, H, W)."""
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
    """Trains an extractor and writes ``extractor.safetensors`` and ``features.jsonl`` into the workspace.

    Cross entropy for classes, squared error of labels in [0, 1] for scalars; AdamW and a cosine. Plain SGD diverges on
    squared errors here, because the head sums over as many features as the image has pixels.

    Args:
        images: uint8 (N, C, H, W).
        labels: int64 (N,), or float32 (N,) in the label's own unit.
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
    descent = torch.optim.AdamW(extractor.parameters(), lr=learning_rate, weight_decay=weight_decay)
    all_images = torch.from_numpy(np.array(images)).to(compute.device)
    all_labels = label_tensor(labels, label_space, compute)
    batches = Batches(len(images), batch_size, derive_seed(seed, "order"))
    extractor.train()
    state: dict[str, Stateful] = {"extractor": extractor, "optimizer": descent}
    for step in workspace.steps("features", steps, state, log_every=log_every):
        rng = compute.generator(derive_seed(seed, "augment", step))
        for group in descent.param_groups:
            group["lr"] = cosine(step, steps, learning_rate)
        rows = torch.from_numpy(batches.at(step)).to(compute.device, non_blocking=True)
        with compute.autocast():
            outputs = extractor(compute.images(random_shift_flip(all_images[rows], shift_pixels, False, rng)))
        if label_space.kind == "class":
            loss = functional.cross_entropy(outputs, all_labels[rows])
        else:
            loss = functional.mse_loss(outputs[:, 0], all_labels[rows])
        descent.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        descent.step()
        if workspace.should_log(step):
            workspace.log(step, loss=loss.item())
    save_weights(workspace.path(WEIGHTS), extractor)
    return extractor.eval().requires_grad_(False)


def extract(extractor: Extractor, images: npt.NDArray[np.uint8], compute: Compute, batch_size: int = 256) -> Tensor:
    """Features of many images, on blocks of one fixed size so that a row's features do not depend on its neighbours.

    Args:
        extractor: on the device of ``compute``, in evaluation mode.
        images: uint8 (n, C, H, W).
        compute: where and in what precision.
        batch_size: images a block; the last is padded with zeros.

    Returns:
        float32 (n, C * H * W) on the device.
    """
    features = torch.empty(len(images), extractor.feature_size, device=compute.device)
    with torch.no_grad():
        for start in range(0, len(images), batch_size):
            rows = images[start : start + batch_size]
            block = np.zeros((batch_size, *images.shape[1:]), np.uint8)
            block[: len(rows)] = rows
            with compute.autocast():
                answers = extractor.features(compute.images(torch.from_numpy(block)))
            features[start : start + len(rows)] = answers[: len(rows)]
    return features


def label_tensor(labels: npt.NDArray[Any], label_space: LabelSpace, compute: Compute) -> Tensor:
    """Labels (n,) on the device as networks take them: class numbers int64, or float32 mapped to [0, 1]."""
    tensor = torch.from_numpy(np.array(labels)).to(compute.device)
    if label_space.kind == "class":
        return tensor.long()
    normalised: Tensor = label_space.normalise(tensor.float())
    return normalised
