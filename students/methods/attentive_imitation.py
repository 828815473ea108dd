"""Attentive imitation: the teacher counts by how right it is (Saputra et al., 2019, arXiv 1908.00858)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from students.methods import Batch, ErrorStatistics, check_share, methods
from students.methods.mse import row_errors, squared_error

if TYPE_CHECKING:
    from torch import Tensor


def attention(teacher: Tensor, labels: Tensor, errors: ErrorStatistics) -> Tensor:
    """Phi = 1 - e / eta of each row: 1 where the teacher is right, 0 where it is as wrong as it gets.

    Source: Saputra et al. 2019, where e is the teacher's squared error of the row and eta the largest minus the
    smallest of the training rows. Differs from it in: Phi is clipped to [0, 1], because e / eta exceeds 1 for the
    largest error wherever the smallest is not 0, and for rows outside the training data; where all errors are equal,
    so that eta is 0, Phi is 1.

    Args:
        teacher: the teacher's predictions, (B, L).
        labels: (B, L), or (B,) where L is 1.
        errors: of the training rows.

    Returns:
        (B,), in [0, 1], without gradients.
    """
    found = row_errors(teacher.detach(), labels)
    eta = errors.maximum - errors.minimum
    return (1.0 - found / eta).clamp(min=0.0) if eta > 0.0 else found.new_ones(found.shape)


@methods.register("attentive_imitation")
@dataclass(frozen=True)
class AttentiveImitation:
    """a (prediction - label)^2 + (1 - a) Phi (prediction - teacher)^2, with the teacher's Phi of each row.

    Differs from the paper in: labels and predictions are standardised by the training labels; Phi is clipped, see
    ``attention``; features are not matched (the paper trains on Phi-weighted hints first).

    needs: labels, teacher outputs (cached are enough), teacher errors. Tasks: scalar, vector.

    Args:
        label_weight: a, in [0, 1].
    """

    needs: ClassVar[frozenset[str]] = frozenset({"labels", "teacher_outputs", "teacher_errors"})
    tasks: ClassVar[frozenset[str]] = frozenset({"scalar", "vector"})

    label_weight: float = 0.5

    def __post_init__(self) -> None:
        check_share("attentive_imitation", "label_weight", self.label_weight, 0.5)

    @property
    def learns_labels(self) -> bool:
        """Whether labels have a weight."""
        return self.label_weight > 0.0

    def __call__(self, batch: Batch, outputs: Tensor, progress: float) -> dict[str, Tensor]:
        """The parts of the loss: ``label`` and ``teacher``."""
        trust = attention(batch.teacher(), batch.labels, batch.error_statistics())
        return {
            "label": self.label_weight * squared_error(outputs, batch.labels),
            "teacher": (1.0 - self.label_weight) * (trust * row_errors(outputs, batch.teacher())).mean(),
        }
