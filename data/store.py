"""The store: immutable artifacts of finished stages, addressed by what they were made from.

An artifact is ``<root>/<stage>/<fingerprint>/`` with a ``manifest.json``. It appears by one rename, when
every byte of it is on the disk; until then a stage works in ``<fingerprint>.work``, which the next run
goes on with. One writer a fingerprint holds a lock of the operating system, which ends with its process.
"""

from __future__ import annotations

import errno
import hashlib
import importlib.metadata
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from data.errors import DataError, StageError
from data.factories import in_one_line
from data.files import fsync_file, fsync_folder, sha256_of, write_json
from data.workspace import STATE_FOLDER, Workspace

MANIFEST = "manifest.json"
MANIFEST_SCHEMA = 1
State = Literal["ran", "cached", "resumed"]

_PACKAGES = ("stillhouse", "torch", "torchvision", "numpy", "scipy", "h5py", "scikit-learn", "Pillow")


def fingerprint_of(stage: str, version: int, config: Mapping[str, Any], inputs: Mapping[str, str]) -> str:
    """SHA-256 of the canonical JSON of all that decides an artifact's content, hexadecimal.

    Args:
        stage: name of the stage.
        version: recipe version of the stage's code.
        config: the stage's own configuration, JSON-ready.
        inputs: fingerprints of the input artifacts by name.
    """
    canonical = json.dumps(
        {"stage": stage, "recipe_version": version, "config": config, "inputs": inputs},
        sort_keys=True,
        separators=(",", ":"),
        allow_nan=False,
    )
    return hashlib.sha256(canonical.encode()).hexdigest()


@dataclass(frozen=True)
class Request:
    """What is asked of the store: a stage with all that decides its content.

    Args:
        stage: name of the stage.
        version: recipe version of the stage's code.
        config: the stage's own configuration, JSON-ready.
        inputs: fingerprints of the input artifacts by name.
        label: what a person calls it, e.g. "small / kd / real / seed 0".
        seed: the seed of the run, for the manifest.
    """

    stage: str
    version: int
    config: Mapping[str, Any]
    inputs: Mapping[str, str]
    label: str = ""
    seed: int = 0

    @property
    def fingerprint(self) -> str:
        """Address of the artifact."""
        return fingerprint_of(self.stage, self.version, self.config, self.inputs)


@dataclass(frozen=True)
class Artifact:
    """A finished stage: a folder of files and its manifest."""

    folder: Path
    manifest: Mapping[str, Any]

    @property
    def fingerprint(self) -> str:
        """Address of the artifact."""
        return str(self.manifest["fingerprint"])

    @property
    def metrics(self) -> Mapping[str, Any]:
        """The numbers that the stage reported."""
        metrics: Mapping[str, Any] = self.manifest["metrics"]
        return metrics

    def path(self, name: str) -> Path:
        """Path of one of its files."""
        return self.folder / name


