"""Who the teacher is, what it can serve and what asking it costs, as the configuration tells; nothing is loaded."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from data.errors import ConfigError
from data.factories import factory_identity
from data.files import sha256_of
from flows.own_networks import source_of
from flows.student_config import Network
from flows.teacher_config import (
    Asked,
    CheckpointTeacher,
    EnsembleTeacher,
    FactoryTeacher,
    HttpTeacher,
    Imported,
    OnnxTeacher,
    PretrainedTeacher,
    Teacher,
    TrainedTeacher,
)
from students.methods import LIVE_NEEDS

#: What decides no answer: how the teacher is asked, and what asking it may cost.
_HOW_ASKED = frozenset(Asked.model_fields) | {
    "encoding",
    "batch_images",
    "timeout_seconds",
    "attempts",
    "backoff_seconds",
    "requests_per_second",
    "token_variable",
    "give_up_unanswered",
}
#: Needs of methods that several networks together can serve: they have no common weights and features.
_OF_ENSEMBLES = frozenset({"live_teacher", "input_gradients"})


def teacher_identity(teacher: Teacher) -> dict[str, Any]:
    """All of a teacher's section that decides its answers, JSON-ready: files by their content, code by its source.

    Raises:
        ConfigError: if a file or a factory is not there.
    """
    if isinstance(teacher, EnsembleTeacher):
        members = [teacher_identity(member) for member in teacher.members]
        return {"kind": teacher.kind, "members": members, "weights": _listed(teacher.weights)}
    section = teacher.model_dump(mode="json", exclude=set(_HOW_ASKED))
    if isinstance(teacher, Network):
        section |= source_of(teacher)
    if isinstance(teacher, CheckpointTeacher | OnnxTeacher):
        path = Path(section.pop("path"))
        section["file_sha256"] = _digest(path)
        beside = path.with_name(f"{path.name}.data")
        if isinstance(teacher, OnnxTeacher) and beside.is_file():
            section["data_sha256"] = sha256_of(beside)
    if isinstance(teacher, FactoryTeacher):
        section["source_sha256"] = factory_identity(teacher.factory, "teacher.factory")
    if isinstance(teacher, PretrainedTeacher) and teacher.weights == "DEFAULT":
        # What a library takes for the best may change with it.
        section["release"] = _release(teacher.library)
    return section


def ledger_identity(teacher: HttpTeacher) -> dict[str, Any]:
    """What an endpoint's ledger is known by; what is made of its answers here has no part in it."""
    return {"kind": teacher.kind, "url": teacher.url, "version": teacher.version}


def members_of(teacher: Teacher) -> Iterator[Any]:
    """The teacher itself, or the members of an ensemble."""
    if isinstance(teacher, EnsembleTeacher):
        yield from teacher.members
    else:
        yield teacher


def uses_ledger(teacher: Teacher) -> bool:
    """Whether the answers of a teacher, or of the ensemble as a whole, are recorded."""
    return isinstance(teacher, HttpTeacher) or teacher.ledger or teacher.max_calls is not None


def is_paid(teacher: Teacher) -> bool:
    """Whether asking costs something: an endpoint, or a budget, of the teacher or of a member."""
    asked = [teacher, *members_of(teacher)]
    return any(isinstance(member, HttpTeacher) or member.max_calls is not None for member in asked)


def judges(teacher: Teacher) -> bool:
    """Whether stages that only judge may ask the teacher."""
    return teacher.judges if teacher.judges is not None else not is_paid(teacher)


def has_network(teacher: Teacher) -> bool:
    """Whether the teacher is a torch network that may be run as often as one likes; a factory may yet make none."""
    return "live_teacher" in teacher_gives(teacher)


def teacher_gives(teacher: Teacher) -> frozenset[str]:
    """What of ``students.methods.LIVE_NEEDS`` a teacher can serve.

    A teacher whose answers are recorded or counted serves none: in training it would be asked past the ledger.
    """
    members = list(members_of(teacher))
    if uses_ledger(teacher) or any(uses_ledger(member) or isinstance(member, OnnxTeacher) for member in members):
        return frozenset()
    return _OF_ENSEMBLES if isinstance(teacher, EnsembleTeacher) else LIVE_NEEDS


def why_not_live(teacher: Teacher) -> str:
    """Why a teacher serves not all of ``LIVE_NEEDS``, in words."""
    for member in (teacher, *members_of(teacher)):
        if isinstance(member, HttpTeacher | OnnxTeacher):
            return f"teacher.kind '{member.kind}' is no torch network"
        if uses_ledger(member):
            return "teacher.ledger or teacher.max_calls is set, and a teacher in every step would be asked past them"
    return f"teacher.kind '{teacher.kind}' has no weights and features of its own"


def check_teacher(teacher: Teacher) -> None:
    """Checks what can be known of a teacher before anything runs: files and packages.

    Raises:
        ConfigError: naming the key that cannot work.
    """
    for member in members_of(teacher):
        teacher_identity(member)
        if isinstance(member, OnnxTeacher):
            _needs("onnxruntime", "onnx", "teacher.kind onnx")
            _needs("onnx", "onnx", "teacher.kind onnx")
        if isinstance(member, PretrainedTeacher) and member.library == "timm":
            _needs("timm", "timm", "teacher.library timm")


def asks_teacher(stage: str, teacher: Teacher, inputs: Collection[str] = ()) -> bool:
    """Whether a stage asks the teacher for answers, and not only for what it is.

    Args:
        stage: its name.
        teacher: of the run.
        inputs: what the stage reads, by name.
    """
    if stage in ("answers", "candidates"):
        return True
    if stage == "recipes":
        return "teacher" in inputs
    return stage in ("fidelity", "audit", "assess") and judges(teacher)


def check_token(teacher: Teacher) -> None:
    """Checks that the token of every endpoint is there, for stages that ask it.

    Raises:
        ConfigError: naming the variable that holds none.
    """
    for member in members_of(teacher):
        token = member.token_variable if isinstance(member, HttpTeacher) else None
        if token is not None and not os.environ.get(token, "").strip():
            raise ConfigError(
                f"teacher.token_variable: the environment variable {token} must hold the token, got nothing; set it "
                "before the run."
            )


def seeded(teacher: Teacher) -> bool:
    """Whether a seed decides the teacher."""
    return any(isinstance(member, TrainedTeacher | FactoryTeacher) for member in members_of(teacher))


def imported_only(teacher: Teacher) -> bool:
    """Whether nothing of the teacher is trained here."""
    return all(isinstance(member, Imported) for member in members_of(teacher))


def _digest(path: Path) -> str:
    if not path.is_file():
        raise ConfigError(f"teacher.path must be a file, got '{path}', which is none; check the name.")
    try:
        return sha256_of(path)
    except OSError as error:
        raise ConfigError(f"teacher.path must be a readable file, got '{path}' ({error.strerror}).") from error


def _listed(weights: tuple[float, ...] | None) -> list[float] | None:
    return None if weights is None else list(weights)


def _release(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return "none"


def _needs(module: str, extra: str, key: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise ConfigError(f"{key} needs the package {module}; pip install 'stillhouse[{extra}]'.")
