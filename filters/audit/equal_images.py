"""Images with the same bytes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import xxhash

from data.reading import release_pages
from filters.audit.nearest import Images

_BLOCK_ROWS = 1024


def image_digests(images: Images) -> list[bytes]:
    """XXH3-128 of the bytes of every image, read block by block."""
    found: list[bytes] = []
    for start in range(0, len(images), _BLOCK_ROWS):
        taken = images[np.arange(start, min(start + _BLOCK_ROWS, len(images)))]
        found.extend(xxhash.xxh3_128(image.data).digest() for image in np.ascontiguousarray(taken))
        release_pages(images)
    return found


def equal_images(
    images: Images,
    references: Images,
    digests: Sequence[bytes],
    known: Sequence[bytes],
    rows: npt.NDArray[np.int64],
) -> npt.NDArray[np.int64]:
    """The first of some references with the same bytes as each image; digests find it and bytes confirm it.

    Args:
        images: uint8 (n, C, H, W).
        references: uint8 (m, C, H, W).
        digests: of the images, from ``image_digests``.
        known: of the references.
        rows: references to look among, (k,).

    Returns:
        Rows of references, int64 (n,); -1 where none of them is equal.
    """
    places: dict[bytes, list[int]] = {}
    for row in rows.tolist():
        places.setdefault(known[row], []).append(row)
    found = np.full(len(digests), -1, np.int64)
    for place, digest in enumerate(digests):
        for row in places.get(digest, ()):
            if np.array_equal(images[np.array([place])], references[np.array([row])]):
                found[place] = row
                break
    return found


def first_of_each(images: Images) -> npt.NDArray[np.int64]:
    """Rows of the different images, each by its first row, rising, int64 (k,)."""
    first: dict[bytes, int] = {}
    for row, digest in enumerate(image_digests(images)):
        first.setdefault(digest, row)
    return np.array(sorted(first.values()), np.int64)
