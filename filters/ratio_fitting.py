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
from data.errors import StageError
from data.labels import LabelSpace
from data.random import derive_seed
from data.workspace import Workspace
from filters.label_groups import label_groups
from filters.label_loss import label_tensor
from filters.ratio_loss import GroupAverages, Penalty, batch_penalty, csp_divergence, label_penalty
from filters.ratio_network import RatioNetwork
from filters.schedule import cosine

WEIGHTS = "ratio.safetensors"


def fit_ratio(
    real: Tensor,
    labels: npt.NDArray[Any],
    fakes: Tensor,
    label_space: LabelSpace,
    *,
    inside: Tensor | None = None,
    widths: Sequence[int] = (256, 128, 64),
    dropout: float = 0.5,
    activation: Literal["relu", "softplus"] = "relu",
    steps: int = 2000,
    batch_size: int = 256,
    learning_rate: float = 5e-4,
    weight_decay: float = 1e-4,
    penalty_weight: float = 1.0,
    penalty: Penalty = "label",
    log_every: int = 50,
    seed: int,
    compute: Compute,
    workspace: Workspace,
) -> RatioNetwork:
    """Trains a ratio on features and writes ``ratio.safetensors`` and ``ratio.jsonl`` into the workspace.

    Args:
        real: features of the real rows, float32 (N, F), on the device.
        labels: labels of the real rows, a column of the label space, in its own units, (N, ...).
        fakes: features of the fakes, float32 (rounds, N, F), on the device; row i stands for the label of real row i.
        label_space: what labels mean.
        inside: which fakes are drawn, bool (rounds, N), on the device; a real row without any is not drawn either,
            so that both sides have the same labels. None for all.
        widths: see ``train_ratio``, as for all that follow.
        dropout: see ``train_ratio``.
        activation: see ``train_ratio``.
        steps: see ``train_ratio``.
        batch_size: see ``train_ratio``.
        learning_rate: see ``train_ratio``.
        weight_decay: see ``train_ratio``.
        penalty_weight: see ``train_ratio``.
        penalty: see ``train_ratio``.
        log_every: see ``train_ratio``.
        seed: initial weights, order of rows, choice of fakes and dropout.
        compute: where and in what precision.
        workspace: the folder, checkpoints and log.

    Returns:
        The network on the device, in evaluation mode, without gradients.

    Raises:
        StageError: if the loss becomes non-finite, or no fake is to be drawn.
    """
    choices = _Choices(torch.ones(fakes.shape[:2], dtype=torch.bool, device=fakes.device) if inside is None else inside)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "initial"))
        network = RatioNetwork(real.shape[1], label_space, widths, dropout, activation)
    compute.place(network)
    network.standardise_like(real)
    descent = torch.optim.Adam(network.parameters(), lr=learning_rate, betas=(0.5, 0.999), weight_decay=weight_decay)
    all_labels = label_tensor(labels, label_space, compute)
    batches = Batches(len(choices.rows), batch_size, derive_seed(seed, "order"))
    groups, group_count = label_groups(labels, label_space)
    all_groups = torch.from_numpy(groups).to(compute.device)
    averages = GroupAverages(group_count, compute.device)
    network.train()
    state: dict[str, Stateful] = {"network": network, "optimizer": descent, "averages": averages}
    for step in workspace.steps("ratio", steps, state, log_every=log_every):
        rng = compute.generator(derive_seed(seed, "fakes", step))
        torch.manual_seed(derive_seed(seed, "dropout", step))
        for group in descent.param_groups:
            group["lr"] = cosine(step, steps, learning_rate)
        rows = choices.rows[torch.from_numpy(batches.at(step)).to(compute.device, non_blocking=True)]
        rounds = choices.rounds(rows, rng)
        with compute.autocast():
            ratios_fake = network(fakes[rounds, rows], all_labels[rows])
            ratios_real = network(real[rows], all_labels[rows])
        if penalty == "label":
            means = averages.update(ratios_fake.detach(), all_groups[rows])
            pull = label_penalty(ratios_fake, all_groups[rows], means)
        else:
            pull = batch_penalty(ratios_fake)
        parts = {"divergence": csp_divergence(ratios_fake, ratios_real), "penalty": penalty_weight * pull}
        loss = parts["divergence"] + parts["penalty"]
        descent.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        descent.step()
        if workspace.should_log(step):
            ratios = {"ratio_fake": ratios_fake.mean().item(), "ratio_real": ratios_real.mean().item()}
            workspace.log(step, loss=loss.item(), **{key: part.item() for key, part in parts.items()}, **ratios)
    save_weights(workspace.path(WEIGHTS), network)
    return network.eval().requires_grad_(False)


class _Choices:
    """Which real rows are drawn, and which of their fakes.

    Args:
        inside: which fakes may be drawn, bool (rounds, N).

    Raises:
        StageError: if there is none.
    """

    def __init__(self, inside: Tensor) -> None:
        self._counts = inside.sum(0)
        # The rounds that a row may draw come first.
        self._order = torch.argsort((~inside).to(torch.uint8), dim=0, stable=True)
        self.rows = self._counts.nonzero()[:, 0]
        if not len(self.rows):
            raise StageError(
                f"some fake must be predicted to lie in the vicinity of its label, got none of {inside.numel()}; "
                f"raise ratio.vicinity_gaps, or features.steps for better predictions."
            )

    def rounds(self, rows: Tensor, rng: torch.Generator) -> Tensor:
        """One of the fakes of each row, at random, int64 (B,)."""
        counts = self._counts[rows]
        uniform = torch.rand(rows.shape, generator=rng, device=rows.device)
        drawn = torch.minimum((uniform * counts).long(), counts - 1)
        return self._order[drawn, rows]
