"""DiffAugment against a loop over single images."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from data.errors import ConfigError
from generators import augment


def rng(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(batch: int = 6, channels: int = 3, side: int = 16) -> torch.Tensor:
    return torch.rand((batch, channels, side, side), generator=rng(0), dtype=torch.float64).float() * 2 - 1


def test_color_equals_the_loop() -> None:
    batch = images()
    numbers = rng()
    draws = [torch.empty((6, 1, 1, 1)).uniform_(low, high, generator=numbers) for low, high in
             [(-0.5, 0.5), (0.0, 2.0), (0.5, 1.5)]]  # fmt: skip
    expected = []
    for i, image in enumerate(batch.double().numpy()):
        brightness, saturation, contrast = (draw[i].item() for draw in draws)
        image = image + brightness
        grey = image.mean(axis=0, keepdims=True)
        image = (image - grey) * saturation + grey
        expected.append((image - image.mean()) * contrast + image.mean())
    np.testing.assert_allclose(augment.random_color(batch, rng()).numpy(), np.stack(expected), atol=1e-5)


@pytest.mark.parametrize("side", [8, 16])
def test_translation_equals_the_loop_exactly(side: int) -> None:
    batch = images(side=side, batch=40)
    numbers, reach = rng(), side // 8
    down = torch.randint(-reach, reach + 1, (40, 1, 1), generator=numbers)
    right = torch.randint(-reach, reach + 1, (40, 1, 1), generator=numbers)
    expected = torch.zeros_like(batch)
    for i in range(40):
        for row in range(side):
            for column in range(side):
                source = (row + int(down[i]), column + int(right[i]))
                if 0 <= source[0] < side and 0 <= source[1] < side:
                    expected[i, :, row, column] = batch[i, :, source[0], source[1]]
    assert torch.equal(augment.random_translation(batch, rng()), expected)
    assert len(set(zip(down.flatten().tolist(), right.flatten().tolist(), strict=True))) > 5


def test_cutout_equals_the_loop_exactly() -> None:
    batch = images(batch=40)
    numbers = rng()
    top = torch.randint(0, 17, (40, 1), generator=numbers) - 4
    left = torch.randint(0, 17, (40, 1), generator=numbers) - 4
    expected = batch.clone()
    for i in range(40):
        rows = slice(max(0, int(top[i])), max(0, int(top[i]) + 8))
        columns = slice(max(0, int(left[i])), max(0, int(left[i]) + 8))
        expected[i, :, rows, columns] = 0
    assert torch.equal(augment.random_cutout(batch, rng()), expected)
    assert (expected == 0).flatten(1).sum(1).max() == 3 * 64


def test_every_operation_is_differentiable_and_own_to_each_image() -> None:
    batch = images().double().requires_grad_(True)
    assert torch.autograd.gradcheck(lambda x: augment.diff_augment(x.float(), augment.OPERATIONS, rng()).double()[:2],
                                    batch[:2, :, :, :], eps=1e-2, atol=2e-2, fast_mode=True)  # fmt: skip
    same = images(batch=1).expand(6, -1, -1, -1)
    augmented = augment.diff_augment(same, ["color"], rng())
    assert len({tuple(image.flatten().tolist()) for image in augmented}) == 6


def test_no_operations_leave_the_images() -> None:
    batch = images(channels=1)
    assert augment.diff_augment(batch, [], rng()) is batch


def test_unknown_operation_is_named() -> None:
    with pytest.raises(ConfigError, match="color, translation, cutout, got 'colour'"):
        augment.check_operations(["colour"])
