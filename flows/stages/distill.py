"""Stage ``distill``: trains one student with one method on one kind of data from one seed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flows.execute import StageContext
    from flows.stages.common import RealSet
    from students.training_data import TrainingData

VERSION = 1


def run(context: StageContext) -> dict[str, Any]:
    """Writes the student's weights, card and curves; the test part is read once, after the selection."""
    from flows.stages.common import RealSet, compute_of, figures_on_test
    from students.training import train_student

    section = context.node.request.config["distill"]
    compute = compute_of(context.config)
    real = RealSet.of(context.inputs["real"])
    validation = real.validation
    metrics = train_student(
        _training_data(context, real),
        (validation.images, validation.labels),
        real.label_space,
        network=section["student"]["network"],
        options=section["student"]["options"],
        method=section["method"]["name"],
        method_options=section["method"]["options"],
        **context.config.distill.training.model_dump(),
        real_fraction=section.get("real_fraction", 0.5),
        seed=context.seed,
        initial_seed=context.seed,
        compute=compute,
        workspace=context.workspace,
    )
    return metrics | figures_on_test(context, real, compute) | {"teacher_calls": _teacher_calls(context)}


def _training_data(context: StageContext, real: RealSet) -> TrainingData:
    import numpy as np

    from data.reading import open_set
    from flows.stages.common import answers_of
    from students.training_data import Rows, TrainingData

    train = real.train
    outputs = answers_of(context.inputs["answers"], train.rows) if "answers" in context.inputs else None
    rows = Rows(train.images, train.labels, outputs)
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
