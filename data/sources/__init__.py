"""Sources: readers of real data sets, one a module, each a frozen dataclass whose fields are its options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from data.errors import DataError
from data.labels import LabelSpace
from data.registry import Registry

EITHER_POOL, TRAINING_POOL, TEST_POOL = 0, 1, 2


class Source(Protocol):
    """A reader of one data set; reading starts with ``labels``, ``pool`` or ``images``, never on construction."""

    @property
    def label_space(self) -> LabelSpace:
        """What the labels mean."""
        ...

    @property
    def license(self) -> str:
        """SPDX identifier of the data set's license."""
        ...

    @property
    def homepage(self) -> str:
        """Where the data set is described."""
        ...

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of every image."""
        ...

    def identity(self) -> dict[str, Any]:
        """JSON-ready values that change if and only if the data would change; cheap, and without any path.

        Raises:
            DataError: if files of the data set are missing.
        """
        ...

    def labels(self) -> npt.NDArray[Any]:
        """All labels, a column of the label space, (N, ...): int64 classes, or float32 values in their own units."""
        ...

    def pool(self) -> npt.NDArray[np.uint8]:
        """What each row may serve for, shape (N,): 0 training or test, 1 only training or validation, 2 only test."""
        ...

    def images(self, rows: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
        """The images of ``rows``, in that order, shape (n, C, H, W).

        Raises:
            DataError: if a row lies outside the data set.
        """
        ...


sources: Registry[Callable[..., Source]] = Registry("source", "data.sources")


def check_rows(rows: npt.NDArray[np.integer], count: int, where: str) -> npt.NDArray[np.int64]:
    """Row numbers as int64, shape (n,).

    Args:
        rows: row numbers, shape (n,).
        count: number of rows of the data set.
        where: name of the data set, for the message.

    Raises:
        DataError: if ``rows`` has another shape, or a row lies outside 0 .. count - 1.
    """
    numbers = np.asarray(rows)
    if numbers.ndim != 1 or (numbers.size and numbers.dtype.kind not in "iu"):
        raise DataError(
            f"{where}: rows must be one-dimensional integers, got shape {numbers.shape} of {numbers.dtype}; "
            "try np.arange(...)."
        )
    if numbers.size and (numbers.min() < 0 or numbers.max() >= count):
        raise DataError(
            f"{where}: rows must lie in 0..{count - 1}, got {numbers.min()}..{numbers.max()}; "
            "try rows below len(labels())."
        )
    return numbers.astype(np.int64)
