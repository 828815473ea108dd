"""Image files as arrays, decoded in threads, and refused where their pixels would have to be guessed.

Images are turned as their EXIF orientation says, which is how a person sees them; sizes are those after that.
"""

from __future__ import annotations

import errno
import io
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from data.errors import DataError, StageError
from data.faults import Fault, UnreadableImages
from data.files import processors
from data.pixel_budget import PixelBudget

#: Ends of the names of files that can be read.
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
#: How images of another size are brought to the one that is wanted: not at all, cropped in the middle, or distorted.
Fit = Literal["exact", "crop", "stretch"]

_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
#: Formats of files that others made: their decoders are the ones that the whole web tries out.
FOREIGN_FORMATS = ("PNG", "JPEG")
# A photograph with a second picture for its preview or its depth opens as that.
_SEVERAL_PICTURES = "MPO"
# Modes that say without doubt what is grey and what is coloured; 16 bits a channel would be cut off.
_MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"}
_SIXTEEN_BITS = ";16"
_MOST_PIXELS = 1 << 26
# What the machine may fail at while an image is read; whatever else an error says is about the file's bytes.
_MACHINE = {
    errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN,
    errno.ENXIO, errno.ENODEV, errno.ENOTCONN, errno.ECONNRESET, errno.ECONNABORTED, errno.EHOSTDOWN,
    errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH,
}  # fmt: skip
# Remedies that a message about several images names.
_REMEDIES = 3
# Images that are longer than this, as a multiple of their other side, are not resized whole.
_LONGEST = 8
_REPLACE = "replace it"
_RESIZE = "resize it"
_CONVERT = "save it as grey or RGB with 8 bits"
# Images decoded at a time where only their faults are wanted.
_EXAMINED_AT_A_TIME = 256


class _UnreadableError(Exception):
    """Why an image cannot be read, and what to do; neither names the file."""

    def __init__(self, reason: str, remedy: str = _REPLACE) -> None:
        super().__init__(reason)
        self.remedy = remedy


# Photographs of 48 million pixels are decoded one at a time, however many threads there are.
_BUDGET = PixelBudget(_MOST_PIXELS)


def read_image_files(
    files: Sequence[Path | bytes],
    image_shape: tuple[int, int, int],
    *,
    fit: Fit,
    where: str,
    names: Sequence[str] | None = None,
    remedy: str | None = None,
    formats: tuple[str, ...] = _FORMATS,
) -> npt.NDArray[np.uint8]:
    """Reads images of any number, in as many threads as there are processors.

    Args:
        files: paths, or the bytes of files.
        image_shape: (C, H, W) that is wanted, C 1 or 3; grey images become coloured ones and the reverse.
        fit: what is done with an image of another size: "exact" refuses it; "crop" resizes its shorter side (bicubic,
            antialiased) and takes the middle, as torchvision's Resize and CenterCrop; "stretch" resizes both sides.
        where: name of the data set, for messages.
        names: what a person finds each by; unset takes the paths.
        remedy: what a person may do about images that cannot be read, the end of the sentence; unset names what helps
            against their faults, and the options ``damaged`` and ``fit`` of a source.
        formats: what files may be, by Pillow's names.

    Returns:
        uint8 (n, C, H, W), in the order of ``files``.

    Raises:
        UnreadableImages: with a fault for each that is damaged, of another size, or of a kind that does not fit.
        StageError: if the machine fails to read one, which says nothing about the image.
    """
    images = np.empty((len(files), *image_shape), np.uint8)

    def keep(place: int, pixels: npt.NDArray[np.uint8]) -> None:
        images[place] = pixels

    faults = _decode_all(files, image_shape, fit, names, keep, formats)
    if faults:
        raise UnreadableImages(list(faults.values()), len(files), where, remedy or remedy_of(list(faults.values())))
    return images


def remedy_of(faults: Sequence[Fault]) -> str:
    """What helps against the faults that there are, the end of a sentence."""
    specific = dict.fromkeys(fault.remedy for fault in faults if fault.remedy not in ("", _REPLACE))
    words = ["replace them"]
    # What is most worth knowing, then the rest as far as a sentence holds it.
    for remedy in sorted(specific, key=lambda remedy: remedy != _RESIZE)[:_REMEDIES]:
        plural = re.sub(r"\bit\b", "them", remedy)
        words.append("set source.fit to crop or stretch" if remedy == _RESIZE else plural)
    return f"{', '.join(words)}, or set source.damaged to skip"


