"""Interpolation: images on the way from one latent to another, from one label to another, or both at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from data.errors import ConfigError
from data.labels import LabelSpace
from data.random import Seeds, normal_from_seeds
from generators.sampling import Latents, Sampler, truncate


@dataclass(frozen=True)
class Walk:
    """Images of R ways with S steps each.

    Args:
        labels: label of every image, (R, S, ...).
        images: uint8 (R, S, C, H, W).
    """

    labels: npt.NDArray[Any]
    images: npt.NDArray[np.uint8]


def slerp(first: Latents, second: Latents, shares: npt.NDArray[np.float64]) -> Latents:
    """Points on the great circle between latents.

    Source: White, 2016, arXiv 1609.04468: a straight line between two normal vectors leads through vectors that are
    too short to be normal.

    Args:
        first: (R, Z).
        second: (R, Z).
        shares: of the way, in [0, 1], (S,).

    Returns:
        float32 (R, S, Z); exactly ``first`` at 0 and ``second`` at 1.
    """
    one, two = first.astype(np.float64), second.astype(np.float64)
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1)
    cosines = np.divide((one * two).sum(axis=1), lengths, out=np.ones_like(lengths), where=lengths > 0)
    angles = np.arccos(np.clip(cosines, -1.0, 1.0))[:, None]
    sines = np.sin(angles)
    straight = sines < 1e-6
    safe = np.where(straight, 1.0, sines)
    weights = np.where(straight, 1.0 - shares, np.sin((1.0 - shares) * angles) / safe)
    others = np.where(straight, shares, np.sin(shares * angles) / safe)
    return (weights[..., None] * one[:, None] + others[..., None] * two[:, None]).astype(np.float32)


def between(
    first: npt.NDArray[Any], second: npt.NDArray[Any], shares: npt.NDArray[np.float64], space: LabelSpace
) -> npt.NDArray[Any]:
    """Labels on the straight line between labels, in their own units.

    Classes have nothing between them: where labels have a class, it must be the same at both ends.

    Args:
        first: a column of the label space, (R, ...).
        second: another, (R, ...).
        shares: of the way, in [0, 1], (S,).
        space: what labels mean.

    Returns:
        (R, S, ...) of the label space's type; exactly the ends at 0 and 1.

    Raises:
        ConfigError: if the classes of the two ends of a way differ.
    """
    if space.has_classes:
        here, there = space.class_part(first), space.class_part(second)
        if np.any(here != there):
            row = int(np.flatnonzero(here != there)[0])
            raise ConfigError(
                f"labels to interpolate must be of one class, got '{space.names[here[row]]}' and "
                f"'{space.names[there[row]]}': there is nothing between classes; interpolate the latent of either."
            )
    weights = shares.reshape(1, -1, *(1,) * (first.ndim - 1))
    values = (1.0 - weights) * first[:, None] + weights * second[:, None]
    return np.asarray(np.rint(values) if space.kind == "class" else values, space.dtype)


def interpolate(
    sampler: Sampler,
    labels: tuple[npt.NDArray[Any], npt.NDArray[Any]],
    seeds: tuple[Seeds, Seeds],
    steps: int,
    truncation: float = 1.0,
) -> Walk:
    """Images on R ways from one (label, seed) to another; at the ends they are those of ``sampler.sample``.

    Latents go along great circles, labels along straight lines; what is equal at both ends stays as it is.

    Args:
        sampler: of a trained generator.
        labels: of the first and of the last images, each a column of R labels in their own units.
        seeds: of the first and of the last images, each uint64 (R,).
        steps: images a way, both ends included; at least 2.
        truncation: share of the normal distribution that latents are drawn from, see ``sampling.truncate``; it is
            applied to the latents in between as well.

    Raises:
        ConfigError: if ``steps`` is less than 2, or the classes of the two ends of a way differ.
        DataError: if a label lies outside the label space.
    """
    if steps < 2:
        raise ConfigError(f"steps of an interpolation must be at least 2, got {steps}; both ends count.")
    space = sampler.label_space
    for end in labels:
        space.check(end, "labels to interpolate")
    shares = np.linspace(0.0, 1.0, steps)
    first, second = (normal_from_seeds(end, sampler.card.latent_size) for end in seeds)
    latents = truncate(slerp(first, second, shares), truncation).reshape(-1, sampler.card.latent_size)
    way = between(*labels, shares, space)
    images = sampler.render(latents, space.conditions(way.reshape(-1, *space.label_shape)))
    return Walk(way, images.reshape(len(first), steps, *sampler.image_shape))
