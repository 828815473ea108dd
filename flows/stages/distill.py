"""Stage ``distill``: trains one student with one method on one kind of data from one seed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from data.compute import Compute
    from data.reading import ImageSet
    from flows.execute import StageContext
    from flows.stages.common import RealSet
    from students.model import ImageModel
    from students.training_data import Rows, TrainingData

VERSION = 1


def run(context: StageContext) -> dict[str, Any]:
    """Writes the student's weights, card and curves; the test part is read once, after the selection."""
    from flows.stages.common import RealSet, compute_of, figures_on_test
    from students.data_parallel import train_in_processes

    section = context.node.request.config["distill"]
    compute = compute_of(context.config)
    real = RealSet.of(context.inputs["real"])
    validation = real.unread_validation
    metrics = train_in_processes(
        context.config.compute.processes,
        _training_data(context, real),
        (validation.images, validation.labels),
        real.label_space,
        network=section["student"]["network"],
        options=section["student"]["options"],
        method=section["method"]["name"],
        method_options=section["method"]["options"],
        teacher=live_teacher(context, compute),
        **context.config.distill.training.model_dump(),
        image_memory=context.config.compute.image_memory,
        real_fraction=section.get("real_fraction", 0.5),
        synthetic_weight=section.get("synthetic_weight", 1.0),
        seed=context.seed,
        initial_seed=context.seed,
        compute=compute,
        workspace=context.workspace,
    )
    return metrics | figures_on_test(context, real, compute) | {"teacher_calls": _teacher_calls(context)}


def live_teacher(context: StageContext, compute: Compute) -> ImageModel | None:
    """The teacher's network, for a method that asks it in every step; None where the stage has it not as its input."""
    from flows.teachers import teacher_network

    return teacher_network(context, compute) if "teacher" in context.inputs else None


def real_rows(context: StageContext, real: RealSet) -> Rows:
    """The training rows, with the teacher's answers, its views and the comparisons of groups as far as they are read.

    Raises:
        DataError: if the recipe is of another set than the real one.
        StageError: if it is not the recipe that was planned with.
    """
    from flows.stages.common import answers_of, view_rule
    from students.training_data import Rows

    train, answers = real.unread_train, context.inputs.get("answers")
    return Rows(
        train.images,
        train.labels,
        None if answers is None else answers_of(answers, train.rows),
        views=None if answers is None else view_rule(answers),
        groups=_groups(context, real),
    )


def _groups(context: StageContext, real: RealSet) -> Any:
    """Comparisons between training rows: of the recipe that was planned with, or of the stage ``recipes``."""
    from data.errors import StageError
    from data.recipes.groups import groups_of_rows
    from data.splitting import TRAIN
    from flows.recipes import read_recipe

    planned = context.node.request.config["distill"].get("recipe")
    path = context.config.distill.recipe
    if planned is None or path is None:
        return _compared(context, "groups", real.images, real.rows(TRAIN))
    groups = read_recipe(path)
    if groups.content_sha256 != planned:
        raise StageError(f"distill.recipe {path} has changed since this run was planned; run again.")
    return groups_of_rows(groups, real.images, real.rows(TRAIN), f"distill.recipe {path}")


def _compared(context: StageContext, name: str, images: ImageSet, rows: npt.NDArray[np.int64]) -> Any:
    """Comparisons of an input of the stage ``recipes`` as places among rows of a set; None where it is no input."""
    from data.recipes.groups import groups_of_rows, read_groups
    from flows.stages.recipes import GROUPS

    if name not in context.inputs:
        return None
    path = context.inputs[name].path(GROUPS)
    return groups_of_rows(read_groups(path), images, rows, str(path))


def _training_data(context: StageContext, real: RealSet) -> TrainingData:
    import numpy as np

    from data.reading import open_set
    from students.training_data import Rows, TrainingData

    rows = real_rows(context, real)
    if "mixes" in context.inputs:
        return TrainingData(rows, _mixed_rows(context, real, rows))
    if "synthetic" not in context.inputs:
        return TrainingData(rows)
    synthetic = open_set(context.inputs["synthetic"].path("synthetic.h5"))
    columns = synthetic.columns
    soft = bool(context.inputs["synthetic"].metrics["soft_labels"])
    outputs = np.asarray(columns["teacher_outputs"])
    compared = _compared(context, "synthetic_groups", synthetic, np.arange(len(synthetic)))
    labels = np.asarray(columns["labels"])
    return TrainingData(rows, Rows(synthetic.select("images"), labels, outputs, soft_labels=soft, groups=compared))


def _mixed_rows(context: StageContext, real: RealSet, rows: Rows) -> Rows:
    """Mixes of the training rows, with the teacher's answers to them, or with both labels mixed as the images are."""
    from data.recipes.mixes import mixes_of_rows, read_mixes
    from data.splitting import TRAIN
    from flows.stages.recipes import MIXES
    from students.training_data import Rows

    path = context.inputs["mixes"].path(MIXES)
    mixes = mixes_of_rows(read_mixes(path), real.images, real.rows(TRAIN), str(path))
    soft = context.node.request.config["recipes"]["mixes"]["labels"] == "teacher"
    return Rows(rows.images, rows.labels, mixes.teacher_outputs, soft_labels=soft, mixes=mixes)


def _teacher_calls(context: StageContext) -> int:
    """Teacher answers that this student's data cost: for real images, for the candidates that were filtered, for mixes.

    Mixes count with all that were drawn, also those that were not picked.
    """
    asked = (context.inputs[name] for name in ("answers", "synthetic", "mixes") if name in context.inputs)
    return sum(int(artifact.metrics.get("teacher_calls", 0)) for artifact in asked)
