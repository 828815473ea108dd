"""Views of images against an explicit loop over rows with the numbers of ``data.random``."""

import numpy as np
import pytest
import torch

from data.random import derive_seed, row_seeds
from data.views import ViewRule, view_images, view_numbers


def images(count=12, channels=3, height=9, width=7):
    return np.random.default_rng(0).integers(0, 256, (count, channels, height, width), np.uint8)


def by_loop(pictures, rows, views, seed, shift, flip):
    """Each image on its own, in NumPy."""
    made = []
    for picture, row, view in zip(pictures, rows, views, strict=True):
        own = row_seeds(derive_seed(seed, "views"), np.array([row]))[0]
        own = row_seeds(own, np.array([view]))[0]
        top, left, mirror = (int(number) for number in row_seeds(own, np.arange(3)))
        padded = np.pad(picture, ((0, 0), (shift, shift), (shift, shift)))
        top, left = (top >> 33) % (2 * shift + 1), (left >> 33) % (2 * shift + 1)
        seen = padded[:, top : top + picture.shape[1], left : left + picture.shape[2]]
        made.append(seen[:, :, ::-1] if flip and mirror >> 63 else seen)
    return np.stack(made)


@pytest.mark.parametrize(("shift", "flip"), [(2, True), (1, False), (0, True)])
def test_views_equal_an_explicit_loop(shift, flip):
    pictures, rows = images(), np.arange(12) * 977
    views = np.arange(12) % 4
    seen = view_images(
        torch.from_numpy(pictures),
        torch.from_numpy(rows),
        torch.from_numpy(views),
        seed=7,
        shift_pixels=shift,
        flip=flip,
    )
    np.testing.assert_array_equal(seen.numpy(), by_loop(pictures, rows, views, 7, shift, flip))
    assert seen.dtype == torch.uint8


def test_a_view_depends_on_its_own_row_alone():
    rule, pictures, rows = ViewRule(3, 2, True), torch.from_numpy(images()), torch.arange(12)
    together = rule(pictures, rows, 5)
    order = torch.tensor([4, 0, 11])
    assert torch.equal(rule(pictures[order], rows[order], torch.tensor([5, 5, 5])), together[order])
    assert torch.equal(rule(pictures.float(), rows, 5), together.float())


def test_views_differ_between_rows_views_and_seeds():
    rows = torch.arange(400)
    numbers = [view_numbers(rows, view, 3, seed) for view, seed in ((0, 0), (1, 0), (0, 1))]
    assert len(torch.unique(torch.cat(numbers))) == 3 * 3 * 400


def test_shifts_and_mirrors_are_uniform():
    picture = torch.zeros(1, 1, 5, 5, dtype=torch.uint8)
    picture[0, 0, 2, 1] = 255
    count = 9000
    seen = ViewRule(0, 1, True)(picture.expand(count, -1, -1, -1), torch.arange(count), 0)
    places, counts = torch.unique(seen.flatten(1).argmax(1), return_counts=True)
    # 3 rows, and columns 0..2 or, mirrored, 4..2: column 2 comes from both.
    assert len(places) == 15
    expected = [count / 9 if place % 5 == 2 else count / 18 for place in places.tolist()]
    chi2 = sum((got - want) ** 2 / want for got, want in zip(counts.tolist(), expected, strict=True))
    assert chi2 < 36.1  # 0.1 % of the chi-squared distribution with 14 degrees of freedom


def test_without_shift_and_mirror_a_view_is_the_image():
    pictures = torch.from_numpy(images())
    assert torch.equal(ViewRule(0)(pictures, torch.arange(12), 3), pictures)