class Store:
    """A folder of artifacts.

    Args:
        root: the folder; made on first use.
        warn: called with one sentence when a damaged artifact is found.
    """

    def __init__(self, root: Path, warn: Callable[[str], None] = lambda sentence: None) -> None:
        self.root = root
        self._warn = warn

    def folder(self, stage: str, fingerprint: str) -> Path:
        """Where the artifact of ``fingerprint`` lies, or would lie."""
        return self.root / stage / fingerprint

    def damage(self, stage: str, fingerprint: str, *, deep: bool = False) -> str | None:
        """What is wrong with an existing artifact, in words; None if it is whole.

        Args:
            stage: name of the stage.
            fingerprint: address of the artifact.
            deep: whether every byte is read and its SHA-256 compared; otherwise presence and sizes.
        """
        folder = self.folder(stage, fingerprint)
        try:
            manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            files = {
                str(name): (int(entry["bytes"]), str(entry["sha256"])) for name, entry in manifest["files"].items()
            }
            known = (manifest["stage"], manifest["fingerprint"], isinstance(manifest["metrics"], dict))
        except FileNotFoundError:
            return "manifest.json is missing"
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            return f"manifest.json cannot be read ({type(error).__name__})"
        if known != (stage, fingerprint, True):
            return "manifest.json belongs to another artifact"
        for name, (size, digest) in sorted(files.items()):
            path = folder / name
            if not path.is_file():
                return f"{name} is missing"
            if path.stat().st_size != size:
                return f"{name} has {path.stat().st_size} bytes instead of {size}"
            if deep and sha256_of(path) != digest:
                return f"{name} does not have its recorded SHA-256"
        return None

    def find(self, stage: str, fingerprint: str) -> Artifact | None:
        """The whole artifact of ``fingerprint``, or None if it is absent or damaged."""
        folder = self.folder(stage, fingerprint)
        if not folder.is_dir() or self.damage(stage, fingerprint) is not None:
            return None
        return Artifact(folder, json.loads((folder / MANIFEST).read_text(encoding="utf-8")))

    def artifacts(self, stage: str) -> Iterator[Artifact]:
        """All whole artifacts of a stage, the newest first."""
        folders = [path for path in (self.root / stage).glob("*") if len(path.name) == 64 and path.is_dir()]
        for folder in sorted(folders, key=lambda path: path.stat().st_mtime_ns, reverse=True):
            artifact = self.find(stage, folder.name)
            if artifact is not None:
                yield artifact

    def resolve(self, reference: str, stage: str | None = None) -> Artifact:
        """The artifact that a person means: a folder, or the beginning of a fingerprint.

        Args:
            reference: path of an artifact's folder, or at least 4 first digits of its fingerprint.
            stage: only artifacts of this stage are meant.

        Raises:
            DataError: if none or several fit, or the one that fits is damaged.
        """
        folder = Path(reference)
        if not (folder / MANIFEST).is_file():
            stages = [stage] if stage else [path.name for path in self.root.glob("*") if path.is_dir()]
            found = [
                path
                for name in stages
                for path in (self.root / name).glob(f"{reference}*")
                if len(reference) >= 4 and len(path.name) == 64
            ]
            if len(found) != 1:
                what = f"{stage} artifact" if stage else "artifact"
                raise DataError(
                    f"'{reference}' must name one {what} of {self.root} by folder or by the first digits of its "
                    f"fingerprint, got {len(found)} that fit; 'stillhouse list runs' shows what is there."
                )
            folder = found[0]
        folder = folder.resolve()
        try:
            manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            kind = str(manifest["stage"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{folder / MANIFEST} cannot be read; run the stage again with --force.") from error
        if stage is not None and kind != stage:
            raise DataError(f"'{reference}' must be a {stage} artifact, got a {kind} artifact.")
        return Artifact(folder, manifest)

    def build(
        self,
        request: Request,
        make: Callable[[Workspace], Mapping[str, Any]],
        *,
        force: bool = False,
        device: str = "cpu",
        workspace_options: Mapping[str, Any] | None = None,
    ) -> tuple[Artifact, State]:
        """Returns the artifact of a request, made now if it is not there whole.

        A second process that asks for the same fingerprint waits here, then reuses what the first has made.

        Args:
            request: what is asked for.
            make: fills a workspace and returns the stage's metrics, JSON-ready.
            force: whether a whole artifact is made again.
            device: where it is computed, for the manifest.
            workspace_options: further arguments of the ``Workspace``.

        Raises:
            DataError: if the store cannot be used.
            StageError: if the stage meets an error of the system that has nothing to do with the store.
        """
        from filelock import FileLock

        stage, fingerprint = request.stage, request.fingerprint
        folder = self.folder(stage, fingerprint)
        work = folder.with_name(f"{fingerprint}.work")
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            (self.root / ".locks").mkdir(exist_ok=True)
            lock = FileLock(self.root / ".locks" / f"{stage}-{fingerprint}.lock")
            with lock:
                if folder.is_dir():
                    damage = self.damage(stage, fingerprint)
                    if damage is None and not force:
                        return Artifact(folder, json.loads((folder / MANIFEST).read_text(encoding="utf-8"))), "cached"
                    if damage is not None:
                        self._warn(f"{stage} {fingerprint[:12]} is damaged ({damage}) and is made again.")
                        shutil.rmtree(folder)
                resumed = work.is_dir() and any(path.is_file() for path in work.rglob("*"))
                if not (work / MANIFEST).is_file():
                    _remove_leftovers(work)
                    started = time.monotonic()
                    workspace = Workspace(work, resumed=resumed, **(workspace_options or {}))
                    try:
                        metrics = dict(make(workspace))
                    except OSError as error:
                        if _about(error, self.root):
                            raise
                        # Of the stage's own: a file, a library or a connection that has nothing to do with the store.
                        raise StageError(f"{stage} failed ({in_one_line(error)}).") from error
                    seconds = time.monotonic() - started
                    workspace.clear_state()
                    _remove_leftovers(work)
                    write_json(work / MANIFEST, self._manifest(request, work, metrics, seconds, device))
                self._commit(work, folder)
        except PermissionError as error:
            raise DataError(f"the store {self.root} must be writable, got: {error}; try --store DIR.") from error
        except OSError as error:
            raise DataError(f"{stage}: the store {self.root} cannot be used ({error}).") from error
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return Artifact(folder, manifest), "resumed" if resumed else "ran"

    def _manifest(
        self, request: Request, work: Path, metrics: dict[str, Any], seconds: float, device: str
    ) -> dict[str, Any]:
        names = sorted(
            path.relative_to(work).as_posix()
            for path in work.rglob("*")
            if path.is_file() and path.relative_to(work).parts[0] != STATE_FOLDER and path.name != MANIFEST
        )
        for name in names:
            fsync_file(work / name)
        return {
            "schema": MANIFEST_SCHEMA,
            "stage": request.stage,
            "label": request.label,
            "fingerprint": request.fingerprint,
            "recipe_version": request.version,
            "config": dict(request.config),
            "inputs": dict(request.inputs),
            "seed": request.seed,
            "packages": _versions(),
            "device": device,
            "seconds": round(seconds, 3),
            "metrics": metrics,
            "files": {
                name: {"bytes": (work / name).stat().st_size, "sha256": sha256_of(work / name)} for name in names
            },
        }

    def _commit(self, work: Path, folder: Path) -> None:
        for parent in {path.parent for path in work.rglob("*")}:
            fsync_folder(parent)
        old = folder.with_name(f"{folder.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            os.rename(folder, old)
        os.rename(work, folder)
        fsync_folder(folder.parent)
        shutil.rmtree(old, ignore_errors=True)


def _remove_leftovers(work: Path) -> None:
    """Removes what a kill cut off while it was written; nobody else writes here."""
    for leftover in work.rglob("*.tmp"):
        leftover.unlink()


def _about(error: OSError, root: Path) -> bool:
    """Whether an error of the system is about the store: one of its files, or a disk that is full."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        return True
    names = [name for name in (error.filename, error.filename2) if isinstance(name, str | os.PathLike)]
    whole = root.resolve()
    return any(Path(name).resolve().is_relative_to(whole) for name in names)


def _versions() -> dict[str, str]:
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
