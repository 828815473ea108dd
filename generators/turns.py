"""One turn of the discriminator and one of the generator: a batch, its losses, and their gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from data.batches import to_unit
from data.compute import Compute
from generators.augment import draw_augmentation
from generators.networks import Verdict
from generators.objective import Losses, Objective, Told, halves
from generators.recipe import Recipe
from generators.regularisation import consistency_loss, r1_penalty


@dataclass(frozen=True)
class Draw:
    """What one discriminator step trains on; every array has B rows. Labels are conditions, as networks take them.

    Attributes:
        rows: rows of the real images, int64.
        labels: labels that the discriminator is told, for real and fake alike.
        fake_labels: labels that the generator is told.
        real_weights: weights of the real images in the loss, float32; None for 1.
        fake_weights: weights of the fake images, float32; None for 1.
        kappas: half-widths of the labels' vicinities, float32 (B,) or (B, L); None for 0.
    """

    rows: npt.NDArray[np.int64]
    labels: npt.NDArray[Any]
    fake_labels: npt.NDArray[Any]
    real_weights: npt.NDArray[np.float32] | None = None
    fake_weights: npt.NDArray[np.float32] | None = None
    kappas: npt.NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Outcome:
    """What a turn leaves beside gradients, detached and on the device.

    Attributes:
        losses: weighted losses by name; their sum was minimised.
        fake_scores: scores of generated images, (B,).
        real_scores: scores of real images, (B,); empty after a turn of the generator.
    """

    losses: Losses
    fake_scores: torch.Tensor
    real_scores: torch.Tensor


@dataclass(frozen=True)
class Game:
    """The two networks and the rules of their turns.

    Args:
        images: real images, uint8 (N, C, H, W).
        generator: (latents, conditions) -> images in [-1, 1].
        discriminator: (images, conditions) -> Verdict.
        objective: the losses of both.
        recipe: parts of a batch, augmentation and regularisation.
        latent_size: length of a latent vector.
        compute: device and precision; the networks are there already.
    """

    images: npt.NDArray[np.uint8]
    generator: nn.Module
    discriminator: nn.Module
    objective: Objective
    recipe: Recipe
    latent_size: int
    compute: Compute

    def discriminator_turn(self, draw: Draw, number: int, rng: torch.Generator) -> Outcome:
        """Adds the discriminator's gradients of its 0-based turn ``number``; all randomness comes from ``rng``."""
        recipe, compute, count = self.recipe, self.compute, len(draw.rows)
        consistent = recipe.consistency_weight > 0
        penalised = recipe.r1_weight > 0 and number % recipe.r1_every == 0
        self.discriminator.requires_grad_(True)
        size = self.images.shape[2:]
        latents = self._latents(count, rng)
        augmentation = draw_augmentation(2 * count, size, recipe.augment, rng)
        mirror = draw_augmentation(count, size, (), rng, mirror=recipe.flip)
        move = draw_augmentation(2 * count, size, ["translation"] * consistent, rng, mirror=recipe.flip and consistent)
        outcomes = []
        for rows in self._parts(count):
            places = torch.arange(rows.start, rows.stop, device=compute.device)
            places = torch.cat([places, places + count])
            told = self._told(draw, rows)
            labels = torch.cat([told.labels, told.labels])
            real = mirror.rows(rows)(to_unit(compute.images(torch.from_numpy(self.images[draw.rows[rows]]))))
            with torch.no_grad():
                fake = self._make(latents[rows], told.fake_labels)
            seen = augmentation.rows(places)(torch.cat([real, fake]))
            verdict = self._judge(seen, labels)
            losses = self.objective.discriminator(*halves(verdict), told)
            if consistent:
                again = self._judge(move.rows(places)(seen), labels)
                inconsistency = consistency_loss(*verdict.scores.chunk(2), *again.scores.chunk(2))
                losses["consistency"] = recipe.consistency_weight * inconsistency
            if penalised:
                penalty = r1_penalty(self._plain_scores(told.labels), compute.images(seen[: len(real)]))
                losses["r1"] = recipe.r1_weight * recipe.r1_every * penalty
            real_scores, fake_scores = verdict.scores.detach().chunk(2)
            outcomes.append(Outcome(_backward(losses, len(real) / count), fake_scores, real_scores))
        return _together(outcomes)

    def generator_turn(self, labels: npt.NDArray[Any], rng: torch.Generator) -> Outcome:
        """Adds the generator's gradients for these conditions (B, ...); all randomness comes from ``rng``."""
        self.discriminator.requires_grad_(False)
        latents = self._latents(len(labels), rng)
        augmentation = draw_augmentation(len(labels), self.images.shape[2:], self.recipe.augment, rng)
        outcomes = []
        for rows in self._parts(len(labels)):
            conditions = torch.from_numpy(labels[rows]).to(self.compute.device)
            verdict = self._judge(augmentation.rows(rows)(self._make(latents[rows], conditions)), conditions)
            losses = self.objective.generator(verdict, conditions)
            share = len(conditions) / len(labels)
            outcomes.append(Outcome(_backward(losses, share), verdict.scores.detach(), verdict.scores[:0].detach()))
        return _together(outcomes)

    def _parts(self, count: int) -> Iterator[slice]:
        parts = min(self.recipe.accumulate, count)
        for part in range(parts):
            yield slice(count * part // parts, count * (part + 1) // parts)

    def _latents(self, count: int, rng: torch.Generator) -> torch.Tensor:
        return torch.randn(count, self.latent_size, generator=rng, device=self.compute.device)

    def _told(self, draw: Draw, rows: slice) -> Told:
        def put(values: npt.NDArray[Any]) -> torch.Tensor:
            return torch.from_numpy(values[rows]).to(self.compute.device)

        further = (draw.real_weights, draw.fake_weights, draw.kappas)
        return Told(put(draw.labels), put(draw.fake_labels), *(None if each is None else put(each) for each in further))

    def _make(self, latents: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
        with self.compute.autocast():
            made: torch.Tensor = self.generator(latents, conditions)
        return made

    def _judge(self, images: torch.Tensor, conditions: torch.Tensor) -> Verdict:
        with self.compute.autocast():
            verdict: Verdict = self.discriminator(self.compute.images(images), conditions)
        return verdict

    def _plain_scores(self, conditions: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
        def scores(images: torch.Tensor) -> torch.Tensor:
            # Not through __call__, where a compiled network waits: compiled code has no second derivative.
            verdict: Verdict = self.discriminator.forward(images, conditions)
            return verdict.scores

        return scores


def _backward(losses: Losses, share: float) -> Losses:
    """Adds the gradients of a part of the batch, and returns its share of the batch's losses."""
    torch.autograd.backward(torch.stack(list(losses.values())).sum() * share)
    return {name: loss.detach() * share for name, loss in losses.items()}


def _together(outcomes: Sequence[Outcome]) -> Outcome:
    return Outcome(
        {name: torch.stack([outcome.losses[name] for outcome in outcomes]).sum() for name in outcomes[0].losses},
        torch.cat([outcome.fake_scores for outcome in outcomes]),
        torch.cat([outcome.real_scores for outcome in outcomes]),
    )
