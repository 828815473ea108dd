"""Stage ``teacher``: trains the teacher on the real training images, or takes one from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from data.compute import Compute
    from data.workspace import Workspace
    from flows.execute import StageContext
    from flows.stages.common import RealSet
    from flows.teacher_config import Imported, Teacher, TrainedTeacher

VERSION = 1
#: Images that a teacher from elsewhere is given to be tried on.
_TRIED = 64
_METHODS = {"class": "ce", "scalar": "mse", "vector": "mse", "class+scalar": "joint"}


def run(context: StageContext) -> dict[str, Any]:
    """Writes the teacher's weights and card; its test figures are read once, after the selection.

    A network ends as an ordinary model, a function, file or endpoint as a card of what it is.

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
        metrics = _take(teacher, real, context.workspace.folder, compute, context.seed)
        _check_network(context)
        return metrics | _test_figures(context, real, compute)
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
    _check_network(context)
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

    train, validation = real.unread_train, real.unread_validation
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
        image_memory=context.config.compute.image_memory,
        workspace=workspace,
    )


def _take(teacher: Imported, real: RealSet, folder: Path, compute: Compute, seed: int) -> dict[str, Any]:
    """Writes what the artifact keeps of a teacher from elsewhere."""
    from flows.importing_teachers import import_teacher

    return import_teacher(teacher, real.label_space, real.unread_train.images[:_TRIED], folder, compute, seed)


def _check_network(context: StageContext) -> None:
    """Checks that a factory has made a network where one is needed; what it makes is known only now.

    Raises:
        ConfigError: naming what needs one.
    """
    from data.errors import ConfigError
    from flows.teacher_cards import makes_network
    from students.methods import LIVE_NEEDS, make_method

    config = context.config
    if makes_network(config.teacher, context.workspace.folder):
        return
    for method in config.distill.methods:
        if make_method(method.name, method.options).needs & LIVE_NEEDS:
            raise ConfigError(
                f"distill.methods: '{method.name}' needs the teacher as a network, but teacher.factory makes a "
                "function; return a torch.nn.Module, or choose methods that need its answers alone ('stillhouse list "
                "methods' tells)."
            )
    if config.uses_synthetic and config.candidates.subsample and config.ratio.features == "teacher":
        raise ConfigError(
            "ratio.features 'teacher' needs the teacher as a network, but teacher.factory makes a function; return a "
            "torch.nn.Module, or try ratio.features 'classifier'."
        )


def _test_figures(context: StageContext, real: RealSet, compute: Compute) -> dict[str, Any]:
    """How good a teacher is whose weights or file are here, on the test part.

    Asking a function or an endpoint may cost something, so that this is left to the stage ``assess``: what this stage
    makes does not depend on what the teacher may be asked.
    """
    import numpy as np

    from flows.stages.common import answered, figures_of
    from flows.teacher_cards import runs_here
    from flows.teachers import open_unrecorded

    folder, test = context.workspace.folder, real.unread_test
    if not runs_here(context.config.teacher, folder):
        return {}
    with open_unrecorded(context, folder, compute) as teacher:
        blocks = answered(teacher, test.images, context.config.compute.block_rows)
        return figures_of(np.concatenate(list(blocks)), test.labels, real.label_space)
