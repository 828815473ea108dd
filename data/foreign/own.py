"""Sets of this project's own format that come from another run or another machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from data.errors import DataError
from data.files import check_regular
from data.foreign import ForeignSet
from data.foreign.labels import check_ranges
from data.labels import LabelSpace
from data.reading import ImageSet, open_set, verify_set
from data.schema import FORMAT
from data.splitting import TRAIN


def is_own(path: Path) -> bool:
    """Whether a file says that it is a set of this project's format; it is not checked further.

    Raises:
        DataError: if it is no readable HDF5 file.
    """
    check_regular(path)
    try:
        with h5py.File(path, "r", locking=False) as file:
            return "format" in file.attrs and file.attrs["format"] in (FORMAT, FORMAT.encode())
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise DataError(
            f"{path}: must be an HDF5 file, or a folder with a CSV ({str(error).partition(chr(10))[0]}); "
            "give the set itself."
        ) from error


def open_own(path: Path, label_space: LabelSpace, image_shape: tuple[int, int, int]) -> ForeignSet:
    """Opens a set with images and labels, every byte of it verified; of a real set the training rows only.

    Args:
        path: the file.
        label_space: what its labels must mean; ranges may differ as long as every label lies within.
        image_shape: (C, H, W) that its images must have.

    Raises:
        DataError: if it is damaged, or of another label space or shape.
    """
    verify_set(path)
    found = open_set(path)
    column = next((name for name in ("labels", "condition") if name in found.columns), None)
    if "images" not in found.columns or column is None:
        raise DataError(f"{path}: must hold images with labels, got a set of kind '{found.kind}'; give another set.")
    if found.columns["images"].shape[1:] != image_shape:
        raise DataError(
            f"{path}: images must have the shape {image_shape}, got {found.columns['images'].shape[1:]}; "
            "make them again in that size."
        )
    if _meaning(found.label_space) != _meaning(label_space):
        raise DataError(
            f"{path}: the label space must be that of the source ({label_space.to_dict()}), "
            f"got {found.label_space.to_dict()}; give a set of the same labels."
        )
    rows = np.arange(len(found))
    if "split" in found.columns:
        # Validation and test images must stay unseen.
        rows = np.flatnonzero(found.columns["split"] == TRAIN)
    labels = found.take(column, rows)
    check_ranges(labels, label_space, str(path))
    return ForeignSet(
        path=path,
        layout="stillhouse",
        label_space=label_space,
        image_shape=image_shape,
        labels=labels,
        seeds=found.take("seed", rows) if "seed" in found.columns else rows.astype(np.uint64),
        license=found.license,
        read=_reader(found, rows),
    )


def _reader(found: ImageSet, rows: npt.NDArray[np.int64]) -> Callable[[int, int], npt.NDArray[np.uint8]]:
    return lambda start, stop: found.take("images", rows[start:stop])


def _meaning(space: LabelSpace) -> object:
    axes = tuple(replace(axis, minimum=0.0, maximum=1.0) for axis in space.dimensions)
    return space.kind, space.names, axes
