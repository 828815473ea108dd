"""What limits a student that learns from real and synthetic images: three terms of a bound on its error."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import log, sqrt
from typing import Any, Literal

#: Probability with which the first term holds, for one student that is fixed beforehand.
CONFIDENCE = 0.95
#: Share of what any number of synthetic images could reach from which more of them are not worth it.
_ENOUGH = 0.8

Term = Literal["images", "gap", "labels"]


def effective_images(real: int, synthetic: int, real_fraction: float) -> float:
    """How many equally weighted images have the variance of batches with a fixed share of real ones.

    A batch's mean is a mean over all images with weights a / N on real and (1 - a) / M on synthetic ones, whose squares
    sum to a^2 / N + (1 - a)^2 / M, the reciprocal of this number. It never exceeds N / a^2, whatever M is.

    Args:
        real: number N of real images, at least 1.
        synthetic: number M of different synthetic images, at least 1.
        real_fraction: share a of real images in a batch, in (0, 1).
    """
    return 1.0 / (real_fraction**2 / real + (1.0 - real_fraction) ** 2 / synthetic)


def image_term(images: float, confidence: float = CONFIDENCE) -> float:
    """How far the mean loss of so many images may be from its expectation, for a loss in [0, 1].

    Source: Hoeffding's inequality (1963), two-sided.

    Args:
        images: effective number of images.
        confidence: probability with which it holds.
    """
    return min(1.0, sqrt(log(2.0 / (1.0 - confidence)) / (2.0 * images)))


@dataclass(frozen=True)
class Bound:
    """Three terms, each a part of the loss in [0, 1] by which training may misjudge a student; less is better.

    Args:
        images: term of the number of images.
        gap: share of synthetic images x total variation distance of synthetic and real images, from below; None if
            it was not measured.
        labels: share of synthetic images x noise of their labels, from above.
        alone: the first term of a student that learns from the real images alone; it has no other.
        effective: effective number of images of a mixed batch.
        reachable: that number with any number of synthetic images.
    """

    images: float
    gap: float | None
    labels: float
    alone: float
    effective: float
    reachable: float

    @property
    def largest(self) -> Term:
        """The term to work on first."""
        terms: dict[Term, float] = {"images": self.images, "gap": self.gap or 0.0, "labels": self.labels}
        return max(terms, key=lambda name: terms[name])

    @property
    def enough_synthetic(self) -> bool:
        """Whether more synthetic images would hardly make the first term smaller."""
        return self.effective >= _ENOUGH * self.reachable

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form, with the largest term."""
        return asdict(self) | {"largest": self.largest, "enough_synthetic": self.enough_synthetic}


def error_bound(real: int, synthetic: int, real_fraction: float, *, gap: float | None, noise: float) -> Bound:
    """The three terms for batches with a fixed share of real images. ``docs/filters/audit.md`` has the derivation.

    Args:
        real: number of real training images, at least 1.
        synthetic: number of different synthetic images, at least 1.
        real_fraction: share of real images in a batch, in (0, 1).
        gap: total variation distance of synthetic and real images; below 0 counts as 0; None if unknown.
        noise: share of wrong labels among the synthetic images, or their mean error as a share of the range.
    """
    effective = effective_images(real, synthetic, real_fraction)
    return Bound(
        images=image_term(effective),
        gap=None if gap is None else (1.0 - real_fraction) * max(0.0, gap),
        labels=(1.0 - real_fraction) * noise,
        alone=image_term(real),
        effective=effective,
        reachable=real / real_fraction**2,
    )
