"""How far a student follows its teacher on the same images, whatever the labels are."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from data.labels import LabelSpace

Outputs = npt.NDArray[np.floating[Any]]


def top1_agreement(student: Outputs, teacher: Outputs) -> float:
    """Share of the images whose first guess is the teacher's, in percent.

    Args:
        student: logits (N, C), N at least 1.
        teacher: logits (N, C).
    """
    return 100.0 * float(np.mean(student.argmax(axis=1) == teacher.argmax(axis=1)))


def mean_divergence(student: Outputs, teacher: Outputs) -> float:
    """Mean Kullback-Leibler divergence KL(teacher || student) at temperature 1, in nats.

    Args:
        student: logits (N, C), N at least 1.
        teacher: logits (N, C).
    """
    own, taught = log_softmax(student), log_softmax(teacher)
    return float(np.mean(np.sum(np.exp(taught) * (taught - own), axis=1)))


def agreement(student: Outputs, teacher: Outputs, label_space: LabelSpace) -> dict[str, Any]:
    """How near the outputs of two models are, JSON-ready.

    Args:
        student: (N, K) logits, then predictions in their own units; N at least 1.
        teacher: (N, K) of the same images.
        label_space: decides what is measured.

    Returns:
        Where labels have a class ``top1`` in percent and ``divergence`` in nats; ``values`` has an entry an axis with
        the root mean square (``rmse``) and the mean (``mean_absolute``) of the difference, in the axis's ``unit``.

    Raises:
        ValueError: if the shapes differ or there is no row.
    """
    if student.shape != teacher.shape or not len(student):
        raise ValueError(f"outputs must have the same shape, got {student.shape} and {teacher.shape}.")
    classes = label_space.classes
    found: dict[str, Any] = {"values": []}
    if label_space.has_classes:
        found["top1"] = top1_agreement(student[:, :classes], teacher[:, :classes])
        found["divergence"] = mean_divergence(student[:, :classes], teacher[:, :classes])
    difference = student[:, classes:].astype(np.float64) - teacher[:, classes:]
    for place, axis in enumerate(label_space.dimensions):
        apart = difference[:, place]
        found["values"].append(
            {
                "axis": axis.name,
                "unit": axis.unit,
                "rmse": float(np.sqrt(np.mean(np.square(apart)))),
                "mean_absolute": float(np.mean(np.abs(apart))),
            }
        )
    return found


def log_softmax(logits: Outputs) -> npt.NDArray[np.float64]:
    """Logarithms of class probabilities, float64 (N, C)."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True)))
