"""The teacher's filter: keep the synthetic images that the teacher agrees with, and relabel them.

Source: Ding et al. 2023 (cGAN-KD, arXiv 2104.03164), module M2. Pure functions of arrays.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from data.errors import ConfigError, DataError
from data.labels import LabelSpace
from filters.groups import group_quantile

Floats = npt.NDArray[np.floating[Any]]
Scope = Literal["per_class", "global"]
Relabelling = Literal["none", "values", "hard", "soft"]

#: Scale of the Laplace noise that weighs an error of the value against the class, as a share of the value's range.
VALUE_NOISE = 0.05


def teacher_error(outputs: Floats, labels: npt.NDArray[Any], label_space: LabelSpace) -> npt.NDArray[np.float32]:
    """How far the teacher's answers are from the labels that the images were made for.

    ============  =====================================================  ================
    label space   error                                                  unit
    ============  =====================================================  ================
    class         cross entropy                                          nat
    scalar        absolute error                                         that of the label
    vector        mean over the axes of absolute error / range           share of the range
    class+scalar  cross entropy + absolute error / (5 % of the range)    nat
    ============  =====================================================  ================

    The last is the negative log likelihood of class and value, but for the constant log(2 * 5 % of the range), where
    the value has Laplace noise of that scale around the teacher's: a value off by 5 % counts as much as a class that
    the teacher holds 1 / e as likely.

    Differs from the paper in: predictions are not clipped to the range of the labels; vectors, and classes with a
    scalar, are not in it.

    Args:
        outputs: teacher's logits (if labels have a class), then its values in their own units, (n, K).
        labels: a column of the label space, in its own units, (n, ...).
        label_space: what labels mean.

    Returns:
        float32 (n,), see above.
    """
    values = outputs[:, label_space.classes :].astype(np.float64)
    errors = np.abs(values - label_space.continuous_part(labels))
    spans = np.array([axis.maximum - axis.minimum for axis in label_space.dimensions])
    if label_space.kind == "scalar":
        return np.asarray(errors[:, 0], np.float32)
    if label_space.kind == "vector":
        return np.asarray((errors / spans).mean(axis=1), np.float32)
    surprise = _cross_entropy(outputs[:, : label_space.classes], label_space.class_part(labels))
    if label_space.kind == "class+scalar":
        surprise = surprise + errors[:, 0] / (VALUE_NOISE * spans[0])
    return np.asarray(surprise, np.float32)


def _cross_entropy(outputs: Floats, classes: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    logits = outputs.astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    normaliser = np.log(np.exp(logits).sum(axis=1))
    return np.asarray(normaliser - logits[np.arange(len(classes)), classes])


def thresholds(
    errors: Floats, groups: npt.NDArray[np.integer], group_count: int, quantile: float, scope: Scope
) -> npt.NDArray[np.float64]:
    """The largest error that is kept, for each class.

    Source: cGAN-KD, per class for classification, global for regression.

    Args:
        errors: teacher's errors, (n,), n at least 1.
        groups: class of each row, (n,); zeros will do for a global threshold.
        group_count: number of classes G.
        quantile: share of rows to keep, the paper's rho, in (0, 1].
        scope: "per_class" takes the quantile within each class, "global" over all rows.

    Returns:
        float64 (G,); a class with no row gets the global threshold.

    Raises:
        ConfigError: if the quantile or the scope is not one of those.
        DataError: if there is no row, or an error is not finite.
    """
    if not 0.0 < quantile <= 1.0:
        raise ConfigError(f"the filter's quantile must be in (0, 1], got {quantile}; try 0.9.")
    if scope not in ("per_class", "global"):
        raise ConfigError(f"the filter's scope must be 'per_class' or 'global', got '{scope}'.")
    if not len(errors) or not np.isfinite(errors).all():
        raise DataError(
            f"teacher errors must be finite and at least one, got {len(errors)} "
            f"of which {int(np.sum(~np.isfinite(errors)))} are not finite; check the teacher's outputs."
        )
    overall = np.full(group_count, group_quantile(errors, np.zeros(len(errors), np.int64), 1, quantile)[0])
    if scope == "global":
        return overall
    own = group_quantile(errors, groups, group_count, quantile)
    return np.where(np.isnan(own), overall, own)


def kept_rows(
    errors: Floats, groups: npt.NDArray[np.integer], limits: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """Which rows pass the filter.

    Differs from the paper in: an error equal to the threshold is kept (the paper's comparison is strict), so that a
    quantile of 1 keeps every row.

    Args:
        errors: teacher's errors, (n,).
        groups: class of each row, (n,).
        limits: what ``thresholds`` gave, (G,).

    Returns:
        bool (n,).
    """
    return np.asarray(errors <= limits[groups], np.bool_)


def relabel(labels: npt.NDArray[Any], outputs: Floats, label_space: LabelSpace, mode: Relabelling) -> npt.NDArray[Any]:
    """The labels that students see.

    Differs from the paper in: predictions are not clipped to the range of the labels.

    Args:
        labels: what the images were made for, a column of the label space, in its own units, (n, ...).
        outputs: teacher's logits (if labels have a class), then its values in their own units, (n, K).
        label_space: what labels mean.
        mode: "none" keeps the labels; "values" keeps the class and takes the teacher's values; "hard" takes the
            teacher's most likely class and its values; "soft" (classes only) keeps the labels too, and means that
            students are to be trained on the teacher's probabilities of the row in place of the label.

    Returns:
        A new array, a column of the label space.

    Raises:
        ConfigError: if the mode is unknown or does not fit the label space.
    """
    if mode not in ("none", "values", "hard", "soft"):
        raise ConfigError(f"relabelling must be 'none', 'values', 'hard' or 'soft', got '{mode}'.")
    if mode == "soft" and label_space.kind != "class":
        raise ConfigError(f"relabelling of {label_space.kind} labels must be 'none' or 'hard', got 'soft'; try 'hard'.")
    if mode in ("none", "soft"):
        return labels.astype(label_space.dtype)
    classes = None
    if label_space.has_classes:
        own = mode == "values"
        classes = label_space.class_part(labels) if own else outputs[:, : label_space.classes].argmax(axis=1)
    return label_space.join(classes, outputs[:, label_space.classes :])
