"""Stage ``answers``: asks the teacher once for every training image, or for views of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import numpy.typing as npt

    from data.views import ViewRule
    from flows.execute import StageContext
    from flows.stages.common import UnreadPart

VERSION = 1


def run(context: StageContext) -> dict[str, Any]:
    """Writes ``answers.h5``: the teacher's outputs for the training rows of the real set.

    With ``answers.views`` a row stands there once a view, view after view, and the clean image is not asked about.
    Images are read some blocks at a time.
    """
    import numpy as np

    from data.random import derive_seed
    from data.views import ViewRule
    from data.writing import write_set
    from flows.stages.common import RealSet, compute_of
    from flows.teachers import open_teacher

    compute = compute_of(context.config)
    real = RealSet.of(context.inputs["real"])
    train, settings = real.unread_train, context.config.answers
    provenance: dict[str, Any] = {
        "teacher": context.inputs["teacher"].fingerprint,
        "images": real.images.content_sha256,
        "view": "clean",
    }
    rule = None
    if settings.views:
        seed = derive_seed(context.seed, "views")
        rule = ViewRule(seed, settings.shift_pixels, settings.flip)
        provenance["view"] = {"seed": seed, "shift_pixels": settings.shift_pixels, "flip": settings.flip}
    block_rows, total = context.config.compute.block_rows, max(settings.views, 1) * len(train.rows)
    found: list[npt.NDArray[np.float32]] = []
    done = 0
    with open_teacher(context, compute) as teacher:
        # A stage that cannot be finished should not begin to pay.
        teacher.check_budget(pictures(train, block_rows, rule, settings.views))
        for images in pictures(train, block_rows, rule, settings.views):
            found.append(teacher.answer(images))
            done += len(images)
            context.workspace.report("answers", done, total)
        paid = teacher.paid()
    columns: dict[str, npt.NDArray[Any]] = {
        "teacher_outputs": np.concatenate(found),
        "source_row": np.tile(train.rows, max(settings.views, 1)),
    }
    if settings.views:
        columns["view"] = np.repeat(np.arange(settings.views), len(train.rows))
    write_set(
        context.workspace.path("answers.h5"),
        columns,
        kind="answers",
        label_space=real.label_space,
        license=real.images.license,
        provenance=provenance,
    )
    return {"teacher_calls": total, **paid}


def pictures(
    train: UnreadPart, block_rows: int, rule: ViewRule | None = None, views: int = 0
) -> Iterator[npt.NDArray[np.uint8]]:
    """What the teacher is asked about, some blocks at a time: the images, or one view after the other of all of them.

    Args:
        train: training rows.
        block_rows: images that a network takes at a time.
        rule: how views are made.
        views: how many there are; 0 for the clean images.
    """
    import torch

    from flows.stages.common import read_blocks

    for view in range(max(views, 1)):
        start = 0
        for images in read_blocks(train.images, block_rows):
            if rule is not None:
                rows = torch.arange(start, start + len(images))
                start += len(images)
                images = rule(torch.from_numpy(images), rows, view).numpy()
            yield images
