"""The label embedding of CcGAN (improved label input): a continuous label becomes a vector of features."""

from __future__ import annotations

from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from data.batches import Batches, to_unit
from data.compute import Compute
from data.errors import ConfigError
from data.random import derive_seed
from data.workspace import Workspace
from generators.blocks import ImageShape, channel_plan
from generators.spectral import full_precision

#: Noise on the distinct labels while the label network learns, in normalised units (Ding et al., 2023).
_LABEL_NOISE = 0.2
#: Root mean square length of the finished embeddings, about that of the raw ones.
_LENGTH = 4.0


class LabelEmbedding(nn.Module):
    """T3: a normalised label to its embedding h; always in float32.

    Source: Ding et al., 2023, arXiv 2011.07466. Five linear layers, group norm and ReLU after the first four,
    ReLU after the last. Differs from it: once trained, embeddings are centred and scaled, because a raw one is
    nearly constant and its small part that depends on the label hardly reaches the two networks.

    Args:
        size: length of h, a multiple of 8 from 32 on: with few channels a group, the norm wipes the label out.
        dimensions: values L of a label.

    Raises:
        ConfigError: for another size.
    """

    centre: torch.Tensor
    scale: torch.Tensor

    def __init__(self, size: int, dimensions: int = 1) -> None:
        super().__init__()
        check_embedding_size(size)
        self.size, self.dimensions = size, dimensions
        layers: list[nn.Module] = []
        for inputs in (dimensions, size, size, size):
            layers += [nn.Linear(inputs, size), nn.GroupNorm(8, size), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(size, size), nn.ReLU())
        self.register_buffer("centre", torch.zeros(size))
        self.register_buffer("scale", torch.ones(()))

    @torch.no_grad()
    def standardise(self) -> None:
        """Centres the embeddings of the labels from 0 to 1, and gives them a root mean square length of 4.

        The labels are 257 even steps of a scalar, or 1,024 points of a Halton sequence in the cube of a vector.
        """
        raw = self.layers(_spread(self.dimensions).to(self.centre.device))
        self.centre.copy_(raw.mean(dim=0))
        self.scale.copy_(_LENGTH / (raw - self.centre).square().sum(dim=1).mean().sqrt().clamp_min(1e-6))

    def forward(self, labels: torch.Tensor) -> torch.Tensor:
        """Normalised labels (B,) or (B, L) to embeddings (B, size), float32."""
        with full_precision(labels):
            columns = labels.float().reshape(-1, self.dimensions)
            embedded: torch.Tensor = (self.layers(columns) - self.centre) * self.scale
        return embedded


def check_embedding_size(size: int) -> None:
    """Raises ConfigError unless ``size`` is a multiple of 8 from 32 on."""
    if size < 32 or size % 8:
        raise ConfigError(f"embedding_size must be a multiple of 8 and at least 32, got {size}; try 128.")


def _spread(dimensions: int) -> torch.Tensor:
    """Points that fill the unit cube evenly, float32 (n, dimensions)."""
    if dimensions == 1:
        return torch.linspace(0.0, 1.0, 257)[:, None]
    from scipy.stats import qmc

    return torch.from_numpy(qmc.Halton(dimensions, scramble=False).random(1024)).float()


