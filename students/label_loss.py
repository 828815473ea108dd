"""The plain loss of labels of any kind, for methods that add a term of their own to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from students.methods import Batch, split_outputs
from students.methods.ce import cross_entropy
from students.methods.mse import squared_error

if TYPE_CHECKING:
    from torch import Tensor


def label_loss(batch: Batch, outputs: Tensor) -> dict[str, Tensor]:
    """Cross entropy of the class and squared error of the standardised values, whichever the labels have.

    Args:
        batch: its labels, and their ``kind`` where they may be class probabilities.
        outputs: (B, K), logits first and then predictions.

    Returns:
        The parts ``ce`` and ``mse``, or one of them.
    """
    if batch.values is not None:
        classes, values = batch.both()
        logits, predictions = split_outputs(outputs, values)
        return {"ce": cross_entropy(logits, classes), "mse": squared_error(predictions, values)}
    if batch.has_classes:
        return {"ce": cross_entropy(outputs, batch.labels)}
    return {"mse": squared_error(outputs, batch.labels)}
