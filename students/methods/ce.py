"""Cross entropy: the student (or teacher) learns from labels alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from students.methods import Batch, at_least_float32, methods

if TYPE_CHECKING:
    from torch import Tensor


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross entropy of hard or soft labels, in log space.

    Args:
        logits: (B, K).
        labels: int64 (B,) class numbers, or (B, K) class probabilities.

    Returns:
        The mean over the batch, a scalar.
    """
    log_probabilities = at_least_float32(logits).log_softmax(dim=1)
    if labels.ndim == logits.ndim:
        return -(labels * log_probabilities).sum(dim=1).mean()
    return -log_probabilities.gather(1, labels[:, None]).mean()


@methods.register("ce")
@dataclass(frozen=True)
class CrossEntropy:
    """Plain training on hard or soft labels.

    needs: labels. Tasks: classification.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"labels"})
    tasks: ClassVar[frozenset[str]] = frozenset({"class"})

    def __call__(self, batch: Batch, outputs: Tensor, progress: float) -> dict[str, Tensor]:
        """The parts of the loss: ``ce``."""
        return {"ce": cross_entropy(outputs, batch.labels)}
