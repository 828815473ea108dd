"""Shifts and mirrors of whole batches on the CPU, against the gather that devices use."""

from __future__ import annotations

import pytest
import torch

from data.batches import random_shift_flip, shift_flip


def by_gathering(images: torch.Tensor, pad: int, flip: bool, rng: torch.Generator) -> torch.Tensor:
    """The same draws, one gather for the crops and one choice for the mirrors."""
    batch, channels, height, width = images.shape
    if pad:
        padded = torch.nn.functional.pad(images, (pad, pad, pad, pad))
        top = torch.randint(0, 2 * pad + 1, (batch, 1), generator=rng)
        left = torch.randint(0, 2 * pad + 1, (batch, 1), generator=rng)
        rows = (top + torch.arange(height))[:, None, :, None]
        columns = (left + torch.arange(width))[:, None, None, :]
        first = torch.arange(batch)[:, None, None, None]
        images = padded[first, torch.arange(channels)[None, :, None, None], rows, columns]
    if flip:
        images = torch.where(torch.rand(batch, 1, 1, 1, generator=rng) < 0.5, images.flip(3), images)
    return images


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("shape", [(16, 3, 8, 8), (5, 1, 7, 11), (1, 2, 1, 1), (0, 3, 4, 4)])
@pytest.mark.parametrize(("pad", "flip"), [(2, True), (2, False), (0, True), (0, False), (9, True)])
def test_bytes_and_draws_are_those_of_a_gather(
    dtype: torch.dtype, shape: tuple[int, ...], pad: int, flip: bool
) -> None:
    images = torch.randint(0, 256, shape, dtype=torch.uint8).to(dtype)
    before = images.clone()
    mine, theirs = torch.Generator().manual_seed(3), torch.Generator().manual_seed(3)
    found = random_shift_flip(images, pad, flip, mine)
    assert found.dtype == dtype
    assert torch.equal(found, by_gathering(images, pad, flip, theirs))
    assert torch.equal(mine.get_state(), theirs.get_state())
    assert torch.equal(images, before)


def test_images_in_other_memory_formats_are_the_same() -> None:
    images = torch.randint(0, 256, (6, 3, 8, 8), dtype=torch.uint8)
    expected = random_shift_flip(images, 2, True, torch.Generator().manual_seed(1))
    turned = images.contiguous(memory_format=torch.channels_last)
    assert torch.equal(random_shift_flip(turned, 2, True, torch.Generator().manual_seed(1)), expected)


def test_gradients_flow_back_to_where_pixels_came_from() -> None:
    images = torch.rand(2, 1, 4, 4, requires_grad=True)
    top, left, mirrored = torch.tensor([0, 2]), torch.tensor([2, 1]), torch.tensor([True, False])
    shift_flip(images, 1, top, left, mirrored).sum().backward()
    expected = torch.ones(2, 1, 4, 4)
    # The first crop begins a row above the image and a column inside it, the second a row below its top.
    expected[0, :, 3], expected[0, :, :, 0], expected[1, :, 0] = 0, 0, 0
    assert torch.equal(images.grad, expected)
