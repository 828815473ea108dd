"""Stage ``answers``: asks the teacher once for every training image, or for views of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import numpy.typing as npt

    from data.views import ViewRule
    from flows.execute import StageContext
    from flows.teachers import OpenTeacher

VERSION = 1
#: Blocks of the network that are asked for at a time, so that one sees how far it is.
_BLOCKS = 4


def run(context: StageContext) -> dict[str, Any]:
    """Writes ``answers.h5``: the teacher's outputs for the training rows of the real set.

    With ``answers.views`` a row stands there once a view, view after view, and the clean image is not asked about.
    """
    import numpy as np

    from data.random import derive_seed
    from data.views import ViewRule
    from data.writing import write_set
    from flows.stages.common import RealSet, compute_of
    from flows.teachers import open_teacher

    compute = compute_of(context.config)
    real = RealSet.of(context.inputs["real"])
    train, settings = real.train, context.config.answers
    provenance: dict[str, Any] = {
        "teacher": context.inputs["teacher"].fingerprint,
        "images": real.images.content_sha256,
        "view": "clean",
    }
    with open_teacher(context, compute) as teacher:
        if settings.views:
            seed = derive_seed(context.seed, "views")
            rule = ViewRule(seed, settings.shift_pixels, settings.flip)
            provenance["view"] = {"seed": seed, "shift_pixels": settings.shift_pixels, "flip": settings.flip}

            def pictures() -> Iterator[npt.NDArray[np.uint8]]:
                return (seen(train.images, rule, view) for view in range(settings.views))
        else:

            def pictures() -> Iterator[npt.NDArray[np.uint8]]:
                return iter([train.images])

        # A stage that cannot be finished should not begin to pay.
        teacher.check_budget(pictures())
        outputs = _answers(context, teacher, pictures(), max(settings.views, 1) * len(train.rows))
        paid = teacher.paid()
    columns: dict[str, npt.NDArray[Any]] = {
        "teacher_outputs": outputs,
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
    return {"teacher_calls": len(outputs), **paid}


def _answers(
    context: StageContext, teacher: OpenTeacher, pictures: Iterator[npt.NDArray[np.uint8]], total: int
) -> npt.NDArray[np.float32]:
    """The outputs for sets of images, one set after the other, asked for block by block."""
    import numpy as np

    size, found, done = _BLOCKS * context.config.compute.block_rows, [], 0
    for images in pictures:
        for start in range(0, len(images), size):
            found.append(teacher.answer(images[start : start + size]))
            done += len(found[-1])
            context.workspace.report("answers", done, total)
    return np.concatenate(found)


def seen(images: npt.NDArray[np.uint8], rule: ViewRule, view: int, rows_a_block: int = 4096) -> npt.NDArray[np.uint8]:
    """One view of every training image, in the order of the rows; as large as the images.

    Args:
        images: uint8 (N, C, H, W).
        rule: how views are made.
        view: its number.
        rows_a_block: images at a time.
    """
    import numpy as np
    import torch

    made = np.empty_like(images)
    for start in range(0, len(images), rows_a_block):
        rows = torch.arange(start, min(start + rows_a_block, len(images)))
        made[start : start + len(rows)] = rule(torch.from_numpy(images[start : start + len(rows)]), rows, view).numpy()
    return made
