"""DiffAugment against a loop over single images and pixels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch

from data.errors import ConfigError
from generators import augment


def rng(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(batch: int = 6, channels: int = 3, side: int = 16) -> torch.Tensor:
    return torch.rand((batch, channels, side, side), generator=rng(0), dtype=torch.float64).float() * 2 - 1


class Reference:
    """Each operation for one image, pixel by pixel, with the same random numbers drawn for the whole batch."""

    def __init__(self, batch: int, side: int, numbers: torch.Generator) -> None:
        self.batch, self.side, self.numbers = batch, side, numbers

    def uniform(self, low: float, high: float) -> list[float]:
        return torch.empty((self.batch, 1, 1, 1)).uniform_(low, high, generator=self.numbers).flatten().tolist()

    def whole(self, low: int, high: int) -> list[int]:
        return torch.randint(low, high, (self.batch, 1, 1), generator=self.numbers).flatten().tolist()

    def color(self, batch: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        draws = [self.uniform(-0.5, 0.5), self.uniform(0.0, 2.0), self.uniform(0.5, 1.5)]
        changed = []
        for image, brightness, saturation, contrast in zip(batch, *draws, strict=True):
            image = image + brightness
            grey = image.mean(axis=0, keepdims=True)
            image = (image - grey) * saturation + grey
            changed.append((image - image.mean()) * contrast + image.mean())
        return np.stack(changed)

    def translation(self, batch: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        reach, side = self.side // 8, self.side
        down, right = self.whole(-reach, reach + 1), self.whole(-reach, reach + 1)
        self.shifts = set(zip(down, right, strict=True))
        changed = np.zeros_like(batch)
        for i in range(self.batch):
            for row in range(side):
                for column in range(side):
                    source = (row + down[i], column + right[i])
                    if 0 <= source[0] < side and 0 <= source[1] < side:
                        changed[i, :, row, column] = batch[i, :, source[0], source[1]]
        return changed

    def cutout(self, batch: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        half, side = self.side // 2, self.side
        tops, lefts = ([start - half // 2 for start in self.whole(0, side + 1)] for _ in range(2))
        changed = batch.copy()
        for i in range(self.batch):
            for row in range(side):
                for column in range(side):
                    if tops[i] <= row < tops[i] + half and lefts[i] <= column < lefts[i] + half:
                        changed[i, :, row, column] = 0
        return changed


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("operation", augment.OPERATIONS)
@pytest.mark.parametrize("side", [8, 16])
def test_every_operation_equals_the_loop(operation: str, side: int, channels: int) -> None:
    batch = images(side=side, batch=40, channels=channels)
    reference = Reference(40, side, rng())
    expected = getattr(reference, operation)(batch.double().numpy())
    augmented = augment.diff_augment(batch, [operation], rng()).numpy()
    if operation == "color":
        np.testing.assert_allclose(augmented, expected, atol=1e-5)
    else:
        np.testing.assert_array_equal(augmented, expected.astype(np.float32))
    if operation == "translation":
        assert len(reference.shifts) > 5
    if operation == "cutout":
        assert (expected == 0).reshape(40, -1).sum(1).max() == channels * (side // 2) ** 2


def test_all_operations_together_and_their_gradient_equal_the_loop() -> None:
    batch = images(batch=5, side=8).requires_grad_(True)
    reference = Reference(5, 8, rng())
    augmented = augment.diff_augment(batch, ["cutout", "color", "translation"], rng())
    expected = reference.cutout(reference.translation(reference.color(batch.detach().double().numpy())))
    np.testing.assert_allclose(augmented.detach().numpy(), expected, atol=1e-5)
    # All operations are affine in the image, so differences of the loop are its derivative.
    direction = images(batch=5, side=8).flip(0)
    along = (torch.autograd.grad(augmented.square().sum(), batch)[0] * direction).sum().item()

    def loss(step: float) -> float:
        reference = Reference(5, 8, rng())
        moved = (batch.detach() + step * direction).double().numpy()
        return float((reference.cutout(reference.translation(reference.color(moved))) ** 2).sum())

    assert along == pytest.approx((loss(1e-3) - loss(-1e-3)) / 2e-3, rel=1e-3)


def test_parts_of_a_batch_are_augmented_as_the_whole() -> None:
    batch = images(batch=10)
    drawn = augment.draw_augmentation(10, (16, 16), augment.OPERATIONS, rng(), mirror=True)
    whole = drawn(batch)
    rows = torch.tensor([7, 2, 3])
    torch.testing.assert_close(drawn.rows(rows)(batch[rows]), whole[rows])
    torch.testing.assert_close(drawn.rows(slice(4, 10))(batch[4:]), whole[4:])


def test_mirroring_takes_about_half_of_the_images_and_draws_nothing_else() -> None:
    batch = images(batch=200, side=8)
    mirrored = augment.draw_augmentation(200, (8, 8), (), rng(), mirror=True)(batch)
    turned = [i for i in range(200) if torch.equal(mirrored[i], batch[i].flip(2))]
    kept = [i for i in range(200) if torch.equal(mirrored[i], batch[i])]
    assert sorted(turned + kept) == list(range(200))
    assert 70 < len(turned) < 130


def test_every_image_has_its_own_numbers() -> None:
    same = images(batch=1).expand(6, -1, -1, -1)
    augmented = augment.diff_augment(same, ["color"], rng())
    assert len({tuple(image.flatten().tolist()) for image in augmented}) == 6


def test_no_operations_leave_the_images() -> None:
    batch = images(channels=1)
    assert augment.diff_augment(batch, [], rng()) is batch


def test_unknown_operation_is_named() -> None:
    with pytest.raises(ConfigError, match="color, translation, cutout, got 'colour'"):
        augment.check_operations(["colour"])
