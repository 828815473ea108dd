"""How noisy the labels of a synthetic set are, as far as the teacher can tell. No network runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from data.labels import LabelSpace
from filters.teacher_filter import teacher_error

Floats = npt.NDArray[np.floating[Any]]


def teacher_against(outputs: Floats, labels: npt.NDArray[Any], label_space: LabelSpace) -> dict[str, Any]:
    """How far labels and the teacher's answers are apart.

    On synthetic images that tells of the labels, as far as the teacher is right; on validation images, whose labels are
    true, it tells what the teacher itself gets wrong.

    Args:
        outputs: teacher's logits (if labels have a class), then its values in their own units, (n, K), n at least 1.
        labels: a column of the label space, in its own units, (n, ...).
        label_space: what labels mean.

    Returns:
        JSON-ready: ``rows``; where labels have a class, ``other_guess``, the share whose label is not the teacher's
        first guess, ``doubt``, the mean of 1 - p(label), and ``per_class`` with the same of each class that has rows;
        ``values``, one entry a continuous dimension: axis, unit, ``mean_absolute`` in that unit, ``of_range``.
    """
    found: dict[str, Any] = {"rows": len(labels)}
    if label_space.has_classes:
        classes = label_space.class_part(labels)
        doubt = teacher_error(outputs, labels, label_space, "one_minus_p")
        wrong = outputs[:, : label_space.classes].argmax(axis=1) != classes
        found |= {"other_guess": float(wrong.mean()), "doubt": float(doubt.mean()), "per_class": []}
        for number, name in enumerate(label_space.names):
            mine = classes == number
            if mine.any():
                row = {"label": name, "rows": int(mine.sum())}
                row |= {"other_guess": float(wrong[mine].mean()), "doubt": float(doubt[mine].mean())}
                found["per_class"].append(row)
    errors = np.abs(outputs[:, label_space.classes :].astype(np.float64) - label_space.continuous_part(labels))
    found["values"] = [
        {
            "axis": axis.name,
            "unit": axis.unit,
            "mean_absolute": float(errors[:, place].mean()),
            "of_range": float(errors[:, place].mean() / (axis.maximum - axis.minimum)),
        }
        for place, axis in enumerate(label_space.dimensions)
    ]
    return found


def label_noise(synthetic: dict[str, Any], validation: dict[str, Any] | None, *, soft: bool) -> dict[str, Any]:
    """An estimate from above of the noise in the labels that students learn from, on a scale from 0 to 1.

    A label is wrong at most as often as it differs from the teacher's plus as often as the teacher is wrong (the
    triangle inequality). The second is taken from the validation images, on the assumption that the teacher is no
    worse on the synthetic images that are kept. A class counts 1 if it is another, a value counts its difference as a
    share of the range, and several of them count with their mean.

    Args:
        synthetic: ``teacher_against`` of the labels that students learn from.
        validation: ``teacher_against`` of the validation images; None where the teacher was not asked about them, and
            then its own errors are unknown and count nothing.
        soft: whether the classes are the teacher's probabilities; they do not differ from the teacher then, and the
            teacher is wrong by the mean of 1 - p(label).

    Returns:
        ``label_against_teacher``, ``teacher`` (None if unknown) and their ``total``, at most 1.
    """
    known = "other_guess" in synthetic
    against = [0.0 if soft else synthetic["other_guess"]] if known else []
    against += [value["of_range"] for value in synthetic["values"]]
    if validation is None:
        alone = float(np.mean(against))
        return {"label_against_teacher": alone, "teacher": None, "total": min(1.0, alone)}
    teacher = [validation["doubt" if soft else "other_guess"]] if known else []
    teacher += [value["of_range"] for value in validation["values"]]
    first, second = float(np.mean(against)), float(np.mean(teacher))
    return {"label_against_teacher": first, "teacher": second, "total": min(1.0, first + second)}
