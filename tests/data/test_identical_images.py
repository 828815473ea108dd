"""Equal images across the parts of a split, against a loop over all pairs."""

import numpy as np

from data.identical_images import ids_of_images, rows_seen_in_training


def test_rows_seen_in_training_are_those_that_a_loop_finds():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 3, (200, 1, 2, 2), dtype=np.uint8)
    parts = rng.integers(0, 3, 200).astype(np.uint8)
    seen, twins = rows_seen_in_training(ids_of_images([images[:70], images[70:]]), parts)
    wanted = []
    for row in np.flatnonzero(parts > 0):
        same = [other for other in np.flatnonzero(parts == 0) if np.array_equal(images[row], images[other])]
        wanted += [(row, same[0])] if same else []
    assert 0 < len(wanted) < (parts > 0).sum()
    assert list(zip(seen, twins, strict=True)) == wanted
