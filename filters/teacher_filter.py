"""The teacher's filter: how far its answers are from the labels, and which synthetic images are near enough.

Source: Ding et al. 2023 (cGAN-KD, arXiv 2104.03164), module M2. Pure functions of arrays.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from data.errors import ConfigError, DataError
from data.labels import LabelSpace
from data.random import RANDOM_SHARE, Seeds, uniform_from_seeds
from filters.groups import group_quantile

Floats = npt.NDArray[np.floating[Any]]
ErrorKind = Literal["auto", "cross_entropy", "one_minus_p", "margin", "absolute", "none"]
Scope = Literal["per_class", "per_window", "global"]

#: Scale of the Laplace noise that weighs an error of the value against the class, as a share of the value's range.
VALUE_NOISE = 0.05

#: Candidates that a label window must have for a threshold of its own.
LEAST_ROWS = 10


def fitting_errors(label_space: LabelSpace) -> tuple[ErrorKind, ...]:
    """The kinds of error that labels of this space have."""
    of_class: tuple[ErrorKind, ...] = ("cross_entropy", "one_minus_p", "margin") if label_space.has_classes else ()
    of_values: tuple[ErrorKind, ...] = ("absolute",) if label_space.dimensions else ()
    return ("auto", *of_class, *of_values, "none")


def check_error(label_space: LabelSpace, kind: str) -> None:
    """Checks a kind of error against the labels.

    Raises:
        ConfigError: naming the kinds that fit.
    """
    fitting = fitting_errors(label_space)
    if kind not in fitting:
        raise ConfigError(
            f"the teacher's error must be one of {', '.join(fitting)} for {label_space.kind} labels, got '{kind}'."
        )


def check_scope(label_space: LabelSpace, scope: str) -> None:
    """Checks a scope of the threshold against the labels.

    Raises:
        ConfigError: naming the scopes that fit.
    """
    fitting = [*(["per_class"] if label_space.has_classes else []), *(["per_window"] if label_space.dimensions else [])]
    if scope not in (*fitting, "global"):
        raise ConfigError(
            f"the filter's scope must be {', '.join(fitting)} or global for {label_space.kind} labels, got '{scope}'."
        )


def teacher_error(
    outputs: Floats,
    labels: npt.NDArray[Any],
    label_space: LabelSpace,
    kind: ErrorKind = "auto",
    seeds: Seeds | None = None,
) -> Floats:
    """How far the teacher's answers are from the labels that the images were made for.

    =============  ======================================================================  =====================
    kind           error of the class c with probabilities p, and of the values            range and unit
    =============  ======================================================================  =====================
    cross_entropy  -log p[c]                                                               0 up, nat
    one_minus_p    1 - p[c]                                                                0 to 1
    margin         the largest other p minus p[c]; above 0 the teacher sees another class  -1 to 1
    absolute       absolute error; of vectors the mean over the axes of error / range      0 up, the label's unit;
                                                                                           share of the range
    none           a random number of the row, so that a random share is kept              0 to 1
    auto           class: cross_entropy; scalar and vector: absolute; class+scalar:        as these; nat
                   cross_entropy + absolute error / (5 % of the range)
    =============  ======================================================================  =====================

    The sum of class+scalar is the negative log likelihood of class and value, but for the constant
    log(2 * 5 % of the range), where the value has Laplace noise of that scale around the teacher's: a value off by 5 %
    counts as much as a class that the teacher holds 1 / e as likely. ``one_minus_p`` is a rising function of
    ``cross_entropy``, so both keep the same rows.

    Everything is computed in float64 from differences of logits, so that neither logits of 1e4 overflow nor the errors
    of a teacher that is nearly sure become equal.

    Differs from the paper in: predictions are not clipped to the range of the labels; the paper has cross entropy and
    absolute error only, and neither vectors nor classes with a scalar.

    Args:
        outputs: teacher's logits (if labels have a class), then its values in their own units, (n, K).
        labels: a column of the label space, in its own units, (n, ...).
        label_space: what labels mean.
        kind: see above.
        seeds: seeds of the rows, uint64 (n,); for "none" only.

    Returns:
        (n,), see above; float32 for "auto", which is stored, else float64.

    Raises:
        ConfigError: if labels of this space have no such error.
        ValueError: if the kind is "none" and there are no seeds.
    """
    check_error(label_space, kind)
    if kind == "none":
        if seeds is None:
            raise ValueError("seeds must be given for the error 'none', got None.")
        return uniform_from_seeds(seeds, 1, RANDOM_SHARE)[:, 0]
    if kind == "absolute":
        return _absolute(outputs, labels, label_space)
    if kind != "auto":
        return _class_error(outputs, labels, label_space, kind)
    if not label_space.has_classes:
        return _absolute(outputs, labels, label_space).astype(np.float32)
    errors = _class_error(outputs, labels, label_space, "cross_entropy")
    for axis in label_space.dimensions:
        errors = errors + _absolute(outputs, labels, label_space) / (VALUE_NOISE * (axis.maximum - axis.minimum))
    return errors.astype(np.float32)


def _absolute(outputs: Floats, labels: npt.NDArray[Any], label_space: LabelSpace) -> npt.NDArray[np.float64]:
    values = outputs[:, label_space.classes :].astype(np.float64)
    errors = np.abs(values - label_space.continuous_part(labels))
    if label_space.kind == "vector":
        errors = errors / [axis.maximum - axis.minimum for axis in label_space.dimensions]
    return np.asarray(errors.mean(axis=1), np.float64)


def _class_error(
    outputs: Floats, labels: npt.NDArray[Any], label_space: LabelSpace, kind: ErrorKind
) -> npt.NDArray[np.float64]:
    classes = label_space.class_part(labels)
    rows = np.arange(len(classes))
    gaps = outputs[:, : label_space.classes].astype(np.float64)
    gaps -= gaps[rows, classes][:, None]
    # The gap of the label itself is 0, so this is never negative, and it is 0 where the teacher agrees.
    highest = gaps.max(axis=1)
    others = np.exp(gaps - highest[:, None])
    others[rows, classes] = 0.0
    own, rest = np.exp(-highest), others.sum(axis=1)
    if kind == "one_minus_p":
        return np.asarray(rest / (own + rest))
    if kind == "margin":
        return np.asarray((others.max(axis=1) - own) / (own + rest))
    # Where the teacher agrees own is 1, and rest may be far too small to be added to it.
    return np.asarray(highest + np.log1p((own - 1.0) + rest))


def thresholds(
    errors: Floats, groups: npt.NDArray[np.integer], group_count: int, quantile: float, scope: Scope
) -> npt.NDArray[np.float64]:
    """The largest error that is kept, for each group.

    Source: cGAN-KD, per class for classification, global for regression.

    Differs from the paper in: the scope of label windows, with which labels that are hard for the teacher keep their
    share.

    Args:
        errors: teacher's errors, (n,), n at least 1.
        groups: class or label window of each row, (n,); zeros will do for a global threshold.
        group_count: number of groups G.
        quantile: share of rows to keep, the paper's rho, in (0, 1].
        scope: "per_class" and "per_window" take the quantile within each group, "global" over all rows.

    Returns:
        float64 (G,); a class with no row, and a window with fewer than ``LEAST_ROWS``, gets the global threshold.

    Raises:
        ConfigError: if the quantile or the scope is not one of those.
        DataError: if there is no row, or an error is not finite.
    """
    if not 0.0 < quantile <= 1.0:
        raise ConfigError(f"the filter's quantile must be in (0, 1], got {quantile}; try 0.9.")
    if scope not in ("per_class", "per_window", "global"):
        raise ConfigError(f"the filter's scope must be 'per_class', 'per_window' or 'global', got '{scope}'.")
    if not len(errors) or not np.isfinite(errors).all():
        raise DataError(
            f"teacher errors must be finite and at least one, got {len(errors)} "
            f"of which {int(np.sum(~np.isfinite(errors)))} are not finite; check the teacher's outputs."
        )
    overall = np.full(group_count, group_quantile(errors, np.zeros(len(errors), np.int64), 1, quantile)[0])
    if scope == "global":
        return overall
    own = group_quantile(errors, groups, group_count, quantile)
    least = LEAST_ROWS if scope == "per_window" else 1
    return np.where(np.bincount(groups, minlength=group_count) >= least, own, overall)


def kept_rows(
    errors: Floats, groups: npt.NDArray[np.integer], limits: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """Which rows pass the filter.

    Differs from the paper in: an error equal to the threshold is kept (the paper's comparison is strict), so that a
    quantile of 1 keeps every row.

    Args:
        errors: teacher's errors, (n,).
        groups: group of each row, (n,).
        limits: what ``thresholds`` gave, (G,).

    Returns:
        bool (n,).
    """
    return np.asarray(errors <= limits[groups], np.bool_)
