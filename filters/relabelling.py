"""Relabelling: which label students see of a synthetic image that the teacher has answered.

Source: Ding et al. 2023 (cGAN-KD, arXiv 2104.03164), module M2. Pure functions of arrays.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from data.errors import ConfigError
from data.labels import LabelSpace

Relabelling = Literal["none", "values", "hard", "soft"]


def fitting_relabellings(label_space: LabelSpace) -> tuple[Relabelling, ...]:
    """The modes that serve labels of this space; "values" of classes are none, and of values alone are hard labels."""
    return ("none", "values", "hard", "soft") if label_space.has_classes else ("none", "values", "hard")


def check_relabelling(label_space: LabelSpace, mode: str) -> None:
    """Checks a mode against the labels.

    Raises:
        ConfigError: naming the modes that fit.
    """
    fitting = fitting_relabellings(label_space)
    if mode not in fitting:
        raise ConfigError(f"relabelling of {label_space.kind} labels must be {_listed(fitting)}, got '{mode}'.")


def relabel(
    labels: npt.NDArray[Any], outputs: npt.NDArray[np.floating[Any]], label_space: LabelSpace, mode: Relabelling
) -> npt.NDArray[Any]:
    """The labels that students see.

    ======  =========================  =====================================  ======================
    mode    class                      values                                 students learn
    ======  =========================  =====================================  ======================
    none    of the condition           of the condition                       the label
    values  of the condition           the teacher's                          the label
    hard    the teacher's likeliest    the teacher's                          the label
    soft    of the condition           the teacher's                          the teacher's class
                                                                              probabilities, values
    ======  =========================  =====================================  ======================

    Differs from the paper in: predictions are not clipped to the range of the labels; the paper relabels values only,
    and has no soft labels.

    Args:
        labels: what the images were made for, a column of the label space, in its own units, (n, ...).
        outputs: teacher's logits (if labels have a class), then its values in their own units, (n, K).
        label_space: what labels mean.
        mode: see above; with "soft" the probabilities themselves come from ``outputs``, and stand in for the class
            that the new labels keep (see ``students.training_data.Rows.soft_labels``).

    Returns:
        A new array, a column of the label space.

    Raises:
        ConfigError: if the mode is unknown or does not fit the label space.
    """
    check_relabelling(label_space, mode)
    if mode == "none":
        return labels.astype(label_space.dtype)
    classes = None
    if label_space.has_classes:
        own = mode != "hard"
        classes = label_space.class_part(labels) if own else outputs[:, : label_space.classes].argmax(axis=1)
    return label_space.join(classes, outputs[:, label_space.classes :])


def _listed(modes: tuple[str, ...]) -> str:
    quoted = [f"'{mode}'" for mode in modes]
    return f"{', '.join(quoted[:-1])} or {quoted[-1]}"
