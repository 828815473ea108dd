"""The configuration: one frozen section a stage, every field described, nothing unknown accepted."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator, model_validator

from generators.networks import networks as generator_networks
from students.methods import methods
from students.networks import networks

Option = bool | int | float | str


class Section(BaseModel):
    """A part of the configuration: immutable, with no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Compute(Section):
    """Where the stages run; only ``precision`` changes results, so only it is part of fingerprints."""

    device: str = Field("auto", description="auto, cpu, cuda or cuda:N.")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="Precision of forward passes; auto takes bf16 where the hardware has bf16 matrix units."
    )
    threads: int | None = Field(None, ge=1, description="CPU threads of a stage; unset takes the library's choice.")
    checkpoint_seconds: float = Field(20.0, ge=0, description="Least time between two checkpoints, in seconds.")
    block_rows: int = Field(256, ge=1, description="Images a forward pass takes when a set is scored.")


class DigitsSource(Section):
    """The 1,797 real 8x8 digits inside scikit-learn."""

    kind: Literal["digits"] = "digits"


class FashionMnistSource(Section):
    """Fashion-MNIST, 70,000 grey images, from idx files or by torchvision's download."""

    kind: Literal["fashion_mnist"]
    folder: str | None = Field(None, description="Folder of the four idx files, gz or not; unset downloads them.")
    download_folder: str = Field("~/.cache/stillhouse/fashion_mnist", description="Where a download is kept.")
    image_size: Literal[28, 32] = Field(32, description="Pixels a side; 32 pads with zeros.")


class ChairsSource(Section):
    """Procedurally modelled chairs at any yaw angle in [0, 90) degrees, in the manner of RC-49."""

    kind: Literal["chairs"]
    types: int = Field(49, ge=1, description="Number of chair models.")
    image_size: Literal[32, 64] = Field(32, description="Pixels a side.")
    angle_step: float = Field(0.1, gt=0, lt=45, description="Distance of neighbouring yaw angles, in degrees.")
    seed: int = Field(0, ge=0, description="Makes the chair models.")


Source = Annotated[DigitsSource | FashionMnistSource | ChairsSource, Field(discriminator="kind")]


class Prepare(Section):
    """Split of the source into training, validation and test rows."""

    labels_per_class: int | None = Field(None, ge=1, description="Training images a class; unset takes all.")
    images_per_label: int | None = Field(
        None, ge=1, description="Training images a distinct scalar label; unset takes all."
    )
    validation_images: int = Field(300, ge=1, description="Images that choose settings and steps.")
    test_images: int | None = Field(
        None, ge=1, description="Images of the final figures; unset takes those that the source reserves, or a third."
    )
    seed: int = Field(0, ge=0, description="Makes the split.")


class Network(Section):
    """A classification or regression network by name."""

    network: str = Field("resnet", description="A registered network; see 'stillhouse list networks'.")
    options: dict[str, Option] = Field({}, description="Options of the network, e.g. depth and width.")

    @field_validator("network")
    @classmethod
    def _known(cls, name: str) -> str:
        return networks.check(name)


class Training(Section):
    """Optimisation of a teacher or a student."""

    steps: int = Field(2000, ge=1, description="Optimiser steps.")
    batch_size: int = Field(64, ge=1, description="Images a step.")
    optimizer: Literal["sgd", "adamw"] = Field("sgd", description="SGD with momentum, or AdamW.")
    learning_rate: float = Field(0.05, gt=0, description="Peak learning rate.")
    momentum: float = Field(0.9, ge=0, lt=1, description="Momentum of SGD.")
    weight_decay: float = Field(5e-4, ge=0, description="Weight decay.")
    warmup_steps: int = Field(50, ge=0, description="Steps of linear warm-up before the cosine schedule.")
    shift_pixels: int = Field(0, ge=0, description="Largest random shift of training images, in pixels.")
    flip: bool = Field(False, description="Whether training images are mirrored at random.")
    validate_every: int = Field(200, ge=1, description="Steps between two validations.")
    select: Literal["best", "last"] = Field("best", description="Weights kept: best on validation, or the last.")


class Teacher(Network):
    """The teacher, trained here on the training split."""

    options: dict[str, Option] = Field({"depth": 20, "width": 32}, description="Options of the network.")
    training: Training = Training()


