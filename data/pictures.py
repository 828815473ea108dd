"""Grids of images, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL.Image import Image


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
