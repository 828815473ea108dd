"""Mixed images that are formed when they are asked for, for whatever goes through all rows of a part."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from data.recipes.applying import mix_images
from data.recipes.mixes import Mixes
from students.rows import Images, Rows


class MixedImages:
    """Mixes of images as an array of which rows are taken.

    Args:
        images: uint8 (N, C, H, W).
        mixes: of them, M.
    """

    def __init__(self, images: Images, mixes: Mixes) -> None:
        self._images, self._mixes = images, mixes

    @property
    def shape(self) -> tuple[int, ...]:
        """(M, C, H, W)."""
        return (len(self), *self._images.shape[1:])

    def __len__(self) -> int:
        """Number of mixes."""
        return len(self._mixes)

    def __getitem__(self, places: npt.NDArray[np.int64] | slice) -> npt.NDArray[Any]:
        """Mixed images uint8 (m, C, H, W) at some places."""
        mixes = self._mixes.at(np.arange(len(self))[places])
        first, second = (torch.from_numpy(np.array(self._images[rows])) for rows in (mixes.first, mixes.second))
        coefficient, box = (torch.from_numpy(np.array(column)) for column in (mixes.coefficient, mixes.box))
        return mix_images(first, second, coefficient, box, mixes.kind).numpy()


def images_of(rows: Rows) -> Images | MixedImages:
    """What a student learns from: the images of rows, or the mixed ones."""
    return rows.images if rows.mixes is None else MixedImages(rows.images, rows.mixes)
