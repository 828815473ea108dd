"""Vicinities of continuous labels: what a discriminator takes for real at a label that has few images, or none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from data.errors import ConfigError, DataError
from data.labels import LabelSpace
from generators.vicinities.bandwidths import rule_of_thumb_kappa, rule_of_thumb_sigma
from generators.vicinities.boxes import Boxes
from generators.vicinities.drawing import Finder, Vicinity, VicinityDraw
from generators.vicinities.forms import Floats, Form, Rows, check_form
from generators.vicinities.intervals import Intervals
from generators.vicinities.neighbours import Neighbours

__all__ = ["Form", "Vicinity", "VicinityDraw", "make_vicinity"]


def make_vicinity(
    conditions: npt.NDArray[np.floating],
    label_space: LabelSpace,
    *,
    form: Form = "soft",
    images: int | None = None,
    sigma: float | Sequence[float] | None = None,
    kappa: float | Sequence[float] | None = None,
    multiplier: float = 2.0,
) -> Vicinity:
    """The vicinity of a form, for labels of any kind that has a continuous part.

    Source: HVDL is ``form="hard"`` and SVDL ``form="soft"``, both with a fixed half-width (Ding et al., 2023, arXiv
    2011.07466); CcGAN-AVAR is ``form="hybrid"`` with ``images`` (Ding et al., 2025, arXiv 2508.01725). Both know
    scalars only. Here, the vicinity of a vector is a box or an ellipsoid with a half-width for each dimension, and that
    of a class with a scalar an interval among the images of the same class.

    Args:
        conditions: normalised labels of the training images, float32 (N,), (N, L) or (N, 2) [class, scalar].
        label_space: of the labels.
        form: "hard": images within kappa count alike; "soft": they weigh exp(-(distance / kappa)^2), down to 0.001;
            "hybrid": the soft weights, but within kappa only.
        images: an adaptive kappa, for each target as wide as this many real images need, >= 1; None for a fixed one.
        sigma: standard deviation of the noise on targets in normalised units, >= 0; one number, or one a class
            or a dimension; None for the rule of thumb, per class or dimension.
        kappa: half-width of a fixed vicinity in normalised units, > 0; as ``sigma``.
        multiplier: m_kappa of the rule of thumb for ``kappa``, > 0.

    Raises:
        ConfigError: if an argument is out of its range, or both ``images`` and ``kappa`` are given.
        DataError: if there are too few distinct labels for a rule of thumb.
    """
    check_form(form)
    if label_space.kind == "class":
        raise ConfigError("label_space must have a continuous part, got a class label space; classes have no vicinity.")
    if images is not None and images < 1:
        raise ConfigError(f"images must be at least 1, got {images}; try 50, or none for a fixed kappa.")
    if images is not None and kappa is not None:
        raise ConfigError(f"kappa must be unset where it adapts to {images} images, got {kappa}; try one of the two.")
    if not multiplier > 0:
        raise ConfigError(f"multiplier must be > 0, got {multiplier}; try 2.")
    values = np.asarray(conditions, np.float64)
    if values.shape[1:] != label_space.label_shape or not len(values):
        raise DataError(f"conditions must be at least one {label_space.kind} label, got shape {values.shape}.")
    points = label_space.continuous_part(values)
    groups = label_space.class_part(values) if label_space.has_classes else np.zeros(len(values), np.int64)
    shape = (max(label_space.classes, 1), points.shape[1])
    if sigma is None or kappa is None:
        _check_distinct(points, label_space)

    if sigma is None:
        sigmas = _by_group(rule_of_thumb_sigma, groups, points, shape)
    else:
        sigmas = _given("sigma", sigma, shape)
        if (sigmas < 0).any():
            raise ConfigError(f"sigma must be at least 0, got {sigma}; try none, for the rule of thumb.")
    if kappa is not None:
        kappas = _given("kappa", kappa, shape)
        if (kappas <= 0).any():
            raise ConfigError(f"kappa must be > 0, got {kappa}; try none, for the rule of thumb.")
    elif images is None:
        kappas = _by_group(partial(rule_of_thumb_kappa, multiplier=multiplier), groups, points, shape)
    else:
        kappas = np.ones(shape)

    finder: Finder
    if label_space.kind != "vector":
        finder = Intervals(groups, points[:, 0], form=form, kappa=kappas, images=images)
    elif images is None:
        finder = Boxes(points, form=form, kappa=kappas[0])
    else:
        finder = Neighbours(points, form=form, scales=points.std(axis=0), images=images)
    bandwidths = {"sigma_label": _plain(sigmas)}
    if images is None:
        bandwidths["kappa"] = _plain(kappas)
    else:
        bandwidths["vicinity_images"] = images
        bandwidths["median_kappa"] = _median_kappa(finder, groups, points)
    return Vicinity(groups, points, label_space, form=form, sigma=sigmas, finder=finder, bandwidths=bandwidths)


def _check_distinct(points: Floats, label_space: LabelSpace) -> None:
    for axis, column in zip(label_space.dimensions, points.T, strict=True):
        if (column == column[0]).all():
            value = axis.describe(axis.minimum + column[0] * (axis.maximum - axis.minimum))
            without = {"scalar": "a class label space", "class+scalar": "a class label space"}.get(
                label_space.kind, f"a label space without {axis.name}"
            )
            raise DataError(
                f"{label_space.kind} labels must have at least 2 distinct values of {axis.name} to train a generator, "
                f"got 1 ({value}); try {without}."
            )


def _by_group(rule: Callable[[Floats], Floats], groups: Rows, points: Floats, shape: tuple[int, int]) -> Floats:
    """A rule's bandwidths for each class; a class with a single distinct label takes those of all labels together."""
    together = rule(points)
    if shape[0] == 1:
        return together[None]
    order = np.argsort(groups, kind="stable")
    parts = np.split(points[order], np.searchsorted(groups[order], np.arange(1, shape[0])))
    return np.array([rule(part) if (part != part[:1]).any() else together for part in parts])


def _given(name: str, value: float | Sequence[float], shape: tuple[int, int]) -> Floats:
    """A number or numbers of the user's, float64 of ``shape``."""
    values = np.asarray(value, np.float64)
    if values.size not in (1, shape[0] * shape[1]) or not np.isfinite(values).all():
        one_each = f", or {shape[0] * shape[1]} of them" if max(shape) > 1 else ""
        raise ConfigError(f"{name} must be a finite number{one_each}, got {value}.")
    return np.array(np.broadcast_to(values.reshape(-1) if values.size == 1 else values.reshape(shape), shape))


def _plain(bandwidths: Floats) -> float | list[float]:
    values: list[float] = bandwidths.reshape(-1).tolist()
    return values[0] if len(values) == 1 else values


def _median_kappa(finder: Finder, groups: Rows, points: Floats) -> float | list[float]:
    """The median half-width at some training labels, in each dimension; the draws' own seeds play no part in it."""
    rng = np.random.default_rng(0)
    some = rng.integers(len(points), size=256)
    return _plain(np.median(finder.find(groups[some], points[some], rng).kappas, axis=0))
