"""The plan of a run: every stage with its configuration, its inputs and its fingerprint.

Planning reads the configuration and the identity of the source, nothing else: neither torch nor Prefect.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from data.changes import reason
from data.sources import Source, sources
from data.store import Request, Store
from flows.config import Config, Method, Student
from students.methods import methods

STAGES = (
    "prepare",
    "teacher",
    "answers",
    "features",
    "generator",
    "ratio",
    "candidates",
    "fidelity",
    "synthetic",
    "distill",
    "report",
)


@dataclass(frozen=True)
class Node:
    """One stage of a run.

    Args:
        key: its name in the run; the stage's name, but for ``distill`` one a student, method, data and seed.
        request: what is asked of the store.
        inputs: the nodes whose artifacts it reads, by input name.
        arguments: what tells apart several nodes of one stage.
    """

    key: str
    request: Request
    inputs: Mapping[str, Node] = field(default_factory=dict)
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def stage(self) -> str:
        """Name of the stage."""
        return self.request.stage


def make_source(config: Config) -> Source:
    """The source that the configuration names."""
    section = config.source.model_dump()
    return sources.get(section.pop("kind"))(**section)


def make_plan(config: Config) -> list[Node]:
    """All stages of a run, inputs first.

    Raises:
        DataError: if the files of the source are missing.
    """
    planner = _Planner(config)
    return planner.nodes


class _Planner:
    """Makes the nodes; a request's configuration has the keys of the user's file, so that a change is named by them."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.nodes: list[Node] = []
        self.precision = {"compute": {"precision": config.compute.precision}}
        real = self._add("prepare", {"source": make_source(config).identity(), **self._section("prepare")})
        teacher = self._add("teacher", self._seeded("teacher"), {"real": real})
        answers = self._add("answers", self.precision, {"real": real, "teacher": teacher})
        self.base = {"prepare": real, "teacher": teacher, "answers": answers}
        if config.uses_synthetic:
            self._add_synthetic(real, teacher)
        students = {node.key: node for node in self._students()}
        resolved = config.model_dump(mode="json", exclude={"compute", "profile", "profiles"})
        self._add("report", resolved, {**self.base, **students})

    def _add_synthetic(self, real: Node, teacher: Node) -> None:
        features = self._add("features", self._seeded("features"), {"real": real})
        self.base["features"] = features
        inputs = {"real": real, "teacher": teacher}
        if self.config.candidates.file is None:
            inputs |= self._generators(real, features)
        candidates = self._add("candidates", self._candidates(), inputs)
        self.base["candidates"] = candidates
        if self.config.fidelity.enabled:
            judged = {name: node for name, node in inputs.items() if name != "ratio"}
            judged |= {"features": features, "candidates": candidates}
            self.base["fidelity"] = self._add("fidelity", self._fidelity(), judged)
        synthetic = self._add("synthetic", self._section("synthetic"), {"candidates": candidates})
        self.base["synthetic"] = synthetic

    def _generators(self, real: Node, features: Node) -> dict[str, Node]:
        """The generator and, where images are subsampled, the density ratio with the features that it reads."""
        section = self._seeded("generator")
        settings = self.config.generator
        inputs = {"real": real}
        if settings.kind == "external":
            from generators.factories import factory_identity

            section["generator"]["source_sha256"] = factory_identity(settings.factory)
        elif settings.snapshots:
            inputs["features"] = features
        made = {"generator": self._add("generator", section, inputs)}
        if self.config.candidates.subsample:
            pictures = {"real": real, "features": features, **made}
            made |= {"features": features, "ratio": self._add("ratio", self._seeded("ratio"), pictures)}
        self.base |= made
        return made

    def _candidates(self) -> dict[str, Any]:
        """The section, where a file's content stands for its path, and only what has an effect on it is kept."""
        section = self._seeded("candidates")
        path, resize = section["candidates"].pop("file"), section["candidates"].pop("resize")
        if path is not None:
            from data.foreign import foreign_identity

            section["candidates"] = {"file": foreign_identity(Path(path)), "resize": resize}
        return section

    def _fidelity(self) -> dict[str, Any]:
        section = self._seeded("fidelity")
        path = section["fidelity"].pop("inception_weights")
        if section["fidelity"]["extractor"] == "inception":
            section["fidelity"]["inception_weights"] = None if path is None else Path(path).name
        return section

    def _section(self, name: str) -> dict[str, Any]:
        return {name: getattr(self.config, name).model_dump(mode="json")}

    def _seeded(self, name: str) -> dict[str, Any]:
        return {**self._section(name), **self.precision, "seed": self.config.seed}

    def _add(
        self,
        stage: str,
        section: Mapping[str, Any],
        inputs: Mapping[str, Node] | None = None,
        key: str | None = None,
        arguments: Mapping[str, Any] | None = None,
    ) -> Node:
        inputs = inputs or {}
        request = Request(
            stage=stage,
            version=import_module(f"flows.stages.{stage}").VERSION,
            config=section,
            inputs={name: node.request.fingerprint for name, node in inputs.items()},
            label=f"{self.config.name}: {key or stage}",
            seed=int(section.get("seed", self.config.seed)),
        )
        node = Node(key or stage, request, inputs, arguments or {})
        self.nodes.append(node)
        return node

    def _students(self) -> Iterator[Node]:
        distill = self.config.distill
        for student in distill.students:
            for method in distill.methods:
                for data in distill.data:
                    for seed in distill.seeds:
                        yield self._student(student, method, data, seed)

    def _student(self, student: Student, method: Method, data: str, seed: int) -> Node:
        distill = self.config.distill
        distilled: dict[str, Any] = {
            "student": {"network": student.network, "options": student.options},
            "method": method.model_dump(mode="json"),
            "data": data,
            "training": distill.training.model_dump(mode="json"),
        }
        inputs = {"real": self.base["prepare"]}
        if "teacher_outputs" in methods.get(method.name).needs:
            inputs["answers"] = self.base["answers"]
        if data == "real+synthetic":
            inputs["synthetic"] = self.base["synthetic"]
            distilled["real_fraction"] = distill.real_fraction
        key = f"{student.name} / {method.name} / {data} / seed {seed}"
        arguments = {"student": student.name, "method": method.name, "data": data, "seed": seed}
        section = {"distill": distilled, **self.precision, "seed": seed}
        return self._add("distill", section, inputs, key, arguments)


@dataclass(frozen=True)
class Status:
    """Whether a node is cached, and why it would run otherwise."""

    node: Node
    cached: bool
    why: str


def statuses(plan: list[Node], store: Store) -> list[Status]:
    """What the store says of every node of a plan; the stages downstream of a change name their changed input."""
    result = []
    for node in plan:
        cached = store.find(node.stage, node.request.fingerprint) is not None
        result.append(Status(node, cached, "" if cached else reason(store, node.request)))
    return result
