"""What rows of a published HDF5 file may serve for, where the file keeps training and test rows apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from data.sources import EITHER_POOL, TEST_POOL, TRAINING_POOL

if TYPE_CHECKING:
    from data.foreign.published import PublishedFile


def pool_of_parts(file: PublishedFile) -> npt.NDArray[np.uint8]:
    """Only training for rows of the part "train", only test for those of "test", anything for a file in one part.

    Args:
        file: a file whose parts are "train" and "test", or one part of any name.

    Returns:
        uint8 (N,), as ``Source.pool``.
    """
    parts = file.layout.parts
    if len(parts) == 1:
        return np.full(len(file), EITHER_POOL, np.uint8)
    serves = {"train": TRAINING_POOL, "test": TEST_POOL}
    return np.concatenate([np.full(part.rows, serves[name], np.uint8) for name, part in parts.items()])
