"""Hidden surfaces of many frames at once: spans of convex faces in a depth buffer, without a loop over faces.

Each face is cut into one span a line of samples; the spans of all faces of all frames are spread into one flat list of
samples, and the nearest face of each sample is the largest of integer keys (inverse depth, then face number).
Inverse depth is linear on the screen, so that it is exact under perspective. Nothing here depends on the
other frames of the batch.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Keys = npt.NDArray[np.int64]

FACE_BITS = 16
_NEARNESS_STEPS = 2.0**40
_SNAPS = 4096.0  # corners lie on this fraction of a sample: last-bit differences between machines cannot matter


def face_numbers(keys: Keys) -> Keys:
    """What each sample shows: 0 for nothing, otherwise the face's index + 1."""
    return keys & ((1 << FACE_BITS) - 1)


def nearness(keys: Keys) -> Array:
    """The nearness of what each sample shows, 0 for nothing."""
    return (keys >> FACE_BITS) / _NEARNESS_STEPS


def rasterise(
    x: Array, y: Array, planes: tuple[Array, Array, Array], visible: npt.NDArray[np.bool_], size: int
) -> Keys:
    """The nearest face of every sample of every frame.

    Args:
        x: corners to the right, in samples, shape (B, F, 4); sample i has its middle at i + 0.5.
        y: corners downwards, in samples, shape (B, F, 4).
        planes: p, q and r, each of shape (B, F): nearness p * x + q * y + r of a face at a
            sample, below 64; a face is drawn where it is above 0.
        visible: faces to draw, bool, shape (B, F).
        size: samples a side of the square frame.

    Returns:
        Keys for ``face_numbers`` and ``nearness``, int64, shape (B, size, size).
    """
    frames, faces = visible.shape
    chosen = np.flatnonzero(visible.ravel())
    x = np.round(x.reshape(-1, 4)[chosen].T * _SNAPS) / _SNAPS
    y = np.round(y.reshape(-1, 4)[chosen].T * _SNAPS) / _SNAPS
    p, q, r = (plane.reshape(-1)[chosen] for plane in planes)
    corners = p * x + q * y + r
    nearest, farthest = corners.max(axis=0), corners.min(axis=0)

    top = np.clip(np.ceil(y.min(axis=0) - 0.5), 0, size).astype(np.int64)
    bottom = np.clip(np.ceil(y.max(axis=0) - 0.5), 0, size).astype(np.int64)
    face, line = _spread(top, bottom)
    middle = (line + 0.5).astype(np.float64)
    left, right = _crossings(x, y, face, middle)
    start = np.clip(np.ceil(left - 0.5), 0, size).astype(np.int64)
    stop = np.clip(np.ceil(right - 0.5), 0, size).astype(np.int64)
    kept = np.flatnonzero(stop > start)
    face, line, middle, start, stop = face[kept], line[kept], middle[kept], start[kept], stop[kept]

    # A face seen on edge has a steep plane: a span's ends stay within the nearness of its corners.
    level = q[face] * middle + r[face]
    low, high = farthest[face], nearest[face]
    first = np.clip(p[face] * (start + 0.5) + level, low, high)
    last = np.clip(p[face] * (stop - 0.5) + level, low, high)
    count = stop - start
    slope = (last - first) * (_NEARNESS_STEPS / np.maximum(count - 1, 1))
    number = chosen[face] % faces + 1
    key = ((first * _NEARNESS_STEPS).astype(np.int64) << FACE_BITS) + number
    step = slope.astype(np.int64) << FACE_BITS
    place = (chosen[face] // faces * size + line) * size + start

    keys = np.zeros(frames * size * size, dtype=np.int64)
    behind = np.cumsum(count) - count
    counter = np.arange(int(count.sum()), dtype=np.int64)
    where = counter + np.repeat(place - behind, count)
    np.maximum.at(keys, where, counter * np.repeat(step, count) + np.repeat(key - behind * step, count))
    return keys.reshape(frames, size, size)


def _spread(start: Keys, stop: Keys) -> tuple[Keys, Keys]:
    """All integers of the ranges start .. stop - 1, one after the other, each with the index of its range."""
    count = np.maximum(stop - start, 0)
    index = np.repeat(np.arange(len(count)), count)
    behind = np.cumsum(count) - count
    return index, np.arange(len(index)) + (start - behind)[index]


def _crossings(x: Array, y: Array, face: Keys, middle: Array) -> tuple[Array, Array]:
    """Where a line of samples enters and leaves its convex face: least and greatest crossing of the four edges."""
    left = np.full(len(face), np.inf)
    right = np.full(len(face), -np.inf)
    for corner in range(4):
        ax, ay, bx, by = x[corner - 1], y[corner - 1], x[corner], y[corner]
        # From top to bottom, so that two faces that share an edge compute the same crossing.
        swapped = ay > by
        ax, bx = np.where(swapped, bx, ax), np.where(swapped, ax, bx)
        ay, by = np.where(swapped, by, ay), np.where(swapped, ay, by)
        slope = (bx - ax) / np.where(by > ay, by - ay, 1.0)
        upper = ay[face]
        crossed = (upper <= middle) & (middle < by[face])
        at = ax[face] + (middle - upper) * slope[face]
        left = np.where(crossed, np.minimum(left, at), left)
        right = np.where(crossed, np.maximum(right, at), right)
    # Where no edge crosses, left stays above right; both must be finite to become integers.
    return np.where(left <= right, left, 0.0), np.where(left <= right, right, 0.0)
