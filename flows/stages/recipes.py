"""Stage ``recipes``: which rows are mixed or compared, once for all students; images stay where they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import numpy.typing as npt

    from data.reading import ImageSet
    from data.recipes.mixes import Mixes
    from flows.execute import StageContext

VERSION = 1
MIXES = "mixes.h5"
GROUPS = "groups.h5"
#: Mixed images that are made and asked about at a time; a killed stage goes on at the first missing block.
_BLOCK_ROWS = 1024


def run(context: StageContext) -> dict[str, Any]:
    """Writes ``mixes.h5``, with the teacher's answers where it is an input, or ``groups.h5``."""
    asked = context.node.request.config["recipes"]
    return _mix(context, asked["mixes"]) if "mixes" in asked else _compare(context, asked["groups"])


def _mix(context: StageContext, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Draws mixes of training rows, asks the teacher about each, and keeps those that it is least sure of."""
    from dataclasses import replace

    from scipy.special import softmax

    from data.recipes.mixes import pick_mixes, sample_mixes, write_mixes
    from flows.stages.common import RealSet

    real = RealSet.of(context.inputs["real"])
    _, _, height, width = real.images.columns["images"].shape
    pick = int(asked["pick"])
    rows, count = _training_rows(real.images), asked["count"] * pick
    drawn = sample_mixes(rows, asked["kind"], asked["alpha"], count, (height, width), asked["seed"])
    facts = {name: asked[name] for name in ("alpha", "pick", "seed")}
    metrics: dict[str, Any] = {"mixes": int(asked["count"]), "drawn": len(drawn)}
    if "teacher" in context.inputs:
        outputs, paid = _answers(context, real.images, drawn)
        drawn = replace(drawn, teacher_outputs=outputs)
        facts["teacher"] = context.inputs["teacher"].fingerprint
        metrics |= {"teacher_calls": len(drawn), **paid}
        if pick > 1:
            drawn = pick_mixes(drawn, softmax(outputs[:, : real.label_space.classes].astype("f8"), axis=1), pick)
    write_mixes(context.workspace.path(MIXES), real.images, drawn, facts=facts)
    return metrics


def _training_rows(images: ImageSet) -> npt.NDArray[np.int64]:
    import numpy as np

    from data.splitting import TRAIN

    return np.flatnonzero(np.asarray(images.columns["split"]) == TRAIN)


def _answers(context: StageContext, images: ImageSet, mixes: Mixes) -> tuple[npt.NDArray[np.float32], dict[str, int]]:
    """What the teacher says of every mixed image, (M, K), and what was newly paid for it."""
    import numpy as np

    from data.reading import open_set
    from data.writing import write_set
    from flows.stages.common import compute_of
    from flows.teachers import open_teacher

    workspace = context.workspace
    blocks = [np.arange(start, min(start + _BLOCK_ROWS, len(mixes))) for start in range(0, len(mixes), _BLOCK_ROWS)]
    with open_teacher(context, compute_of(context.config)) as teacher:
        # A stage that cannot be finished should not begin to pay.
        teacher.check_budget(_mixed(images, mixes.at(places)) for places in blocks)
        for number, path in workspace.shards("answers", len(blocks)):
            places = blocks[number]
            columns: dict[str, npt.NDArray[Any]] = {
                "teacher_outputs": teacher.answer(_mixed(images, mixes.at(places))),
                "source_row": places,
            }
            write_set(
                path, columns, kind="answers", label_space=images.label_space, license=images.license, provenance={}
            )
        paid = teacher.paid()
    paths = workspace.shard_paths("answers", len(blocks))
    return np.concatenate([open_set(path).columns["teacher_outputs"] for path in paths]), paid


def _mixed(images: ImageSet, mixes: Mixes) -> npt.NDArray[np.uint8]:
    """The mixed images, (M, C, H, W)."""
    from data.recipes.materialising import mixed_images

    first, second = (images.take("images", rows) for rows in (mixes.first, mixes.second))
    return mixed_images(first, second, mixes.coefficient, mixes.box, mixes.kind)


def _compare(context: StageContext, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Draws comparisons between training rows, or between rows of the synthetic set."""
    from data.reading import open_set
    from data.recipes.relations import write_related
    from flows.stages.common import RealSet, answers_of

    outputs = None
    if "synthetic" in context.inputs:
        part, images = "synthetic", open_set(context.inputs["synthetic"].path("synthetic.h5"))
    else:
        part, images = "training", RealSet.of(context.inputs["real"]).images
    if "answers" in context.inputs:
        outputs = answers_of(context.inputs["answers"], _training_rows(images))
        # Of views their mean: a comparison is of images.
        outputs = outputs.mean(axis=0) if outputs.ndim == 3 else outputs
    _, found = write_related(context.workspace.path(GROUPS), images, teacher_outputs=outputs, **asked)
    if found < asked["count"]:
        sizes = f"{asked['positive']} with {asked['negative']}"
        context.warn(
            f"only {found:,} of the {asked['count']:,} comparisons of {sizes} {part} rows that recipes.groups.count "
            f"asks for can be made by relation '{asked['relation']}'; students see these more often."
        )
    return {"groups": found, "asked": int(asked["count"])}
