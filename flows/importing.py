"""Candidates from a file: images that were made elsewhere enter the chain where sampled ones would."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from data.labels import LabelSpace
    from data.random import Seeds
    from flows.execute import StageContext

_ROWS_A_SHARD = 4096
_EXAMPLES = 12
_EXAMPLE_BINS = 20


def import_candidates(context: StageContext) -> dict[str, Any]:
    """Writes what stage ``candidates`` writes, of the images of ``candidates.file``: all are accepted, with ratio 1.

    Rows are read, answered by the teacher and committed in shards; a killed run goes on at the first missing one.

    Raises:
        DataError: if the set is no set for these labels and images, is damaged, or changes while it is read.
    """
    from data.errors import DataError
    from data.files import write_json
    from data.foreign import foreign_identity, open_foreign
    from data.random import derive_seed
    from data.writing import consolidate, write_set
    from flows.stages.common import RealSet, compute_of
    from flows.teachers import open_teacher

    workspace, section = context.workspace, context.node.request.config["candidates"]
    compute = compute_of(context.config)
    real = RealSet.of(context.inputs["real"])
    space = real.label_space
    channels, height, width = real.images.columns["images"].shape[1:]
    settings = context.config.candidates
    foreign = open_foreign(str(settings.file), space, (channels, height, width), resize=settings.resize)
    if not len(foreign):
        raise DataError(f"{foreign.path} must hold at least one image, got none; give another candidates.file.")
    described: dict[str, Any] = {
        "label_space": space,
        "license": foreign.license,
        "provenance": {
            "inputs": {name: artifact.fingerprint for name, artifact in context.inputs.items()},
            "layout": foreign.layout,
            **context.node.request.config,
        },
    }
    shown = _examples(foreign.labels, space)
    shards = -(-len(foreign) // _ROWS_A_SHARD)
    with open_teacher(context, compute) as teacher:
        for number, path in workspace.shards("candidates", shards):
            rows = slice(number * _ROWS_A_SHARD, min((number + 1) * _ROWS_A_SHARD, len(foreign)))
            images = foreign.read(rows.start, rows.stop)
            outputs = teacher.answer(images)
            sets = _sets(images, foreign.labels[rows], foreign.seeds[rows], outputs, shown[rows], space)
            for name, columns in sets.items():
                write_set(_beside(path, name), columns, kind=name, **described)
        paid = teacher.paid()

    paths = workspace.shard_paths("candidates", shards)
    for name in ("candidates", "draws", "examples"):
        # As in sampled sets, only candidates are shuffled.
        order = derive_seed(context.seed, "order") if name == "candidates" else None
        parts = [_beside(path, name) for path in paths]
        consolidate(parts, workspace.path(f"{name}.h5"), kind=name, shuffle_seed=order, **described)
    if foreign_identity(foreign.path) != section["file"]:
        workspace.clear_state()
        raise DataError(f"{foreign.path} has changed since this run was planned; start the run again.")
    statistics = _statistics(foreign.labels, space)
    write_json(workspace.path("sampling.json"), {"labels": statistics})
    return {
        "labels": len(statistics),
        "drawn": len(foreign),
        "accepted": len(foreign),
        "acceptance": 1.0,
        "not_subsampled": len(statistics),
        "teacher_calls": len(foreign),
        **paid,
    }


def _sets(
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[Any],
    seeds: Seeds,
    outputs: npt.NDArray[np.float32],
    shown: npt.NDArray[np.bool_],
    space: LabelSpace,
) -> dict[str, dict[str, npt.NDArray[Any]]]:
    """The columns of a shard's sets by kind; candidates last, as a shard counts as done with them."""
    import numpy as np

    from filters.teacher_filter import teacher_error

    common = {"condition": labels, "seed": seeds, "density_ratio": np.ones(len(labels), np.float32)}
    draws = {**common, "accepted": np.ones(len(labels), np.uint8)}
    examples = {name: column[shown] for name, column in {**draws, "images": images}.items()}
    candidates = {
        **common,
        "images": images,
        "labels": labels,
        "teacher_outputs": outputs,
        "teacher_error": teacher_error(outputs, labels, space),
    }
    return {"draws": draws, "examples": examples, "candidates": candidates}


def _beside(path: Path, name: str) -> Path:
    return path.with_name(path.name.replace("candidates", name))


def _examples(labels: npt.NDArray[Any], space: LabelSpace) -> npt.NDArray[np.bool_]:
    """The first rows of every class, or of every one of some ranges of values, (N,)."""
    import numpy as np

    groups = space.class_part(labels) if space.has_classes else np.zeros(len(labels), np.int64)
    dimensions = len(space.dimensions)
    bins = max(2, round(_EXAMPLE_BINS ** (1 / max(dimensions, 1))))
    for axis, values in zip(space.dimensions, space.continuous_part(labels).T, strict=True):
        places = np.floor((values - axis.minimum) / (axis.maximum - axis.minimum) * bins).astype(np.int64)
        groups = groups * bins + np.clip(places, 0, bins - 1)
    order = np.argsort(groups, kind="stable")
    rank = np.empty(len(labels), np.int64)
    rank[order] = np.arange(len(labels)) - np.searchsorted(groups[order], groups[order])
    return np.asarray(rank < _EXAMPLES)


def _statistics(labels: npt.NDArray[Any], space: LabelSpace) -> list[dict[str, Any]]:
    """The counts of each label in the form of a sampled set's, JSON-ready."""
    import numpy as np

    distinct, counts = np.unique(labels, axis=0, return_counts=True)
    return [
        {
            "label": label.tolist(),
            "name": space.describe(label),
            "drawn": count,
            "accepted": count,
            "acceptance": 1.0,
            "subsampled": False,
            "bound": 1.0,
            "scale": 1.0,
            "effective_sample_size": count,
        }
        for label, count in zip(distinct, counts.tolist(), strict=True)
    ]
