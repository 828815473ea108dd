"""Stage ``answers``: asks the teacher once for every training image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flows.execute import StageContext

VERSION = 1


def run(context: StageContext) -> dict[str, Any]:
    """Writes ``answers.h5``: the teacher's outputs for the training rows of the real set."""
    from data.writing import write_set
    from flows.stages.common import RealSet, compute_of
    from students.evaluation import predict
    from students.model import load_model

    compute = compute_of(context.config)
    real = RealSet.of(context.inputs["real"])
    train = real.train
    model = load_model(context.inputs["teacher"].folder, compute)
    outputs = predict(model, train.images, compute, context.config.compute.block_rows)
    write_set(
        context.workspace.path("answers.h5"),
        {"teacher_outputs": outputs, "source_row": train.rows},
        kind="answers",
        label_space=real.label_space,
        license=real.images.license,
        provenance={
            "teacher": context.inputs["teacher"].fingerprint,
            "images": real.images.content_sha256,
            "view": "clean",
        },
    )
    return {"teacher_calls": len(outputs)}
