"""A folder of PNG and JPEG images with a CSV that tells the label of each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from data.foreign import UNKNOWN_LICENSE, ForeignSet
from data.foreign.labels import labels_from_texts, seeds_from
from data.foreign.listing import read_listing
from data.image_files import FOREIGN_FORMATS, read_image_files
from data.labels import LabelSpace


def open_folder(
    folder: Path, label_space: LabelSpace, image_shape: tuple[int, int, int], *, resize: bool = False
) -> ForeignSet:
    """Opens ``labels.csv`` and finds every image that it names; images are read later, block by block.

    Args:
        folder: with ``labels.csv``: a column ``file`` (or ``image``, ``filename``), the labels, and possibly ``seed``.
        label_space: what the labels must mean, see ``labels.labels_from_texts``.
        image_shape: (C, H, W); grey images become coloured ones and the reverse.
        resize: whether images of another size are brought to (H, W), in whatever proportion.

    Raises:
        DataError: if the CSV is no such table, or a file is missing or not in the folder.
    """
    listing = read_listing(folder)
    paths, names = listing.paths, listing.names

    def read(start: int, stop: int) -> npt.NDArray[np.uint8]:
        return read_image_files(
            paths[start:stop],
            image_shape,
            fit="stretch" if resize else "exact",
            where=str(folder),
            names=names[start:stop],
            formats=FOREIGN_FORMATS,
            remedy=f"replace them, {'' if resize else 'set candidates.resize to true, '}or leave their rows out",
        )

    return ForeignSet(
        path=folder,
        layout="folder",
        label_space=label_space,
        image_shape=image_shape,
        labels=labels_from_texts(listing.columns, label_space, str(listing.path)),
        seeds=seeds_from(listing.columns.get("seed"), len(paths), str(listing.path)),
        license=UNKNOWN_LICENSE,
        read=read,
    )
