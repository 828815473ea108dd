"""A figure and how it is written down: a number with its spread, or the sentence that says why there is none."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from data.errors import DataError


class Measured(NamedTuple):
    """A number, and its standard deviation over the subsets or groups that it is the mean of."""

    value: float
    std: float | None = None


def figure(measure: Callable[[], Measured]) -> dict[str, Any]:
    """What a measurement gives, JSON-ready: ``value`` and ``std``, or ``not_computed`` with a sentence.

    Args:
        measure: measures, or raises a DataError that says what is missing and what helps.
    """
    try:
        measured = measure()
    except DataError as error:
        return {"value": None, "std": None, "not_computed": str(error)}
    if not math.isfinite(measured.value):
        return {"value": None, "std": None, "not_computed": "the figure is not finite: the features are not."}
    return {"value": measured.value, "std": measured.std}


def need_images(what: str, least: int, why: str, generated: int, real: int) -> None:
    """Refuses a figure that so few images would make meaningless.

    Args:
        what: the figure.
        least: images that it needs on either side.
        why: where that number comes from.
        generated: generated images that are there.
        real: real images that are there.

    Raises:
        DataError: with the counts, and the settings that raise them.
    """
    remedies = []
    if generated < least:
        remedies.append("fidelity.images (for accepted images also candidates.per_label)")
    if real < least:
        remedies.append("prepare.validation_images")
    if remedies:
        raise DataError(
            f"{what} must have at least {least} images on either side ({why}), got {generated} generated and {real} "
            f"real ones; raise {' and '.join(remedies)}."
        )
