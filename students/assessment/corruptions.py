"""Corruptions of images at five severities, whole batches at a time and the same for the same seed and row.

After Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", 2019,
arXiv 1903.12261, with the constants of their CIFAR-10-C, which is made for images of 32 pixels a side. What differs:
results are rounded to grey levels and not cut off, grey images take part, noise belongs to a row, and images of more
than 32 pixels a side are blurred in proportion.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from data.random import derive_seed, normal_from_seeds, row_seeds, uniform_from_seeds

Floats = npt.NDArray[np.float32]
Seeds = npt.NDArray[np.uint64]

SEVERITIES = (1, 2, 3, 4, 5)

#: What each severity means, of pixels in 0..1: deviation of the noise; photons at full brightness; share of pixels
#: lost; deviation of the kernel in pixels at 32 pixels a side; factor of the distance to the mean; added brightness.
CONSTANTS: Mapping[str, tuple[float, float, float, float, float]] = {
    "gaussian_noise": (0.04, 0.06, 0.08, 0.09, 0.10),
    "shot_noise": (500, 250, 100, 75, 50),
    "impulse_noise": (0.01, 0.02, 0.03, 0.05, 0.07),
    "blur": (0.4, 0.6, 0.7, 0.8, 1.0),
    "contrast": (0.75, 0.5, 0.4, 0.3, 0.15),
    "brightness": (0.05, 0.10, 0.15, 0.20, 0.30),
}
#: Pixels a side that the constants are made for.
REFERENCE_SIDE = 32
#: Equal parts of 0..1 in the guide table of the Poisson distributions.
_SLOTS = 1024


def corrupt(
    images: npt.NDArray[np.uint8], corruption: str, severity: int, *, seed: int, rows: npt.NDArray[np.integer]
) -> npt.NDArray[np.uint8]:
    """Images with one corruption; a row's result depends on its image, its number and the seed alone.

    Args:
        images: uint8 (n, C, H, W), grey or colour.
        corruption: a key of ``CONSTANTS``.
        severity: 1 to 5.
        seed: makes the noise; corruptions and severities draw independent noise of it.
        rows: number of each image, (n,).

    Returns:
        uint8 (n, C, H, W).

    Raises:
        ValueError: for an unknown corruption or severity, or if the numbers of images and rows differ.
    """
    if corruption not in CONSTANTS or severity not in SEVERITIES:
        raise ValueError(
            f"corruption must be one of {', '.join(CONSTANTS)} at a severity of 1 to 5, got {corruption} at {severity}."
        )
    if len(images) != len(rows):
        raise ValueError(f"rows must be one an image, got {len(rows)} for {len(images)} images.")
    if not len(images):
        return images.copy()
    pixels = images.astype(np.float32) / np.float32(255)
    seeds = row_seeds(derive_seed(seed, corruption, severity), rows)
    changed = _CHANGES[corruption](pixels, CONSTANTS[corruption][severity - 1], seeds)
    return np.rint(np.clip(changed, 0, 1) * 255).astype(np.uint8)


def _gaussian_noise(pixels: Floats, deviation: float, seeds: Seeds) -> Floats:
    noise = normal_from_seeds(seeds, pixels[0].size).reshape(pixels.shape)
    return pixels + np.float32(deviation) * noise


def _shot_noise(pixels: Floats, photons: float, seeds: Seeds) -> Floats:
    """Poisson counts of a brightness of so many photons, by inversion of their distribution.

    With a guide table (Chen and Asau, 1974): the first bits of a uniform number mostly tell the count; where they do
    not, it is searched upwards.
    """
    below, guide, told = _poisson(photons)
    uniform = uniform_from_seeds(seeds, pixels[0].size).ravel()
    levels = np.rint(pixels.ravel() * 255).astype(np.int64)
    slots = levels * _SLOTS + (uniform * _SLOTS).astype(np.int64)
    found = guide.take(slots)
    open_ = np.flatnonzero(~told.take(slots))
    starts, wanted = levels[open_] * below.shape[1], uniform[open_]
    while len(open_):
        higher = below.take(starts + found[open_]) < wanted
        open_, starts, wanted = open_[higher], starts[higher], wanted[higher]
        found[open_] += 1
    return (found / np.float32(photons)).astype(np.float32).reshape(pixels.shape)


@lru_cache(maxsize=len(SEVERITIES))
def _poisson(photons: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
    """Of every grey level: P(count or fewer); the least count for a slot of uniform numbers, and if it is the only one.

    Returns:
        (256, counts), and twice (256, ``_SLOTS``).
    """
    from scipy.special import pdtr

    # Ten deviations above the brightest mean leave nothing out that a float64 could draw.
    counts = np.arange(int(photons + 10 * np.sqrt(photons)) + 10)
    below = pdtr(counts[None, :], np.arange(256)[:, None] * photons / 255)
    below[:, -1] = 1.0
    edges = np.arange(_SLOTS + 1) / _SLOTS
    places = np.stack([np.searchsorted(row, edges) for row in below]).astype(np.int32)
    return below, np.ascontiguousarray(places[:, :-1]), places[:, :-1] == places[:, 1:]


def _impulse_noise(pixels: Floats, share: float, seeds: Seeds) -> Floats:
    """Black or white, half of the share each, in every channel for itself."""
    uniform = uniform_from_seeds(seeds, pixels[0].size).reshape(pixels.shape)
    return np.where(uniform < share / 2, 0, np.where(uniform > 1 - share / 2, 1, pixels)).astype(np.float32)


def _blur(pixels: Floats, deviation: float, seeds: Seeds) -> Floats:
    """A Gaussian cut off at four deviations; the edge goes on beyond the image."""
    del seeds
    from scipy.ndimage import gaussian_filter

    wide = deviation * max(1.0, min(pixels.shape[2:]) / REFERENCE_SIDE)
    blurred: Floats = gaussian_filter(pixels, sigma=(0, 0, wide, wide), mode="nearest", truncate=4.0)
    return blurred


def _contrast(pixels: Floats, factor: float, seeds: Seeds) -> Floats:
    """Every channel of an image nearer to its own mean."""
    del seeds
    mean: Floats = pixels.mean(axis=(2, 3), keepdims=True)
    return np.float32(factor) * (pixels - mean) + mean


def _brightness(pixels: Floats, added: float, seeds: Seeds) -> Floats:
    """The value of hue, saturation and value raised: all channels times one factor, and black to grey."""
    del seeds
    value: Floats = pixels.max(axis=1, keepdims=True)
    raised = np.minimum(value + np.float32(added), 1)
    scaled = pixels * (raised / np.maximum(value, np.float32(1e-6)))
    brighter: Floats = np.where(value > 0, scaled, raised).astype(np.float32)
    return brighter


_CHANGES: Mapping[str, Callable[[Floats, float, Seeds], Floats]] = {
    "gaussian_noise": _gaussian_noise,
    "shot_noise": _shot_noise,
    "impulse_noise": _impulse_noise,
    "blur": _blur,
    "contrast": _contrast,
    "brightness": _brightness,
}
