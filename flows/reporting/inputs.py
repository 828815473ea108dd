"""What a report is made from: the run's configuration, its artifacts and their manifests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.reporting.wording import plain_words

if TYPE_CHECKING:
    from data.store import Artifact
    from flows.plan import Node


@dataclass(frozen=True)
class StudentRun:
    """One trained student.

    Args:
        student: its name in the configuration.
        method: the distillation method's name.
        data: ``"real"``, ``"real+synthetic"`` or ``"real+mixed"``.
        seed: seed of the initial weights and of the batches.
        folder: the artifact's folder.
        manifest: the artifact's manifest.
        label: what the method is called in tables; empty for its name.
    """

    student: str
    method: str
    data: str
    seed: int
    folder: Path
    manifest: Mapping[str, Any]
    label: str = ""

    @classmethod
    def of(cls, node: Node, artifact: Artifact) -> StudentRun:
        """The student that a node of the plan has trained."""
        known = node.arguments
        method, shown = str(node.request.config["distill"]["method"]["name"]), str(known["method"])
        label = "" if shown == method else shown
        manifest = dict(artifact.manifest)
        return cls(known["student"], method, known["data"], known["seed"], artifact.folder, manifest, label)

    @property
    def shown(self) -> str:
        """What tells its method from the others of the run."""
        return self.label or self.method

    @property
    def words(self) -> str:
        """What it was trained with, in plain words."""
        return plain_words(self.method, self.data, self.label)


@dataclass(frozen=True)
class ReportInputs:
    """All that a report is made from.

    Args:
        name: name of the run.
        config: the resolved configuration, JSON-ready.
        folders: artifact folder of each shared stage; stages that a run does not have are absent.
        manifests: manifest of each shared stage, with the same keys.
        students: the trained students.
    """

    name: str
    config: Mapping[str, Any]
    folders: Mapping[str, Path]
    manifests: Mapping[str, Mapping[str, Any]]
    students: list[StudentRun] = field(default_factory=list)

    def file(self, stage: str, name: str) -> Path | None:
        """Path of a stage's file, or None if the run has no such stage or file."""
        folder = self.folders.get(stage)
        if folder is None or not (folder / name).is_file():
            return None
        return folder / name

    def metric(self, stage: str, name: str) -> Any:
        """A metric of a shared stage, or None if the run has no such stage or metric."""
        return self.manifests.get(stage, {}).get("metrics", {}).get(name)

    def files(self, stage: str, pattern: str) -> list[Path]:
        """Paths of a stage's files that match ``pattern``, sorted; empty if there is no such stage."""
        folder = self.folders.get(stage)
        return [] if folder is None else sorted(folder.glob(pattern))
