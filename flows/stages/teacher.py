"""Stage ``teacher``: trains the teacher on the real training images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flows.execute import StageContext

VERSION = 1
_METHODS = {"class": "ce", "scalar": "mse", "vector": "mse", "class+scalar": "joint"}


def run(context: StageContext) -> dict[str, Any]:
    """Writes the teacher's weights and card; its test figures are read once, after the selection."""
    from flows.stages.common import RealSet, compute_of, figures_on_test
    from students.training import train_student
    from students.training_data import Rows, TrainingData

    compute = compute_of(context.config)
    real = RealSet.of(context.inputs["real"])
    train, validation = real.train, real.validation
    teacher = context.config.teacher
    metrics = train_student(
        TrainingData(Rows(train.images, train.labels)),
        (validation.images, validation.labels),
        real.label_space,
        network=teacher.network,
        options=teacher.options,
        method=_METHODS[real.label_space.kind],
        **teacher.training.model_dump(),
        seed=context.seed,
        initial_seed=context.seed,
        compute=compute,
        workspace=context.workspace,
    )
    return metrics | figures_on_test(context, real, compute)
