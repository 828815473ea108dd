"""The nearest image of a set by pixels, in whole numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from data.reading import Selected, release_pages

#: Pixels are shifted by this, so that they lie in -128 .. 127.
_MIDDLE = 128
#: A sum of this many products of shifted pixels is at most 2^24 and therefore exact in float32 (and in TF32).
_EXACT_PIXELS = 1024
_MOST_ROWS = 2048


#: Images uint8 (n, C, H, W): an array, or rows of a column over a memory map.
Images = npt.NDArray[np.uint8] | Selected


@dataclass(frozen=True)
class Nearest:
    """The nearest reference of every image.

    Args:
        places: of the references, int64 (n,); -1 where there is none.
        distances: root mean square difference of the pixels, in grey levels 0 to 255, float64 (n,); inf where there
            is none.
    """

    places: npt.NDArray[np.int64]
    distances: npt.NDArray[np.float64]


def nearest_images(
    images: Images, references: Images, device: torch.device, *, skip_equal: bool = False, block_bytes: int = 2**26
) -> Nearest:
    """Finds the nearest reference of every image by the root mean square difference of the pixels.

    Squared distances are whole numbers and are computed as such, by products of float32 matrices that are exact.
    Of several nearest references the first is taken. So neither blocks nor threads nor the device change the result.

    Args:
        images: uint8 (n, C, H, W).
        references: uint8 (m, C, H, W) of the same shape.
        device: where.
        skip_equal: whether references with the same pixels are passed over.
        block_bytes: about how much memory a block of images takes as float32.

    Raises:
        ValueError: if the shapes differ.
    """
    if images.shape[1:] != references.shape[1:]:
        raise ValueError(f"images must have the references' shape {references.shape[1:]}, got {images.shape[1:]}.")
    pixels = int(np.prod(images.shape[1:]))
    rows = int(np.clip(block_bytes // (4 * pixels), 1, _MOST_ROWS))
    places = np.full(len(images), -1, np.int64)
    squares = np.full(len(images), np.inf)
    for start in range(0, len(images), rows):
        mine = _block(images, start, rows, device)
        for first in range(0, len(references), rows):
            between = _squared_distances(mine, _block(references, first, rows, device))
            if skip_equal:
                between = torch.where(between == 0, torch.iinfo(torch.int64).max, between)
            best = between.argmin(dim=1)
            least = between.gather(1, best[:, None])[:, 0].cpu().numpy()
            here = slice(start, start + len(mine))
            # "<": of equal distances the earlier reference stays.
            nearer = (least < squares[here]) & (least < np.iinfo(np.int64).max)
            squares[here] = np.where(nearer, least, squares[here])
            places[here] = np.where(nearer, best.cpu().numpy() + first, places[here])
        release_pages(references)
    return Nearest(places, np.sqrt(squares / pixels))


def _block(images: Images, start: int, rows: int, device: torch.device) -> Tensor:
    """Shifted pixels of the next rows, float32 (b, P)."""
    taken = images[np.arange(start, min(start + rows, len(images)))]
    return torch.from_numpy(taken.reshape(len(taken), -1)).to(device).float() - _MIDDLE


def _squared_distances(first: Tensor, second: Tensor) -> Tensor:
    """Sums of squared differences of whole numbers, int64 (a, b)."""
    total = torch.zeros(len(first), len(second), dtype=torch.int64, device=first.device)
    for start in range(0, first.shape[1], _EXACT_PIXELS):
        mine, other = (rows[:, start : start + _EXACT_PIXELS] for rows in (first, second))
        total -= 2 * (mine @ other.T).long()
        total += mine.square().sum(dim=1).long()[:, None] + other.square().sum(dim=1).long()[None, :]
    return total
