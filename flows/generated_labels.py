"""Which labels are generated: those of the training images, or others that no image has."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import numpy.typing as npt

from data.errors import StageError
from data.labels import LabelSpace
from data.random import derive_seed

#: A point is dropped if it is farther from every training label than this many of their typical spacings.
_REACH = 2.0
#: The largest block of the sequence that is tried has 2 to the power of this many points.
_MOST_POINTS_LOG2 = 20

Points = npt.NDArray[np.float64]


def generated_labels(train: npt.NDArray[Any], space: LabelSpace, count: int | None, seed: int) -> npt.NDArray[Any]:
    """The labels that images are generated for, each once.

    ============  =============================  ==================================================================
    label space   ``count`` is None              ``count`` is n
    ============  =============================  ==================================================================
    class         every class                    every class
    scalar        every distinct training label  n values, evenly from the smallest to the largest training label
    vector        every distinct training label  n points, evenly over where training labels lie, see ``fill_box``
    class+scalar  every distinct training label  n values a class, evenly over that class's own training labels
    ============  =============================  ==================================================================

    Args:
        train: labels of the training images, a column of the label space, in its own units, (N, ...).
        space: what labels mean.
        count: see above.
        seed: makes the points of vectors.

    Returns:
        A column of the label space; rising, vectors by their first axis.

    Raises:
        StageError: if so few points lie near training labels that n of them cannot be found.
    """
    if space.kind == "class":
        return np.arange(space.classes, dtype=space.dtype)
    if count is None:
        return np.unique(train, axis=0)
    if space.kind == "scalar":
        return np.linspace(train.min(), train.max(), count, dtype=space.dtype)
    if space.kind == "vector":
        points = fill_box(space.continuous_part(train), count, derive_seed(seed, "labels"))
        return np.unique(points.astype(space.dtype), axis=0)
    classes, values = space.class_part(train), space.continuous_part(train)[:, 0]
    present = np.unique(classes)
    spread = [np.linspace(values[classes == k].min(), values[classes == k].max(), count) for k in present]
    # A class with a single training value has that label once.
    return np.unique(space.join(np.repeat(present, count), np.concatenate(spread)), axis=0)


def fill_box(labels: Points, count: int, seed: int) -> Points:
    """Points that fill the part of the labels' bounding box in which labels lie.

    Source: a Sobol sequence (Sobol, 1967) with Owen's scrambling (1998), as in SciPy; its first points cover a box far
    more evenly than random ones. Of these, in order, the points are taken that have a label no farther away than
    twice the typical spacing: the median distance of a label to the nearest other one. Distances are measured with
    each axis stretched by its number of distinct values less one, so that the steps of a grid count as equal.

    Args:
        labels: (N, L) in their own units; may repeat. An axis on which all agree stays at that value.
        count: number of points, at least 1.
        seed: of the scrambling.

    Returns:
        float64 (count, L).

    Raises:
        StageError: if there are not as many among the first two million points.
    """
    from scipy.spatial import cKDTree
    from scipy.stats import qmc

    labels = np.unique(labels, axis=0)
    low, span = labels.min(axis=0), np.ptp(labels, axis=0)
    stretch = np.array([len(np.unique(axis)) - 1.0 for axis in labels.T]) / np.where(span > 0, span, 1.0)
    tree = cKDTree((labels - low) * stretch)
    reach = np.inf
    if len(labels) > 1:
        reach = _REACH * float(np.median(tree.query(tree.data, k=2)[0][:, 1]))
    # SciPy renamed the argument.
    name = "rng" if "rng" in inspect.signature(qmc.Sobol).parameters else "seed"
    sequence = qmc.Sobol(labels.shape[1], scramble=True, **{name: np.random.default_rng(seed)})
    found: list[Points] = []
    power = max(int(count - 1).bit_length(), 1)
    while power <= _MOST_POINTS_LOG2:
        points = low + span * sequence.random_base2(power)
        distances, _ = tree.query((points - low) * stretch, distance_upper_bound=reach * (1 + 1e-9))
        found.append(points[np.isfinite(distances)])
        if sum(map(len, found)) >= count:
            return np.concatenate(found)[:count]
        # Blocks double what there is: the sequence keeps its balance in powers of two.
        power += len(found) > 1
    raise StageError(
        f"candidates: {sum(map(len, found))} of {count} points were found near training labels, which lie on too thin "
        f"a part of their ranges; leave candidates.labels unset to generate the training labels themselves."
    )
