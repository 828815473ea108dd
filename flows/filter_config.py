"""Sections of the stages that turn generated images into a training set: from the density ratio to the audit."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from flows.section import Section


class Autoencoder(Section):
    """The sparse auto-encoder whose code the density ratio may read; only with ``ratio.features: autoencoder``."""

    width: int = Field(16, ge=8, description="Channels of the encoder's first stage.")
    steps: int = Field(1000, ge=1, description="Optimiser steps.")
    batch_size: int = Field(64, ge=2, description="Images a step.")
    learning_rate: float = Field(1e-3, gt=0, description="Peak AdamW learning rate.")
    sparsity_weight: float = Field(1e-3, ge=0, description="Weight of the mean of the code.")
    label_weight: float = Field(1.0, ge=0, description="Weight of the label's loss beside the reconstruction's.")


class Ratio(Section):
    """The conditional density ratio on frozen features."""

    features: Literal["classifier", "autoencoder", "teacher", "student", "generator"] = Field(
        "classifier",
        description="What the ratio reads: the image-sized layer of the features stage, a sparse auto-encoder's code, "
        "the last features of teacher or first student alone; or the ratio that the generator itself learnt.",
    )
    autoencoder: Autoencoder = Autoencoder()
    pool_rounds: int = Field(10, ge=1, description="Generated images a real training image, drawn once.")
    vicinity_gaps: float = Field(
        0.0,
        ge=0,
        description="For labels with values: images made for labels this many largest gaps of training labels away "
        "stand for a label if their predicted label is as near (cDR-RS: 6); 0 makes them for the label itself.",
    )
    widths: tuple[int, ...] = Field(
        (256, 128, 64), min_length=1, description="Hidden widths: multiples of 8, 32 or more."
    )
    dropout: float = Field(0.5, ge=0, lt=1, description="Dropout of the ratio network.")
    activation: Literal["relu", "softplus"] = Field("relu", description="What keeps the ratio above zero.")
    steps: int = Field(1500, ge=1, description="Steps of the ratio network.")
    batch_size: int = Field(256, ge=2, description="Real, and generated, images a step.")
    learning_rate: float = Field(5e-4, gt=0, description="Adam learning rate (the paper: 1e-4).")
    weight_decay: float = Field(1e-4, ge=0, description="Weight decay of the ratio network.")
    penalty_weight: float = Field(
        1.0, ge=0, description="Weight of the penalty on the mean ratio (lambda; the paper: 0.01)."
    )
    penalty: Literal["batch", "label"] = Field(
        "label", description="Whose mean ratio is pulled to 1: the whole batch's (the paper), or each label's."
    )

    @field_validator("widths")
    @classmethod
    def _grouped(cls, widths: tuple[int, ...]) -> tuple[int, ...]:
        if any(width < 32 or width % 8 for width in widths):
            raise ValueError(f"must be multiples of 8 from 32 up, got {', '.join(map(str, widths))}")
        return widths


class Candidates(Section):
    """Sampling, and subsampling by rejection."""

    per_label: int = Field(200, ge=1, le=1 << 24, description="Accepted images a label.")
    labels: int | None = Field(
        None,
        ge=2,
        description="Labels with values, evenly over where training labels lie (of a class with a scalar: that many "
        "of each class); unset takes every distinct training label.",
    )
    file: str | None = Field(
        None,
        description="A set made elsewhere in place of a generator: an HDF5 file, or a folder with a CSV; "
        "its images are neither subsampled nor thrown away.",
    )
    resize: bool = Field(False, description="Whether pictures of such a folder are brought to the source's size.")
    truncation: float = Field(
        1.0, gt=0, le=1, description="Spread of the latents; below 1 images are more typical and less diverse."
    )
    subsample: bool = Field(True, description="Whether images are accepted by their density ratio, or all of them.")
    burn_in: int = Field(
        200, ge=10, le=1 << 20, description="Draws a label that calibrate the ratio and set its bound."
    )
    bound: Literal["quantile", "running_maximum"] = Field(
        "quantile", description="What bounds the ratio: a quantile of the burn-in, or the largest so far (the paper)."
    )
    bound_quantile: float = Field(0.99, gt=0, le=1, description="Quantile of the ratio that bounds it.")
    least_acceptance: float = Field(
        0.05, ge=0, lt=1, description="The quantile is lowered until this share of the burn-in passes; 0: never."
    )
    max_draws: int = Field(
        50, ge=1, le=250, description="Most draws an accepted image, on average, before the fallback."
    )
    fallback: Literal["resample", "none", "error"] = Field(
        "resample",
        description="What a label gets that has too few accepted images by then: draws resampled by their weight, its "
        "first draws as they are (no subsampling), or an error.",
    )


class Tuning(Section):
    """Short student runs that choose ``synthetic.quantile`` and ``synthetic.count`` where these are auto."""

    quantiles: tuple[float, ...] = Field((0.5, 0.7, 0.9, 1.0), min_length=2, description="Quantiles that are tried.")
    shares: tuple[float, ...] = Field(
        (0.25, 0.5, 1.0), min_length=2, description="Shares of the kept images that are tried as the count."
    )
    seeds: tuple[int, ...] = Field((0, 1), min_length=2, description="Seeds of every short run.")
    steps: int | None = Field(
        None, ge=1, description="Steps of a short run; unset: all of them together take 12 % of the students' steps."
    )

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if min(seeds) < 0 or len(set(seeds)) < len(seeds):
            raise ValueError(f"must be distinct and at least 0, got {', '.join(map(str, seeds))}")
        return seeds

    @field_validator("quantiles", "shares")
    @classmethod
    def _shares(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if any(not 0.0 < value <= 1.0 for value in values) or list(values) != sorted(set(values)):
            raise ValueError(f"must be rising and in (0, 1], got {', '.join(map(str, values))}")
        return values


class Synthetic(Section):
    """What is kept of the candidates, and with which label."""

    error: Literal["auto", "cross_entropy", "one_minus_p", "margin", "absolute", "none"] = Field(
        "auto",
        description="The teacher's error: cross entropy, 1 - p, or margin of the class, absolute error of the values; "
        "none: keeps a random share; auto: cross entropy where labels have a class (plus a value's), else absolute.",
    )
    quantile: float | Literal["auto"] = Field(
        0.9, description="Share of the candidates with the least teacher error; auto: chosen by short student runs."
    )
    count: int | Literal["auto"] | None = Field(
        None, description="Images of them, evenly over the labels; unset: all; auto: chosen by short student runs."
    )
    scope: Literal["auto", "per_class", "per_window", "global"] = Field(
        "auto",
        description="Where the quantile is taken: in each class, in each window of the label, or over all; "
        "auto: per class where labels have one, else global.",
    )
    windows: int = Field(18, ge=2, description="Windows over the range of a value (of vectors: about as many cells).")
    relabel: Literal["auto", "none", "values", "hard", "soft"] = Field(
        "auto",
        description="Label of a kept image: the condition (none), its class with the teacher's values (values), "
        "the teacher's class and values (hard), the teacher's probabilities and values (soft, classes only); "
        "auto: classes are kept, values become the teacher's.",
    )

    @field_validator("quantile")
    @classmethod
    def _share(cls, quantile: float | str) -> float | str:
        if not isinstance(quantile, str) and not 0.0 <= quantile <= 1.0:
            raise ValueError(f"must be 'auto' or in [0, 1], got {quantile:g}")
        return quantile

    @field_validator("count")
    @classmethod
    def _positive(cls, count: int | str | None) -> int | str | None:
        if isinstance(count, int) and count < 1:
            raise ValueError(f"must be 'auto' or at least 1, got {count}")
        return count

    @property
    def tuned(self) -> bool:
        """Whether short student runs choose the quantile or the count."""
        return "auto" in (self.quantile, self.count)


class Audit(Section):
    """Copies of real images, balance, label noise, and what limits the students; nothing else depends on it."""

    enabled: bool = Field(True, description="Whether the stage runs.")
    images: int = Field(5000, ge=50, description="Synthetic images compared pixel by pixel; exact copies: all of them.")
    listed: int = Field(12, ge=1, description="Nearest pairs that are listed with pictures, a part of the real set.")
