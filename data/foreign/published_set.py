"""Images with labels in one of the papers' HDF5 layouts, taken as a set made elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data.errors import DataError
from data.foreign import UNKNOWN_LICENSE, ForeignSet
from data.foreign.labels import as_labels
from data.foreign.published import PublishedFile, open_published
from data.labels import LabelSpace

# Files with lists of row numbers, or with several labels, have sources of their own that know what these mean.
_LAYOUTS = ("plain", "biggan", "train-test", "imagenet100", "tiny-imagenet", "cell200", "fake")
_UNSEEN = ("test", "valid")


def open_published_set(path: Path, label_space: LabelSpace, image_shape: tuple[int, int, int]) -> ForeignSet:
    """Opens a file of images and labels, recognised by the names of its arrays; test and validation rows are left out.

    Args:
        path: the file.
        label_space: what its labels must mean; they are in their own units, ``labels`` or the like.
        image_shape: (C, H, W) that its images must have.

    Raises:
        DataError: if the file fits no such layout, has images of another shape, or labels outside the space.
    """
    file = open_published(path, _LAYOUTS, "candidates.file")
    if file.layout.image_shape != image_shape:
        raise DataError(
            f"{path}: images must have the shape {image_shape}, got {file.layout.image_shape}; make them again in that "
            "size."
        )
    parts = [part for name, part in file.layout.parts.items() if name not in _UNSEEN]
    rows = np.concatenate([np.arange(part.start, part.start + part.rows) for part in parts])
    labels = np.concatenate([file.array(part.keys["labels"]) for part in parts])
    return ForeignSet(
        path=path,
        layout="published",
        label_space=label_space,
        image_shape=image_shape,
        labels=as_labels(labels, label_space, f"{path}: {parts[0].keys['labels']}"),
        seeds=rows.astype(np.uint64),
        license=UNKNOWN_LICENSE,
        read=_reader(file, rows),
    )


def _reader(file: PublishedFile, rows: npt.NDArray[np.int64]) -> Callable[[int, int], npt.NDArray[np.uint8]]:
    return lambda start, stop: file.images(rows[start:stop])
