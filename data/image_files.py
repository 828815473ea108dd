"""PNG and JPEG files as arrays, refused where their pixels would have to be guessed.

Images are turned as their EXIF orientation says, which is how a person sees them; sizes are those after that.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps

from data.errors import DataError

#: Ends of the names of files that can be read.
SUFFIXES = (".png", ".jpg", ".jpeg")

# Modes that say without doubt what is grey and what is coloured; 16 bits a channel would be cut off.
_MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA"}
_MOST_PIXELS = 1 << 26


def read_image_file(
    path: Path, image_shape: tuple[int, int, int], *, resize: bool, resize_option: str, leave_out: str = "it"
) -> npt.NDArray[np.uint8]:
    """Reads one image file.

    Args:
        path: a PNG or JPEG file.
        image_shape: (C, H, W) that is wanted; grey images become coloured ones and the reverse.
        resize: whether an image of another size is brought to (H, W), in whatever proportion.
        resize_option: what a person sets to have it resized, for the message.
        leave_out: what a person may leave out instead, for the message.

    Returns:
        uint8 (C, H, W).

    Raises:
        DataError: naming the file that is damaged, of another size, or of a kind that does not fit.
    """
    try:
        with Image.open(path, formats=("PNG", "JPEG")) as picture:
            return _pixels(path, picture, image_shape, resize, resize_option)
    except (
        OSError,
        ValueError,
        SyntaxError,
        MemoryError,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
    ) as error:
        raise DataError(
            f"{path}: must be a whole PNG or JPEG image ({error}); replace it, or leave {leave_out} out."
        ) from error


def _pixels(
    path: Path, picture: Image.Image, image_shape: tuple[int, int, int], resize: bool, resize_option: str
) -> npt.NDArray[np.uint8]:
    """The pixels of an image that is opened but not unpacked yet."""
    channels, height, width = image_shape
    if channels not in (1, 3):
        raise DataError(f"{path}: an image file has 1 or 3 channels, but {channels} are wanted; try an HDF5 file.")
    if picture.width * picture.height > _MOST_PIXELS:
        raise DataError(f"{path}: must have at most {_MOST_PIXELS} pixels, got {picture.size}; make it smaller.")
    picture = _upright(path, picture)
    if picture.size != (width, height) and not resize:
        raise DataError(
            f"{path}: must be {width} x {height} pixels, got {picture.width} x {picture.height}; resize it, "
            f"or {resize_option}."
        )
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


def _upright(path: Path, picture: Image.Image) -> Image.Image:
    """The image as it is meant to be seen; unpacked only if it has to be turned."""
    try:
        turned = picture.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9)
        return ImageOps.exif_transpose(picture) if turned else picture
    except (OSError, ValueError, SyntaxError, MemoryError):
        raise
    except Exception as error:
        # Damaged EXIF data make Pillow's reader meet errors of any kind.
        raise DataError(
            f"{path}: must have EXIF data that can be read, got {type(error).__name__}; save it without them."
        ) from error
