"""Outputs of a model for many images, and how good they are."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from data.compute import Compute
from data.labels import LabelSpace
from students.model import ImageModel

Metric = Literal["accuracy", "mae"]


def predict(
    model: ImageModel, images: npt.NDArray[np.uint8], compute: Compute, batch_size: int = 256
) -> npt.NDArray[np.float32]:
    """Outputs of the model in evaluation mode, on blocks of one fixed size.

    The last block is padded with zeros, so that a row's outputs do not depend on how many rows come with it.

    Args:
        model: on the device of ``compute``; its mode is restored.
        images: uint8 (N, C, H, W).
        compute: where and in what precision.
        batch_size: images a block.

    Returns:
        float32 (N, K): logits, or predictions in the label's own unit.
    """
    training = model.training
    model.eval()
    outputs = np.empty((len(images), model.label_space.outputs), np.float32)
    with torch.inference_mode():
        for start in range(0, len(images), batch_size):
            rows = images[start : start + batch_size]
            block = np.zeros((batch_size, *images.shape[1:]), np.uint8)
            block[: len(rows)] = rows
            with compute.autocast():
                answers = model(compute.images(torch.from_numpy(block)))
            outputs[start : start + len(rows)] = answers[: len(rows)].cpu().numpy()
    model.train(training)
    return outputs


def score(
    outputs: npt.NDArray[np.floating[Any]], labels: npt.NDArray[Any], label_space: LabelSpace
) -> tuple[Metric, float]:
    """Accuracy of class predictions, or mean absolute error of scalar ones.

    Args:
        outputs: (N, K) logits, or (N, 1) predictions in the label's own unit; N at least 1.
        labels: (N,) class numbers, or scalars in their own unit.
        label_space: decides which of the two it is.

    Returns:
        ("accuracy", percent) or ("mae", value in the label's unit).

    Raises:
        ValueError: if the numbers of rows differ or are 0.
    """
    if len(outputs) != len(labels) or not len(labels):
        raise ValueError(f"outputs and labels must have the same rows, got {len(outputs)} and {len(labels)}.")
    if label_space.kind == "class":
        return "accuracy", 100.0 * float(np.mean(outputs.argmax(axis=1) == labels))
    return "mae", float(np.mean(np.abs(outputs[:, 0].astype(np.float64) - labels)))


def at_least_as_good(metric: Metric, value: float, other: float) -> bool:
    """Whether ``value`` is better than ``other``, or ties with it; a value that is not a number never is."""
    return value >= other if metric == "accuracy" else value <= other
