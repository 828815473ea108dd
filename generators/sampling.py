"""Sampling: labels and seeds to images, each row a function of its own label and seed alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import ndtr, ndtri
from torch import nn

from data.batches import to_bytes
from data.compute import Compute
from data.errors import ConfigError
from data.labels import LabelSpace
from data.random import Seeds, normal_from_seeds
from generators.card import GeneratorCard, load_card, load_network

#: Rows a forward pass. It is constant, because other sizes may take other kernels and round differently.
BLOCK_ROWS = 128

Latents = npt.NDArray[np.float32]


def truncate(latents: Latents, truncation: float) -> Latents:
    """Moves standard normal numbers into the middle of the normal distribution, keeping their order.

    Source: the truncation trick of BigGAN (Brock, Donahue & Simonyan, 2019, arXiv 1809.11096): a latent is drawn
    from a normal distribution cut off at a threshold. Differs from it in: the threshold is named by the share of
    the distribution that it leaves, and a number is mapped by the inverse of the distribution function rather than
    drawn again, so that a seed keeps its character under any truncation.

    Args:
        latents: standard normal numbers, any shape.
        truncation: share of the normal distribution that is left, in [0, 1]. The result is a normal number cut
            off at the (1 + truncation) / 2 quantile: 0.95 for 1.96, 0.68 for 1, 0.38 for 0.5, 0 for all zeros. 1
            changes nothing.

    Returns:
        float32, the shape of ``latents``.

    Raises:
        ConfigError: if ``truncation`` lies outside [0, 1].
    """
    if not 0.0 <= truncation <= 1.0:
        raise ConfigError(f"truncation must lie in [0, 1], got {truncation}; try 1 for none, or 0.7.")
    if truncation == 1.0:
        return latents
    sizes = -ndtri(0.5 - truncation * (0.5 - ndtr(-np.abs(latents.astype(np.float64)))))
    return np.asarray(np.copysign(sizes, latents), np.float32)


class Sampler:
    """Makes images from a trained generator.

    Args:
        generator: the network.
        card: its card.
        compute: device and precision; rows are reproducible on the same kind of device and precision.
    """

    def __init__(self, generator: nn.Module, card: GeneratorCard, compute: Compute) -> None:
        self.card = card
        self._compute = compute
        self._generator = compute.place(generator).eval()

    @property
    def label_space(self) -> LabelSpace:
        """The labels that the generator was trained on."""
        return self.card.label_space

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of an image."""
        return self.card.image_shape

    def sample(self, labels: npt.NDArray[Any], seeds: Seeds, truncation: float = 1.0) -> npt.NDArray[np.uint8]:
        """One image for each row.

        Args:
            labels: a column of the label space, in its own units, (n, ...).
            seeds: uint64, shape (n,); the latent of a row comes from its seed alone.
            truncation: share of the normal distribution that latents are drawn from, see ``truncate``.

        Returns:
            uint8 (n, C, H, W). A row has the same bytes whatever the other rows, their order and number.

        Raises:
            DataError: if a label lies outside the label space.
            ConfigError: if ``truncation`` lies outside [0, 1].
            ValueError: if the two arrays differ in length.
        """
        if len(labels) != len(seeds):
            raise ValueError(f"labels and seeds must have equal lengths, got {len(labels)} and {len(seeds)}.")
        self.label_space.check(labels, "labels to sample")
        images = np.empty((len(labels), *self.image_shape), np.uint8)
        # Block by block, so that latents never take more memory than images.
        for start in range(0, len(labels), BLOCK_ROWS):
            rows = slice(start, start + BLOCK_ROWS)
            images[rows] = self.render(self.latents(seeds[rows], truncation), self.label_space.conditions(labels[rows]))
        return images

    def latents(self, seeds: Seeds, truncation: float = 1.0) -> Latents:
        """The latents that ``sample`` gives to ``seeds``, float32 (n, latent_size)."""
        return truncate(normal_from_seeds(seeds, self.card.latent_size), truncation)

    @torch.inference_mode()
    def render(self, latents: Latents, conditions: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """Images of given latents, in forward passes of one fixed size, whose last one is padded.

        Args:
            latents: float32 (n, latent_size).
            conditions: what ``LabelSpace.conditions`` gives, (n, ...).

        Returns:
            uint8 (n, C, H, W).
        """
        device = self._compute.device
        images = np.empty((len(latents), *self.image_shape), np.uint8)
        for start in range(0, len(latents), BLOCK_ROWS):
            block, condition = (_padded(array[start : start + BLOCK_ROWS]) for array in (latents, conditions))
            with self._compute.autocast():
                made = self._generator(torch.from_numpy(block).to(device), torch.from_numpy(condition).to(device))
            images[start : start + BLOCK_ROWS] = to_bytes(made).cpu().numpy()[: len(latents) - start]
        return images


def _padded(rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A whole block: the rows, and the last of them as often as it takes."""
    if len(rows) == BLOCK_ROWS:
        return rows
    return np.pad(rows, ((0, BLOCK_ROWS - len(rows)), *((0, 0),) * (rows.ndim - 1)), mode="edge")


def load_generator(folder: Path, compute: Compute) -> Sampler:
    """Opens the generator that a training wrote into ``folder``.

    Raises:
        DataError: if card or weights are missing, damaged or do not fit each other.
    """
    card = load_card(folder)
    return Sampler(load_network(folder, card), card, compute)
