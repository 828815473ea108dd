"""Augmentation of training images: whole batches, on the device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from data.batches import random_shift_flip
from data.errors import ConfigError


@dataclass(frozen=True)
class Augmentation:
    """Random shift, mirror and cutout, each drawn anew for every image.

    Args:
        shift_pixels: largest shift on either axis, with black behind the image.
        flip: whether images are mirrored left to right with probability 1/2.
        cutout_pixels: side of a square hole at a random place (DeVries and Taylor, 2017, arXiv 1708.04552: its centre
            lies anywhere in the image, so that it may be cut by the border); 0 for none.

    Raises:
        ConfigError: if a number of pixels is negative.
    """

    shift_pixels: int = 0
    flip: bool = False
    cutout_pixels: int = 0

    def __post_init__(self) -> None:
        for name in ("shift_pixels", "cutout_pixels"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must be at least 0, got {getattr(self, name)}; try 0 for none.")

    def moved(self, images: Tensor, rng: torch.Generator) -> Tensor:
        """Shifted and mirrored images, of the same shape and type."""
        return random_shift_flip(images, self.shift_pixels, self.flip, rng)

    def cut(self, images: Tensor, fill: Tensor, rng: torch.Generator) -> Tensor:
        """Images with their holes; float32 where there are holes.

        Args:
            images: (B, C, H, W), grey levels.
            fill: grey level of a hole, (C,): the mean of the channel, which is 0 once the network has normalised it.
            rng: on the images' device.
        """
        return cutout(images, self.cutout_pixels, fill, rng) if self.cutout_pixels else images


def cutout(images: Tensor, side: int, fill: Tensor, rng: torch.Generator) -> Tensor:
    """One square hole in every image.

    Args:
        images: (B, C, H, W), grey levels.
        side: of the hole, in pixels.
        fill: (C,), grey levels.
        rng: on the images' device.

    Returns:
        float32 (B, C, H, W).
    """
    batch, _, height, width = images.shape
    hole = []
    for length in (height, width):
        start = torch.randint(0, length, (batch, 1), generator=rng, device=images.device) - side // 2
        places = torch.arange(length, device=images.device)
        hole.append((places >= start) & (places < start + side))
    inside = hole[0][:, None, :, None] & hole[1][:, None, None, :]
    return torch.where(inside, fill[:, None, None].float(), images.float())
