"""Stage ``teacher``: trains the teacher on the real training images, or takes one from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from data.compute import Compute
    from data.store import Artifact
    from data.workspace import Workspace
    from flows.execute import StageContext
    from flows.stages.common import RealSet
    from flows.teacher_config import Imported, Teacher, TrainedTeacher

VERSION = 1
_METHODS = {"class": "ce", "scalar": "mse", "vector": "mse", "class+scalar": "joint"}


def run(context: StageContext) -> dict[str, Any]:
    """Writes the teacher's weights and card; its test figures are read once, after the selection.

    A network ends as an ordinary model, a function, file or endpoint as a card of what it is. A teacher that costs
    something is asked about test images only if ``judges`` says so, and through its ledger.

    Raises:
        StageError: if a file or a factory is not the one that was planned with, or gives other outputs than are wanted.
    """
    from data.errors import StageError
    from flows.stages.common import RealSet, compute_of
    from flows.teacher_cards import member_folder
    from flows.teacher_config import EnsembleTeacher, TrainedTeacher
    from flows.teacher_identity import teacher_identity

    compute = compute_of(context.config)
    real = RealSet.of(context.inputs["real"])
    teacher = context.config.teacher
    if isinstance(teacher, TrainedTeacher):
        metrics = _train(context, teacher, real, compute, context.workspace, context.seed)
        return metrics | _test_figures(context, real, compute)
    if teacher_identity(teacher) != context.node.request.config["teacher"]:
        raise StageError(f"the teacher of kind '{teacher.kind}' has changed since this run was planned; run again.")
    if not isinstance(teacher, EnsembleTeacher):
        return _take(teacher, real, context.workspace.folder, compute, context.seed) | _test_figures(
            context, real, compute
        )
    parts = []
    for place, member in enumerate(teacher.members):
        folder = member_folder(context.workspace.folder, place)
        folder.mkdir(exist_ok=True)
        parts.append(_member(context, member, real, folder, compute, place))
    for place, member in enumerate(teacher.members):
        if isinstance(member, TrainedTeacher):
            _workspace(context, member_folder(context.workspace.folder, place)).clear_state()
    numbers = {
        name: sum(part[name] for part in parts)
        for name in ("parameters", "steps")
        if all(name in part for part in parts)
    }
    return {"members": len(parts), **numbers, **_test_figures(context, real, compute)}


def _member(
    context: StageContext, member: Teacher, real: RealSet, folder: Path, compute: Compute, place: int
) -> dict[str, Any]:
    """A member of an ensemble; each has a seed of its own, so that equal networks become different teachers."""
    from data.random import derive_seed
    from flows.teacher_config import TrainedTeacher

    seed = derive_seed(context.seed, "member", place)
    if isinstance(member, TrainedTeacher):
        return _train(context, member, real, compute, _workspace(context, folder), seed)
    if member.kind == "ensemble":
        raise ValueError("an ensemble must have no ensemble among its members.")
    return _take(member, real, folder, compute, seed)


def _workspace(context: StageContext, folder: Path) -> Workspace:
    """A workspace for the training of one member; what it needs to resume is removed when all members are there."""
    from data.workspace import Workspace

    outer = context.workspace
    return Workspace(folder, checkpoint_seconds=outer.checkpoint_seconds, resumed=outer.resumed)


def _train(
    context: StageContext, teacher: TrainedTeacher, real: RealSet, compute: Compute, workspace: Workspace, seed: int
) -> dict[str, Any]:
    from students.data_parallel import train_in_processes
    from students.training_data import Rows, TrainingData

    train, validation = real.train, real.validation
    return train_in_processes(
        context.config.compute.processes,
        TrainingData(Rows(train.images, train.labels)),
        (validation.images, validation.labels),
        real.label_space,
        network=teacher.network,
        options=teacher.options,
        method=_METHODS[real.label_space.kind],
        **teacher.training.model_dump(),
        seed=seed,
        initial_seed=seed,
        compute=compute,
        workspace=workspace,
    )


def _take(teacher: Imported, real: RealSet, folder: Path, compute: Compute, seed: int) -> dict[str, Any]:
    """Writes what the artifact keeps of a teacher from elsewhere."""
    from flows.importing_teachers import import_teacher

    return import_teacher(teacher, real.label_space, real.train.images, folder, compute, seed)


def _test_figures(context: StageContext, real: RealSet, compute: Compute) -> dict[str, Any]:
    """How good it is on the test part; nothing where that costs something and ``judges`` is not set.

    Answers that are paid for are recorded, so that later stages have them for nothing.
    """
    from dataclasses import replace

    from flows.stages.common import figures_of
    from flows.teacher_identity import is_paid
    from flows.teachers import judging_teacher, open_unrecorded

    folder, test = context.workspace.folder, real.test
    if not is_paid(context.config.teacher):
        with open_unrecorded(context, folder, compute) as teacher:
            return figures_of(teacher.answer(test.images), test.labels, real.label_space)
    inputs = {**context.inputs, "teacher": _artifact_to_be(context)}
    with judging_teacher(replace(context, inputs=inputs), compute) as paid:
        if paid is None:
            return {}
        figures = figures_of(paid.answer(test.images), test.labels, real.label_space)
        return {**figures, "teacher_calls_to_judge": len(test.rows), **paid.paid()}


def _artifact_to_be(context: StageContext) -> Artifact:
    """What is made here as later stages will find it, by which ledgers know the teacher."""
    from data.files import sha256_of
    from data.store import Artifact
    from data.workspace import STATE_FOLDER

    folder = context.workspace.folder
    files = {
        path.relative_to(folder).as_posix(): {"sha256": sha256_of(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(folder).parts[0] != STATE_FOLDER and path.suffix != ".tmp"
    }
    return Artifact(folder, {"fingerprint": context.node.request.fingerprint, "files": files})
