"""DiffAugment: differentiable augmentation of what the discriminator sees (Zhao et al., 2020, arXiv 2006.10738).

The random numbers of a batch are drawn first and applied afterwards, so that a batch which is computed in parts
is augmented as if it were whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from data.errors import ConfigError

OPERATIONS = ("color", "translation", "cutout")

_Numbers = tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class Augmentation:
    """Operations with their random numbers, one row an image.

    Args:
        operations: functions of (images, numbers), each with its numbers, whose first axis is the batch.
    """

    operations: tuple[tuple[Callable[[torch.Tensor, _Numbers], torch.Tensor], _Numbers], ...] = ()

    def rows(self, rows: torch.Tensor | slice) -> Augmentation:
        """The same augmentation of some of the images."""
        return Augmentation(
            tuple((operation, tuple(each[rows] for each in numbers)) for operation, numbers in self.operations)
        )

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Augments float images (B, C, H, W); the shape stays, and values may leave [-1, 1]."""
        for operation, numbers in self.operations:
            images = operation(images, numbers)
        return images


def draw_augmentation(
    count: int, size: Sequence[int], operations: Sequence[str], rng: torch.Generator, *, mirror: bool = False
) -> Augmentation:
    """Draws the numbers that augment a batch, other ones for every image.

    Source: Zhao et al., 2020, arXiv 2006.10738; the operations are those of their code.

    Args:
        count: images of the batch.
        size: (H, W) of an image.
        operations: some of "color", "translation", "cutout"; applied in that order.
        rng: source of randomness, on the images' device.
        mirror: whether, as the last operation, images are mirrored left to right with probability 1/2.
    """
    height, width = size
    drawn: list[tuple[Callable[[torch.Tensor, _Numbers], torch.Tensor], _Numbers]] = []
    if "color" in operations:
        ranges = ((-0.5, 0.5), (0.0, 2.0), (0.5, 1.5))
        drawn.append((_color, tuple(_uniform(count, low, high, rng) for low, high in ranges)))
    if "translation" in operations:
        drawn.append((_translate, tuple(_offset(count, side, rng) for side in (height, width))))
    if "cutout" in operations:
        drawn.append((_cut_out, tuple(_corner(count, side, rng) for side in (height, width))))
    if mirror:
        drawn.append((_mirror, (torch.rand(count, 1, 1, 1, generator=rng, device=rng.device) < 0.5,)))
    return Augmentation(tuple(drawn))


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
    return draw_augmentation(len(images), images.shape[2:], operations, rng)(images)


def check_operations(operations: Sequence[str]) -> None:
    """Raises ConfigError if an operation's name is unknown."""
    for name in operations:
        if name not in OPERATIONS:
            raise ConfigError(f"augment must be some of {', '.join(OPERATIONS)}, got '{name}'.")


def _uniform(count: int, low: float, high: float, rng: torch.Generator) -> torch.Tensor:
    return torch.empty((count, 1, 1, 1), device=rng.device).uniform_(low, high, generator=rng)


def _color(images: torch.Tensor, numbers: _Numbers) -> torch.Tensor:
    """Adds to the brightness, then multiplies the saturation, then the contrast."""
    brightness, saturation, contrast = numbers
    images = images + brightness
    if images.shape[1] > 1:
        images = torch.lerp(images.mean(dim=1, keepdim=True), images, saturation)
    return torch.lerp(images.mean(dim=(1, 2, 3), keepdim=True), images, contrast)


def _offset(count: int, side: int, rng: torch.Generator) -> torch.Tensor:
    """Shifts of up to an eighth of the side, in pixels."""
    reach = int(side / 8 + 0.5)
    return torch.randint(-reach, reach + 1, (count, 1, 1), generator=rng, device=rng.device)


def _translate(images: torch.Tensor, numbers: _Numbers) -> torch.Tensor:
    """Shifts on both axes, zeros coming in.

    The shift is a product with two 0/1 matrices: exact, differentiable, and free of the scatter that the
    backward pass of an indexed gather needs.
    """

    def shift(side: int, offset: torch.Tensor) -> torch.Tensor:
        index = torch.arange(side, device=images.device)
        return (index[None, None, :] == index[None, :, None] + offset).to(images.dtype)[:, None]

    down, right = numbers
    return shift(images.shape[2], down) @ images @ shift(images.shape[3], right).transpose(2, 3)


def _corner(count: int, side: int, rng: torch.Generator) -> torch.Tensor:
    """First row or column of a square of half the side that is centred anywhere and may hang over the border."""
    size = int(side / 2 + 0.5)
    return torch.randint(0, side + 1 - size % 2, (count, 1), generator=rng, device=rng.device) - size // 2


def _cut_out(images: torch.Tensor, numbers: _Numbers) -> torch.Tensor:
    """Sets one square to 0."""

    def inside(side: int, start: torch.Tensor) -> torch.Tensor:
        index = torch.arange(side, device=images.device)[None]
        return (index >= start) & (index < start + int(side / 2 + 0.5))

    top, left = numbers
    square = inside(images.shape[2], top)[:, None, :, None] & inside(images.shape[3], left)[:, None, None, :]
    return images.masked_fill(square, 0.0)


def _mirror(images: torch.Tensor, numbers: _Numbers) -> torch.Tensor:
    """Mirrors the chosen images left to right."""
    (chosen,) = numbers
    return torch.where(chosen, images.flip(3), images)
