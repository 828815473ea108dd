"""Training of the density ratio on features of real and generated images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy.typing as npt
import torch
from torch import Tensor

from data.batches import Batches
from data.checkpoint import Stateful, save_weights
from data.compute import Compute
from data.labels import LabelSpace
from data.random import derive_seed
from data.workspace import Workspace
from filters.label_loss import label_tensor
from filters.ratio_loss import csp_loss
from filters.ratio_network import RatioNetwork
from filters.schedule import cosine

WEIGHTS = "ratio.safetensors"


def fit_ratio(
    real: Tensor,
    labels: npt.NDArray[Any],
    fakes: Tensor,
    label_space: LabelSpace,
    *,
    widths: Sequence[int] = (256, 128, 64),
    dropout: float = 0.5,
    activation: Literal["relu", "softplus"] = "relu",
    steps: int = 2000,
    batch_size: int = 256,
    learning_rate: float = 1e-4,
    weight_decay: float = 1e-4,
    penalty_weight: float = 0.01,
    log_every: int = 50,
    seed: int,
    compute: Compute,
    workspace: Workspace,
) -> RatioNetwork:
    """Trains a ratio on features and writes ``ratio.safetensors`` and ``ratio.jsonl`` into the workspace.

    Args:
        real: features of the real rows, float32 (N, F), on the device.
        labels: labels of the real rows, a column of the label space, in its own units, (N, ...).
        fakes: features of the fakes, float32 (rounds, N, F), on the device; row i has the label of real row i.
        label_space: what labels mean.
        widths: see ``train_ratio``, as for all that follow.
        dropout: see ``train_ratio``.
        activation: see ``train_ratio``.
        steps: see ``train_ratio``.
        batch_size: see ``train_ratio``.
        learning_rate: see ``train_ratio``.
        weight_decay: see ``train_ratio``.
        penalty_weight: see ``train_ratio``.
        log_every: see ``train_ratio``.
        seed: initial weights, order of rows, choice of fakes and dropout.
        compute: where and in what precision.
        workspace: the folder, checkpoints and log.

    Returns:
        The network on the device, in evaluation mode, without gradients.

    Raises:
        StageError: if the loss becomes non-finite.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "initial"))
        network = RatioNetwork(real.shape[1], label_space, widths, dropout, activation)
    compute.place(network)
    descent = torch.optim.Adam(network.parameters(), lr=learning_rate, betas=(0.5, 0.999), weight_decay=weight_decay)
    all_labels = label_tensor(labels, label_space, compute)
    batches = Batches(len(real), batch_size, derive_seed(seed, "order"))
    network.train()
    state: dict[str, Stateful] = {"network": network, "optimizer": descent}
    for step in workspace.steps("ratio", steps, state, log_every=log_every):
        rng = compute.generator(derive_seed(seed, "fakes", step))
        torch.manual_seed(derive_seed(seed, "dropout", step))
        for group in descent.param_groups:
            group["lr"] = cosine(step, steps, learning_rate)
        rows = torch.from_numpy(batches.at(step)).to(compute.device, non_blocking=True)
        rounds = torch.randint(len(fakes), rows.shape, generator=rng, device=compute.device)
        with compute.autocast():
            ratios_fake = network(fakes[rounds, rows], all_labels[rows])
            ratios_real = network(real[rows], all_labels[rows])
        parts = csp_loss(ratios_fake, ratios_real, penalty_weight)
        loss = parts["divergence"] + parts["penalty"]
        descent.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        descent.step()
        if workspace.should_log(step):
            means = {"ratio_fake": ratios_fake.mean().item(), "ratio_real": ratios_real.mean().item()}
            workspace.log(step, loss=loss.item(), **{key: part.item() for key, part in parts.items()}, **means)
    save_weights(workspace.path(WEIGHTS), network)
    return network.eval().requires_grad_(False)
