"""Groups of labels that are alike and hold about as many rows each, for statistics of a training set."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from data.labels import LabelSpace

#: Groups of a continuous label; of vectors about as many in all.
BINS = 10

Groups = npt.NDArray[np.int64]


def label_groups(labels: npt.NDArray[Any], label_space: LabelSpace, bins: int = BINS) -> tuple[Groups, int]:
    """The class of each label, its quantile bin, or both; for vectors its cell of a grid of quantile bins.

    Args:
        labels: a column of the label space, in its own units, (n, ...), at least one.
        label_space: what labels mean.
        bins: quantile bins of a value; a vector of L values has round(bins^(1/L)) of each, at least 2. Equal
            values share a bin.

    Returns:
        Group of each label, int64 (n,), and the number G of groups, some of which may have no row.
    """
    axes = len(label_space.dimensions)
    each = bins if axes < 2 else max(2, round(bins ** (1 / axes)))
    parts = [label_space.class_part(labels)] if label_space.has_classes else []
    sizes = [label_space.classes] if label_space.has_classes else []
    for values in label_space.continuous_part(labels).T:
        inner = np.quantile(values, np.arange(1, each) / each)
        parts.append(np.searchsorted(inner, values, side="right").astype(np.int64))
        sizes.append(each)
    return np.asarray(np.ravel_multi_index(parts, sizes), np.int64), int(np.prod(sizes))
