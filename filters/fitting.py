"""Trains one of the filters' networks on the real images and their labels; a killed training goes on where it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from data.batches import Batches, random_shift_flip
from data.checkpoint import Stateful
from data.compute import Compute
from data.labels import LabelSpace
from data.random import derive_seed
from data.workspace import Workspace
from filters.label_loss import label_tensor
from filters.schedule import cosine

#: Images uint8 (B, C, H, W) and their conditions (B, ...) to the named parts of the loss, scalars.
Loss = Callable[[Tensor, Tensor], dict[str, Tensor]]


def fit_on_images(
    network: nn.Module,
    loss: Loss,
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[Any],
    label_space: LabelSpace,
    *,
    name: str,
    steps: int,
    batch_size: int,
    learning_rate: float,
    weight_decay: float,
    shift_pixels: int,
    log_every: int,
    seed: int,
    compute: Compute,
    workspace: Workspace,
) -> None:
    """Minimises the sum of a loss's parts by AdamW with a cosine; logs the sum, and the parts if there are several.

    Args:
        network: on the device; trained in place and left in evaluation mode, without gradients.
        loss: its passes through the network run in its own autocast.
        images: uint8 (N, C, H, W).
        labels: a column of the label space, in its own units, (N, ...).
        label_space: what labels mean.
        name: of the checkpoint and the log.
        steps: optimiser steps, at least 1.
        batch_size: rows a batch, at least 2.
        learning_rate: the first and highest.
        weight_decay: of all parameters.
        shift_pixels: largest random shift of training images.
        log_every: steps between log rows.
        seed: order of rows and augmentation.
        compute: where and in what precision.
        workspace: checkpoints and log.

    Raises:
        StageError: if the loss becomes non-finite.
    """
    descent = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=weight_decay)
    all_images = torch.from_numpy(np.array(images)).to(compute.device)
    all_labels = label_tensor(labels, label_space, compute)
    batches = Batches(len(images), batch_size, derive_seed(seed, "order"))
    network.train()
    state: dict[str, Stateful] = {"extractor": network, "optimizer": descent}
    for step in workspace.steps(name, steps, state, log_every=log_every):
        rng = compute.generator(derive_seed(seed, "augment", step))
        for group in descent.param_groups:
            group["lr"] = cosine(step, steps, learning_rate)
        rows = torch.from_numpy(batches.at(step)).to(compute.device, non_blocking=True)
        seen = compute.images(random_shift_flip(all_images[rows], shift_pixels, False, rng))
        parts = loss(seen, all_labels[rows])
        total = torch.stack(list(parts.values())).sum()
        descent.zero_grad(set_to_none=True)
        torch.autograd.backward(total)
        descent.step()
        if workspace.should_log(step):
            named = {key: part.item() for key, part in parts.items()} if len(parts) > 1 else {}
            workspace.log(step, loss=total.item(), **named)
    network.eval().requires_grad_(False)
