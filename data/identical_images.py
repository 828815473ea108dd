"""Finds equal images across sets by digest: repeated ones, and ones that would test what they trained."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from data.digests import bytes_a_row, pieces
from data.reading import release_pages

Rows = npt.NDArray[np.int64]


def ids_of_images(columns: Sequence[npt.NDArray[np.uint8]]) -> Rows:
    """A number for each row of all sets, equal where the images are: that of the first such row, int64 (N,).

    Images are compared by BLAKE2b with 128 bits; 16 bytes a row are held, and ``PIECE_BYTES`` of images.

    Args:
        columns: images of each set, uint8 (n, C, H, W), of one shape.
    """
    digests = np.empty((sum(map(len, columns)), 2), np.uint64)
    place = 0
    for images in columns:
        for start, stop in pieces(0, len(images), bytes_a_row(images.dtype, images.shape)):
            for row in range(start, stop):
                digest = hashlib.blake2b(np.ascontiguousarray(images[row]).data, digest_size=16).digest()
                digests[place] = np.frombuffer(digest, np.uint64)
                place += 1
            release_pages(images)
    order = np.lexsort((digests[:, 1], digests[:, 0]))
    fresh = np.ones(len(order), bool)
    fresh[1:] = (digests[order[1:]] != digests[order[:-1]]).any(axis=1)
    # Sorting is stable, so that the first row of each run is the earliest one.
    firsts = order[np.flatnonzero(fresh)]
    ids = np.empty(len(order), np.int64)
    ids[order] = firsts[np.cumsum(fresh) - 1]
    return ids


def leaking_rows(images: Rows, sets: Rows, parts: npt.NDArray[np.uint8]) -> Rows:
    """Rows whose image is in a later part of another set's split, int64 (n,).

    Args:
        images: number of each row's image.
        sets: number of its set, 0, 1 ...
        parts: 0 training, 1 validation, 2 test.
    """
    leaks = np.zeros(len(images), bool)
    for part in (1, 2):
        later = np.flatnonzero(parts == part)
        lowest, highest = np.full(len(images), sets.max(initial=0) + 1, np.int64), np.full(len(images), -1, np.int64)
        np.minimum.at(lowest, images[later], sets[later])
        np.maximum.at(highest, images[later], sets[later])
        elsewhere = (lowest[images] != sets) | (highest[images] != sets)
        leaks |= (parts < part) & (highest[images] >= 0) & elsewhere
    return np.flatnonzero(leaks)


def rows_seen_in_training(images: Rows, parts: npt.NDArray[np.uint8]) -> tuple[Rows, Rows]:
    """Validation and test rows whose image a training row has, too, and for each the first such training row.

    Args:
        images: number of each row's image, as ``ids_of_images``.
        parts: 0 training, 1 validation, 2 test.
    """
    training = np.flatnonzero(parts == 0)
    first = np.full(len(images), -1, np.int64)
    # Backwards, so that the first one stays.
    first[images[training[::-1]]] = training[::-1]
    seen = np.flatnonzero((parts > 0) & (first[images] >= 0))
    return seen, first[images[seen]]


def repeated_rows(
    images: Rows, keep: npt.NDArray[np.bool_], parts: npt.NDArray[np.uint8] | None
) -> npt.NDArray[np.bool_]:
    """Kept rows whose image another kept row has that goes before: the later part of a split, then the earlier row."""
    rows = np.flatnonzero(keep)
    later_first = np.zeros(len(rows), np.int64) if parts is None else -parts[rows].astype(np.int64)
    order = rows[np.lexsort((rows, later_first, images[rows]))]
    repeated = np.zeros(len(images), bool)
    repeated[order[1:]] = images[order[1:]] == images[order[:-1]]
    return repeated
