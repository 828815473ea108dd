"""Steering Angle: frames of a driving car with the angle of its wheel, from the papers' HDF5 files."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from data.errors import DataError
from data.file_digests import digest_of
from data.foreign.published_labels import in_own_units
from data.labels import LabelSpace
from data.sources import sources
from data.sources._parts import pool_of_parts

if TYPE_CHECKING:
    from data.foreign.published import PublishedFile


@sources.register("steering_angle")
@dataclass(frozen=True)
class SteeringAngle:
    """Driving frames with the wheel's angle in degrees (Ding et al., 2023, TPAMI).

    The label space has the data's own range; in the published file that is -88.13 to 97.92 degrees. Rows are in the
    order of the file, training rows first where it keeps them apart; the file of CcGAN does not, and any of its rows
    may train or test.

    Args:
        path: HDF5 file in the layout of CcGAN or of cGAN-KD.
    """

    path: str

    # The papers' files carry no license.
    license: ClassVar[str] = "NOASSERTION"
    homepage: ClassVar[str] = "https://github.com/UBCDingXin/improved_CcGAN"

    @property
    def label_space(self) -> LabelSpace:
        """The angle of the wheel in degrees, from the smallest to the largest of the file."""
        labels = self.labels()
        low, high = float(labels.min()), float(labels.max())
        if low == high:
            raise DataError(f"{self.path}: labels must differ, got {low:g} degree for all rows; give another file.")
        return LabelSpace("scalar", name="steering angle", unit="degree", minimum=low, maximum=high)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the file's images."""
        return self._file.layout.image_shape

    def identity(self) -> dict[str, Any]:
        """The digest of the file.

        Raises:
            DataError: if the file is missing.
        """
        return {"name": "steering_angle", "file_sha256": digest_of(Path(self.path).expanduser())}

    def labels(self) -> npt.NDArray[np.float32]:
        """Angles of all rows in degrees, float32 (N,).

        Raises:
            DataError: if the file does not fit, or the angles are normalised or impossible.
        """
        where = f"{self.path}: labels"
        angles = in_own_units(self._file.column("labels"), where, "degree")
        # A wheel turns more than once, but no label of degrees is as large as a coded or packed one.
        if np.abs(angles).max() > 1080:
            raise DataError(f"{where} must be degrees, got {angles.min():g} to {angles.max():g}; convert them.")
        return angles.astype(np.float32)

    def pool(self) -> npt.NDArray[np.uint8]:
        """1 for training rows and 2 for test rows where the file keeps them apart, else 0, shape (N,)."""
        return pool_of_parts(self._file)

    def images(self, rows: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
        """The images of ``rows``, in that order, shape (n, 3, H, W).

        Raises:
            DataError: if a row lies outside the data set, or the file is damaged.
        """
        return self._file.images(rows)

    def notes(self) -> tuple[str, ...]:
        """Arrays of the file that are not read, in words."""
        return self._file.notes()

    @cached_property
    def _file(self) -> PublishedFile:
        # To be identified it needs no HDF5.
        from data.foreign.published import open_published

        return open_published(self.path, ("plain", "train-test"), "source steering_angle")
