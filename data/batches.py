"""Batches as a pure function of (seed, step), and the whole-batch image operations on the device."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from data.random import derive_seed


class Batches:
    """Row numbers of every training batch: endless permutations of the rows, cut into equal batches.

    Args:
        rows: number of rows of the set, at least 1.
        batch_size: rows a batch; may exceed the number of rows.
        seed: makes the order.
    """

    def __init__(self, rows: int, batch_size: int, seed: int) -> None:
        if rows < 1 or batch_size < 1:
            raise ValueError(f"rows and batch_size must be at least 1, got {rows} and {batch_size}.")
        self.rows = rows
        self.batch_size = batch_size
        self.seed = seed
        self._epochs: dict[int, npt.NDArray[np.int64]] = {}

    def _epoch(self, epoch: int) -> npt.NDArray[np.int64]:
        if epoch not in self._epochs:
            rng = np.random.default_rng(derive_seed(self.seed, "epoch", epoch))
            self._epochs = {k: v for k, v in self._epochs.items() if k == epoch - 1}
            self._epochs[epoch] = rng.permutation(self.rows)
        return self._epochs[epoch]

    def at(self, step: int) -> npt.NDArray[np.int64]:
        """Row numbers of the batch of ``step``, int64, shape (batch_size,)."""
        start, end = step * self.batch_size, (step + 1) * self.batch_size
        pieces = []
        while start < end:
            epoch, offset = divmod(start, self.rows)
            pieces.append(self._epoch(epoch)[offset : offset + end - start])
            start += len(pieces[-1])
        return np.concatenate(pieces)


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
    batch, _, height, width = images.shape
    device = images.device
    if pad:
        padded = torch.nn.functional.pad(images, (pad, pad, pad, pad))
        top = torch.randint(0, 2 * pad + 1, (batch, 1), generator=rng, device=device)
        left = torch.randint(0, 2 * pad + 1, (batch, 1), generator=rng, device=device)
        rows = (top + torch.arange(height, device=device))[:, None, :, None]
        columns = (left + torch.arange(width, device=device))[:, None, None, :]
        first = torch.arange(batch, device=device)[:, None, None, None]
        channels = torch.arange(images.shape[1], device=device)[None, :, None, None]
        images = padded[first, channels, rows, columns]
    if flip:
        mirrored = torch.rand(batch, 1, 1, 1, generator=rng, device=device) < 0.5
        images = torch.where(mirrored, images.flip(3), images)
    return images
