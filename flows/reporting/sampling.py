"""What was unusual when labels were subsampled: which of them were filled up, and how long that took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flows.reporting.inputs import ReportInputs
from flows.shards import outcome_warnings

Entries = Sequence[Mapping[str, Any]]


def is_subsampled(inputs: ReportInputs) -> bool:
    """Whether the run accepts images by their density ratio at all."""
    section = inputs.config.get("candidates")
    return not isinstance(section, Mapping) or bool(section.get("subsample", True))


def sampling_notes(entries: Entries) -> list[str]:
    """A sentence for each kind of label that rejection did not serve; none where nothing is known of it."""
    return outcome_warnings([dict(entry) for entry in entries if "outcome" in entry])


def outcome_words(entries: Entries) -> str:
    """How the labels of one row of a table came to their images, if not all by rejection; else empty.

    For example "resampled after 12 rounds", or for several labels "2 of 5 not subsampled after up to 7 rounds".
    """
    parts = []
    for outcome in ("resampled", "not subsampled"):
        mine = [entry for entry in entries if entry.get("outcome") == outcome]
        if mine:
            rounds = max(int(entry["rounds"]) for entry in mine)
            number = f"{len(mine)} of {len(entries)} " if len(entries) > 1 else ""
            most = "up to " if len(mine) > 1 else ""
            parts.append(f"{number}{outcome} after {most}{rounds} round{'' if rounds == 1 else 's'}")
    return ", ".join(parts)
