"""A folder of PNG and JPEG images with a CSV that tells the label of each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from data.errors import DataError
from data.foreign import UNKNOWN_LICENSE, ForeignSet
from data.foreign.labels import labels_from_texts, seeds_from
from data.foreign.listing import read_listing
from data.labels import LabelSpace

# Modes that say without doubt what is grey and what is coloured; 16 bits a channel would be cut off.
_MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA"}
_MOST_PIXELS = 1 << 26


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
    paths = listing.paths
    return ForeignSet(
        path=folder,
        layout="folder",
        label_space=label_space,
        image_shape=image_shape,
        labels=labels_from_texts(listing.columns, label_space, str(listing.path)),
        seeds=seeds_from(listing.columns.get("seed"), len(paths), str(listing.path)),
        license=UNKNOWN_LICENSE,
        read=lambda start, stop: read_pictures(paths[start:stop], image_shape, resize=resize),
    )


def read_pictures(paths: list[Path], image_shape: tuple[int, int, int], *, resize: bool) -> npt.NDArray[np.uint8]:
    """Reads image files, uint8 (n, C, H, W).

    Raises:
        DataError: naming the file that is damaged, of another size, or of a kind that does not fit.
    """
    images = np.empty((len(paths), *image_shape), np.uint8)
    for place, path in enumerate(paths):
        images[place] = _read_picture(path, image_shape, resize)
    return images


def _read_picture(path: Path, image_shape: tuple[int, int, int], resize: bool) -> npt.NDArray[np.uint8]:
    try:
        with Image.open(path, formats=("PNG", "JPEG")) as picture:
            return _pixels(path, picture, image_shape, resize)
    except (
        OSError,
        ValueError,
        SyntaxError,
        MemoryError,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
    ) as error:
        raise DataError(
            f"{path}: must be a whole PNG or JPEG image ({error}); replace it, or leave its row out."
        ) from error


def _pixels(path: Path, picture: Image.Image, image_shape: tuple[int, int, int], resize: bool) -> npt.NDArray[np.uint8]:
    """The pixels of an image that is opened but not unpacked yet."""
    channels, height, width = image_shape
    if channels not in (1, 3):
        raise DataError(f"{path}: an image file has 1 or 3 channels, but {channels} are wanted; try an HDF5 file.")
    if picture.size != (width, height) and not resize:
        raise DataError(
            f"{path}: must be {width} x {height} pixels, got {picture.width} x {picture.height}; resize it, "
            "or set candidates.resize to true."
        )
    if picture.width * picture.height > _MOST_PIXELS:
        raise DataError(f"{path}: must have at most {_MOST_PIXELS} pixels, got {picture.size}; make it smaller.")
    if picture.mode not in _MODES:
        raise DataError(f"{path}: must be grey or RGB with 8 bits, got mode {picture.mode}; convert it.")
    if picture.mode in ("LA", "PA", "RGBA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        if picture.getchannel("A").getextrema() != (255, 255):
            raise DataError(f"{path}: must not be transparent; lay it on a background.")
    picture = picture.convert("L" if channels == 1 else "RGB")
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling.BICUBIC)
    pixels = np.asarray(picture, np.uint8)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)