def find_faults(
    files: Sequence[Path | bytes],
    image_shape: tuple[int, int, int],
    *,
    fit: Fit,
    names: Sequence[str] | None = None,
) -> dict[int, Fault]:
    """Which images ``read_image_files`` could not read, by their place in ``files``; every file is decoded.

    Args:
        files: paths, or the bytes of files.
        image_shape: as there.
        fit: as there.
        names: as there.
    """
    faults: dict[int, Fault] = {}
    for first in range(0, len(files), _EXAMINED_AT_A_TIME):
        block = slice(first, first + _EXAMINED_AT_A_TIME)
        found = _decode_all(
            files[block], image_shape, fit, None if names is None else names[block], lambda place, pixels: None
        )
        faults |= {first + place: fault for place, fault in found.items()}
    return faults


def read_image_file(
    path: Path, image_shape: tuple[int, int, int], *, resize: bool, resize_option: str, leave_out: str = "it"
) -> npt.NDArray[np.uint8]:
    """Reads one image file.

    Args:
        path: the file.
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
        with _bombs_are_errors():
            return _decode(path, image_shape, "stretch" if resize else "exact")
    except (MemoryError, OSError) as error:
        raise _machine_fault(str(path), error) from error
    except _UnreadableError as error:
        if error.remedy == _RESIZE:
            raise DataError(f"{path}: {error}; resize it, or {resize_option}.") from error
        raise DataError(
            f"{path}: cannot be read as an image: {error}; {error.remedy}, or leave {leave_out} out."
        ) from error


def _decode_all(
    files: Sequence[Path | bytes],
    image_shape: tuple[int, int, int],
    fit: Fit,
    names: Sequence[str] | None,
    keep: Callable[[int, npt.NDArray[np.uint8]], None],
    formats: tuple[str, ...] = _FORMATS,
) -> dict[int, Fault]:
    """Decodes files in threads, hands each to ``keep``, and returns the faults by place, in order."""

    def name_of(place: int) -> str:
        file = files[place]
        return names[place] if names is not None else str(file) if isinstance(file, Path) else f"image {place}"

    def attempt(place: int) -> Fault | None:
        try:
            keep(place, _decode(files[place], image_shape, fit, formats))
        except (MemoryError, OSError) as error:
            # An image that was left out for this would be a good one.
            raise _machine_fault(name_of(place), error) from error
        except _UnreadableError as error:
            return Fault(name_of(place), str(error), error.remedy)
        return None

    # Pillow lets other threads run while it unpacks and resizes.
    with _bombs_are_errors(), ThreadPoolExecutor(processors()) as threads:
        found = list(threads.map(attempt, range(len(files))))
    return {place: fault for place, fault in enumerate(found) if fault is not None}


def _machine_fault(name: str, error: MemoryError | OSError) -> StageError:
    said = getattr(error, "strerror", None) or "memory is used up"
    return StageError(
        f"{name}: cannot be read now ({said}); this is a fault of the machine, not of the image: mend it and run again."
    )


@contextmanager
def _bombs_are_errors() -> Iterator[None]:
    """Pillow only warns of images of 90 to 180 million pixels, on the screen of whoever runs this."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        # Tags that Pillow finds odd but reads past, such as EXIF data cut short.
        warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
        yield


def _decode(
    file: Path | bytes, image_shape: tuple[int, int, int], fit: Fit, formats: tuple[str, ...] = _FORMATS
) -> npt.NDArray[np.uint8]:
    """The pixels of one image, uint8 (C, H, W); errors of the machine come through as they are."""
    try:
        with (
            Image.open(io.BytesIO(file) if isinstance(file, bytes) else file, formats=formats) as picture,
            _BUDGET.take(picture.width * picture.height),
        ):
            try:
                return _pixels(picture, image_shape, fit)
            finally:
                # Leaving the context closes the file alone; the pixels go here, before another image is unpacked.
                picture.close()
    except _UnreadableError:
        raise
    except UnidentifiedImageError as error:
        raise _UnreadableError(_why_unknown(file)) from error
    except MemoryError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _UnreadableError(f"more than {_MOST_PIXELS:,} pixels", "make it smaller") from error
    except FileNotFoundError as error:
        raise _UnreadableError("missing", "put it there") from error
    except PermissionError as error:
        raise _UnreadableError("not allowed to read it", "change who may") from error
    except Exception as error:
        if isinstance(error, OSError) and (error.errno in _MACHINE or "out of memory" in str(error)):
            raise
        # Whatever else is wrong with a file's bytes: decoders meet damage with errors of any kind.
        raise _UnreadableError(_why_damaged(error)) from error


