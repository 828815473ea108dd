"""Randomness as a pure function of seeds: derived seeds, and numbers that belong to a row.

One image has one seed. The numbers of a row come from a counter-based hash (SplitMix64, Steele, Lea and
Flood, 2014) of that seed, so that they depend neither on the batch nor on the order of rows, and a whole
batch is drawn without a loop.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

Seeds = npt.NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def derive_seed(*parts: int | str) -> int:
    """A seed in [0, 2**63) that depends on every part, e.g. ``derive_seed(7, "generator", step)``."""
    digest = hashlib.sha256("/".join(str(part) for part in parts).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def _mix(state: Seeds) -> Seeds:
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def row_seeds(base: int, rows: npt.NDArray[np.integer]) -> Seeds:
    """One seed a row, uint64, a pure function of ``base`` and the row's number. Shape of ``rows``."""
    with np.errstate(over="ignore"):
        return _mix(np.uint64(base) + _GOLDEN * (rows.astype(np.uint64) + np.uint64(1)))


#: Streams of an image's seed, one a use: what reads the same stream is not independent.
LATENTS, ACCEPTANCE, VICINITY, RESAMPLING, RANDOM_SHARE = range(5)


def uniform_from_seeds(seeds: Seeds, count: int, stream: int = LATENTS) -> npt.NDArray[np.float64]:
    """``count`` uniform numbers in the open interval (0, 1) for every seed, float64, shape (n, count).

    Args:
        seeds: uint64, shape (n,).
        count: numbers a row.
        stream: different streams of one seed are independent.
    """
    with np.errstate(over="ignore"):
        start = _mix(seeds ^ _mix(np.full(1, stream, np.uint64) * _GOLDEN + np.uint64(1)))
        counters = _GOLDEN * np.arange(1, count + 1, dtype=np.uint64)
        bits = _mix(start[:, None] + counters[None, :])
    return ((bits >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def normal_from_seeds(seeds: Seeds, count: int, stream: int = LATENTS) -> npt.NDArray[np.float32]:
    """``count`` standard normal numbers for every seed (Box-Muller), float32, shape (n, count)."""
    half = (count + 1) // 2
    uniform = uniform_from_seeds(seeds, 2 * half, stream)
    # Mostly in place: the latents of small images take as long as some layer of their generator.
    radius = np.log(uniform[:, :half])
    radius *= -2.0
    np.sqrt(radius, out=radius)
    angle = uniform[:, half:] * (2.0 * np.pi)
    normal = np.empty((len(seeds), 2 * half), np.float32)
    np.multiply(radius, np.cos(angle), out=normal[:, :half], casting="same_kind")
    np.multiply(radius, np.sin(angle), out=normal[:, half:], casting="same_kind")
    return np.ascontiguousarray(normal[:, :count])
