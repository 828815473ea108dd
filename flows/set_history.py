"""How a set in the store was made: what the manifests of the stages before it tell, first to last."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.store import MANIFEST

if TYPE_CHECKING:
    from data.exporting.about import Step

#: Stages that a set is made in, in their order.
_STAGES = ("prepare", "teacher", "generator", "ratio", "candidates", "synthetic")
_TITLES = {
    "prepare": "Real images",
    "teacher": "Teacher",
    "generator": "Generator, trained on the training rows",
    "ratio": "Density ratio of real and generated images",
    "candidates": "Candidates, drawn from the generator",
    "synthetic": "Filter and labels",
}
# Options of a stage that a reader of a card wants, by their section.
_OPTIONS = {
    "prepare": ("test_images", "validation_images", "labels_per_class", "images_per_label", "seed"),
    "teacher": ("kind", "network", "model"),
    "generator": ("kind", "network", "loss", "augment", "steps", "ema_decay", "vicinity", "factory"),
    "ratio": ("features", "penalty", "penalty_weight", "steps"),
    "candidates": ("labels", "per_label", "subsample", "bound", "burn_in", "truncation", "file"),
    "synthetic": ("error", "quantile", "count", "scope", "relabel"),
}
_METRICS = {
    "prepare": ("train", "validation", "test", "skipped"),
    "teacher": ("parameters", "steps"),
    "generator": ("steps_done", "chosen_step", "stopped_by"),
    "ratio": ("validation_auc",),
    "candidates": ("drawn", "accepted", "acceptance", "teacher_calls"),
    "synthetic": ("candidates", "kept", "taken", "relabelled_share", "coverage_lost"),
}


def history_of(path: Path) -> tuple[str, tuple[Step, ...]]:
    """The source of a set and the steps that it was made in, as far as the store around it still has them.

    Args:
        path: the set.

    Returns:
        Name of the source, empty where it is not known; and the steps, none for a file that lies in no store.
    """
    from data.exporting.about import Step

    manifests: dict[str, Mapping[str, Any]] = {}
    waiting = [path.resolve().parent]
    while waiting:
        folder = waiting.pop()
        manifest = _manifest(folder)
        stage = str(manifest.get("stage", ""))
        if not manifest or stage in manifests:
            continue
        manifests[stage] = manifest
        # An input lies in the folder of its stage, which mostly has its name.
        for name, fingerprint in sorted(_mapping(manifest.get("inputs")).items()):
            # What is no name and no fingerprint must not lead out of the store.
            if re.fullmatch(r"[a-z_]+", str(name)) and re.fullmatch(r"[0-9a-f]+", str(fingerprint)):
                stage = "prepare" if name == "real" else str(name)
                waiting.append(folder.parent.parent / stage / str(fingerprint))
    source = _mapping(_mapping(manifests.get("prepare", {}).get("config")).get("source"))
    steps = [Step(_TITLES[stage], _facts(stage, manifests[stage])) for stage in _STAGES if stage in manifests]
    return str(source.get("name", "")), tuple(step for step in steps if step.facts)


def _facts(stage: str, manifest: Mapping[str, Any]) -> dict[str, str]:
    config, metrics = _mapping(manifest.get("config")), _mapping(manifest.get("metrics"))
    facts: dict[str, str] = {}
    if stage == "prepare":
        facts |= {name: _text(value) for name, value in _mapping(config.get("source")).items() if name != "kind"}
    section = _mapping(config.get(stage))
    facts |= {name: _text(section[name]) for name in _OPTIONS[stage] if section.get(name) is not None}
    for name, value in _mapping(section.get("options")).items():
        facts.setdefault(str(name), _text(value))
    facts |= {name.replace("_", " "): _text(metrics[name]) for name in _METRICS[stage] if name in metrics}
    figures = metrics.get("figures") if stage == "teacher" else None
    for figure in map(_mapping, figures if isinstance(figures, list) else ()):
        name = f"test {figure.get('metric', '')} {figure.get('of', '')}".strip()
        facts[name] = f"{_text(figure.get('value', ''))} {figure.get('unit', '')}".strip()
    version = _mapping(manifest.get("packages")).get("stillhouse")
    if facts and version:
        facts["Stillhouse"] = str(version)
    if facts:
        facts["fingerprint"] = str(manifest.get("fingerprint", ""))
    return facts


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() and abs(value) < 1e15 else f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(_text(item) for item in value)
    return json.dumps(value, sort_keys=True) if isinstance(value, dict) else str(value)


def _manifest(folder: Path) -> Mapping[str, Any]:
    """The manifest of an artifact's folder; nothing where there is none."""
    try:
        found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return _mapping(found)


def _mapping(value: Any) -> Mapping[str, Any]:
    """The value if it is a mapping, and an empty one for anything else that a file may hold there."""
    return value if isinstance(value, dict) else {}