class ClassGenerator(Section):
    """A class-conditional GAN."""

    kind: Literal["class_gan"] = "class_gan"
    network: str = Field("sngan", description="A registered generator; see 'stillhouse list generators'.")
    options: dict[str, Option] = Field({}, description="Options of the network, e.g. width and latent_size.")
    steps: int = Field(2000, ge=1, description="Generator steps.")
    batch_size: int = Field(32, ge=2, description="Images a step of either network.")
    discriminator_steps: int = Field(1, ge=1, description="Discriminator steps a generator step.")
    generator_learning_rate: float = Field(4e-4, gt=0, description="Adam learning rate of the generator.")
    discriminator_learning_rate: float = Field(4e-4, gt=0, description="Adam learning rate of the discriminator.")
    first_momentum: float = Field(0.0, ge=0, lt=1, description="Adam's beta 1 of both networks.")
    ema_decay: float = Field(0.999, ge=0, lt=1, description="Decay of the averaged weights that are sampled.")
    augment: tuple[Literal["color", "translation", "cutout"], ...] = Field(
        ("translation", "cutout"), description="DiffAugment operations, for real and fake images alike."
    )

    @field_validator("network")
    @classmethod
    def _known(cls, name: str) -> str:
        return generator_networks.check(name)


class ContinuousGenerator(ClassGenerator):
    """A GAN conditioned on a scalar label (CcGAN, soft vicinity, label embedding)."""

    kind: Literal["continuous_gan"]  # type: ignore[assignment]
    network: str = Field("ccgan_sngan", description="A registered generator; see 'stillhouse list generators'.")
    steps: int = Field(3000, ge=1, description="Generator steps.")
    augment: tuple[Literal["color", "translation", "cutout"], ...] = Field(
        ("translation",), description="DiffAugment operations, for real and fake images alike."
    )
    sigma_label: float | None = Field(None, gt=0, description="Label noise on [0, 1]; unset takes the rule of thumb.")
    kappa: float | None = Field(None, gt=0, description="Vicinity half-width on [0, 1]; unset takes the rule.")
    vicinity_multiplier: float = Field(2.0, gt=0, description="Multiplies the rule-of-thumb kappa.")
    embedding_width: int = Field(16, ge=4, description="Base channels of the embedding's image network.")
    embedding_image_steps: int = Field(300, ge=1, description="Steps of the embedding's image network.")
    embedding_label_steps: int = Field(600, ge=1, description="Steps of the embedding's label network.")
    embedding_batch_size: int = Field(128, ge=2, description="Images, or labels, a step of these two.")
    embedding_learning_rate: float = Field(1e-3, gt=0, description="Adam learning rate of these two.")


def _generator_kind(value: Any) -> str:
    kind = value.get("kind", "class_gan") if isinstance(value, dict) else getattr(value, "kind", "class_gan")
    return str(kind)


Generator = Annotated[
    Annotated[ClassGenerator, Tag("class_gan")] | Annotated[ContinuousGenerator, Tag("continuous_gan")],
    Discriminator(_generator_kind),
]


class Ratio(Section):
    """The conditional density ratio on frozen features."""

    feature_width: int = Field(16, ge=4, description="Base channels of the feature network.")
    feature_steps: int = Field(600, ge=1, description="Steps of the feature network.")
    feature_batch_size: int = Field(64, ge=2, description="Images a step of the feature network.")
    feature_learning_rate: float = Field(1e-3, gt=0, description="Peak AdamW learning rate of the feature network.")
    shift_pixels: int = Field(0, ge=0, description="Largest random shift when the feature network trains.")
    pool_rounds: int = Field(10, ge=1, description="Generated images a real training image, drawn once.")
    widths: tuple[int, ...] = Field(
        (256, 128, 64), min_length=1, description="Hidden widths: multiples of 8, 32 or more."
    )
    dropout: float = Field(0.5, ge=0, lt=1, description="Dropout of the ratio network.")
    activation: Literal["relu", "softplus"] = Field("relu", description="What keeps the ratio above zero.")
    steps: int = Field(1500, ge=1, description="Steps of the ratio network.")
    batch_size: int = Field(256, ge=2, description="Real, and generated, images a step.")
    learning_rate: float = Field(1e-4, gt=0, description="Adam learning rate.")
    weight_decay: float = Field(1e-4, ge=0, description="Weight decay of the ratio network.")
    penalty_weight: float = Field(0.01, ge=0, description="Weight of the penalty on the mean ratio (lambda).")

    @field_validator("widths")
    @classmethod
    def _grouped(cls, widths: tuple[int, ...]) -> tuple[int, ...]:
        if any(width < 32 or width % 8 for width in widths):
            raise ValueError(f"must be multiples of 8 from 32 up, got {', '.join(map(str, widths))}")
        return widths


