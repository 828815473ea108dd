"""Whole-batch image operations on the device; and batches as a pure function of (seed, step)."""

from __future__ import annotations

import numpy as np
import torch

from data.row_order import Batches

__all__ = ["Batches", "random_shift_flip", "shift_flip", "to_bytes", "to_unit"]

#: Types of images that NumPy can shift and mirror.
_NUMPY_TYPES = (torch.uint8, torch.float32, torch.float64)


def to_unit(images: torch.Tensor) -> torch.Tensor:
    """uint8 images 0..255 to float32 in [-1, 1]."""
    return images.float().div_(127.5).sub_(1.0)


def to_bytes(images: torch.Tensor) -> torch.Tensor:
    """Float images in [-1, 1] to uint8 0..255, rounded (never truncated) and clipped."""
    return images.float().add(1.0).mul(127.5).round_().clamp_(0, 255).to(torch.uint8)


def random_shift_flip(images: torch.Tensor, pad: int, flip: bool, rng: torch.Generator) -> torch.Tensor:
    """Pads with zeros and crops at a random place, and mirrors at random, one draw for every image.

    Args:
        images: (B, C, H, W), any type, on the device of ``rng``.
        pad: largest shift in pixels on either axis; 0 for none.
        flip: whether images are mirrored left to right with probability 1/2.
        rng: source of randomness, on the images' device.

    Returns:
        Images of the same shape and type.
    """
    batch, device = len(images), images.device
    top = left = mirrored = None
    if pad:
        top = torch.randint(0, 2 * pad + 1, (batch, 1), generator=rng, device=device)[:, 0]
        left = torch.randint(0, 2 * pad + 1, (batch, 1), generator=rng, device=device)[:, 0]
    if flip:
        mirrored = torch.rand(batch, 1, 1, 1, generator=rng, device=device)[:, 0, 0, 0] < 0.5
    return shift_flip(images, pad, top, left, mirrored)


def shift_flip(
    images: torch.Tensor,
    pad: int,
    top: torch.Tensor | None,
    left: torch.Tensor | None,
    mirrored: torch.Tensor | None,
) -> torch.Tensor:
    """Pads with zeros and crops at the places given, then mirrors some; on the CPU by NumPy, which is faster there.

    Args:
        images: (B, C, H, W), any type.
        pad: zeros around an image, in pixels; 0 where nothing is shifted.
        top: first row of each crop in 0 .. 2 pad, int64 (B,).
        left: first column of each crop, likewise.
        mirrored: which images are mirrored left to right, bool (B,); None for none.

    Returns:
        Images of the same shape and type.
    """
    if images.device.type == "cpu" and images.dtype in _NUMPY_TYPES and not images.requires_grad:
        return _shift_flip_on_cpu(images, pad, top, left, mirrored)
    if pad and top is not None and left is not None:
        device, (batch, channels, height, width) = images.device, images.shape
        padded = torch.nn.functional.pad(images, (pad, pad, pad, pad))
        rows = (top[:, None] + torch.arange(height, device=device))[:, None, :, None]
        columns = (left[:, None] + torch.arange(width, device=device))[:, None, None, :]
        first = torch.arange(batch, device=device)[:, None, None, None]
        images = padded[first, torch.arange(channels, device=device)[None, :, None, None], rows, columns]
    return images if mirrored is None else torch.where(mirrored[:, None, None, None], images.flip(3), images)


def _shift_flip_on_cpu(
    images: torch.Tensor,
    pad: int,
    top: torch.Tensor | None,
    left: torch.Tensor | None,
    mirrored: torch.Tensor | None,
) -> torch.Tensor:
    """The same in memory of its own: mirrored while it is padded, so that every row of pixels is copied just twice."""
    pixels = images.numpy()
    batch, channels, height, width = pixels.shape
    turned = None if mirrored is None else mirrored.nonzero()[:, 0]
    if not pad or top is None or left is None:
        if turned is None:
            return images
        made = pixels.copy()
        made[turned.numpy()] = images.index_select(0, turned).flip(3).numpy()
        return torch.from_numpy(made)
    padded = np.zeros((batch, channels, height + 2 * pad, width + 2 * pad), pixels.dtype)
    inside = padded[:, :, pad : pad + height, pad : pad + width]
    inside[...] = pixels
    across = left.numpy()
    if turned is not None and mirrored is not None:
        inside[turned.numpy()] = images.index_select(0, turned).flip(3).numpy()
        # Mirroring the whole image moves a crop to the other side.
        across = np.where(mirrored.numpy(), 2 * pad - across, across)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(2, 3))
    return torch.from_numpy(windows[np.arange(batch), :, top.numpy(), across])
