"""Augmented views of images as a pure function of (seed, row, view): what a teacher answers can be seen again later."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from data.batches import shift_flip
from data.random import derive_seed

_GOLDEN = -0x61C8864680B583EB  # 0x9E3779B97F4A7C15 as a signed number
_FIRST = -0x40A7B892E31B1A47  # 0xBF58476D1CE4E5B9
_SECOND = -0x6B2FB644ECCEEE15  # 0x94D049BB133111EB


@dataclass(frozen=True)
class ViewRule:
    """How views are made; with it, the number of a row and the number of a view tell every pixel.

    Args:
        seed: makes shifts and mirrors.
        shift_pixels: largest shift on either axis.
        flip: whether images are mirrored left to right with probability 1/2.
    """

    seed: int
    shift_pixels: int = 0
    flip: bool = False

    def __call__(self, images: torch.Tensor, rows: torch.Tensor, view: int | torch.Tensor) -> torch.Tensor:
        """Views of images; see ``view_images``."""
        return view_images(images, rows, view, seed=self.seed, shift_pixels=self.shift_pixels, flip=self.flip)


def view_images(
    images: torch.Tensor,
    rows: torch.Tensor,
    view: int | torch.Tensor,
    *,
    seed: int,
    shift_pixels: int,
    flip: bool,
) -> torch.Tensor:
    """One view of every image: shifted with zeros behind it, and mirrored, as (seed, row, view) decide.

    The numbers are those of ``data.random`` (SplitMix64) and are computed on the device of the images, so that the same
    view comes out on every device and in every batch.

    Args:
        images: (B, C, H, W), uint8 or grey levels in 0..255.
        rows: the row of each image, int64 (B,): its place among the training rows, which are sorted by source row.
        view: number of the view, 0 or more: one for all images, or int64 (B,).
        seed: makes shifts and mirrors.
        shift_pixels: largest shift on either axis.
        flip: whether images are mirrored left to right with probability 1/2.

    Returns:
        Images of the same shape and type.
    """
    numbers = view_numbers(rows, view, 3, seed)
    places = 2 * shift_pixels + 1
    top, left = (_high_bits(numbers[:, axis]) % places for axis in (0, 1))
    return shift_flip(images, shift_pixels, top, left, numbers[:, 2] < 0 if flip else None)


def view_numbers(rows: torch.Tensor, view: int | torch.Tensor, count: int, seed: int) -> torch.Tensor:
    """``count`` hashed 64-bit numbers for every (seed, row, view), on the device of the rows.

    Args:
        rows: int64 (B,).
        view: one for all rows, or int64 (B,).
        count: numbers a row.
        seed: of the rule.

    Returns:
        int64 (B, count), all bits random: those of ``data.random.row_seeds`` of the numbers 0 .. count - 1, whose base
        is that of the view, whose base is that of the row.
    """
    base = torch.as_tensor(derive_seed(seed, "views"), dtype=torch.int64, device=rows.device)
    own = _mix(base + _GOLDEN * (rows + 1))
    own = _mix(own + _GOLDEN * (torch.as_tensor(view, dtype=torch.int64, device=rows.device) + 1))
    return _mix(own[:, None] + _GOLDEN * torch.arange(1, count + 1, device=rows.device))


def _mix(state: torch.Tensor) -> torch.Tensor:
    # int64 wraps around like uint64; only the shift to the right has to lose the sign.
    state = (state ^ _right(state, 30)) * _FIRST
    state = (state ^ _right(state, 27)) * _SECOND
    return state ^ _right(state, 31)


def _right(state: torch.Tensor, bits: int) -> torch.Tensor:
    return (state >> bits) & ((1 << (64 - bits)) - 1)


def _high_bits(state: torch.Tensor) -> torch.Tensor:
    """The upper 31 bits, which no remainder makes negative."""
    return _right(state, 33)
