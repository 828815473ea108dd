"""Copies in every part of the real set, listed with row numbers and labels, and drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from data.labels import LabelSpace
from data.pictures import captioned_grid
from data.random import derive_seed
from data.reading import ImageSet
from data.splitting import TEST, TRAIN, VALIDATION
from filters.audit.copies import find_copies

if TYPE_CHECKING:
    from PIL.Image import Image

    from data.compute import Compute
    from flows.execute import StageContext
    from flows.stages.common import RealSet

PARTS = {"training": TRAIN, "validation": VALIDATION, "test": TEST}


def sample_rows(count: int, most: int, seed: int) -> npt.NDArray[np.int64]:
    """At most ``most`` of ``count`` rows, drawn without replacement, rising, int64."""
    return np.sort(np.random.default_rng(seed).permutation(count)[:most])


def audit_copies(context: StageContext, real: RealSet, synthetic: ImageSet, compute: Compute) -> dict[str, Any]:
    """Compares synthetic images with each part of the real set, and these parts with each other.

    The control of the training part are validation images, that of the others training images: real images that copied
    nothing.

    Returns:
        JSON-ready: ``distinct``, synthetic images with repeated ones counted once;
        ``parts``, one entry a part that has images: how many (``rows``), ``exact`` copies among all synthetic images,
        ``compared`` and ``control`` (images, near, share, median_distance), ``more_than_control``, ``least_reach`` in
        grey levels, ``repeated`` (images that training has too), ``pairs`` and the name of the ``picture``.
    """
    options, seed = context.config.audit, derive_seed(context.seed, "copies")
    split = np.asarray(real.images.columns["split"])
    parts = {name: np.flatnonzero(split == number) for name, number in PARTS.items()}
    parts = {name: rows for name, rows in parts.items() if len(rows)}
    few = {name: rows[sample_rows(len(rows), options.images, seed)] for name, rows in parts.items()}
    none = np.zeros(0, np.int64)
    controls = {name: few.get("validation" if name == "training" else "training", none) for name in parts}
    sampled = sample_rows(len(synthetic), options.images, seed)
    images = (synthetic.columns["images"], real.images.columns["images"])
    found = find_copies(*images, parts, sampled, controls, compute.device)
    listed: dict[str, Any] = {}
    for name, part in found.parts.items():
        pairs = [_named(pair, real, synthetic) for pair in part.pairs(options.listed)]
        picture = f"copies-{name}.png"
        _draw(pairs, real, synthetic, name).save(context.workspace.path(picture))
        listed[name] = {
            "rows": len(parts[name]),
            "exact": int(np.sum(part.exact >= 0)),
            "compared": part.synthetic.summary(),
            "control": part.control.summary(),
            "more_than_control": part.excess,
            "least_reach": part.least_reach,
            "repeated": part.repeated,
            "pairs": pairs,
            "picture": picture,
        }
    return {"distinct": found.distinct, "parts": listed}


def _named(pair: dict[str, Any], real: RealSet, synthetic: ImageSet) -> dict[str, Any]:
    """A pair with both labels in words."""
    space = real.label_space
    words = {}
    for name, source in (("synthetic", synthetic), ("real", real.images)):
        label = source.take("labels", np.array([pair[f"{name}_row"]]))
        if space.dimensions:
            classes = space.class_part(label) if space.has_classes else None
            label = space.join(classes, _rounded(space.continuous_part(label), space))
        words[f"{name}_label"] = space.describe(label[0])
    return pair | words


def _rounded(values: npt.NDArray[np.float64], space: LabelSpace) -> npt.NDArray[np.float64]:
    """Values (n, L) to about a thousandth of their ranges."""
    steps = [10.0 ** np.floor(np.log10((axis.maximum - axis.minimum) / 200)) for axis in space.dimensions]
    return np.asarray(np.round(values / steps) * steps)


def _draw(pairs: list[dict[str, Any]], real: RealSet, synthetic: ImageSet, name: str) -> Image:
    """Synthetic images above the real ones that they are nearest to, with the distance in grey levels."""
    images = np.stack(
        [
            source.take("images", np.array([pair[key] for pair in pairs], np.int64))
            for source, key in ((synthetic, "synthetic_row"), (real.images, "real_row"))
        ]
    )
    columns = ["exact" if pair["kind"] == "exact" else f"{pair['distance']:.1f}" for pair in pairs]
    return captioned_grid(images, ("synthetic", f"nearest {name}"), columns, least_pixels=48)
