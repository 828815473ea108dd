"""The papers' HDF5 files of images with classes: a training part and a part that serves as the test."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from data.errors import DataError
from data.file_digests import digest_of
from data.sources import TEST_POOL, TRAINING_POOL, check_rows

if TYPE_CHECKING:
    from data.foreign.published import PublishedFile


@dataclass(frozen=True, eq=False)
class ClassArrays:
    """Rows of such a file; labels and images are read when they are asked for.

    Args:
        file: the recognised file, with the parts "train" and "valid".
        where: name of the data set, for messages.
    """

    file: PublishedFile
    where: str

    @property
    def classes(self) -> int:
        """Number of classes."""
        return int(self.labels.max()) + 1

    @cached_property
    def labels(self) -> npt.NDArray[np.int64]:
        """Class of each row, int64 (N,).

        Raises:
            DataError: if a class is no whole number, or a number below the largest has no training image.
        """
        values = self.file.column("labels")
        path = self.file.layout.path
        # Infinity is equal to itself rounded.
        if values.size == 0 or not np.isfinite(values).all() or values.min() < 0 or (values != np.round(values)).any():
            raise DataError(f"{path}: labels must be whole numbers from 0 on; convert them.")
        labels = values.astype(np.int64)
        training = labels[self.pool == TRAINING_POOL]
        missing = np.setdiff1d(np.arange(min(labels.max() + 1, len(labels) + 1)), training)
        if len(missing):
            raise DataError(f"{path}: class {missing[0]} must have training images, got none; number classes 0, 1 ...")
        return labels

    @property
    def pool(self) -> npt.NDArray[np.uint8]:
        """1 for the rows of "train", 2 for those of "valid", uint8 (N,)."""
        parts = self.file.layout.parts.items()
        return np.concatenate(
            [np.full(part.rows, TRAINING_POOL if name == "train" else TEST_POOL, np.uint8) for name, part in parts]
        )

    def images(self, rows: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
        """The images of ``rows``, in that order, uint8 (n, C, H, W).

        Raises:
            DataError: if a row lies outside the file, or it is damaged.
        """
        return self.file.images(check_rows(rows, len(self.file), self.where))

    def digest(self) -> str:
        """SHA-256 of the file."""
        return digest_of(self.file.layout.path)


def open_class_arrays(path: Path, layout: str, image_shape: tuple[int, int, int], where: str) -> ClassArrays:
    """Recognises a file.

    Args:
        path: the HDF5 file.
        layout: name of the layout that will do.
        image_shape: (C, H, W) that its images must have.
        where: name of the source.

    Raises:
        DataError: if the file is another one, or its images have another shape.
    """
    from data.foreign.published import open_published

    file = open_published(path, (layout,), f"source {where}")
    if file.layout.image_shape != image_shape:
        raise DataError(
            f"{path}: images must have the shape {image_shape} of source.image_size, got {file.layout.image_shape}; "
            f"set source.image_size to {file.layout.image_shape[1]}."
        )
    return ClassArrays(file, where)
