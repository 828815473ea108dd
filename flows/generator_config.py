"""The section ``generator`` of the configuration: a class GAN, a continuous GAN, or a generator made elsewhere."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from flows.section import Option, Section
from generators.networks import networks


class Gan(Section):
    """What GANs of all label spaces have in common."""

    options: dict[str, Option] = Field({}, description="Options of the network, e.g. width and latent_size.")
    loss: Literal["hinge", "non_saturating"] = Field("hinge", description="Adversarial loss.")
    steps: int = Field(2000, ge=1, description="Generator steps.")
    batch_size: int = Field(32, ge=2, description="Images a step of either network.")
    accumulate: int = Field(1, ge=1, description="Parts that a batch is computed in, to save memory.")
    discriminator_steps: int = Field(1, ge=1, description="Discriminator steps a generator step.")
    generator_learning_rate: float = Field(4e-4, gt=0, description="Adam learning rate of the generator.")
    discriminator_learning_rate: float = Field(4e-4, gt=0, description="Adam learning rate of the discriminator.")
    first_momentum: float = Field(0.0, ge=0, lt=1, description="Adam's beta 1 of both networks.")
    ema_decay: float = Field(0.999, ge=0, lt=1, description="Decay of the averaged weights that are sampled.")
    augment: tuple[Literal["color", "translation", "cutout"], ...] = Field(
        ("translation", "cutout"), description="DiffAugment operations, for real and fake images alike."
    )
    flip: bool = Field(False, description="Whether real images are mirrored at random.")
    gradient_clip: float | None = Field(None, gt=0, description="Largest norm of a gradient; unset for no limit.")
    r1_weight: float = Field(0.0, ge=0, description="Weight of the R1 gradient penalty on real images.")
    r1_every: int = Field(16, ge=1, description="Discriminator steps between two R1 penalties.")
    consistency_weight: float = Field(0.0, ge=0, description="Weight of balanced consistency regularisation.")
    snapshots: int = Field(
        8, ge=0, description="Averaged weights judged in a training, of which the best are kept; 0 keeps the last."
    )
    max_minutes: float | None = Field(
        None, gt=0, description="Wall time after which the training ends with what it has; unset for no limit."
    )


class ClassGenerator(Gan):
    """A class-conditional GAN."""

    kind: Literal["class_gan"] = "class_gan"
    network: str = Field("sngan", description="A registered generator; see 'stillhouse list generators'.")
    conditioning: Literal["projection", "acgan", "reacgan"] = Field(
        "projection", description="How the discriminator judges the class."
    )
    auxiliary_weight: float = Field(1.0, gt=0, description="Weight of the classification loss of acgan and reacgan.")
    r1_weight: float = Field(0.5, ge=0, description="Weight of the R1 gradient penalty on real images; 0 for none.")

    @field_validator("network")
    @classmethod
    def _known(cls, name: str) -> str:
        return networks.check(name)


class ContinuousGenerator(Gan):
    """A GAN conditioned on a scalar, a vector, or a class with a scalar (CcGAN)."""

    kind: Literal["continuous_gan"]
    network: str = Field("ccgan_sngan", description="A registered generator; see 'stillhouse list generators'.")
    steps: int = Field(3000, ge=1, description="Generator steps.")
    augment: tuple[Literal["color", "translation", "cutout"], ...] = Field(
        ("translation",), description="DiffAugment operations, for real and fake images alike."
    )
    vicinity: Literal["hard", "soft", "hybrid"] = Field(
        "hybrid", description="Weights of images near a target label: HVDL, SVDL, or soft inside the hard vicinity."
    )
    vicinity_images: int | None = Field(
        100, ge=1, description="Images that an adaptive vicinity holds; null for a fixed half-width kappa."
    )
    sigma_label: float | tuple[float, ...] | None = Field(
        None, description="Label noise on [0, 1], one for all dimensions or one each; unset takes the rule of thumb."
    )
    kappa: float | tuple[float, ...] | None = Field(
        None, description="Vicinity half-width on [0, 1], one for all dimensions or one each; unset takes the rule."
    )
    vicinity_multiplier: float = Field(2.0, gt=0, description="Multiplies the rule-of-thumb kappa.")
    label_regression_weight: float = Field(
        1.0, ge=0, description="Weight of a discriminator head that predicts the label; 0 leaves it out."
    )
    density_ratio_weight: float = Field(
        0.0, ge=0, description="Weight of a discriminator head that estimates the density ratio; 0 leaves it out."
    )
    embedding_width: int = Field(16, ge=4, description="Base channels of the embedding's image network.")
    embedding_image_steps: int = Field(300, ge=1, description="Steps of the embedding's image network.")
    embedding_label_steps: int = Field(600, ge=1, description="Steps of the embedding's label network.")
    embedding_batch_size: int = Field(128, ge=2, description="Images, or labels, a step of these two.")
    embedding_learning_rate: float = Field(1e-3, gt=0, description="Adam learning rate of these two.")

    @field_validator("network")
    @classmethod
    def _known(cls, name: str) -> str:
        return networks.check(name)

    @model_validator(mode="after")
    def _one_width(self) -> ContinuousGenerator:
        if self.kappa is not None and self.vicinity_images is not None:
            raise ValueError(
                f"kappa must stay unset while vicinity_images is {self.vicinity_images}; "
                "set generator.vicinity_images to null for a fixed half-width"
            )
        return self

    @field_validator("sigma_label", "kappa")
    @classmethod
    def _positive(cls, value: float | tuple[float, ...] | None) -> float | tuple[float, ...] | None:
        if value is not None and any(number <= 0 for number in (value if isinstance(value, tuple) else (value,))):
            raise ValueError(f"must be above 0, got {value}")
        return value


class ExternalGenerator(Section):
    """A generator made elsewhere: a factory that gives a function from (seeds, labels) to images."""

    kind: Literal["external"]
    factory: str = Field(
        pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$", description="'module:function', importable where the run starts."
    )
    options: dict[str, Option] = Field({}, description="Keyword arguments of the factory.")


def _generator_kind(value: Any) -> str:
    kind = value.get("kind", "class_gan") if isinstance(value, dict) else getattr(value, "kind", "class_gan")
    return str(kind)


Generator = Annotated[
    Annotated[ClassGenerator, Tag("class_gan")]
    | Annotated[ContinuousGenerator, Tag("continuous_gan")]
    | Annotated[ExternalGenerator, Tag("external")],
    Discriminator(_generator_kind),
]
