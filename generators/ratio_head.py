"""The density ratio that a discriminator learnt beside its judgement (CcGAN-AVAR), kept for use after the training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from data.batches import to_unit
from data.checkpoint import load_weights, save_weights
from data.compute import Compute
from data.errors import DataError
from generators.card import load_card
from generators.networks import Heads, Verdict, build_network

WEIGHTS_FILE = "discriminator.safetensors"

#: Rows a forward pass. It is constant, because other sizes may take other kernels and round differently.
BLOCK_ROWS = 256

#: Images uint8 (n, C, H, W) and labels in their own units (n, ...) to density ratios float32 (n,).
DensityRatio = Callable[[npt.NDArray[np.uint8], npt.NDArray[Any]], npt.NDArray[np.float32]]


def save_density_ratio(folder: Path, discriminator: nn.Module) -> None:
    """Writes the discriminator whose head estimates the ratio; the generator's card says what else it is made of."""
    save_weights(folder / WEIGHTS_FILE, discriminator)


def load_density_ratio(folder: Path, compute: Compute) -> DensityRatio:
    """Opens the ratio p_real(x | y) / p_generated(x | y) that was learnt with the generator in ``folder``.

    The generated images of its training came from the weights of the moment, not from their average, and from labels in
    the vicinity of those it was told. A row's ratio depends on neither the other rows nor their number.

    Raises:
        DataError: if card or weights are missing or damaged, or the training had no such head.
    """
    card = load_card(folder)
    heads = Heads(**card.training.get("heads", {}))
    if not heads.density_ratio:
        raise DataError(
            f"the generator in {folder} must have a density ratio of its own, got none; "
            f"make it again with density_ratio_weight 0.5."
        )
    discriminator = build_network(card.network, card.options).discriminator(card.image_shape, card.label_space, heads)
    load_weights(folder / WEIGHTS_FILE, discriminator)
    discriminator = compute.place(discriminator).eval().requires_grad_(False)

    @torch.inference_mode()
    def ratios(images: npt.NDArray[np.uint8], labels: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        estimated = np.empty(len(images), np.float32)
        for start in range(0, len(images), BLOCK_ROWS):
            count = min(BLOCK_ROWS, len(images) - start)
            rows = np.minimum(np.arange(start, start + BLOCK_ROWS), len(images) - 1)
            seen = to_unit(compute.images(torch.from_numpy(images[rows])))
            conditions = torch.from_numpy(card.label_space.conditions(labels[rows])).to(compute.device)
            with compute.autocast():
                verdict: Verdict = discriminator(seen, conditions)
            assert verdict.ratios is not None
            estimated[start : start + count] = verdict.ratios[:count].cpu().numpy()
        return estimated

    return ratios
