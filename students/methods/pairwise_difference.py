"""Pairwise differences: the student learns what the teacher says of each pair of rows.

Sources: Margin-MSE (Hofstätter et al., 2020, arXiv 2010.02666); comparative knowledge distillation with a squared
error (Wilf et al., 2023, arXiv 2311.02253).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from students.methods import Batch, check_positive, methods
from students.methods.mse import residuals, squared_error

if TYPE_CHECKING:
    from torch import Tensor


def pairwise_error(outputs: Tensor, teacher: Tensor) -> Tensor:
    """Mean of ((s_i - s_j) - (t_i - t_j))^2 over all ordered pairs of different rows, and over axes.

    In closed form it is twice the unbiased variance of s - t over the batch, so that it takes O(B) and not O(B^2).

    Args:
        outputs: the student's predictions s, (B, L).
        teacher: the teacher's predictions t, (B, L).

    Returns:
        A scalar; 0 for a batch of one row, which has no pairs.
    """
    differences = residuals(outputs, teacher)
    centred = differences - differences.mean(dim=0)
    return 2.0 * centred.square().mean(dim=1).sum() / max(len(centred) - 1, 1)


@methods.register("pairwise_difference")
@dataclass(frozen=True)
class PairwiseDifference:
    """The teacher's differences between rows of a batch, plus w times the squared error to the label.

    Differs from its sources in: all pairs of a batch are compared, in closed form. Differences leave an offset common
    to all rows free, so the label holds it.

    needs: labels, teacher outputs (cached are enough). Tasks: scalar, vector.

    Args:
        anchor_weight: w, above 0.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"labels", "teacher_outputs"})
    tasks: ClassVar[frozenset[str]] = frozenset({"scalar", "vector"})

    anchor_weight: float = 1.0

    def __post_init__(self) -> None:
        check_positive("pairwise_difference", "anchor_weight", self.anchor_weight, 1.0)

    def __call__(self, batch: Batch, outputs: Tensor, progress: float) -> dict[str, Tensor]:
        """The parts of the loss: ``pairs`` and ``label``."""
        return {
            "pairs": pairwise_error(outputs, batch.teacher()),
            "label": self.anchor_weight * squared_error(outputs, batch.labels),
        }
