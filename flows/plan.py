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
from flows.assessing import teacher_role
from flows.config import Config
from flows.own_networks import source_of
from flows.reporting.wording import ALONE
from flows.student_config import Method, Student
from flows.teacher_config import HttpTeacher, OnnxTeacher
from flows.teacher_identity import judges, seeded, teacher_identity
from flows.tuning import tuning_steps
from students.methods import LIVE_NEEDS, group_sizes, make_method, methods

STAGES = (
    "prepare",
    "teacher",
    "answers",
    "features",
    "generator",
    "ratio",
    "candidates",
    "fidelity",
    "tuning",
    "synthetic",
    "audit",
    "distill",
    "assess",
    "report",
)


@dataclass(frozen=True)
class Node:
    """One stage of a run.

    Args:
        key: its name in the run; the stage's name, but for ``distill`` one a student, method, data and seed.
        request: what is asked of the store.
        config: the configuration that it was planned with.
        inputs: the nodes whose artifacts it reads, by input name.
        arguments: what tells apart several nodes of one stage.
    """

    key: str
    request: Request
    config: Config
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


def labels_only(kind: str) -> str:
    """The method that trains on labels alone, for a kind of label space."""
    return next(name for name in ALONE if kind in methods.get(name).tasks)


def make_plan(config: Config) -> list[Node]:
    """All stages of a run, inputs first.

    Raises:
        DataError: if the files of the source are missing.
    """
    planner = _Planner(config)
    return planner.nodes


#: Options of ``candidates`` that only rejection reads.
_OF_REJECTION = ("burn_in", "bound", "bound_quantile", "least_acceptance", "max_draws", "fallback")


