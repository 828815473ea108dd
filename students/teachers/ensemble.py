"""Several teachers that answer as one: the mean of their probabilities for classes, and of their predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from students.teachers import Teacher
from students.teachers.recorded import Counted, Tally

if TYPE_CHECKING:
    from data.labels import LabelSpace
    from students.model import ImageModel


class EnsembleAnswers:
    """Teachers that are asked one after the other; a ``Teacher``.

    Its logits are the logarithm of the mean of the probabilities (Hinton, Vinyals and Dean, 2015, arXiv 1503.02531,
    section 3, arithmetic mean), so that their softmax is that mean.

    Args:
        members: of one label space.
        weights: of each, above 0; they are divided by their sum.
    """

    def __init__(self, members: Sequence[Teacher], weights: Sequence[float]) -> None:
        self._members = list(members)
        self._weights = normalised_weights(weights)

    @property
    def label_space(self) -> LabelSpace:
        """What its outputs mean."""
        return self._members[0].label_space

    def answer(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Outputs for uint8 images (n, C, H, W), float32 (n, K)."""
        # One summation order for all members: results do not depend on how many there are in memory.
        answers = torch.from_numpy(np.stack([member.answer(images) for member in self._members]))
        mean: npt.NDArray[np.float32] = mean_answer(answers, self._weights, self.label_space.classes).numpy()
        return mean

    def count(self, images: npt.NDArray[np.uint8], tally: Tally) -> None:
        """Counts what answers for uint8 images (n, C, H, W) would cost with the members' ledgers."""
        for member in self._members:
            if isinstance(member, Counted):
                member.count(images, tally)


class EnsembleNetwork(nn.Module):
    """Image models that answer as one network: grey levels (B, C, H, W) to (B, K) in the labels' units.

    Args:
        members: of one label space and image shape.
        weights: of each, above 0.
    """

    def __init__(self, members: Sequence[ImageModel], weights: Sequence[float]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self._weights = normalised_weights(weights)
        self._classes = members[0].label_space.classes

    def forward(self, images: Tensor) -> Tensor:
        """Maps images to outputs, with gradients where they are on."""
        return mean_answer(torch.stack([member(images) for member in self.members]), self._weights, self._classes)


def mean_answer(answers: Tensor, weights: Sequence[float], classes: int) -> Tensor:
    """Logarithm of the mean of probabilities, and mean of values.

    Args:
        answers: float32 (M, B, K): logits, then values, of M teachers.
        weights: of each, with the sum 1.
        classes: number of logits, 0 or more.

    Returns:
        (B, K).
    """
    scale = torch.tensor(list(weights), dtype=answers.dtype, device=answers.device)[:, None, None]
    values = (answers[..., classes:] * scale).sum(dim=0)
    if not classes:
        return values
    logits = torch.logsumexp(answers[..., :classes].log_softmax(dim=-1) + scale.log(), dim=0)
    return torch.cat([logits, values], dim=-1)


def normalised_weights(weights: Sequence[float]) -> tuple[float, ...]:
    """Weights with the sum 1."""
    total = float(sum(weights))
    return tuple(float(weight) / total for weight in weights)
