"""Whether a discriminator has learnt its training images by heart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from data.batches import to_unit
from data.compute import Compute
from generators.networks import Verdict

_MOST_IMAGES = 128
#: Least difference between the scores of training and generated images that a share is taken of.
_LEAST_DIFFERENCE = 0.1

Images = npt.NDArray[np.uint8]
Conditions = npt.NDArray[Any]


@dataclass(frozen=True)
class HeldOut:
    """Some training images, and as many images of the same kind that nobody trains on.

    Args:
        seen: training images, uint8 (n, C, H, W), and their conditions (n, ...).
        unseen: held-out images and their conditions, n as well.
        latents: float32 (n, latent_size), of the generated images they are compared with.
    """

    seen: tuple[Images, Conditions]
    unseen: tuple[Images, Conditions]
    latents: torch.Tensor

    @classmethod
    def choose(
        cls, train: tuple[Images, Conditions], held_out: tuple[Images, Conditions], latent_size: int, seed: int
    ) -> HeldOut:
        """Takes 128 images of both at random, or as many as there are."""
        rng = np.random.default_rng(seed)
        count = min(_MOST_IMAGES, len(train[0]), len(held_out[0]))
        rows, unseen = (np.sort(rng.permutation(len(part[0]))[:count]) for part in (train, held_out))
        latents = rng.standard_normal((count, latent_size)).astype(np.float32)
        return cls(
            (train[0][rows], train[1][rows]), (held_out[0][unseen], held_out[1][unseen]), torch.from_numpy(latents)
        )

    @torch.no_grad()
    def memorised(self, discriminator: nn.Module, generator: nn.Module, compute: Compute) -> float:
        """``(D(seen) - D(unseen)) / (D(seen) - D(generated))``: 0 if it knows none by heart, 1 if only that.

        Source: Karras et al., 2020, arXiv 2006.06676, the measure r_v. Differs from it: both networks in evaluation
        mode on a fixed set, so that training is the same with and without this look; 0 where scores hardly differ.

        Args:
            discriminator: (images, conditions) -> Verdict; left in the mode it came in.
            generator: the averaged one, in evaluation mode.
            compute: device and precision.
        """
        training = discriminator.training
        discriminator.eval()
        conditions = torch.from_numpy(self.unseen[1]).to(compute.device)

        def score(images: torch.Tensor, conditions: torch.Tensor) -> float:
            with compute.autocast():
                verdict: Verdict = discriminator.forward(compute.images(images), conditions)
            return verdict.scores.float().mean().item()

        def real(images: Images, conditions: Conditions) -> float:
            return score(
                to_unit(compute.images(torch.from_numpy(images))), torch.from_numpy(conditions).to(compute.device)
            )

        with compute.autocast():
            made = generator.forward(self.latents.to(compute.device), conditions)
        seen, unseen, generated = real(*self.seen), real(*self.unseen), score(made, conditions)
        discriminator.train(training)
        if seen - generated < _LEAST_DIFFERENCE:
            return 0.0
        return (seen - unseen) / (seen - generated)
