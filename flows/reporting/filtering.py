"""What the report says of the teacher's filter: which error it went by, what passed, and where coverage was lost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from data.reading import ImageSet
from flows.filter_config import Synthetic
from flows.filtering import CandidateFilter
from flows.reporting.wording import MINUS, plural

_KINDS = {
    "cross_entropy": "cross entropy",
    "one_minus_p": f"1 {MINUS} p",
    "margin": "margin",
    "absolute": "absolute error",
    "none": "a random number",
}


def filter_of(candidates: ImageSet, selection: Mapping[str, Any]) -> CandidateFilter:
    """The filter that stage ``synthetic`` recorded in ``selection.json``."""
    known = {key: selection[key] for key in ("error", "scope", "windows") if key in selection}
    return CandidateFilter(candidates, Synthetic(**known))


def error_title(selection: Mapping[str, Any]) -> str:
    """The teacher's error with its kind, where that was chosen."""
    kind = _KINDS.get(str(selection.get("error")))
    return "Teacher error" if kind is None else f"Teacher error: {kind}"


def passed(candidates: ImageSet, selection: Mapping[str, Any], taken: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """(N,) whether each candidate passed the filter; with a count, not all of them were taken."""
    if selection.get("count") is None:
        return taken
    found = np.zeros(len(candidates), bool)
    found[filter_of(candidates, selection).keep(selection["quantile"])[0]] = True
    return found


def coverage_note(selection: Mapping[str, Any]) -> str:
    """Where coverage was lost, and which windows have no threshold of their own; empty if there is neither."""
    sentence = str(selection.get("sentence", ""))
    notes = [f"{sentence[0].upper()}{sentence[1:]}"] if sentence else []
    windows = int(selection.get("windows_with_global_threshold", 0))
    if windows:
        notes.append(f"{plural(windows, 'window')} with too few candidates took the threshold of all.")
    return " ".join(notes)
