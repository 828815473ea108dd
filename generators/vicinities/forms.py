"""The three forms of a vicinity: which labels lie in it, and what they weigh."""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from data.errors import ConfigError

Form = Literal["hard", "soft", "hybrid"]
FORMS: tuple[Form, ...] = get_args(Form)

#: In the soft form, a real image may serve a target if its weight is at least this (the CcGAN code's threshold).
LEAST_WEIGHT = 1e-3

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]


def check_form(form: Any) -> None:
    """Raises ConfigError if there is no such form."""
    if form not in FORMS:
        raise ConfigError(f"form must be one of {', '.join(FORMS)}, got {form!r}.")


def reach_in_kappas(form: Form) -> float:
    """Half-width of the vicinity as a multiple of kappa: 1, or for soft where the weight falls to ``LEAST_WEIGHT``."""
    return math.sqrt(-math.log(LEAST_WEIGHT)) if form == "soft" else 1.0


def soft_weights(differences: Floats, kappas: Floats) -> Floats:
    """``exp(-sum_i nu_i d_i^2)`` with ``nu_i = 1 / kappa_i^2``.

    Source: Ding et al., 2023, arXiv 2011.07466, for one dimension; the sum over dimensions is this project's.

    Args:
        differences: label minus target, float64 (..., L).
        kappas: half-widths, float64, broadcast against ``differences``, > 0.

    Returns:
        Weights in [0, 1], float64 (...).
    """
    weights: Floats = np.exp(-(1.0 / kappas**2 * differences**2).sum(axis=-1))
    return weights


def inside(form: Form, differences: Floats, kappas: Floats) -> npt.NDArray[np.bool_]:
    """Whether labels lie in the vicinity: a box of half-widths kappa, or for soft where they weigh enough.

    Args:
        form: of the vicinity.
        differences: label minus target, float64 (..., L).
        kappas: half-widths, float64, broadcast against ``differences``, > 0.

    Returns:
        Booleans (...).
    """
    if form == "soft":
        within: npt.NDArray[np.bool_] = ((differences / kappas) ** 2).sum(axis=-1) <= -math.log(LEAST_WEIGHT)
        return within
    return np.asarray((np.abs(differences) <= kappas).all(axis=-1))
