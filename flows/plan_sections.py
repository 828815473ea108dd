"""What decides the artifact of each stage: its own section of the configuration, without what has no effect on it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.assessing import teacher_role
from flows.config import Config
from flows.teacher_config import HttpTeacher, OnnxTeacher
from flows.teacher_identity import judges, seeded, teacher_identity

#: Options of ``candidates`` that only rejection reads.
_OF_REJECTION = ("burn_in", "bound", "bound_quantile", "least_acceptance", "max_draws", "fallback")


@dataclass(frozen=True)
class Sections:
    """JSON-ready sections of a configuration, with the keys of the user's file, so that a change is named by them.

    Args:
        config: of the run.
    """

    config: Config

    @property
    def precision(self) -> dict[str, Any]:
        """What decides how networks compute."""
        return {"compute": {"precision": self.config.compute.precision}}

    @property
    def trains(self) -> dict[str, Any]:
        """The same for what is trained, perhaps by several processes."""
        several = {"processes": self.config.compute.processes} if self.config.compute.processes > 1 else {}
        return {"compute": {"precision": self.config.compute.precision, **several}}

    def teacher(self) -> dict[str, Any]:
        """What decides the teacher's answers; nothing of how it is asked."""
        teacher = self.config.teacher
        section: dict[str, Any] = {"teacher": teacher_identity(teacher)}
        if not isinstance(teacher, HttpTeacher | OnnxTeacher):
            section |= self.trains if seeded(teacher) else self.precision
        return section | ({"seed": self.config.seed} if seeded(teacher) else {})

    def answers(self) -> dict[str, Any]:
        """The section where there are views; without them only the precision counts."""
        if not self.config.answers.views:
            return self.precision
        return self.seeded("answers")

    def judged(self) -> dict[str, Any]:
        """Whether stages that only judge go without the teacher."""
        return {} if judges(self.config.teacher) else {"teacher": {"judges": False}}

    def ratio(self) -> dict[str, Any]:
        """The section without options that what is read has no use for."""
        section = self.seeded("ratio")
        features = section["ratio"]["features"]
        if features != "autoencoder":
            section["ratio"].pop("autoencoder")
        if features == "generator":
            section["ratio"] = {name: section["ratio"][name] for name in ("features", "vicinity_gaps")}
        return section

    def candidates(self) -> dict[str, Any]:
        """The section, where a file's content stands for its path, and only what has an effect on it is kept."""
        section = self.seeded("candidates")
        path, resize = section["candidates"].pop("file"), section["candidates"].pop("resize")
        if not self.config.candidates.subsample:
            for name in _OF_REJECTION:
                section["candidates"].pop(name)
        if path is not None:
            from data.foreign import foreign_identity

            section["candidates"] = {"file": foreign_identity(Path(path)), "resize": resize}
        return section

    def fidelity(self) -> dict[str, Any]:
        """The section, where a name stands for the path of weights, and only where they are read."""
        section = self.seeded("fidelity")
        path = section["fidelity"].pop("inception_weights")
        if section["fidelity"]["extractor"] == "inception":
            section["fidelity"]["inception_weights"] = None if path is None else Path(path).name
        return section | self.judged()

    def assess(self) -> dict[str, Any]:
        """The section without options that nothing reads."""
        section = self.seeded("assess")
        if not self.config.assess.corruptions:
            section["assess"].pop("severities")
            section["assess"].pop("test_images")
        if not self.config.assess.latency_batches:
            section["assess"].pop("latency_repeats")
        role = teacher_role(self.config.teacher)
        if role != "network":
            section["teacher"] = {"measured": role}
        return section

    def section(self, name: str) -> dict[str, Any]:
        """A whole section by its name."""
        return {name: getattr(self.config, name).model_dump(mode="json")}

    def seeded(self, name: str) -> dict[str, Any]:
        """A whole section with the seed of the run and the precision of its networks."""
        return {**self.section(name), **self.precision, "seed": self.config.seed}
