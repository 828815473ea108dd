"""The 1,797 real 8x8 digits inside scikit-learn: a data set that needs no download."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from data.errors import DataError
from data.labels import LabelSpace
from data.sources import EITHER_POOL, check_rows, sources

ROWS = 1797
# SHA-256 of the images (uint8, row by row) followed by the labels (little-endian int64).
CONTENT_SHA256 = "0b7e9c3202d7bcd255d6a19a238d3743bf5e320ba74812a6679958a017c55382"


@lru_cache(maxsize=1)
def _read() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    # Of the values 0 .. 16 only 8 falls half-way between two integers, 127.5, and rounds to the even one, 128.
    images = np.round(np.asarray(bunch.images, dtype=np.float64) * (255.0 / 16.0)).astype(np.uint8)[:, None]
    labels = np.asarray(bunch.target).astype("<i8")
    digest = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()
    if digest != CONTENT_SHA256:
        raise DataError(
            f"digits: the content must have SHA-256 {CONTENT_SHA256[:12]}, got {digest[:12]}; "
            "try a scikit-learn release whose load_digits() returns the original 1,797 images."
        )
    images.flags.writeable = labels.flags.writeable = False
    return images, labels


@sources.register("digits")
@dataclass(frozen=True)
class Digits:
    """Handwritten digits, 8x8 pixels in 17 grey levels (Alpaydin and Kaynak, 1998, UCI; scikit-learn's test part).

    Differs from scikit-learn's values in: 0 .. 16 becomes 0 .. 255, rounded.
    """

    license: ClassVar[str] = "CC-BY-4.0"
    homepage: ClassVar[str] = "https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits"
    image_shape: ClassVar[tuple[int, int, int]] = (1, 8, 8)

    @property
    def label_space(self) -> LabelSpace:
        """Ten classes, "0" to "9"."""
        return LabelSpace("class", names=tuple("0123456789"))

    def identity(self) -> dict[str, Any]:
        """The name and the digest of the content, without reading it."""
        return {"name": "digits", "sha256": CONTENT_SHA256}

    def labels(self) -> npt.NDArray[np.int64]:
        """All labels, int64, shape (1797,).

        Raises:
            DataError: if scikit-learn returns other data than this module was written for.
        """
        return _read()[1].copy()

    def pool(self) -> npt.NDArray[np.uint8]:
        """All 0: every row may train or test, shape (1797,)."""
        return np.full(ROWS, EITHER_POOL, dtype=np.uint8)

    def images(self, rows: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
        """The images of ``rows``, in that order, shape (n, 1, 8, 8).

        Raises:
            DataError: if a row lies outside the data set, or scikit-learn returns other data.
        """
        numbers = check_rows(rows, ROWS, "digits")
        return _read()[0][numbers]
