"""DiffAugment: differentiable augmentation of what the discriminator sees (Zhao et al., 2020, arXiv 2006.10738)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from data.errors import ConfigError

OPERATIONS = ("color", "translation", "cutout")


def _uniform(images: torch.Tensor, low: float, high: float, rng: torch.Generator) -> torch.Tensor:
    shape = (images.shape[0], 1, 1, 1)
    return torch.empty(shape, device=images.device).uniform_(low, high, generator=rng)


def random_color(images: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Changes brightness (+ U(-0.5, 0.5)), then saturation (x U(0, 2)), then contrast (x U(0.5, 1.5))."""
    images = images + _uniform(images, -0.5, 0.5, rng)
    saturation = _uniform(images, 0.0, 2.0, rng)
    if images.shape[1] > 1:
        images = torch.lerp(images.mean(dim=1, keepdim=True), images, saturation)
    contrast = _uniform(images, 0.5, 1.5, rng)
    return torch.lerp(images.mean(dim=(1, 2, 3), keepdim=True), images, contrast)


def random_translation(images: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Shifts by up to an eighth of the side on each axis, zeros coming in.

    The shift is a product with two 0/1 matrices: exact, differentiable, and free of the scatter that the
    backward pass of an indexed gather needs.
    """
    batch, _, height, width = images.shape
    device = images.device

    def shift(side: int) -> torch.Tensor:
        reach = int(side / 8 + 0.5)
        offset = torch.randint(-reach, reach + 1, (batch, 1, 1), generator=rng, device=device)
        index = torch.arange(side, device=device)
        return (index[None, None, :] == index[None, :, None] + offset).to(images.dtype)[:, None]

    return shift(height) @ images @ shift(width).transpose(2, 3)


def random_cutout(images: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Sets one square of half the side to 0, centred anywhere; it may hang over the border."""
    batch, _, height, width = images.shape
    device = images.device

    def inside(side: int) -> torch.Tensor:
        size = int(side / 2 + 0.5)
        start = torch.randint(0, side + 1 - size % 2, (batch, 1), generator=rng, device=device) - size // 2
        index = torch.arange(side, device=device)[None]
        return (index >= start) & (index < start + size)

    square = inside(height)[:, None, :, None] & inside(width)[:, None, None, :]
    return images.masked_fill(square, 0.0)


def check_operations(operations: Sequence[str]) -> None:
    """Raises ConfigError if an operation's name is unknown."""
    for name in operations:
        if name not in OPERATIONS:
            raise ConfigError(f"augment must be some of {', '.join(OPERATIONS)}, got '{name}'.")


def diff_augment(images: torch.Tensor, operations: Sequence[str], rng: torch.Generator) -> torch.Tensor:
    """Augments a batch, differentiably, with own random numbers for every image.

    Source: Zhao et al., 2020, arXiv 2006.10738. Apply it to real and fake images alike, in the
    discriminator's step and in the generator's.

    Args:
        images: float (B, C, H, W) in [-1, 1].
        operations: some of "color", "translation", "cutout"; applied in that order.
        rng: source of randomness, on the images' device.

    Returns:
        Images of the same shape; the colour operation may leave [-1, 1].
    """
    for name, operation in zip(OPERATIONS, (random_color, random_translation, random_cutout), strict=True):
        if name in operations:
            images = operation(images, rng)
    return images
