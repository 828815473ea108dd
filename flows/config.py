"""The configuration: one frozen section a stage, every field described, nothing unknown accepted."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from flows.filter_config import Audit, Candidates, Ratio, Synthetic, Tuning
from flows.generator_config import ClassGenerator, Generator
from flows.section import Option, Section
from students.methods import methods
from students.networks import networks


class Compute(Section):
    """Where the stages run; only ``precision`` changes results, so only it is part of fingerprints."""

    device: str = Field("auto", description="auto, cpu, cuda or cuda:N.")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="Precision of forward passes; auto takes bf16 where the hardware has bf16 matrix units."
    )
    threads: int | None = Field(None, ge=1, description="CPU threads of a stage; unset takes the library's choice.")
    compile: bool = Field(False, description="Whether GAN networks are compiled by torch.compile.")
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
    """Procedurally modelled chairs at any yaw angle between 0 and 90 degrees, in the manner of RC-49."""

    kind: Literal["chairs"]
    types: int = Field(49, ge=1, description="Number of chair models.")
    image_size: Literal[32, 64] = Field(32, description="Pixels a side.")
    angle_step: float = Field(0.1, gt=0, lt=45, description="Distance of neighbouring yaw angles, in degrees.")
    seed: int = Field(0, ge=0, description="Makes the chair models.")
    label: Literal["yaw", "yaw+elevation", "model+yaw"] = Field(
        "yaw", description="What is labelled: a scalar, a vector with the camera's elevation, or a class with a scalar."
    )
    elevation_step: float = Field(
        2.5, gt=0, le=50, description="Distance of neighbouring camera elevations, 5 to 55 degrees; yaw+elevation only."
    )


Source = Annotated[DigitsSource | FashionMnistSource | ChairsSource, Field(discriminator="kind")]


class Prepare(Section):
    """Split of the source into training, validation and test rows."""

    labels_per_class: int | None = Field(None, ge=1, description="Training images a class; unset takes all.")
    images_per_label: int | None = Field(
        None, ge=1, description="Training images a distinct label with values; unset takes all."
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


class Features(Section):
    """The network whose features judge generated images: snapshots, density ratio and fidelity."""

    width: int = Field(16, ge=4, description="Channels at the image's own side.")
    steps: int = Field(600, ge=1, description="Optimiser steps.")
    batch_size: int = Field(64, ge=2, description="Images a step.")
    learning_rate: float = Field(1e-3, gt=0, description="Peak AdamW learning rate.")
    shift_pixels: int = Field(0, ge=0, description="Largest random shift of training images, in pixels.")


class Fidelity(Section):
    """How near generated images are to real ones; nothing else depends on it."""

    enabled: bool = Field(True, description="Whether the stage runs.")
    images: int = Field(2000, ge=50, description="Generated images that are compared, evenly over the labels.")
    extractor: Literal["own", "inception"] = Field(
        "own", description="Features: this run's own feature network, or Inception-v3 with weights of yours."
    )
    inception_weights: str | None = Field(
        None, description="Path of torch-fidelity's Inception weights (weights-inception-2015-12-05-6726825d.pth)."
    )
    windows: int = Field(10, ge=2, description="Label windows of the sliding FID of continuous labels.")


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
    features: Features = Features()
    teacher: Teacher = Teacher()
    generator: Generator = ClassGenerator()
    ratio: Ratio = Ratio()
    candidates: Candidates = Candidates()
    fidelity: Fidelity = Fidelity()
    tuning: Tuning = Tuning()
    synthetic: Synthetic = Synthetic()
    audit: Audit = Audit()
    distill: Distill = Distill()

    @property
    def uses_synthetic(self) -> bool:
        """Whether any student trains on synthetic data."""
        return "real+synthetic" in self.distill.data
