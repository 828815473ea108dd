"""Cell-200: synthetic microscopy images with 1 to 200 cells, from the papers' HDF5 files."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from data.errors import DataError
from data.file_digests import digest_of
from data.foreign.published_labels import in_own_units, whole
from data.labels import LabelSpace
from data.sources import sources
from data.sources._parts import pool_of_parts

if TYPE_CHECKING:
    from data.foreign.published import PublishedFile

MOST_CELLS = 200


@sources.register("cell200")
@dataclass(frozen=True)
class Cell200:
    """Grey images of fluorescent cells with their number (Ding, Wang, Xu, Welch and Wang, 2021, arXiv 2011.07466).

    Simulated by SIMCEP (Lehmussola et al., 2007, IEEE TMI). Rows are in the order of the file, training rows first; of
    a file without ``IMGs_grey_test`` any row may train or test.

    Args:
        path: HDF5 file in the layout of CcGAN.
    """

    path: str

    # The papers' files carry no license.
    license: ClassVar[str] = "NOASSERTION"
    homepage: ClassVar[str] = "https://github.com/UBCDingXin/improved_CcGAN"

    @property
    def label_space(self) -> LabelSpace:
        """The number of cells, 1 to 200."""
        return LabelSpace("scalar", name="cell count", unit="cell", minimum=1.0, maximum=float(MOST_CELLS))

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the file's images."""
        return self._file.layout.image_shape

    def identity(self) -> dict[str, Any]:
        """The digest of the file.

        Raises:
            DataError: if the file is missing.
        """
        return {"name": "cell200", "file_sha256": digest_of(Path(self.path).expanduser())}

    def labels(self) -> npt.NDArray[np.float32]:
        """Number of cells of all rows, float32 (N,).

        Raises:
            DataError: if the file does not fit, or a count is no whole number of 1 to 200.
        """
        where = f"{self.path}: CellCounts"
        counts = whole(in_own_units(self._file.column("labels"), where, "cell"), where)
        if counts.min() < 1 or counts.max() > MOST_CELLS:
            raise DataError(
                f"{where} must lie between 1 and {MOST_CELLS}, got {counts.min()} to {counts.max()}; leave such rows "
                "out, or try source.kind hdf5."
            )
        return counts.astype(np.float32)

    def pool(self) -> npt.NDArray[np.uint8]:
        """1 for training rows and 2 for test rows where the file keeps them apart, else 0, shape (N,)."""
        return pool_of_parts(self._file)

    def images(self, rows: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
        """The images of ``rows``, in that order, shape (n, 1, H, W).

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

        return open_published(self.path, ("cell200",), "source cell200")
