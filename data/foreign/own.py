"""Sets of this project's own format that come from another run or another machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data.errors import DataError
from data.foreign import ForeignSet
from data.foreign.labels import check_ranges
from data.labels import LabelSpace
from data.quarantine import Quarantine
from data.reading import ImageSet
from data.splitting import TRAIN
from data.untrusted import open_untrusted


def open_own(
    path: Path, label_space: LabelSpace, image_shape: tuple[int, int, int], quarantine: Quarantine | None = None
) -> ForeignSet:
    """Opens a set with images and labels, every byte of it verified; of a real set the training rows only.

    Args:
        path: the file.
        label_space: what its labels must mean; ranges may differ as long as every label lies within.
        image_shape: (C, H, W) that its images must have.
        quarantine: the process that opens it; None starts one.

    Raises:
        DataError: if it is damaged, or of another label space or shape.
    """
    found = open_untrusted(path, quarantine, verify=True)
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
