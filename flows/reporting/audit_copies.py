"""The audit's table of copies, and pictures of the nearest pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from data.reading import ImageSet
from flows.reporting.grids import png_data_uri
from flows.reporting.samples import Samples
from flows.reporting.wording import count, number, share

_CELL_PIXELS = 56
_GAP_PIXELS = 2
_ORDER = ("training", "validation", "test")


@dataclass(frozen=True)
class Pair:
    """A synthetic image beside the real one that is nearest to it, as one PNG data URI, and what is to say of it."""

    source: str
    distance: str
    labels: str
    rows: str
    kind: str


@dataclass(frozen=True)
class Part:
    """Copies of one part of the real set: the cells of a row of the table, and the nearest pairs."""

    name: str
    cells: tuple[str, ...]
    pairs: tuple[Pair, ...]


def copied_parts(copies: Mapping[str, Any], samples: Samples) -> tuple[Part, ...]:
    """What the page shows of each part.

    Args:
        copies: ``copies`` of ``audit.json``.
        samples: the image sets of the run; pairs are shown without pictures where they are missing.
    """
    parts = []
    for name in (name for name in _ORDER if name in copies["parts"]):
        part = copies["parts"][name]
        compared, control = part["compared"], part["control"]
        cells = (
            count(part["rows"]),
            count(part["exact"]),
            f"{share(compared['share'])} of {count(compared['images'])}",
            f"{share(control['share'])} of {count(control['images'])}" if control["images"] else "—",
            number(compared["median_distance"], 1),
            number(control["median_distance"], 1),
        )
        pairs = tuple(_pair(pair, samples.synthetic, samples.real) for pair in part["pairs"])
        parts.append(Part(name, cells, pairs))
    return tuple(parts)


def _pair(pair: Mapping[str, Any], synthetic: ImageSet | None, real: ImageSet | None) -> Pair:
    source = ""
    if synthetic is not None and real is not None:
        made, known = (
            opened.take("images", np.array([pair[key]]))[0]
            for opened, key in ((synthetic, "synthetic_row"), (real, "real_row"))
        )
        factor = max(1, round(_CELL_PIXELS / max(made.shape[1:])))
        width = made.shape[2] * factor
        canvas = np.zeros((made.shape[1] * factor, 2 * width + _GAP_PIXELS, 4), np.uint8)
        for left, image in ((0, made), (width + _GAP_PIXELS, known)):
            canvas[:, left : left + width, :3] = image.transpose(1, 2, 0).repeat(factor, 0).repeat(factor, 1)
            canvas[:, left : left + width, 3] = 255
        source = png_data_uri(canvas)
    apart = "" if pair["separation"] is None else f"; the next real image is {pair['separation']:.1f} from that one"
    return Pair(
        source=source,
        distance="exact" if pair["kind"] == "exact" else f"{pair['distance']:.1f}",
        labels=" | ".join(dict.fromkeys((pair["synthetic_label"], pair["real_label"]))),
        rows=f"row {pair['synthetic_row']} of synthetic.h5, row {pair['real_row']} of real.h5{apart}",
        kind=pair["kind"],
    )
