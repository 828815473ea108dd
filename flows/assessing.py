"""The record of an assessment: one entry a model, and the same over the seeds of each way of training."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from flows.teacher_config import Teacher

#: What tells the ways of training apart.
_WAY = ("student", "method", "data")


def over_seeds(entries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One entry a student, method and data, in order of appearance: every number as mean and deviation over seeds.

    Args:
        entries: of trained students, each with ``student``, ``method``, ``data`` and ``seed``.

    Returns:
        Entries with ``seeds``, and with ``{"mean": ..., "std": ...}`` in the place of each measured number; the
        sample deviation is None for one seed. Bins of the reliability are pooled over the seeds.
    """
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for entry in entries:
        groups.setdefault(tuple(entry[name] for name in _WAY), []).append(entry)
    found = []
    for way, group in groups.items():
        row: dict[str, Any] = dict(zip(_WAY, way, strict=True))
        row["seeds"] = [entry["seed"] for entry in group]
        row["size"] = group[0]["size"]
        for name in ("agreement", "calibration", "robustness"):
            parts = [entry[name] for entry in group]
            row[name] = None if parts[0] is None else _merged(parts)
        found.append(row)
    return found


def _merged(parts: Sequence[Any]) -> Any:
    """The same structure as each of the parts, with means and deviations as its numbers."""
    first = parts[0]
    if isinstance(first, Mapping):
        return {
            key: pooled_bins([part[key] for part in parts])
            if key == "reliability"
            else _merged([part[key] for part in parts])
            for key in first
        }
    if isinstance(first, list):
        return [_merged(items) for items in zip(*parts, strict=True)]
    if isinstance(first, int | float):
        return mean_and_std([float(part) for part in parts])
    return first


def mean_and_std(values: Sequence[float]) -> dict[str, float | None]:
    """Mean, and sample standard deviation, which is None for one value."""
    return {
        "mean": float(np.mean(values)),
        "std": float(np.std(values, ddof=1)) if len(values) > 1 else None,
    }


def pooled_bins(tables: Sequence[Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Bins of several models as if their predictions were those of one.

    Args:
        tables: bins of the same edges, with ``low``, ``high``, ``count``, ``confidence`` and ``accuracy``.
    """
    pooled = []
    for bins in zip(*tables, strict=True):
        count = sum(bin["count"] for bin in bins)
        means = {
            name: sum(bin["count"] * bin[name] for bin in bins) / count if count else 0.0
            for name in ("confidence", "accuracy")
        }
        pooled.append({"low": bins[0]["low"], "high": bins[0]["high"], "count": count, **means})
    return pooled


def network_key(section: Mapping[str, Any]) -> str:
    """What tells networks apart, whatever their names: network, options and, for one's own, its source.

    Args:
        section: ``distill.student`` of a student's request.
    """
    return json.dumps(section, sort_keys=True)


#: How a teacher is measured: run here as a network, asked freely, asked once about the test images, or not at all.
Role = Literal["network", "free", "recorded", "none"]


def teacher_role(teacher: Teacher) -> Role:
    """How the teacher of a configuration is measured, as far as the configuration tells; see ``measured_role``."""
    from flows.teacher_identity import has_network, judges, members_of, uses_ledger

    if not judges(teacher):
        return "none"
    if has_network(teacher):
        return "network"
    return "recorded" if any(uses_ledger(member) for member in (teacher, *members_of(teacher))) else "free"


def measured_role(teacher: Teacher, folder: Path) -> Role:
    """How a teacher is measured: only its artifact tells whether a factory has made a network.

    Args:
        teacher: its section.
        folder: of its artifact.

    Raises:
        DataError: if the artifact is damaged.
    """
    from flows.teacher_cards import makes_network

    role = teacher_role(teacher)
    return "free" if role == "network" and not makes_network(teacher, folder) else role


_SKIPPED = {
    "network": (),
    "free": ("the teacher's size and latency, as it is no torch network that runs here.",),
    "recorded": (
        "the teacher under corruption, and its size and latency: its answers are recorded and counted, so it was asked "
        "about the test images as they are and about no others.",
    ),
    "none": (
        "the teacher, and so agreement with it: asking it costs something, and teacher.judges does not say that "
        "stages that only judge may do so.",
    ),
}


def skipped_words(role: Role) -> list[str]:
    """What was not measured of the teacher and why, a sentence each."""
    return list(_SKIPPED[role])
