"""Augmentation of training images: whole batches, on the device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from data.batches import random_shift_flip
from data.errors import ConfigError
from students.mixing import cutout


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
        if not self.cutout_pixels:
            return images
        sides = torch.full((len(images),), self.cutout_pixels, device=images.device)
        return cutout(images.float(), rng, side=sides, fill=fill)