class _Planner:
    """Makes the nodes; a request's configuration has the keys of the user's file, so that a change is named by them."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.nodes: list[Node] = []
        self.students: dict[str, Node] = {}
        self.precision: dict[str, Any] = {"compute": {"precision": config.compute.precision}}
        several = {"processes": config.compute.processes} if config.compute.processes > 1 else {}
        self.trains = {"compute": {"precision": config.compute.precision, **several}}
        real = self._add("prepare", {"source": make_source(config).identity(), **self._section("prepare")})
        teacher = self._add("teacher", self._teacher(), {"real": real})
        answers = self._add("answers", self._answers(), {"real": real, "teacher": teacher})
        self.base = {"prepare": real, "teacher": teacher, "answers": answers}
        if config.uses_synthetic:
            self._add_synthetic(real, teacher)
        students = {node.key: node for node in self._all_students()}
        if config.assess.enabled:
            self.base["assess"] = self._add("assess", self._assess(), {"real": real, "teacher": teacher, **students})
        resolved = config.model_dump(mode="json", exclude={"compute", "profile", "profiles"})
        self._add("report", resolved, {**self.base, **students})

    def _teacher(self) -> dict[str, Any]:
        """What decides the teacher's answers; nothing of how it is asked."""
        teacher = self.config.teacher
        section: dict[str, Any] = {"teacher": teacher_identity(teacher)}
        if not isinstance(teacher, HttpTeacher | OnnxTeacher):
            section |= self.trains if seeded(teacher) else self.precision
        return section | ({"seed": self.config.seed} if seeded(teacher) else {})

    def _answers(self) -> dict[str, Any]:
        """The section where there are views; without them only the precision counts."""
        if not self.config.answers.views:
            return self.precision
        return self._seeded("answers")

    def _judged(self) -> dict[str, Any]:
        """Whether stages that only judge go without the teacher."""
        return {} if judges(self.config.teacher) else {"teacher": {"judges": False}}

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
        self.base["synthetic"] = synthetic = self._synthetic(real, candidates)
        if self.config.audit.enabled:
            judged = {"real": real, "features": features, "teacher": teacher, "synthetic": synthetic}
            section = {
                **self._seeded("audit"),
                **self._judged(),
                "distill": {"real_fraction": self.config.distill.real_fraction},
            }
            self.base["audit"] = self._add("audit", section, judged)

    def _synthetic(self, real: Node, candidates: Node) -> Node:
        """What is kept of the candidates, with the short student runs before it that choose quantile or count."""
        inputs = {"candidates": candidates}
        if self.config.synthetic.tuned:
            student, method = self.config.distill.students[0], self.config.distill.methods[0]
            tuning = {**self.config.tuning.model_dump(mode="json"), "steps": tuning_steps(self.config)}
            if self.config.synthetic.quantile != "auto":
                tuning.pop("quantiles")
            if self.config.synthetic.count != "auto":
                tuning.pop("shares")
            section = {
                "tuning": tuning,
                **self._section("synthetic"),
                "distill": {
                    "student": {"network": student.network, "options": student.options, **source_of(student)},
                    "method": method.request(),
                    "training": self.config.distill.training.model_dump(mode="json"),
                    "real_fraction": self.config.distill.real_fraction,
                    "synthetic_weight": self.config.distill.synthetic_weight,
                    **self._recipe(method),
                },
                **self.trains,
                "seed": self.config.seed,
            }
            seen = {"real": real, "candidates": candidates}
            seen |= self._taught(method)
            self.base["tuning"] = inputs["tuning"] = self._add("tuning", section, seen)
        return self._add("synthetic", self._section("synthetic"), inputs)

    def _generators(self, real: Node, features: Node) -> dict[str, Node]:
        """The generator and, where images are subsampled, the density ratio with the features that it reads."""
        section = self._seeded("generator")
        settings = self.config.generator
        inputs = {"real": real}
        if settings.kind == "external":
            from data.factories import factory_identity

            section["generator"]["source_sha256"] = factory_identity(settings.factory, "generator.factory")
        elif settings.snapshots:
            inputs["features"] = features
        made = {"generator": self._add("generator", section, inputs)}
        if self.config.candidates.subsample:
            judges = self._judges(real, features)
            ratio = self._add("ratio", self._ratio(), {"real": real, **judges, **made})
            made |= {**judges, "ratio": ratio}
        self.base |= {name: node for name, node in made.items() if name != "student"}
        return made

    def _judges(self, real: Node, features: Node) -> dict[str, Node]:
        """The artifacts whose networks give the ratio its features, or predict labels for its vicinity."""
        settings = self.config.ratio
        judges = {"features": features} if settings.features == "classifier" or settings.vicinity_gaps else {}
        if settings.features == "teacher":
            judges["teacher"] = self.base["teacher"]
        if settings.features == "student":
            alone = labels_only(make_source(self.config).label_space.kind)
            distill = self.config.distill
            # A method of the run by that name is taken with its options, as it is the student of that key.
            method = next((item for item in distill.methods if item.shown == alone), Method(name=alone))
            judges["student"] = self._student(distill.students[0], method, "real", distill.seeds[0])
        return judges

    def _ratio(self) -> dict[str, Any]:
        """The section without options that what is read has no use for."""
        section = self._seeded("ratio")
        features = section["ratio"]["features"]
        if features != "autoencoder":
            section["ratio"].pop("autoencoder")
        if features == "generator":
            section["ratio"] = {name: section["ratio"][name] for name in ("features", "vicinity_gaps")}
        return section

    def _candidates(self) -> dict[str, Any]:
        """The section, where a file's content stands for its path, and only what has an effect on it is kept."""
        section = self._seeded("candidates")
        path, resize = section["candidates"].pop("file"), section["candidates"].pop("resize")
        if not self.config.candidates.subsample:
            for name in _OF_REJECTION:
                section["candidates"].pop(name)
        if path is not None:
            from data.foreign import foreign_identity

            section["candidates"] = {"file": foreign_identity(Path(path)), "resize": resize}
        return section

    def _fidelity(self) -> dict[str, Any]:
        section = self._seeded("fidelity")
        path = section["fidelity"].pop("inception_weights")
        if section["fidelity"]["extractor"] == "inception":
            section["fidelity"]["inception_weights"] = None if path is None else Path(path).name
        return section | self._judged()

    def _assess(self) -> dict[str, Any]:
        """The section without options that nothing reads."""
        section = self._seeded("assess")
        if not self.config.assess.corruptions:
            section["assess"].pop("severities")
            section["assess"].pop("test_images")
        if not self.config.assess.latency_batches:
            section["assess"].pop("latency_repeats")
        role = teacher_role(self.config.teacher)
        if role != "network":
            section["teacher"] = {"measured": role}
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
        node = Node(key or stage, request, self.config, inputs, arguments or {})
        self.nodes.append(node)
        return node

    def _all_students(self) -> Iterator[Node]:
        distill = self.config.distill
        for student in distill.students:
            for method in distill.methods:
                for data in distill.data:
                    for seed in distill.seeds:
                        yield self._student(student, method, data, seed)

    def _student(self, student: Student, method: Method, data: str, seed: int) -> Node:
        """A student's node; made once, as the density ratio may read a student that is a result too."""
        key = f"{student.name} / {method.shown} / {data} / seed {seed}"
        if key not in self.students:
            self.students[key] = self._new_student(key, student, method, data, seed)
        return self.students[key]

    def _taught(self, method: Method) -> dict[str, Node]:
        """What a method reads of the teacher: its cached answers, or the teacher itself."""
        needs = make_method(method.name, method.options).needs
        read = {"answers": {"teacher_outputs", "teacher_errors"}, "teacher": LIVE_NEEDS}
        return {name: self.base[name] for name, wanted in read.items() if needs & wanted}

    def _recipe(self, method: Method) -> dict[str, str]:
        """The content of the recipe, where the method compares groups."""
        path = self.config.distill.recipe
        if path is None or group_sizes(make_method(method.name, method.options)) is None:
            return {}
        from flows.recipes import open_recipe

        return {"recipe": open_recipe(path).content_sha256}

    def _new_student(self, key: str, student: Student, method: Method, data: str, seed: int) -> Node:
        distill = self.config.distill
        distilled: dict[str, Any] = {
            "student": {"network": student.network, "options": student.options, **source_of(student)},
            "method": method.request(),
            "data": data,
            "training": distill.training.model_dump(mode="json"),
            **self._recipe(method),
        }
        inputs = {"real": self.base["prepare"]}
        inputs |= self._taught(method)
        if data == "real+synthetic":
            inputs["synthetic"] = self.base["synthetic"]
            distilled["real_fraction"] = distill.real_fraction
            distilled["synthetic_weight"] = distill.synthetic_weight
        arguments = {"student": student.name, "method": method.shown, "data": data, "seed": seed}
        section = {"distill": distilled, **self.trains, "seed": seed}
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
