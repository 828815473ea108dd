"""Whether a discriminator knows its training images by heart."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from data.compute import Compute
from generators.networks import Verdict
from generators.overfitting import HeldOut

CPU = Compute(torch.device("cpu"))


class Brightness(nn.Module):
    """Scores an image by a table over its mean grey level, dropout in between."""

    def __init__(self, scores: dict[int, float]) -> None:
        super().__init__()
        self.scores = scores
        self.dropout = nn.Dropout(0.5)

    def forward(self, images: torch.Tensor, conditions: torch.Tensor) -> Verdict:
        levels = ((images.mean(dim=(1, 2, 3)) + 1) * 127.5).round().tolist()
        return Verdict(self.dropout(torch.tensor([self.scores[int(level)] for level in levels])))


class Black(nn.Module):
    def forward(self, latents: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
        return torch.full((len(latents), 1, 8, 8), -1.0)


def images(count: int, level: int) -> np.ndarray:
    return np.full((count, 1, 8, 8), level, np.uint8)


@pytest.mark.parametrize(
    ("seen", "unseen", "generated", "expected"),
    [(2.0, 2.0, -1.0, 0.0), (2.0, -1.0, -1.0, 1.0), (2.0, 0.5, -1.0, 0.5), (0.01, 0.0, 0.0, 0.0)],
)
def test_the_share_is_the_ratio_of_score_differences(
    seen: float, unseen: float, generated: float, expected: float
) -> None:
    discriminator = Brightness({200: seen, 100: unseen, 0: generated}).train()
    train = (images(300, 200), np.zeros(300, np.int64))
    held_out = (images(40, 100), np.zeros(40, np.int64))
    chosen = HeldOut.choose(train, held_out, latent_size=4, seed=0)
    assert len(chosen.seen[0]) == len(chosen.unseen[0]) == len(chosen.latents) == 40
    assert chosen.memorised(discriminator, Black(), CPU) == pytest.approx(expected)
    assert discriminator.training
