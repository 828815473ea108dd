"""How a GAN of any label space is trained: the settings that class and continuous GANs have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

from data.errors import ConfigError
from generators.augment import check_operations


class RecipeOptions(TypedDict, total=False):
    """The fields of ``Recipe`` as keyword arguments."""

    steps: int
    batch_size: int
    accumulate: int
    discriminator_steps: int
    generator_learning_rate: float
    discriminator_learning_rate: float
    first_momentum: float
    ema_decay: float
    augment: Sequence[str]
    flip: bool
    gradient_clip: float | None
    r1_weight: float
    r1_every: int
    consistency_weight: float
    snapshots: int
    max_minutes: float | None


@dataclass(frozen=True)
class Recipe:
    """Settings of an adversarial training.

    Args:
        steps: generator steps.
        batch_size: images a step of either network.
        accumulate: parts that a batch is computed in, one after the other, to save memory. Losses are means over the
            whole batch; batch norm, ReACGAN's loss and the density ratio's mean see one part at a time.
        discriminator_steps: discriminator steps before each generator step.
        generator_learning_rate: of Adam.
        discriminator_learning_rate: of Adam.
        first_momentum: Adam's beta 1; beta 2 is 0.999.
        ema_decay: largest decay of the weight average that is sampled.
        augment: DiffAugment operations, some of "color", "translation", "cutout"; empty for none.
        flip: whether real images are mirrored at random, and may be by the consistency regularisation.
        gradient_clip: largest norm of either network's gradient, > 0; None for no limit.
        r1_weight: gamma of the R1 penalty on real images, >= 0; 0 for none.
        r1_every: discriminator steps between two penalties, which count that many times as much.
        consistency_weight: of balanced consistency regularisation, >= 0; 0 for none.
        snapshots: averaged weights that the judge compares; the best are kept; 0 keeps the last.
        max_minutes: wall time after which the training ends with what it has, over all resumes; None for no limit.
            It does not include the training of a label embedding.

    Raises:
        ConfigError: for a value out of its range.
    """

    steps: int = 2000
    batch_size: int = 32
    accumulate: int = 1
    discriminator_steps: int = 1
    generator_learning_rate: float = 4e-4
    discriminator_learning_rate: float = 4e-4
    first_momentum: float = 0.0
    ema_decay: float = 0.999
    augment: Sequence[str] = ("translation", "cutout")
    flip: bool = False
    gradient_clip: float | None = None
    r1_weight: float = 0.0
    r1_every: int = 16
    consistency_weight: float = 0.0
    snapshots: int = 8
    max_minutes: float | None = None

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "accumulate", "discriminator_steps", "r1_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}.")
        for name in ("r1_weight", "consistency_weight", "snapshots"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name} must be at least 0, got {getattr(self, name)}.")
        for name in ("gradient_clip", "max_minutes"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"{name} must be above 0, got {value}; try leaving it out, for no limit.")
        if self.accumulate > self.batch_size:
            raise ConfigError(
                f"accumulate must be at most the batch_size, got {self.accumulate} parts of {self.batch_size} images."
            )
        check_operations(self.augment)