class _ImageRegressor(nn.Module):
    """T1 and T2: an image to h, and h to the normalised label."""

    def __init__(self, image_shape: ImageShape, width: int, size: int, dimensions: int) -> None:
        super().__init__()
        plan = list(reversed(channel_plan(image_shape, width)))
        layers: list[nn.Module] = []
        for inputs, outputs in zip([image_shape[0], *plan], plan, strict=False):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
            layers += [nn.Conv2d(outputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.bottleneck = nn.Sequential(nn.Linear(plan[-1], size), nn.BatchNorm1d(size), nn.ReLU())
        self.head = nn.Linear(size, dimensions)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (B, C, H, W) in [-1, 1] to normalised labels (B, L)."""
        labels: torch.Tensor = self.head(self.bottleneck(self.body(images)))
        return labels


def _train_image_network(
    network: nn.Module,
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.float32],
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    compute: Compute,
    workspace: Workspace,
) -> None:
    optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
    batches = Batches(len(labels), batch_size, derive_seed(seed, "embedding_image"))
    for step in workspace.steps("embedding_image", steps, {"network": network, "optimizer": optimizer}):
        rows = batches.at(step)
        batch = to_unit(compute.images(torch.from_numpy(images[rows])))
        with compute.autocast():
            predicted = network(batch)
        loss = functional.mse_loss(predicted.float(), torch.from_numpy(labels[rows]).to(compute.device))
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        if workspace.should_log(step):
            workspace.log(step, loss=loss.item())


def _train_label_network(
    embedding: LabelEmbedding,
    head: nn.Module,
    distinct: torch.Tensor,
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    compute: Compute,
    workspace: Workspace,
) -> None:
    head.requires_grad_(False)
    optimizer = torch.optim.Adam(embedding.parameters(), lr=learning_rate)
    for step in workspace.steps("embedding_label", steps, {"network": embedding, "optimizer": optimizer}):
        rng = compute.generator(derive_seed(seed, "embedding_label", step))
        chosen = distinct[torch.randint(len(distinct), (batch_size,), generator=rng, device=compute.device)]
        noise = torch.randn(chosen.shape, generator=rng, device=compute.device)
        labels = (chosen + _LABEL_NOISE * noise).clamp(0.0, 1.0)
        loss = functional.mse_loss(head(embedding(labels)), labels)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        if workspace.should_log(step):
            workspace.log(step, loss=loss.item())


def train_label_embedding(
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.float32],
    *,
    size: int = 128,
    width: int = 16,
    image_steps: int = 300,
    label_steps: int = 600,
    batch_size: int = 128,
    learning_rate: float = 1e-3,
    seed: int,
    compute: Compute,
    workspace: Workspace,
) -> LabelEmbedding:
    """Trains the embedding of normalised labels that a continuous GAN is conditioned on.

    Source: Ding et al., 2023, arXiv 2011.07466: an image network T1 + T2 learns the label through a bottleneck
    h; then T3 learns h from the label, so that T2, frozen, gives the label back. Differs from it: a small
    plain convolutional T1 in place of ResNet-34, Adam, and no ReLU on T2's output, whose gradient would die at 0.

    Args:
        images: uint8 (N, C, H, W).
        labels: normalised to [0, 1], float32 (N,) or (N, L); of labels with a class, the value alone.
        size: length of h, a multiple of 8, at least 32.
        width: channels of the image network at the image's own side.
        image_steps: optimiser steps of T1 + T2.
        label_steps: optimiser steps of T3.
        batch_size: images, or labels, a step.
        learning_rate: of Adam, for both.
        seed: of initial weights, batches and noise.
        compute: device and precision.
        workspace: keeps the logs ``embedding_image`` and ``embedding_label`` and their checkpoints.

    Returns:
        The trained T3 on the compute device, in evaluation mode, without gradients.
    """
    labels = labels.reshape(len(labels), -1)
    dimensions = labels.shape[1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "embedding"))
        regressor = _ImageRegressor(cast(ImageShape, images.shape[1:]), width, size, dimensions)
        embedding = LabelEmbedding(size, dimensions)
    placed = compute.place(regressor)
    _train_image_network(
        placed,
        images,
        labels,
        steps=image_steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
        compute=compute,
        workspace=workspace,
    )
    embedding.to(compute.device)
    _train_label_network(
        embedding,
        regressor.head,
        torch.from_numpy(np.unique(labels, axis=0)).to(compute.device),
        steps=label_steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
        compute=compute,
        workspace=workspace,
    )
    embedding.standardise()
    return embedding.eval().requires_grad_(False)
