"""The plan of a run: every stage with its configuration, its inputs and its fingerprint.

Planning reads the configuration and the identity of the source, nothing else: neither torch nor Prefect.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
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
    "generator",
    "ratio",
    "candidates",
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
    def __init__(self, config: Config) -> None:
        self.config = config
        self.nodes: list[Node] = []
        shared = {"seed": config.seed, "precision": config.compute.precision}
        source = make_source(config).identity()
        real = self._add("prepare", {"source": source, **config.prepare.model_dump(mode="json")})
        teacher = self._add("teacher", {**config.teacher.model_dump(mode="json"), **shared}, {"real": real})
        answers = self._add("answers", {"precision": config.compute.precision}, {"real": real, "teacher": teacher})
        self.base = {"prepare": real, "teacher": teacher, "answers": answers}
        if config.uses_synthetic:
            generator = self._add("generator", {**config.generator.model_dump(mode="json"), **shared}, {"real": real})
            pictures = {"real": real, "generator": generator}
            candidates_inputs = {**pictures, "teacher": teacher}
            if config.candidates.subsample:
                ratio = self._add("ratio", {**config.ratio.model_dump(mode="json"), **shared}, pictures)
                candidates_inputs["ratio"] = ratio
                self.base["ratio"] = ratio
            candidates = self._add(
                "candidates", {**config.candidates.model_dump(mode="json"), **shared}, candidates_inputs
            )
            synthetic = self._add("synthetic", config.synthetic.model_dump(mode="json"), {"candidates": candidates})
            self.base |= {"generator": generator, "candidates": candidates, "synthetic": synthetic}
        students = {node.key: node for node in self._students()}
        resolved = config.model_dump(mode="json", exclude={"compute", "profiles"})
        self._add("report", resolved, {**self.base, **students})

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
        section = {
            "network": student.network,
            "options": student.options,
            "method": method.model_dump(mode="json"),
            "data": data,
            "training": distill.training.model_dump(mode="json"),
            "seed": seed,
            "precision": self.config.compute.precision,
        }
        inputs = {"real": self.base["prepare"]}
        if "teacher_outputs" in methods.get(method.name).needs:
            inputs["answers"] = self.base["answers"]
        if data == "real+synthetic":
            inputs["synthetic"] = self.base["synthetic"]
            section["real_fraction"] = distill.real_fraction
        key = f"{student.name} / {method.name} / {data} / seed {seed}"
        arguments = {"student": student.name, "method": method.name, "data": data, "seed": seed}
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
