"""Sources: readers of real data sets, one a module, each a frozen dataclass whose fields are its options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from data.errors import DataError
from data.faults import Fault as Fault
from data.labels import LabelSpace
from data.registry import Registry

#: What a row may serve for, see ``Source.pool``.
EITHER_POOL, TRAINING_POOL, TEST_POOL, VALIDATION_POOL = 0, 1, 2, 3


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
        """What each row may serve for, shape (N,).

        0 anything, 1 only training or validation, 2 only test, 3 only validation. Where rows of 3 (of 2) exist, no
        other row is taken for validation (for the test).
        """
        ...

    def images(self, rows: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
        """The images of ``rows``, in that order, shape (n, C, H, W).

        Raises:
            UnreadableImages: naming all of them that cannot be read.
            DataError: if a row lies outside the data set.
        """
        ...


def skipped(source: Source) -> tuple[Fault, ...]:
    """Files that a source leaves out because its options say so; they have no rows. None for most sources.

    A source that can leave files out has a method ``skipped()``. It reads every file.
    """
    found: tuple[Fault, ...] = getattr(source, "skipped", tuple)()
    return found


def notes(source: Source) -> tuple[str, ...]:
    """What a person should know of how a source was understood, one sentence each; none for most sources.

    A source that guesses, or overlooks files, has a method ``notes()``.
    """
    found: tuple[str, ...] = getattr(source, "notes", tuple)()
    return found


def row_names(source: Source, rows: npt.NDArray[np.integer]) -> list[str]:
    """What a person finds rows by: files where a source has them (it then has a method ``row_names``), else numbers."""
    tell: Callable[[npt.NDArray[np.integer]], list[str]] | None = getattr(source, "row_names", None)
    return [f"row {row}" for row in rows.tolist()] if tell is None else tell(rows)


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
