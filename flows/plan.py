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
from flows.config import Config
from flows.own_networks import source_of
from flows.plan_sections import Sections
from flows.recipe_config import asks_about_mixes, drawn_in_training, groups_section, mixes_section
from flows.reporting.wording import ALONE
from flows.student_config import Method, Student
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
    "recipes",
    "distill",
    "assess",
    "report",
)


@dataclass(frozen=True)
class Node:
    """One stage of a run.

    Args:
        key: its name in the run; the stage's name, but for ``distill`` one a student, method, data and seed, and for
            ``recipes`` one a list of rows.
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


class _Planner:
    """Makes the nodes; a request's configuration has the keys of the user's file, so that a change is named by them."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.nodes: list[Node] = []
        self.students: dict[str, Node] = {}
        self.recipes: dict[str, Node] = {}
        self.sections = Sections(config)
        real = self._add("prepare", {"source": make_source(config).identity(), **self.sections.section("prepare")})
        teacher = self._add("teacher", self.sections.teacher(), {"real": real})
        answers = self._add("answers", self.sections.answers(), {"real": real, "teacher": teacher})
        self.base = {"prepare": real, "teacher": teacher, "answers": answers}
        if config.uses_synthetic:
            self._add_synthetic(real, teacher)
        self._add_recipes()
        students = {node.key: node for node in self._all_students()}
        if config.assess.enabled:
            self.base["assess"] = self._add(
                "assess", self.sections.assess(), {"real": real, "teacher": teacher, **students}
            )
        resolved = config.model_dump(mode="json", exclude={"compute", "profile", "profiles"})
        self._add("report", resolved, {**self.base, **self.recipes, **students})

    def _add_synthetic(self, real: Node, teacher: Node) -> None:
        features = self._add("features", self.sections.seeded("features"), {"real": real})
        self.base["features"] = features
        inputs = {"real": real, "teacher": teacher}
        if self.config.candidates.file is None:
            inputs |= self._generators(real, features)
        candidates = self._add("candidates", self.sections.candidates(), inputs)
        self.base["candidates"] = candidates
        if self.config.fidelity.enabled:
            judged = {name: node for name, node in inputs.items() if name != "ratio"}
            judged |= {"features": features, "candidates": candidates}
            self.base["fidelity"] = self._add("fidelity", self.sections.fidelity(), judged)
        self.base["synthetic"] = synthetic = self._synthetic(real, candidates)
        if self.config.audit.enabled:
            judged = {"real": real, "features": features, "teacher": teacher, "synthetic": synthetic}
            section = {
                **self.sections.seeded("audit"),
                **self.sections.judged(),
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
                **self.sections.section("synthetic"),
                "distill": {
                    "student": {"network": student.network, "options": student.options, **source_of(student)},
                    "method": method.request(),
                    "training": self.config.distill.training.model_dump(mode="json"),
                    "real_fraction": self.config.distill.real_fraction,
                    "synthetic_weight": self.config.distill.synthetic_weight,
                    **self._recipe(method),
                },
                **self._drawn(method),
                **self.sections.trains,
                "seed": self.config.seed,
            }
            seen = {"real": real, "candidates": candidates}
            seen |= self._taught(method) | self._compared(method, "real")
            self.base["tuning"] = inputs["tuning"] = self._add("tuning", section, seen)
        return self._add("synthetic", self.sections.section("synthetic"), inputs)

    def _generators(self, real: Node, features: Node) -> dict[str, Node]:
        """The generator and, where images are subsampled, the density ratio with the features that it reads."""
        section = self.sections.seeded("generator")
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
            ratio = self._add("ratio", self.sections.ratio(), {"real": real, **judges, **made})
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
        from flows.recipes import recipe_digest

        return {"recipe": recipe_digest(path)}

    def _drawn(self, method: Method) -> dict[str, Any]:
        """What decides the comparisons of synthetic rows in short runs, also where a recipe has those of real ones."""
        sizes = group_sizes(make_method(method.name, method.options))
        if sizes is None or drawn_in_training(self.config.recipes.groups):
            return {}
        return groups_section(self.config.recipes.groups, sizes)

    def _add_recipes(self) -> None:
        """All lists of rows that students read, before the first of them."""
        for method in self.config.distill.methods:
            for data in self.config.distill.data:
                self._compared(method, data)
                if data == "real+mixed":
                    self._mixed(method)

    def _compared(self, method: Method, data: str) -> dict[str, Node]:
        """Comparisons of a method's own sizes, for each kind of rows; none where they are drawn as students train."""
        sizes = group_sizes(make_method(method.name, method.options))
        if sizes is None or drawn_in_training(self.config.recipes.groups):
            return {}
        found = {}
        if self.config.distill.recipe is None:
            found["groups"] = self._groups(sizes, "real", self.base["prepare"])
        if data == "real+synthetic":
            found["synthetic_groups"] = self._groups(sizes, "synthetic", self.base["synthetic"])
        return found

    def _groups(self, sizes: tuple[int, int], part: str, rows: Node) -> Node:
        """Comparisons between rows of one set; made once."""
        key = f"recipes / groups of {sizes[0]} and {sizes[1]} / {part}"
        if key not in self.recipes:
            inputs = {part: rows}
            if part == "real" and self.config.recipes.groups.relation == "teacher_similar":
                inputs["answers"] = self.base["answers"]
            self.recipes[key] = self._add("recipes", groups_section(self.config.recipes.groups, sizes), inputs, key)
        return self.recipes[key]

    def _mixed(self, method: Method) -> Node:
        """The mixes that a method's students train on: with the teacher's answers where these are read; made once."""
        needs = make_method(method.name, method.options).needs
        asked = asks_about_mixes(self.config.recipes.mixes, needs)
        key = f"recipes / mixes{'' if asked else ' without the teacher'}"
        if key not in self.recipes:
            inputs = {"real": self.base["prepare"]}
            section = mixes_section(self.config.recipes.mixes)
            if asked:
                inputs["teacher"], section = self.base["teacher"], {**section, **self.sections.precision}
            self.recipes[key] = self._add("recipes", section, inputs, key)
        return self.recipes[key]

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
        inputs |= self._taught(method) | self._compared(method, data)
        section: dict[str, Any] = {"distill": distilled, **self.sections.trains, "seed": seed}
        if data == "real+synthetic":
            inputs["synthetic"] = self.base["synthetic"]
        if data == "real+mixed":
            inputs["mixes"] = self._mixed(method)
            section["recipes"] = {"mixes": {"labels": self.config.recipes.mixes.labels}}
        if data != "real":
            distilled["real_fraction"] = distill.real_fraction
            distilled["synthetic_weight"] = distill.synthetic_weight
        arguments = {"student": student.name, "method": method.shown, "data": data, "seed": seed}
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
