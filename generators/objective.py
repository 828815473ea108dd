"""What the two networks of a conditional GAN minimise: the adversarial loss, and those of the heads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch

from data.errors import ConfigError
from data.labels import LabelSpace
from generators.class_losses import acgan_discriminator_loss, acgan_generator_loss, d2d_ce_loss
from generators.label_losses import (
    density_ratio_discriminator_loss,
    density_ratio_generator_loss,
    label_regression_discriminator_loss,
    label_regression_generator_loss,
)
from generators.losses import ADVERSARIAL_LOSSES, AdversarialLoss
from generators.networks import Conditioning, Heads, Verdict

Losses = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Told:
    """What a discriminator's batch says beside its images, on the device; see ``adversarial.Draw``.

    Attributes:
        labels: conditions that the discriminator is told, (B, ...).
        fake_labels: conditions that the generator is told, (B, ...).
        real_weights: float32 (B,) or None.
        fake_weights: float32 (B,) or None.
        kappas: half-widths of the labels' vicinities, float32 (B,) or (B, L), or None.
    """

    labels: torch.Tensor
    fake_labels: torch.Tensor
    real_weights: torch.Tensor | None = None
    fake_weights: torch.Tensor | None = None
    kappas: torch.Tensor | None = None


@dataclass(frozen=True)
class Objective:
    """Names the losses of both networks and weighs them.

    Args:
        label_space: of the conditions.
        loss: adversarial loss, "hinge" or "non_saturating".
        conditioning: "projection", "acgan" or "reacgan".
        auxiliary_weight: of the classification loss of the last two.
        label_regression_weight: of the label head's loss; the head is there where it is above 0.
        density_ratio_weight: of the ratio head's loss; the head is there where it is above 0.

    Raises:
        ConfigError: for an unknown loss, or a weight below 0.
    """

    label_space: LabelSpace
    loss: str = "hinge"
    conditioning: Conditioning = "projection"
    auxiliary_weight: float = 1.0
    label_regression_weight: float = 0.0
    density_ratio_weight: float = 0.0

    def __post_init__(self) -> None:
        if self.loss not in ADVERSARIAL_LOSSES:
            raise ConfigError(f"loss must be one of {', '.join(ADVERSARIAL_LOSSES)}, got '{self.loss}'.")
        for name in ("auxiliary_weight", "label_regression_weight", "density_ratio_weight"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name} must be at least 0, got {getattr(self, name)}.")

    @property
    def heads(self) -> Heads:
        """The heads that these losses need."""
        return Heads(self.conditioning, self.label_regression_weight > 0, self.density_ratio_weight > 0)

    @property
    def adversarial(self) -> AdversarialLoss:
        """The adversarial loss."""
        return ADVERSARIAL_LOSSES[self.loss]

    def discriminator(self, real: Verdict, fake: Verdict, told: Told) -> Losses:
        """The discriminator's weighted losses by name: "adversarial" first, then those of the heads."""
        losses = {
            "adversarial": self.adversarial.discriminator(
                real.scores, fake.scores, told.real_weights, told.fake_weights
            )
        }
        if self.conditioning == "acgan":
            logits = _present(real.class_logits), _present(fake.class_logits)
            classes = self._classes(told.labels), self._classes(told.fake_labels)
            losses["auxiliary"] = self.auxiliary_weight * acgan_discriminator_loss(
                logits[0], classes[0], logits[1], classes[1]
            )
        if self.conditioning == "reacgan":
            losses["auxiliary"] = self.auxiliary_weight * self._d2d_ce(real, told.labels)
        if self.label_regression_weight:
            values = self._values(told.labels)
            kappas = 0.0 if told.kappas is None else told.kappas.reshape(len(values), -1)
            losses["label"] = self.label_regression_weight * label_regression_discriminator_loss(
                _present(real.predicted_labels), values, kappas
            )
        if self.density_ratio_weight:
            losses["ratio"] = self.density_ratio_weight * density_ratio_discriminator_loss(
                _present(real.ratios), _present(fake.ratios)
            )
        return losses

    def generator(self, fake: Verdict, labels: torch.Tensor) -> Losses:
        """The generator's weighted losses by name, as ``discriminator``; ``labels`` are what both were told."""
        losses = {"adversarial": self.adversarial.generator(fake.scores)}
        if self.conditioning == "acgan":
            auxiliary = acgan_generator_loss(_present(fake.class_logits), self._classes(labels))
            losses["auxiliary"] = self.auxiliary_weight * auxiliary
        if self.conditioning == "reacgan":
            losses["auxiliary"] = self.auxiliary_weight * self._d2d_ce(fake, labels)
        if self.label_regression_weight:
            error = label_regression_generator_loss(_present(fake.predicted_labels), self._values(labels))
            losses["label"] = self.label_regression_weight * error
        if self.density_ratio_weight:
            losses["ratio"] = self.density_ratio_weight * density_ratio_generator_loss(_present(fake.ratios))
        return losses

    def _d2d_ce(self, verdict: Verdict, labels: torch.Tensor) -> torch.Tensor:
        return d2d_ce_loss(_present(verdict.embeddings), _present(verdict.proxies), self._classes(labels))

    def _classes(self, labels: torch.Tensor) -> torch.Tensor:
        return labels if self.label_space.kind == "class" else labels[:, 0].long()

    def _values(self, labels: torch.Tensor) -> torch.Tensor:
        """The continuous part of conditions, (B, L)."""
        return labels[:, 1:] if self.label_space.kind == "class+scalar" else labels.reshape(len(labels), -1)


def _present(answer: torch.Tensor | None) -> torch.Tensor:
    return cast(torch.Tensor, answer)


def halves(verdict: Verdict) -> tuple[Verdict, Verdict]:
    """The verdicts on the first and on the second half of the images; both have all the proxies."""
    count = len(verdict.scores) // 2

    def part(rows: slice) -> Verdict:
        rowwise = {key: each for key, each in verdict._asdict().items() if each is not None and key != "proxies"}
        return verdict._replace(**{key: each[rows] for key, each in rowwise.items()})

    return part(slice(count)), part(slice(count, None))
