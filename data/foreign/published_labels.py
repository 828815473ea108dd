"""Labels of the papers' files, in their own units or refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from data.errors import DataError


def in_own_units(values: npt.NDArray[Any], where: str, unit: str) -> npt.NDArray[np.float64]:
    """Labels as float64, if they are finite and do not look as if they had been divided by their largest value.

    Args:
        values: numbers, (N,).
        where: for messages.
        unit: what they should be in, e.g. "degree".

    Raises:
        DataError: if they are not finite, or are fractions that all lie within -1 .. 1.
    """
    numbers = values.astype(np.float64)
    if not np.isfinite(numbers).all():
        raise DataError(f"{where} must be finite, got {int((~np.isfinite(numbers)).sum())} that are not; correct them.")
    if numbers.size and np.abs(numbers).max() <= 1 and (numbers != np.round(numbers)).any():
        raise DataError(
            f"{where} must be in the unit {unit}, got {numbers.min():g} to {numbers.max():g}, which looks normalised; "
            "multiply them by what they were divided by."
        )
    return numbers


def whole(values: npt.NDArray[np.float64], where: str) -> npt.NDArray[np.int64]:
    """Whole numbers of any type as int64, (N,).

    Raises:
        DataError: naming the first row whose number has a fraction.
    """
    fractions = np.flatnonzero(values != np.round(values))
    if len(fractions):
        raise DataError(
            f"{where} must be whole numbers, got {values[fractions[0]]:g} in row {fractions[0]}; convert them."
        )
    return values.astype(np.int64)
