"""The configuration: one frozen section a stage, every field described, nothing unknown accepted."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from flows.filter_config import Audit, Candidates, Ratio, Synthetic, Tuning
from flows.generator_config import ClassGenerator, Generator
from flows.recipe_config import Recipes
from flows.section import Section
from flows.source_config import DigitsSource, Source
from flows.student_config import Assess, Distill
from flows.teacher_config import Answers, Teacher, TrainedTeacher


class Compute(Section):
    """Where the stages run; only ``precision`` and ``processes`` change results, so only they are in fingerprints."""

    device: str = Field("auto", description="auto, cpu, cuda or cuda:N.")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto",
        description="Precision of forward passes; auto takes bf16 where the hardware has bf16 matrix units; fp16 "
        "needs a GPU.",
    )
    processes: int = Field(
        1, ge=1, description="Processes that train a teacher or student together, on a GPU each or all on the CPU."
    )
    threads: int | None = Field(None, ge=1, description="CPU threads of a stage; unset takes the library's choice.")
    compile: bool = Field(False, description="Whether GAN networks are compiled by torch.compile.")
    image_memory: Literal["auto", "device", "mapped"] = Field(
        "auto",
        description="Where training images of students lie: on the device, or in their files, from which every batch "
        "is read; auto takes the device where half of its free memory holds them.",
    )
    checkpoint_seconds: float = Field(20.0, ge=0, description="Least time between two checkpoints, in seconds.")
    block_rows: int = Field(256, ge=1, description="Images a forward pass takes when a set is scored.")


class Prepare(Section):
    """Split of the source into training, validation and test rows."""

    labels_per_class: int | None = Field(None, ge=1, description="Training images a class; unset takes all.")
    images_per_label: int | None = Field(
        None, ge=1, description="Training images a distinct label with values; unset takes all."
    )
    validation_images: int | None = Field(
        None,
        ge=1,
        description="Images that choose settings and steps; unset takes those that the source reserves, or a tenth of "
        "what the test leaves, at most 300.",
    )
    test_images: int | None = Field(
        None, ge=1, description="Images of the final figures; unset takes those that the source reserves, or a third."
    )
    seed: int = Field(0, ge=0, description="Makes the split.")


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
    teacher: Teacher = TrainedTeacher()
    answers: Answers = Answers()
    generator: Generator = ClassGenerator()
    ratio: Ratio = Ratio()
    candidates: Candidates = Candidates()
    fidelity: Fidelity = Fidelity()
    tuning: Tuning = Tuning()
    synthetic: Synthetic = Synthetic()
    audit: Audit = Audit()
    recipes: Recipes = Recipes()
    distill: Distill = Distill()
    assess: Assess = Assess()

    @field_validator("teacher", mode="before")
    @classmethod
    def _trained_unless_said(cls, teacher: Any) -> Any:
        return {"kind": "trained", **teacher} if isinstance(teacher, dict) else teacher

    @property
    def uses_synthetic(self) -> bool:
        """Whether any student trains on synthetic data."""
        return "real+synthetic" in self.distill.data

    @property
    def uses_mixes(self) -> bool:
        """Whether any student trains on mixed images."""
        return "real+mixed" in self.distill.data
