"""Sampling: labels and seeds to images, each row a function of its own label and seed alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from data.batches import to_bytes
from data.compute import Compute
from data.labels import LabelSpace
from data.random import Seeds, normal_from_seeds
from generators.card import GeneratorCard, load_card, load_network

#: Rows a forward pass. It is constant, because other sizes may take other kernels and round differently.
BLOCK_ROWS = 128


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

    def sample(self, labels: npt.NDArray[Any], seeds: Seeds) -> npt.NDArray[np.uint8]:
        """One image for each row.

        Args:
            labels: int64 classes, or float32 labels in their own unit, shape (n,).
            seeds: uint64, shape (n,); the latent of a row comes from its seed alone.

        Returns:
            uint8 (n, C, H, W). A row has the same bytes whatever the other rows, their order and number.

        Raises:
            DataError: if a label lies outside the label space.
            ValueError: if the two arrays differ in length.
        """
        if len(labels) != len(seeds):
            raise ValueError(f"labels and seeds must have equal lengths, got {len(labels)} and {len(seeds)}.")
        self.label_space.check(labels, "labels to sample")
        images = np.empty((len(labels), *self.image_shape), np.uint8)
        for start, block in self._blocks(labels, seeds):
            images[start : start + len(block)] = block
        return images

    @torch.inference_mode()
    def _blocks(self, labels: npt.NDArray[Any], seeds: Seeds) -> Iterator[tuple[int, npt.NDArray[np.uint8]]]:
        if self.label_space.kind == "class":
            conditions = labels.astype(np.int64)
        else:
            conditions = self.label_space.normalise(labels.astype(np.float64)).astype(np.float32)
        device = self._compute.device
        for start in range(0, len(labels), BLOCK_ROWS):
            rows = slice(start, start + BLOCK_ROWS)
            latents = normal_from_seeds(seeds[rows], self.card.latent_size)
            missing = BLOCK_ROWS - len(latents)
            latents = np.pad(latents, ((0, missing), (0, 0)))
            condition = np.pad(conditions[rows], (0, missing), mode="edge")
            with self._compute.autocast():
                images = self._generator(torch.from_numpy(latents).to(device), torch.from_numpy(condition).to(device))
            yield start, to_bytes(images).cpu().numpy()[: BLOCK_ROWS - missing]


def load_generator(folder: Path, compute: Compute) -> Sampler:
    """Opens the generator that a training wrote into ``folder``.

    Raises:
        DataError: if card or weights are missing, damaged or do not fit each other.
    """
    card = load_card(folder)
    return Sampler(load_network(folder, card), card, compute)
