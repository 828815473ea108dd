"""Labels as the filters' networks take them, what their answers cost, and how good these are."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from data.compute import Compute
from data.labels import LabelSpace


def label_tensor(labels: npt.NDArray[Any], label_space: LabelSpace, compute: Compute) -> Tensor:
    """Labels (n, ...) on the device as networks take them; see ``LabelSpace.conditions``."""
    return torch.from_numpy(label_space.conditions(labels)).to(compute.device)


def label_loss(outputs: Tensor, conditions: Tensor, label_space: LabelSpace) -> Tensor:
    """Cross entropy of the class plus squared error of the normalised values, averaged over rows and axes.

    Either part is missing where labels have no class, or no values.

    Args:
        outputs: logits, then normalised values, float32 (B, K).
        conditions: what ``label_tensor`` gives, (B, ...).
        label_space: what labels mean.

    Returns:
        A scalar.
    """
    if label_space.kind == "class":
        return functional.cross_entropy(outputs, conditions)
    if label_space.kind == "scalar":
        return functional.mse_loss(outputs[:, 0], conditions)
    if label_space.kind == "vector":
        return functional.mse_loss(outputs, conditions)
    logits, values = outputs[:, :-1], outputs[:, -1]
    return functional.cross_entropy(logits, conditions[:, 0].long()) + functional.mse_loss(values, conditions[:, 1])


def accuracy_and_errors(
    outputs: npt.NDArray[np.floating[Any]], labels: npt.NDArray[Any], label_space: LabelSpace
) -> dict[str, float]:
    """How good answers are.

    Args:
        outputs: logits, then normalised values, (n, K), n at least 1.
        labels: a column of the label space, in its own units, (n, ...).
        label_space: what labels mean.

    Returns:
        "accuracy" in percent, if labels have a class; "mean absolute error of NAME" in the unit of each axis NAME.
    """
    figures: dict[str, float] = {}
    if label_space.has_classes:
        guesses = outputs[:, : label_space.classes].argmax(axis=1)
        figures["accuracy"] = 100.0 * float(np.mean(guesses == label_space.class_part(labels)))
    values = outputs[:, label_space.classes :].astype(np.float64)
    truths = label_space.continuous_part(labels)
    for axis, found, true in zip(label_space.dimensions, values.T, truths.T, strict=True):
        errors = np.abs(axis.minimum + found * (axis.maximum - axis.minimum) - true)
        figures[f"mean absolute error of {axis.name}"] = float(errors.mean())
    return figures