class Candidates(Section):
    """Sampling, and subsampling by rejection."""

    per_label: int = Field(200, ge=1, description="Accepted images a label.")
    labels: int | None = Field(
        None, ge=2, description="Evenly spaced scalar labels; unset takes every distinct training label."
    )
    subsample: bool = Field(True, description="Whether images are accepted by their density ratio, or all of them.")
    burn_in: int = Field(200, ge=10, description="Draws a label that calibrate the ratio and set its bound.")
    bound_quantile: float = Field(0.99, gt=0, le=1, description="Quantile of the ratio that bounds it.")
    least_acceptance: float = Field(
        0.05, ge=0, lt=1, description="The bound is lowered until this share of the burn-in passes; 0 never lowers it."
    )
    max_draws: int = Field(
        50, ge=1, description="Most draws an accepted image, on average, before a label is given up."
    )


class Synthetic(Section):
    """What is kept of the candidates, and with which label."""

    quantile: float = Field(0.9, ge=0, le=1, description="Share of the candidates with the least teacher error.")
    scope: Literal["auto", "per_class", "global"] = Field(
        "auto", description="Where the quantile is taken; auto: per class, and global for scalar labels."
    )
    relabel: Literal["auto", "none", "hard", "soft"] = Field(
        "auto",
        description="Label of a kept image: the condition (none), the teacher's class or value (hard), "
        "the teacher's probabilities (soft); auto: none for classes, hard for scalar labels.",
    )


class Student(Network):
    """A student network with a name of its own."""

    name: str = Field("student", pattern=r"^[A-Za-z0-9._-]+$", description="Name in tables.")


class Method(Section):
    """A distillation method with its options."""

    name: str = Field("ce", description="A registered method; see 'stillhouse list methods'.")
    options: dict[str, Option] = Field({}, description="Options of the method, e.g. temperature.")

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        return methods.check(name)


class Distill(Section):
    """Every student with every method on every kind of data and every seed, at equal steps."""

    students: tuple[Student, ...] = Field(
        (Student(name="convnet-6", network="convnet", options={"channels": 6}),), min_length=1
    )
    methods: tuple[Method, ...] = Field((Method(name="ce"), Method(name="kd")), min_length=1)
    data: tuple[Literal["real", "real+synthetic"], ...] = Field(
        ("real", "real+synthetic"), min_length=1, description="Training data of the students."
    )
    seeds: tuple[int, ...] = Field((0, 1, 2), min_length=1, description="Seeds of initial weights and batches.")
    real_fraction: float = Field(0.5, gt=0, lt=1, description="Share of real images in a mixed batch.")
    training: Training = Training()

    @model_validator(mode="after")
    def _distinct(self) -> Distill:
        students = [student.name for student in self.students]
        methods = [method.name for method in self.methods]
        for what, items in (
            ("students", students),
            ("methods", methods),
            ("data", self.data),
            ("seeds", self.seeds),
        ):
            if len(set(items)) != len(items):
                raise ValueError(f"distill.{what} must be distinct, got {', '.join(map(str, items))}")
        return self


class Config(Section):
    """A whole experiment."""

    name: str = Field("digits", pattern=r"^[A-Za-z0-9._-]+$", description="Name of the run.")
    seed: int = Field(0, ge=0, description="Seed of the teacher, the generator and the sampling.")
    profile: str | None = Field(None, description="Which of the profiles to lay over the configuration.")
    profiles: dict[str, dict[str, Any]] = Field({}, description="Named sets of changes, e.g. a small form for a CPU.")
    compute: Compute = Compute()
    source: Source = DigitsSource()
    prepare: Prepare = Prepare()
    teacher: Teacher = Teacher()
    generator: Generator = ClassGenerator()
    ratio: Ratio = Ratio()
    candidates: Candidates = Candidates()
    synthetic: Synthetic = Synthetic()
    distill: Distill = Distill()

    @property
    def uses_synthetic(self) -> bool:
        """Whether any student trains on synthetic data."""
        return "real+synthetic" in self.distill.data
