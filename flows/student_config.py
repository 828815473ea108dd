"""Sections of the students: networks, training, methods, distillation, and what is measured of them in the end."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from flows.section import Option, Section
from students.methods import check_method, methods
from students.networks import networks
from students.schedule import check_milestones


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
    order: Literal["rows", "blocks"] = Field(
        "rows",
        description="Order of training rows: shuffled one by one, or in runs of consecutive rows, which sets larger "
        "than memory need.",
    )
    optimizer: Literal["sgd", "adamw"] = Field("sgd", description="SGD with momentum, or AdamW.")
    learning_rate: float = Field(0.05, gt=0, description="Peak learning rate.")
    momentum: float = Field(0.9, ge=0, lt=1, description="Momentum of SGD.")
    nesterov: bool = Field(True, description="Whether the momentum of SGD looks ahead.")
    weight_decay: float = Field(5e-4, ge=0, description="Weight decay.")
    schedule: Literal["cosine", "step", "linear", "constant"] = Field(
        "cosine", description="How the learning rate falls after the warm-up."
    )
    milestones: tuple[float, ...] = Field(
        (0.625, 0.75, 0.875), description="Shares of the steps after which schedule 'step' falls; a tenth each time."
    )
    warmup_steps: int = Field(50, ge=0, description="Steps of linear warm-up before the schedule.")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="Share of a class label spread over all classes.")
    ema_decay: float = Field(
        0.0, ge=0, lt=1, description="Decay of the averaged weights that are validated and kept; 0 keeps the weights."
    )
    clip_norm: float = Field(0.0, ge=0, description="Largest norm of the gradient; 0 for no limit.")
    shift_pixels: int = Field(0, ge=0, description="Largest random shift of training images, in pixels.")
    flip: bool = Field(False, description="Whether training images are mirrored at random.")
    cutout_pixels: int = Field(0, ge=0, description="Side of a square hole in every training image; 0 for none.")
    validate_every: int = Field(200, ge=1, description="Steps between two validations.")
    patience: int = Field(
        0, ge=0, description="Validations without a better one after which training stops early; 0 never stops early."
    )
    select: Literal["best", "last"] = Field("best", description="Weights kept: best on validation, or the last.")

    @field_validator("milestones")
    @classmethod
    def _rising(cls, milestones: tuple[float, ...]) -> tuple[float, ...]:
        check_milestones(milestones)
        return milestones


class Student(Network):
    """A student network with a name of its own."""

    name: str = Field("student", pattern=r"^[A-Za-z0-9._-]+$", description="Name in tables.")


class Method(Section):
    """A distillation method with its options."""

    name: str = Field(
        "ce", description="A registered method, or several joined by " + "; see 'stillhouse list methods'."
    )
    options: dict[str, Option] = Field({}, description="Options of the method, e.g. temperature.")
    label: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9._+-]+$",
        description="Name in tables, by which variants of one method are told apart; unset takes the method's name.",
    )

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        return check_method(name)

    @model_validator(mode="after")
    def _own_label(self) -> Method:
        if self.label is not None and self.label != self.name and set(self.label.split("+")) <= set(methods.names()):
            raise ValueError(
                f"label must not be the name of another method, got '{self.label}' for '{self.name}'; try {self.name}-2"
            )
        return self

    @property
    def shown(self) -> str:
        """What it is called in tables and keys."""
        return self.label or self.name

    def request(self) -> dict[str, Any]:
        """What decides a student, JSON-ready: all but the label."""
        return self.model_dump(mode="json", exclude={"label"})


class Distill(Section):
    """Every student with every method on every kind of data and every seed, at equal steps."""

    students: tuple[Student, ...] = Field(
        (Student(name="convnet-6", network="convnet", options={"channels": 6}),), min_length=1
    )
    methods: tuple[Method, ...] = Field((Method(name="ce"), Method(name="kd")), min_length=1)
    data: tuple[Literal["real", "real+synthetic", "real+mixed"], ...] = Field(
        ("real", "real+synthetic"), min_length=1, description="Training data of the students."
    )
    seeds: tuple[int, ...] = Field((0, 1, 2), min_length=1, description="Seeds of initial weights and batches.")
    real_fraction: float = Field(0.5, gt=0, lt=1, description="Share of real images in a mixed batch.")
    synthetic_weight: float = Field(1.0, gt=0, description="Weight of a synthetic image's loss beside a real one's.")
    recipe: str | None = Field(
        None, description="Recipe file of comparative groups of training images; unset samples them."
    )
    training: Training = Training()

    @model_validator(mode="after")
    def _distinct(self) -> Distill:
        students = [student.name for student in self.students]
        labels = [method.shown for method in self.methods]
        for what, items in (
            ("students", students),
            ("methods", labels),
            ("data", self.data),
            ("seeds", self.seeds),
        ):
            if len(set(items)) != len(items):
                remedy = "; try a label for each variant of a method" if what == "methods" else ""
                raise ValueError(f"distill.{what} must be distinct, got {', '.join(map(str, items))}{remedy}")
        return self


class Assess(Section):
    """What is measured of teacher and students beside their results; nothing else depends on it."""

    enabled: bool = Field(True, description="Whether the stage runs.")
    corruptions: tuple[
        Literal["gaussian_noise", "shot_noise", "impulse_noise", "blur", "contrast", "brightness"], ...
    ] = Field(("gaussian_noise", "blur", "contrast"), description="Corruptions of the test images.")
    severities: tuple[Literal[1, 2, 3, 4, 5], ...] = Field(
        (1, 3, 5), min_length=1, description="Severities of each corruption, 1 to 5."
    )
    test_images: int = Field(
        2000, ge=1, description="Test images that are corrupted, chosen by the seed; all if there are no more."
    )
    bins: int = Field(15, ge=2, description="Bins of the calibration error.")
    latency_batches: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (1, 64), description="Batch sizes whose latency is measured."
    )
    latency_repeats: int = Field(20, ge=1, description="Timed turns of each, teacher and students by turns.")

    @model_validator(mode="after")
    def _distinct(self) -> Assess:
        for name in ("corruptions", "severities", "latency_batches"):
            items = getattr(self, name)
            if len(set(items)) != len(items):
                raise ValueError(f"assess.{name} must be distinct, got {', '.join(map(str, items))}")
        return self
