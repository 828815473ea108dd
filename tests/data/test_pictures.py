"""Pictures with captions: whole texts, each over the middle of its column, in letters that a font has."""

from __future__ import annotations

import numpy as np
import pytest

from data.pictures import captioned_grid, drawable


def ink(picture):
    return np.asarray(picture.convert("L")) < 128


def test_a_caption_stands_over_the_middle_of_its_images_and_is_whole():
    images = np.full((1, 3, 1, 8, 8), 200, np.uint8)
    wide, narrow = "a caption much wider than its image", "ab"
    picture = captioned_grid(images, [""], [wide, narrow, wide])
    pixels = np.asarray(picture.convert("L"))
    below, above = pixels[-5] == 200, ink(picture)[:16]
    starts = np.flatnonzero(np.diff(np.r_[0, below.astype(int)]) == 1)
    assert len(starts) == 3
    words = np.flatnonzero(above.any(axis=0))
    across = starts[1] - starts[0]
    margin = int(starts[0]) + 16 - across // 2
    for place in range(3):
        columns = words[(words >= margin + place * across) & (words < margin + (place + 1) * across)]
        middle = (columns[0] + columns[-1]) / 2
        assert abs(middle - (starts[place] + 15.5)) <= 2
    # The same words take as many pixels wherever they stand: none are cut.
    first, last = (above[:, margin + place * across :][:, :across].sum() for place in (0, 2))
    assert first == last


@pytest.mark.parametrize("text", ["Éléphant", "größe", "Łódź", "Русская", "Ελλάδα", "naïve façade"])
def test_letters_of_most_alphabets_are_drawn_apart(text):
    images = np.full((1, 1, 1, 32, 32), 200, np.uint8)
    assert drawable(text) == text
    boxes = [ink(captioned_grid(images, [word])) for word in (text, "\ue123" * len(text))]
    assert boxes[0].shape != boxes[1].shape or (boxes[0] != boxes[1]).any()
    # As a box every letter would look alike.
    letters = {ink(captioned_grid(images, [letter])).tobytes() for letter in set(text)}
    assert len(letters) == len(set(text))


def test_signs_without_a_glyph_become_their_numbers():
    assert drawable("犬 a\x1b[31m") == r"\u72ac a\x1b[31m"
    assert drawable("e\u0301\n  b") == "é b"
