"""Your images and labels as NumPy files, mapped and never held whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data.errors import DataError
from data.file_digests import digest_of
from data.labels import LabelSpace
from data.numpy_files import names_in, open_array
from data.sources import sources
from data.sources._labelling import read_values
from data.sources._numbered import Labels, check_images, image_shape_of, make_labels, read_rows


@sources.register("arrays")
@dataclass(frozen=True)
class Arrays:
    """Images and labels that were saved with ``np.save`` or ``np.savez``.

    Labels are whole numbers (N,) for classes; numbers (N,) or (N, L) with L entries in ``values``; or (N, 2) with one
    entry in ``values`` for a class and its value.

    Args:
        image_file: .npy file of uint8 images, or .npz file with ``images``.
        label_file: .npy file, or .npz file with ``labels``; None takes ``labels`` beside ``images``.
        layout: order of the axes of images, NCHW, NHWC or NHW.
        classes: class names in the order of the numbers; empty calls each by its number.
        values: what each column of numbers means, mappings with the fields of ``_labelling.Value``.
        split_file: .npy file, or .npz file with ``split``: 0 training, 1 validation, 2 test; None takes
            ``split`` beside ``images``, or leaves it open.
        name: name of the data set.
        license: SPDX expression.
        homepage: where it is described.

    Raises:
        ConfigError: if two values have one name, or a minimum is not below its maximum.
    """

    image_file: str
    label_file: str | None = None
    layout: str = "NCHW"
    classes: tuple[str, ...] = ()
    values: tuple[Mapping[str, Any], ...] = field(default=())
    split_file: str | None = None
    name: str = "own"
    license: str = "NOASSERTION"
    homepage: str = ""

    def __post_init__(self) -> None:
        read_values("arrays", self.values, None)

    @property
    def label_space(self) -> LabelSpace:
        """What the labels mean, with the ends of the data where none are told.

        Raises:
            DataError: if the files cannot be used.
        """
        return self._labels.space

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        return image_shape_of(self._stored.shape, self.layout)

    def identity(self) -> dict[str, Any]:
        """The options and the digests of the files.

        Raises:
            DataError: if a file is missing.
        """
        files = {"images": self.image_file, "labels": self.label_file, "split": self.split_file}
        return {
            "name": self.name,
            "kind": "arrays",
            "layout": self.layout,
            "classes": list(self.classes),
            "values": [dict(value) for value in self.values],
            "license": self.license,
            "homepage": self.homepage,
            "files_sha256": {
                noun: digest_of(Path(file).expanduser()) for noun, file in files.items() if file is not None
            },
        }

    def labels(self) -> npt.NDArray[Any]:
        """A column of the label space.

        Raises:
            DataError: as ``label_space``.
        """
        return self._labels.labels.copy()

    def pool(self) -> npt.NDArray[np.uint8]:
        """By the split; 0 without one. Shape (N,)."""
        return self._labels.pool.copy()

    def images(self, rows: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
        """The images of ``rows``, in that order, shape (n, C, H, W).

        Raises:
            DataError: as ``label_space``, or if a row lies outside the data set.
        """
        return read_rows(self._stored, self.layout, rows, self.image_file)

    @cached_property
    def _stored(self) -> npt.NDArray[np.uint8]:
        stored = _open(self.image_file, "images", "source.image_file")
        check_images(stored.dtype, stored.shape, self.layout, self.image_file)
        return stored

    @cached_property
    def _labels(self) -> Labels:
        rows = len(self._stored)
        file = self.image_file if self.label_file is None else self.label_file
        if self.label_file is None and not names_in(Path(file).expanduser()):
            raise DataError(f"{file}: has images alone; set source.label_file to an .npy file of their labels.")
        labels = _open(file, "labels", "source.label_file")
        if len(labels) != rows:
            raise DataError(
                f"{file}: must have one label for each of {rows:,} images of {self.image_file}, got {len(labels):,}; "
                "save both again."
            )
        split_file = self.split_file
        if split_file is None and "split" in names_in(Path(self.image_file).expanduser()):
            split_file = self.image_file
        split = None if split_file is None else _open(split_file, "split", "source.split_file")
        values = read_values("arrays", self.values, None)
        classes, numbers = _taken_apart(labels, len(values), file)
        if self.classes and classes is None:
            raise DataError(f"{file}: has numbers alone, so that source.classes must be empty; remove it.")
        return make_labels(rows, classes, self.classes, values, numbers, split, file)


def _open(file: str, key: str, option: str) -> npt.NDArray[Any]:
    path = Path(file).expanduser()
    if not path.is_file():
        raise DataError(f"{file}: must be an .npy or .npz file ({option}), got none there; check its name.")
    found = open_array(path, key)
    if found.ndim == 0:
        raise DataError(f"{file}: {key} must be an array with a row an image, got one number; save it again.")
    return found


def _taken_apart(
    labels: npt.NDArray[Any], values: int, file: str
) -> tuple[npt.NDArray[Any] | None, npt.NDArray[np.float64]]:
    """Class numbers, or None, and the numbers of the values (N, L)."""
    columns = 1 if labels.ndim == 1 else labels.shape[1] if labels.ndim == 2 else 0
    shown = f"{labels.dtype.name} {labels.shape}"
    if values == 0 and columns == 1 and labels.dtype.kind in "iu":
        return labels, np.zeros((len(labels), 0))
    if values == 0:
        raise DataError(
            f"{file}: labels of classes must be whole numbers (N,), got {shown}; save them as integers, or, if they "
            "are values, name each column: source.values: [{column: NAME, unit: UNIT}]."
        )
    if columns not in {values, 2 if values == 1 else values}:
        raise DataError(
            f"{file}: labels must have {values} column{'' if values == 1 else 's'}, one an entry of source.values"
            f"{', or 2 for a class with a value' if values == 1 else ''}, got {shown}; correct source.values."
        )
    both = np.asarray(labels, np.float64).reshape(len(labels), columns)
    return (both[:, 0], both[:, 1:]) if columns > values else (None, both)
