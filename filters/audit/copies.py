"""Copies of real images among synthetic ones: equal bytes, and pixels within the reach of a single real image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from data.reading import Selected
from filters.audit.equal_images import equal_images, image_digests
from filters.audit.nearest import nearest_images

#: The reach of a real image is this share of its distance to the next real image.
SHARE = 0.5
#: And it is at least as large as at this quantile of the distances.
QUANTILE = 0.01
#: Near images are more than the control's if chance would give as many in fewer than one of a hundred audits.
LEVEL = 0.01
#: Images of a part, evenly over their rows, whose separations give the quantile, at most.
_CALIBRATION = 5000

Rows = npt.NDArray[np.int64]
Distances = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Neighbours:
    """The nearest real image of some images.

    Args:
        rows: of the nearest real image, int64 (n,).
        distances: to it, root mean square over the pixels in grey levels, float64 (n,).
        separations: of that real image from the next one of its part with other pixels, float64 (n,); inf where there
            is none.
        near: whether the image lies within its reach, bool (n,).
    """

    rows: Rows
    distances: Distances
    separations: Distances
    near: npt.NDArray[np.bool_]

    def summary(self) -> dict[str, Any]:
        """Counts and the median distance, JSON-ready."""
        there = len(self.rows) > 0
        return {
            "images": len(self.rows),
            "near": int(self.near.sum()),
            "share": float(self.near.mean()) if there else None,
            "median_distance": float(np.median(self.distances)) if there else None,
        }


@dataclass(frozen=True)
class PartCopies:
    """Copies of one part of the real set.

    Args:
        exact: row of the equal real image for every synthetic image, int64 (M,); -1 where none is equal.
        sampled: the synthetic images that were compared pixel by pixel, int64 (n,).
        synthetic: their neighbours in this part.
        control: the neighbours in this part of real images of another part.
        least_reach: that every image of this part has at least, in grey levels.
        repeated: images of this part that have the bytes of a training image; 0 for the training images.
    """

    exact: Rows
    sampled: Rows
    synthetic: Neighbours
    control: Neighbours
    least_reach: float
    repeated: int

    @property
    def excess(self) -> bool:
        """Whether more synthetic images than images of the control are near, beyond chance."""
        near, other = self.synthetic.near, self.control.near
        return more_than_control(int(near.sum()), len(near), int(other.sum()), len(other))

    def pairs(self, most: int) -> list[dict[str, Any]]:
        """Exact copies, then the nearest of the others; JSON-ready.

        Args:
            most: how many, at most.

        Returns:
            ``synthetic_row``, ``real_row``, ``distance``, ``separation`` (None where there is no other real image, or
            the pair was not compared), and ``kind``: "exact", "near" or "".
        """
        copied = np.flatnonzero(self.exact >= 0)[:most]
        found = [_pair(row, self.exact[row], 0.0, np.inf, "exact") for row in copied]
        others = self.synthetic
        for place in np.argsort(others.distances, kind="stable"):
            if len(found) >= most:
                break
            if self.exact[self.sampled[place]] < 0:
                kind = "near" if others.near[place] else ""
                numbers = (others.distances[place], others.separations[place], kind)
                found.append(_pair(self.sampled[place], others.rows[place], *numbers))
        return found


def _pair(made: int, real: int, distance: float, separation: float, kind: str) -> dict[str, Any]:
    return {
        "synthetic_row": int(made),
        "real_row": int(real),
        "distance": float(distance),
        "separation": float(separation) if np.isfinite(separation) else None,
        "kind": kind,
    }


@dataclass(frozen=True)
class Copies:
    """Copies of every part of the real set.

    Args:
        distinct: synthetic images, repeated ones counted once.
        parts: of each part, by name.
    """

    distinct: int
    parts: Mapping[str, PartCopies]


def find_copies(
    images: npt.NDArray[np.uint8],
    real: npt.NDArray[np.uint8],
    parts: Mapping[str, Rows],
    sampled: Rows,
    controls: Mapping[str, Rows],
    device: torch.device,
) -> Copies:
    """Looks for copies of real images.

    An image is near to the nearest one of a part, r, if their distance is less than half of that between r and the
    next image of the part. The balls of this radius do not meet, so a near image lies within the reach of r alone.
    This follows the data: the reach is small where labels or dull backgrounds make real images alike. It is at least
    half of the 1 % quantile of such distances, so that a real image with an accidental twin is not passed over.

    Where labels are dense, fresh images are near as well: where images differ by their label alone, about a third of
    them. So the share is to be compared with that of the control.

    Source: near as in Carlini et al. 2023, arXiv 2301.13188 (a distance over half of the mean distance to neighbours).
    Differs from the paper in: one neighbour, that of the real image; a control of real images.

    Args:
        images: all synthetic images, uint8 (M, C, H, W); may be a memory map.
        real: all real images, uint8 (N, C, H, W); may be a memory map.
        parts: rows of each part by name, at least one each; "training" must be there.
        sampled: synthetic images to be compared pixel by pixel, (n,).
        controls: for each part, real images of another part that stand for images that copied nothing; may be empty.
        device: where pixels are compared.
    """
    made, known = image_digests(images), image_digests(real)
    found = {}
    for name, rows in parts.items():
        least, (synthetic, control) = _neighbours(
            [Selected(images, sampled), Selected(real, controls[name])], real, rows, device
        )
        repeated = 0 if name == "training" else _repeated(real, known, rows, parts["training"])
        exact = equal_images(images, real, made, known, rows)
        found[name] = PartCopies(exact, sampled, synthetic, control, least, repeated)
    return Copies(len(set(made)), found)


def _neighbours(
    sets: Sequence[Selected], real: npt.NDArray[np.uint8], part: Rows, device: torch.device
) -> tuple[float, list[Neighbours]]:
    """Neighbours in one part of the real set of several sets of images, and the least reach of the part's images."""
    images = Selected(real, part)
    nearest = [nearest_images(chosen, images, device) for chosen in sets]
    # Separations are only needed of images that are nearest to some image, and of a sample for the quantile. They are
    # those within the part: none of the sets is in it, so none can be its own next image.
    sample = np.arange(len(part))[:: -(-len(part) // _CALIBRATION)]
    needed = np.unique(np.concatenate([sample, *(found.places for found in nearest)]))
    apart = nearest_images(Selected(real, part[needed]), images, device, skip_equal=True).distances
    least = least_reach(apart[np.searchsorted(needed, sample)])
    neighbours = []
    for found in nearest:
        separations = apart[np.searchsorted(needed, found.places)]
        near = within_reach(found.distances, separations, least)
        neighbours.append(Neighbours(part[found.places], found.distances, separations, near))
    return least, neighbours


def _repeated(real: npt.NDArray[np.uint8], known: Sequence[bytes], mine: Rows, first: Rows) -> int:
    found = equal_images(Selected(real, mine), real, [known[row] for row in mine], known, first)
    return int(np.sum(found >= 0))


def least_reach(separations: Distances) -> float:
    """Half of the 1 % quantile of the finite distances of real images to their next one; 0 without any."""
    finite = separations[np.isfinite(separations)]
    return SHARE * float(np.quantile(finite, QUANTILE)) if len(finite) else 0.0


def within_reach(distances: Distances, separations: Distances, least: float) -> npt.NDArray[np.bool_]:
    """Which images are near, bool (n,): nearer than half of the separation, or than ``least``, or equal.

    Args:
        distances: to the nearest real image, (n,).
        separations: of that real image from the next one, (n,); inf, where there is none, gives it the least reach.
        least: from ``least_reach``.
    """
    reach = np.maximum(np.where(np.isfinite(separations), SHARE * separations, 0.0), least)
    return np.asarray((distances < reach) | (distances == 0), np.bool_)


def more_than_control(near: int, images: int, control_near: int, control: int, level: float = LEVEL) -> bool:
    """Whether near images are more frequent than in the control: Fisher's exact test, one-sided.

    Args:
        near: near images.
        images: of so many.
        control_near: near images of the control.
        control: of so many; without any there is nothing to compare with.
        level: probability by chance below which the answer is yes.
    """
    from scipy.stats import hypergeom

    if not (near and control):
        return False
    return bool(hypergeom.sf(near - 1, images + control, near + control_near, images) < level)
