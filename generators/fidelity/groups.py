"""Distances label by label: intra-class FID for classes, sliding FID along the dimensions of continuous labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from data.errors import DataError
from data.labels import LabelSpace
from generators.fidelity.figures import Measured, figure
from generators.fidelity.torch_fidelity_metrics import (
    FID_IMAGES_A_DIMENSION,
    KID_LEAST,
    Features,
    frechet_distance,
    kernel_distance,
)

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Group:
    """Generated and real images of like label.

    Args:
        name: as a person reads it.
        generated: row numbers of generated images.
        real: row numbers of real images.
        centre: middle of a label window, in the label's own unit; None for a class.
    """

    name: str
    generated: Rows
    real: Rows
    centre: float | None = None


@dataclass(frozen=True)
class Windows:
    """Label windows along one dimension of the label.

    Args:
        axis: name of the dimension.
        unit: of the dimension.
        radius: half the width of a window, in that unit.
        groups: one a window, by centre.
    """

    axis: str
    unit: str
    radius: float
    groups: tuple[Group, ...]


def class_groups(
    generated_labels: npt.NDArray[Any], real_labels: npt.NDArray[Any], label_space: LabelSpace
) -> tuple[Group, ...]:
    """One group a class; none where labels have no class."""
    if not label_space.has_classes:
        return ()
    generated, real = (label_space.class_part(labels) for labels in (generated_labels, real_labels))
    return tuple(
        Group(name, np.flatnonzero(generated == number), np.flatnonzero(real == number))
        for number, name in enumerate(label_space.names)
    )


def label_windows(
    generated_labels: npt.NDArray[Any], real_labels: npt.NDArray[Any], label_space: LabelSpace, count: int
) -> tuple[Windows, ...]:
    """Windows of equal width along every continuous dimension; each overlaps half of the next.

    Source: the sliding FID of CcGAN (Ding et al., 2021, arXiv 2011.07466). Differs from it in: centres lie evenly
    over the range of the real labels, and the radius is their distance, so that every label is in two windows.

    Args:
        generated_labels: a column of the label space.
        real_labels: a column of the label space.
        label_space: what labels mean.
        count: windows a dimension, at least 1.
    """
    generated, real = (label_space.continuous_part(labels) for labels in (generated_labels, real_labels))
    found = []
    for place, axis in enumerate(label_space.dimensions):
        low, high = float(real[:, place].min()), float(real[:, place].max())
        radius = (high - low) / (count + 1)
        # Labels are float32: one that lies on the edge must not fall out by rounding.
        reach = radius + 1e-6 * (axis.maximum - axis.minimum)
        groups = []
        for centre in low + radius * np.arange(1, count + 1):
            made, seen = (np.flatnonzero(np.abs(values[:, place] - centre) <= reach) for values in (generated, real))
            groups.append(Group(axis.describe(float(f"{centre:.3g}")), made, seen, float(centre)))
        found.append(Windows(axis.name, axis.unit, radius, tuple(groups)))
    return tuple(found)


def grouped_distance(
    generated: Features, real: Features, groups: Sequence[Group], what: str, seed: int
) -> dict[str, Any]:
    """The mean over groups of FID, or of KID where some group has too few images for FID.

    Args:
        generated: features of all generated images, (n, F).
        real: features of all real images, (m, F).
        groups: at least one.
        what: what a group is, e.g. "class".
        seed: of KID's subsets.

    Returns:
        JSON-ready: ``metric`` "fid", "kid" or None; ``value`` and ``std`` over groups; ``groups`` with name, centre,
        counts and value; ``notes``, sentences on what was not computed and what helps; ``not_computed`` where there
        is no value at all.
    """
    least_fid = FID_IMAGES_A_DIMENSION * generated.shape[1]
    poorest = min(groups, key=lambda group: min(len(group.generated), len(group.real)))
    few = min(len(poorest.generated), len(poorest.real))
    metric = "fid" if few >= least_fid else "kid"
    notes = []
    if metric == "kid":
        notes.append(
            f"FID by {what} must have at least {least_fid} images in each on either side (twice the "
            f"{generated.shape[1]} dimensions of the features), got {len(poorest.generated)} generated and "
            f"{len(poorest.real)} real ones for {poorest.name}; KID, which has no such bias, stands in for it. For "
            f"FID raise {_settings(poorest, least_fid)}."
        )
    entries, problems = [], []
    for group in groups:

        def measure(group: Group = group) -> Measured:
            if not (len(group.generated) and len(group.real)):
                raise DataError(
                    f"a distance must have images on both sides, got {len(group.generated)} generated and "
                    f"{len(group.real)} real ones; raise {_settings(group, KID_LEAST)}."
                )
            pair = generated[group.generated], real[group.real]
            return frechet_distance(*pair) if metric == "fid" else kernel_distance(*pair, seed)

        measured = figure(measure)
        if "not_computed" in measured:
            problems.append(f"{what} {group.name}: {measured['not_computed']}")
        entries.append(
            {
                "name": group.name,
                "centre": group.centre,
                "generated": len(group.generated),
                "real": len(group.real),
                "value": measured["value"],
            }
        )
    values = [entry["value"] for entry in entries if entry["value"] is not None]
    if not values:
        return {"metric": None, "value": None, "std": None, "not_computed": problems[0], "groups": entries, "notes": []}
    if problems:
        notes.append(f"{len(problems)} of {len(groups)} were left out, the first of them {problems[0]}")
    return {
        "metric": metric,
        "value": float(np.mean(values)),
        "std": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        "groups": entries,
        "notes": notes,
    }


def _settings(group: Group, least: int) -> str:
    """The settings that give a group more images."""
    settings = []
    if len(group.generated) < least:
        settings.append("fidelity.images")
    if len(group.real) < least:
        settings.append("prepare.validation_images")
    if group.centre is not None:
        settings.append("or lower fidelity.windows")
    return " and ".join(settings).replace("and or", "or")