def _why_unknown(file: Path | bytes) -> str:
    with io.BytesIO(file) if isinstance(file, bytes) else file.open("rb") as stream:
        start = stream.read(16)
    if not start:
        return "an empty file"
    if start[4:8] == b"ftyp":
        return "HEIC or AVIF, which is not read here; save it as PNG or JPEG"
    return "no image that can be read, or damaged at its beginning"


def _why_damaged(error: Exception) -> str:
    said = " ".join(str(error).split())
    if "truncated" in said.lower() or "not enough" in said.lower():
        return "truncated"
    return f"damaged: {said[:80] or type(error).__name__}"


def _pixels(picture: Image.Image, image_shape: tuple[int, int, int], fit: Fit) -> npt.NDArray[np.uint8]:
    """The pixels of an image that is opened but not unpacked yet."""
    channels, height, width = image_shape
    if channels not in (1, 3):
        raise _UnreadableError(f"an image file has 1 or 3 channels, but {channels} are wanted", "use arrays instead")
    if picture.width * picture.height > _MOST_PIXELS:
        raise _UnreadableError(f"more than {_MOST_PIXELS:,} pixels", "make it smaller")
    if getattr(picture, "n_frames", 1) > 1 and picture.format != _SEVERAL_PICTURES:
        raise _UnreadableError(f"{picture.n_frames} images in one file", "save one image a file")  # type: ignore[attr-defined]
    if picture.mode not in _MODES or any(_SIXTEEN_BITS in str(part) for part in getattr(picture, "tile", ())):
        # Of 16 bits a channel Pillow drops the lower ones without a word where an image is coloured.
        deep = picture.mode[0] in "IF" or picture.mode in _MODES
        raise _UnreadableError("more than 8 bits a channel" if deep else f"colours of mode {picture.mode}", _CONVERT)
    picture = _upright(picture)
    if picture.size != (width, height) and fit == "exact":
        raise _UnreadableError(f"must be {width} x {height} pixels, got {picture.width} x {picture.height}", _RESIZE)
    if picture.mode in ("LA", "PA", "RGBA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        if picture.getchannel("A").getextrema() != (255, 255):
            raise _UnreadableError("transparent", "lay it on a background")
    mode = "L" if channels == 1 else "RGB"
    # Converting to the same mode would copy.
    picture = picture if picture.mode == mode else picture.convert(mode)
    if picture.size != (width, height):
        picture = (
            _crop(picture, width, height)
            if fit == "crop"
            else picture.resize((width, height), Image.Resampling.BICUBIC)
        )
    pixels = np.asarray(picture, np.uint8)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def _crop(picture: Image.Image, wide: int, high: int) -> Image.Image:
    """Resize and CenterCrop of torchvision.

    As there, the longer side is cut to whole pixels once it is resized, and the crop begins at a whole pixel of it
    (half is rounded to even).
    """
    width, height = picture.size
    if width * high <= height * wide:
        resized = wide, int(wide * height / width)
    else:
        resized = int(high * width / height), high
    left, upper = round((resized[0] - wide) / 2), round((resized[1] - high) / 2)
    if resized[0] * resized[1] <= _LONGEST * wide * high:
        box = (left, upper, left + wide, upper + high)
        return picture.resize(resized, Image.Resampling.BICUBIC).crop(box)
    # The middle alone, with the same pixels but for rounding, takes no more memory than the result.
    across, down = width / resized[0], height / resized[1]
    middle = left * across, upper * down, min((left + wide) * across, width), min((upper + high) * down, height)
    return picture.resize((wide, high), Image.Resampling.BICUBIC, box=middle)


def _upright(picture: Image.Image) -> Image.Image:
    """The image as it is meant to be seen; unpacked only if it has to be turned."""
    try:
        turned = picture.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9)
    except (OSError, ValueError, SyntaxError, MemoryError):
        # Some formats are unpacked to find EXIF data.
        raise
    except Exception as error:
        # Damaged EXIF data make Pillow's reader meet errors of any kind.
        raise _UnreadableError(
            f"EXIF data cannot be read ({type(error).__name__})", "save it without EXIF data"
        ) from error
    return ImageOps.exif_transpose(picture) if turned else picture
