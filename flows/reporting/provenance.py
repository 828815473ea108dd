"""Where every artifact of a run comes from, read from the manifests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from data.reading import ImageSet
from flows.plan import STAGES
from flows.reporting.inputs import ReportInputs
from flows.reporting.wording import size

_ORDER = tuple(stage for stage in STAGES if stage not in ("distill", "report"))
_SHORT = 12


@dataclass(frozen=True)
class Artifact:
    """One artifact: its name in the report, and its manifest."""

    name: str
    manifest: Mapping[str, Any]

    @property
    def fingerprint(self) -> str:
        """The whole address."""
        return str(self.manifest.get("fingerprint", ""))

    @property
    def short(self) -> str:
        """The start of the address."""
        return self.fingerprint[:_SHORT]

    @property
    def seconds(self) -> float | None:
        """Time the stage took."""
        value = self.manifest.get("seconds")
        return None if value is None else float(value)

    @property
    def inputs(self) -> list[tuple[str, str, str]]:
        """Name, short and whole fingerprint of every input."""
        return [(name, str(value)[:_SHORT], str(value)) for name, value in _items(self.manifest, "inputs")]

    @property
    def files(self) -> list[tuple[str, str, str]]:
        """Name, size and SHA-256 of every file."""
        return [(name, size(entry["bytes"]), str(entry["sha256"])) for name, entry in _items(self.manifest, "files")]

    @property
    def metrics(self) -> str:
        """The stage's metrics as readable JSON."""
        return json.dumps(self.manifest.get("metrics", {}), indent=2, sort_keys=True, ensure_ascii=False)

    @property
    def packages(self) -> str:
        """Package versions on one line."""
        return ", ".join(f"{name} {version}" for name, version in _items(self.manifest, "packages"))

    def to_dict(self) -> dict[str, Any]:
        """The entry of ``stages`` in report.json."""
        names = ("stage", "fingerprint", "recipe_version", "seed", "device", "seconds", "inputs", "packages", "metrics")
        return {"name": self.name} | {name: self.manifest.get(name) for name in names}


def _items(manifest: Mapping[str, Any], name: str) -> list[tuple[str, Any]]:
    return sorted((manifest.get(name) or {}).items())


def artifacts_of(inputs: ReportInputs) -> list[Artifact]:
    """All artifacts of a run: the shared stages in order, then the students."""
    names = sorted(inputs.manifests, key=lambda name: (_place(inputs.manifests[name]), name))
    shared = [Artifact(name, inputs.manifests[name]) for name in names]
    students = [Artifact(f"{run.student}, {run.words}, seed {run.seed}", run.manifest) for run in inputs.students]
    return shared + students


def _place(manifest: Mapping[str, Any]) -> int:
    stage = manifest.get("stage")
    return _ORDER.index(stage) if stage in _ORDER else len(_ORDER)


def package_groups(artifacts: list[Artifact]) -> list[tuple[str, list[str]]]:
    """Package versions with the artifacts that were made with them; one group where all agree."""
    groups: dict[str, list[str]] = {}
    for artifact in artifacts:
        groups.setdefault(artifact.packages, []).append(artifact.name)
    return list(groups.items())


def source_words(config: Mapping[str, Any], real: ImageSet | None) -> str:
    """What the real images are: the source's kind, the name of data of one's own, and the homepage, where known.

    Args:
        config: the resolved configuration.
        real: the set of real images, or None.
    """
    section = config.get("source")
    kind, name = (section.get("kind"), section.get("name")) if isinstance(section, Mapping) else (section, None)
    homepage = None if real is None else real.provenance.get("homepage")
    return ", ".join(str(part) for part in (f"'{name}'" if name else None, kind, homepage) if part)
