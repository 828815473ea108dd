"""What is known of a trained model from its manifest and those of what it was made from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data.errors import DataError
from data.store import MANIFEST, Artifact


def about_model(artifact: Artifact) -> dict[str, Any]:
    """Where a student or teacher comes from, JSON-ready; what cannot be found is left out.

    The artifacts that it was made from are looked for in the store in which its own folder lies.

    Args:
        artifact: of stage distill or teacher.

    Returns:
        ``name``, ``stage``, ``fingerprint``, ``packages``, ``seed``, ``figures`` (metric, value, unit, of),
        ``parameters``, ``multiply_adds``, ``steps``; of a student ``method``, ``data`` and ``teacher``; of the data
        ``source``, ``homepage``, ``license``, ``train_images``, ``test_images``.
    """
    manifest, metrics = artifact.manifest, artifact.metrics
    known: dict[str, Any] = {
        "name": manifest.get("label", ""),
        "stage": manifest["stage"],
        "fingerprint": artifact.fingerprint,
        "packages": dict(manifest.get("packages", {})),
        "seed": manifest.get("seed"),
        "figures": [dict(figure) for figure in metrics.get("figures", ())],
        **{name: int(metrics[name]) for name in ("parameters", "multiply_adds", "steps") if name in metrics},
    }
    distilled = manifest.get("config", {}).get("distill")
    if isinstance(distilled, Mapping):
        known |= {"method": _method(distilled["method"]), "data": distilled["data"]}
        teacher = _teacher(artifact)
        if teacher is not None:
            known["teacher"] = _described(teacher)
    real = _input(artifact, "real", "prepare")
    return known | ({} if real is None else _data(real))


def _method(method: Mapping[str, Any]) -> str:
    options = ", ".join(f"{key} {value}" for key, value in method.get("options", {}).items())
    return str(method["name"]) + (f" ({options})" if options else "")


def _teacher(artifact: Artifact) -> Artifact | None:
    """The teacher that a student was taught by, directly or through cached answers."""
    direct = _input(artifact, "teacher", "teacher")
    if direct is not None:
        return direct
    for name, stage in (
        ("answers", "answers"),
        ("mixes", "recipes"),
        ("synthetic", "synthetic"),
        ("candidates", "candidates"),
    ):
        between = _input(artifact, name, stage)
        found = None if between is None else _teacher(between)
        if found is not None:
            return found
    return None


def _described(teacher: Artifact) -> str:
    section = teacher.manifest.get("config", {}).get("teacher", {})
    what = section.get("network") or section.get("model") or section.get("kind", "")
    options = ", ".join(f"{key} {value}" for key, value in section.get("options", {}).items())
    figures = [
        f"{figure['metric']} {figure['value']:.4g} {figure['unit']}" for figure in teacher.metrics.get("figures", ())
    ]
    words = [f"{what} ({options})" if options else str(what), *figures[:1], f"fingerprint {teacher.fingerprint[:12]}"]
    return ", ".join(word for word in words if word)


def _data(real: Artifact) -> dict[str, Any]:
    from data.reading import open_set

    known = {f"{part}_images": int(real.metrics[part]) for part in ("train", "test") if part in real.metrics}
    try:
        images = open_set(real.path("real.h5"))
    except DataError:
        return known
    provenance = images.provenance
    source = provenance.get("source", {})
    return known | {
        "source": str(source.get("name", "unknown")),
        "homepage": str(provenance.get("homepage", "unknown")),
        "license": images.license,
    }


def _input(artifact: Artifact, name: str, stage: str) -> Artifact | None:
    """An artifact that another was made from, found beside it in the same store; None if it is not there."""
    fingerprint = artifact.manifest.get("inputs", {}).get(name)
    if fingerprint is None:
        return None
    folder: Path = artifact.folder.parent.parent / stage / str(fingerprint)
    try:
        return Artifact(folder, json.loads((folder / MANIFEST).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None
