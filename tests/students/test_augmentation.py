"""Holes in images against a loop over pixels."""

from __future__ import annotations

import pytest
import torch

from data.errors import ConfigError
from students.augmentation import Augmentation


def test_every_image_has_one_square_hole_of_the_fill() -> None:
    images = torch.full((200, 2, 9, 7), 200, dtype=torch.uint8)
    fill = torch.tensor([3.5, 70.0])
    cut = Augmentation(cutout_pixels=4).cut(images, fill, torch.Generator().manual_seed(1))
    assert cut.dtype == torch.float32
    places = set()
    for image in cut:
        holes = image[0] == 3.5
        assert torch.equal(holes, image[1] == 70.0)
        assert bool((image[0][~holes] == 200).all())
        rows, columns = holes.any(1).nonzero().flatten(), holes.any(0).nonzero().flatten()
        # A rectangle without gaps, as the border may cut the square.
        assert int(holes.sum()) == len(rows) * len(columns)
        assert 2 <= len(rows) <= 4
        assert 2 <= len(columns) <= 4
        places.add((int(rows[0]), int(columns[0]), len(rows), len(columns)))
    assert len(places) > 40  # of 9 x 7 centres
    assert {place[2] for place in places} == {2, 3, 4}


def test_a_hole_as_large_as_the_image_may_still_leave_some_of_it() -> None:
    zeros = torch.zeros(50, 1, 8, 8, dtype=torch.uint8)
    cut = Augmentation(cutout_pixels=8).cut(zeros, torch.ones(1), torch.Generator().manual_seed(0))
    assert bool((cut.amax(dim=(1, 2, 3)) == 1).all())
    assert float(cut.mean()) < 1.0


def test_nothing_is_drawn_where_nothing_is_asked_for() -> None:
    images = torch.arange(64, dtype=torch.uint8).reshape(1, 1, 8, 8)
    rng = torch.Generator().manual_seed(0)
    before = rng.get_state()
    plain = Augmentation()
    assert plain.cut(plain.moved(images, rng), torch.zeros(1), rng) is images
    assert torch.equal(rng.get_state(), before)


def test_negative_pixels_are_refused() -> None:
    with pytest.raises(ConfigError, match="cutout_pixels must be at least 0, got -1"):
        Augmentation(cutout_pixels=-1)
