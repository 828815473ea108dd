"""Grids of images, for people."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL.Image import Image

_FONT_PIXELS = 11
_MOST_LETTERS = 48


def image_grid(images: npt.NDArray[np.uint8], columns: int, *, least_pixels: int = 32, gap_pixels: int = 1) -> Image:
    """Lays images out row by row, each enlarged by a whole factor until its side has ``least_pixels``.

    Args:
        images: uint8, shape (N, C, H, W) with C = 1 or 3.
        columns: images a row.
        least_pixels: least side of an enlarged image.
        gap_pixels: white pixels between images.
    """
    from PIL import Image

    count, channels, height, width = images.shape
    factor = max(1, -(-least_pixels // max(height, width)))
    images = images.repeat(factor, axis=2).repeat(factor, axis=3).transpose(0, 2, 3, 1)
    if channels == 1:
        images = images.repeat(3, axis=3)
    height, width = height * factor + gap_pixels, width * factor + gap_pixels
    rows = -(-count // columns)
    canvas = np.full((rows * height + gap_pixels, columns * width + gap_pixels, 3), 255, np.uint8)
    for number, image in enumerate(images):
        top = (number // columns) * height + gap_pixels
        left = (number % columns) * width + gap_pixels
        canvas[top : top + image.shape[0], left : left + image.shape[1]] = image
    return Image.fromarray(canvas)


def captioned_grid(
    images: npt.NDArray[np.uint8], rows: Sequence[str], columns: Sequence[str] = (), *, least_pixels: int = 32
) -> Image:
    """Lays images out as ``image_grid`` does, with a text left of every row and, if given, above every column.

    Args:
        images: uint8, shape (R, S, C, H, W) with C = 1 or 3.
        rows: R texts.
        columns: S texts, or none.
        least_pixels: least side of an enlarged image.
    """
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.truetype(_font_file(), _FONT_PIXELS)
    left, top = [_caption(text) for text in rows], [_caption(text) for text in columns]
    widths = {text: int(np.ceil(font.getlength(text))) for text in (*left, *top)}
    # A picture of one row tells how large a cell is; a column is as wide as the text above it.
    strips = [image_grid(row, 1, least_pixels=least_pixels, gap_pixels=0) for row in images]
    width, height = strips[0].width, strips[0].height // images.shape[1]
    margin = max((widths[text] for text in left), default=0) + 6
    header = _FONT_PIXELS + 6 if top else 0
    across = max([width, *(widths[text] + 4 for text in top)]) + 1
    down = max(height, sum(font.getmetrics())) + 1
    canvas = Image.new("RGB", (margin + len(images[0]) * across, header + len(images) * down), "white")
    pen = ImageDraw.Draw(canvas)
    for place, text in enumerate(top):
        pen.text((margin + place * across + (across - 1) / 2, header / 2), text, "black", font, anchor="mm")
    for number, strip in enumerate(strips):
        middle = header + number * down + height / 2
        pen.text((margin - 4, middle), left[number], "black", font, anchor="rm")
        for place in range(images.shape[1]):
            cell = strip.crop((0, place * height, width, (place + 1) * height))
            canvas.paste(cell, (margin + place * across + (across - 1 - width) // 2, header + number * down))
    return canvas


def drawable(text: str) -> str:
    """One line that the font of pictures can show: signs that it has not, such as Chinese ones, by their number."""
    line = unicodedata.normalize("NFC", " ".join(text.split()))
    return "".join(sign if ord(sign) in _glyphs() else sign.encode("unicode_escape").decode() for sign in line)


def _caption(text: str) -> str:
    """One line of a bearable length."""
    line = drawable(text)
    return line if len(line) <= _MOST_LETTERS else line[: _MOST_LETTERS - 1] + "…"


@lru_cache(maxsize=1)
def _font_file() -> str:
    """DejaVu Sans, which matplotlib brings: unlike Pillow's own font it has the letters of most alphabets."""
    import matplotlib as mpl

    return str(Path(mpl.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"))


@lru_cache(maxsize=1)
def _glyphs() -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    found = FT2Font(_font_file()).get_charmap()
    return frozenset(code for code, glyph in found.items() if glyph and chr(code).isprintable())
