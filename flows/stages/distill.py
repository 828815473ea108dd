"""Stage ``distill``: trains one student with one method on one kind of data from one seed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from data.compute import Compute
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
    validation = real.validation
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
    """The training rows, with the teacher's answers, its views and the recipe of groups as far as they are read.

    Raises:
        DataError: if the recipe is of another set than the real one.
        StageError: if it is not the recipe that was planned with.
    """
    from flows.stages.common import answers_of, view_rule
    from students.training_data import Rows

    train, answers = real.train, context.inputs.get("answers")
    return Rows(
        train.images,
        train.labels,
        None if answers is None else answers_of(answers, train.rows),
        views=None if answers is None else view_rule(answers),
        groups=_recipe(context, real),
    )


def _recipe(context: StageContext, real: RealSet) -> Any:
    from pathlib import Path

    from data.errors import StageError
    from data.recipes.groups import groups_of_rows, read_groups

    planned = context.node.request.config["distill"].get("recipe")
    path = context.config.distill.recipe
    if planned is None or path is None:
        return None
    groups = read_groups(Path(path))
    if groups.content_sha256 != planned:
        raise StageError(f"distill.recipe {path} has changed since this run was planned; run again.")
    return groups_of_rows(groups, real.images, real.train.rows, f"distill.recipe {path}")


def _training_data(context: StageContext, real: RealSet) -> TrainingData:
    import numpy as np

    from data.reading import open_set
    from students.training_data import Rows, TrainingData

    rows = real_rows(context, real)
    if "synthetic" not in context.inputs:
        return TrainingData(rows)
    synthetic = open_set(context.inputs["synthetic"].path("synthetic.h5"))
    columns = synthetic.columns
    soft = bool(context.inputs["synthetic"].metrics["soft_labels"])
    outputs = np.asarray(columns["teacher_outputs"])
    return TrainingData(rows, Rows(columns["images"], np.asarray(columns["labels"]), outputs, soft_labels=soft))


def _teacher_calls(context: StageContext) -> int:
    """Teacher answers that this student's data cost: for real images, and for the candidates that were filtered."""
    calls = 0
    if "answers" in context.inputs:
        calls += int(context.inputs["answers"].metrics["teacher_calls"])
    if "synthetic" in context.inputs:
        calls += int(context.inputs["synthetic"].metrics["teacher_calls"])
    return calls
