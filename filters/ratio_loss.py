"""The conditional Softplus loss of density ratios (Ding et al. 2023, cDR-RS, arXiv 2103.11166), in two parts."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

Penalty = Literal["batch", "label"]


def csp_divergence(ratios_fake: Tensor, ratios_real: Tensor) -> Tensor:
    """Bregman divergence of the softplus between true and estimated ratio, up to a constant.

    mean_g[sigmoid(psi) psi - softplus(psi)] - mean_r[sigmoid(psi)]; its minimiser over psi >= 0 is p_r / p_g.

    Args:
        ratios_fake: psi of generated images, (B,).
        ratios_real: psi of real images with the same labels, (B,).

    Returns:
        A scalar.
    """
    fake, real = _whole(ratios_fake), _whole(ratios_real)
    return (fake.sigmoid() * fake - functional.softplus(fake)).mean() - real.sigmoid().mean()


def batch_penalty(ratios_fake: Tensor) -> Tensor:
    """(mean_g[psi] - 1)^2 of a whole batch, since E_g[p_r / p_g] = 1; a scalar."""
    return (_whole(ratios_fake).mean() - 1.0).square()


def label_penalty(ratios_fake: Tensor, groups: Tensor, averages: Tensor) -> Tensor:
    """mean_y (m_y - 1)^2 over the groups y of the batch, where m_y is the moving average of psi over the group.

    Gradients go through the batch's own mean of a group as if m_y were that mean: that of psi_i is
    2 (m_y - 1) / (n_y Y), with n_y fakes in its group and Y groups in the batch. The exact derivative would be
    smaller by the share that a batch has in the average, and depend on it. Moving averages keep what the mean of a
    few fakes would not: a penalty whose minimum is a mean of 1, not a ratio without variance.

    Args:
        ratios_fake: psi of generated images, (B,), B at least 1.
        groups: group of each, int64 (B,).
        averages: m_y, these fakes included, without gradient, float32 (G,).

    Returns:
        A scalar.
    """
    means, counts = group_means(ratios_fake, groups, len(averages))
    present = (counts > 0).to(means.dtype)
    followed = averages.to(means.dtype) + (means - means.detach())
    return ((followed - 1.0).square() * present).sum() / present.sum()


def group_means(values: Tensor, groups: Tensor, group_count: int) -> tuple[Tensor, Tensor]:
    """Means (G,) and counts (G,) of the groups of values (B,); the mean of a group without a value is 0."""
    values = _whole(values)
    member = functional.one_hot(groups, group_count).to(values.dtype)
    counts = member.sum(0)
    return (values @ member) / counts.clamp_min(1.0), counts


class GroupAverages:
    """A moving average of each group: the plain mean of its first batches, then an exponential one.

    Args:
        group_count: number of groups G.
        device: where the averages are.
        decay: weight of the old average when it is exponential, in [0, 1).
    """

    def __init__(self, group_count: int, device: torch.device, decay: float = 0.9) -> None:
        self.decay = decay
        self.means = torch.ones(group_count, device=device)
        self.batches = torch.zeros(group_count, device=device)

    @torch.no_grad()
    def update(self, values: Tensor, groups: Tensor) -> Tensor:
        """Takes in a batch and returns the averages, float32 (G,); groups without a value keep theirs.

        Args:
            values: (B,).
            groups: group of each, int64 (B,).
        """
        means, counts = group_means(values.float(), groups, len(self.means))
        self.batches += (counts > 0).float()
        share = (1.0 / self.batches.clamp_min(1.0)).clamp_min(1.0 - self.decay)
        self.means = torch.where(counts > 0, self.means + share * (means - self.means), self.means)
        return self.means

    def state_dict(self) -> dict[str, Any]:
        """What a resumed training needs."""
        return {"means": self.means, "batches": self.batches}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes what ``state_dict`` gave."""
        self.means = state["means"].to(self.means.device)
        self.batches = state["batches"].to(self.batches.device)


def _whole(values: Tensor) -> Tensor:
    """Half precision as float32; everything else as it is."""
    return values.float() if values.element_size() < 4 else values
