"""Stage ``candidates``: samples by label, subsamples by rejection, asks the teacher."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt

    from data.labels import LabelSpace
    from flows.drawing import Draws
    from flows.execute import StageContext
    from flows.stages.common import RealSet

VERSION = 1
_ROWS_A_SHARD = 4096


def run(context: StageContext) -> dict[str, Any]:
    """Writes ``candidates.h5`` (what is accepted), ``draws.h5`` (seed and ratio of every draw), ``examples.h5``.

    A shard holds some labels; it is committed whole, and a killed run goes on at the first missing one.
    """
    import numpy as np

    from data.random import derive_seed
    from data.writing import consolidate, write_set
    from filters.ratio import load_ratio
    from filters.teacher_filter import teacher_error
    from flows.drawing import draw_labels
    from flows.stages.common import RealSet, compute_of
    from generators.sampling import load_generator
    from students.evaluation import predict
    from students.model import load_model

    options, workspace = context.config.candidates, context.workspace
    compute = compute_of(context.config)
    real = RealSet.of(context.inputs["real"])
    space = real.label_space
    sampler = load_generator(context.inputs["generator"].folder, compute)
    teacher = load_model(context.inputs["teacher"].folder, compute)
    ratio = load_ratio(context.inputs["ratio"].folder, compute).ratio if options.subsample else None
    labels = _labels(real, options.labels)
    described: dict[str, Any] = {
        "label_space": space,
        "license": real.images.license,
        "provenance": {
            "inputs": {name: artifact.fingerprint for name, artifact in context.inputs.items()},
            **context.node.request.config,
        },
    }
    a_shard = max(1, _ROWS_A_SHARD // options.per_label)
    shards = -(-len(labels) // a_shard)
    for number, path in workspace.shards("candidates", shards):
        chosen = np.arange(number * a_shard, min((number + 1) * a_shard, len(labels)))
        draws = draw_labels(
            labels[chosen],
            chosen,
            sampler.sample,
            ratio,
            per_label=options.per_label,
            burn_in=options.burn_in,
            bound_quantile=options.bound_quantile,
            least_acceptance=options.least_acceptance,
            max_draws=options.max_draws,
            seed=context.seed,
            describe=space.describe,
        )
        kept = draws.labels[draws.accepted]
        outputs = predict(teacher, draws.images, compute, context.config.compute.block_rows)
        _write_draws(_beside(path, "draws"), _beside(path, "examples"), draws, described)
        _beside(path, "labels").with_suffix(".json").write_text(json.dumps(_statistics(labels[chosen], draws, space)))
        # The shard counts as done with this last file.
        columns = {
            "images": draws.images,
            "labels": kept,
            "condition": kept,
            "seed": draws.seeds[draws.accepted],
            "density_ratio": draws.ratios[draws.accepted],
            "teacher_outputs": outputs,
            "teacher_error": teacher_error(outputs, kept, space),
        }
        write_set(path, columns, kind="candidates", **described)

    paths = workspace.shard_paths("candidates", shards)
    order = derive_seed(context.seed, "order")
    consolidate(paths, workspace.path("candidates.h5"), kind="candidates", shuffle_seed=order, **described)
    for name in ("draws", "examples"):
        parts = [_beside(path, name) for path in paths]
        consolidate(parts, workspace.path(f"{name}.h5"), kind=name, shuffle_seed=None, **described)
    statistics = [
        row
        for path in paths
        for row in json.loads(_beside(path, "labels").with_suffix(".json").read_text(encoding="utf-8"))
    ]
    workspace.path("sampling.json").write_text(json.dumps({"labels": statistics}, indent=1), encoding="utf-8")
    drawn, accepted = (sum(row[key] for row in statistics) for key in ("drawn", "accepted"))
    return {
        "labels": len(labels),
        "drawn": drawn,
        "accepted": accepted,
        "acceptance": accepted / drawn,
        "not_subsampled": sum(not row["subsampled"] for row in statistics),
        "teacher_calls": accepted,
    }


def _labels(real: RealSet, count: int | None) -> npt.NDArray[Any]:
    """The labels that are generated: every class, or scalar values evenly over the range of the training labels."""
    import numpy as np

    space = real.label_space
    if space.kind == "class":
        return np.arange(space.classes, dtype=space.dtype)
    train = real.train.labels
    if count is None:
        return np.unique(train)
    return np.linspace(train.min(), train.max(), count, dtype=space.dtype)


def _beside(path: Path, name: str) -> Path:
    return path.with_name(path.name.replace("candidates", name))


def _write_draws(draws_path: Path, examples_path: Path, draws: Draws, described: dict[str, Any]) -> None:
    import numpy as np

    from data.writing import write_set

    columns = {
        "condition": draws.labels,
        "seed": draws.seeds,
        "density_ratio": draws.ratios,
        "accepted": draws.accepted.astype(np.uint8),
    }
    write_set(draws_path, columns, kind="draws", **described)
    examples = {name: column[draws.examples] for name, column in columns.items()}
    write_set(examples_path, {**examples, "images": draws.example_images}, kind="examples", **described)


def _statistics(labels: npt.NDArray[Any], draws: Draws, space: LabelSpace) -> list[dict[str, Any]]:
    """What the sampling of each label cost and how even its weights are, JSON-ready."""
    rows = []
    for place, label in enumerate(labels):
        mine = draws.labels == label
        drawn, accepted = int(mine.sum()), int(draws.accepted[mine].sum())
        calibration = draws.calibration
        rows.append(
            {
                "label": label.item(),
                "name": space.describe(label),
                "drawn": drawn,
                "accepted": accepted,
                "acceptance": accepted / drawn,
                "subsampled": calibration is not None and bool(calibration.usable[place]),
                "bound": 1.0 if calibration is None else float(calibration.bound[place]),
                "scale": 1.0 if calibration is None else float(calibration.scale[place]),
                "effective_sample_size": drawn
                * (1.0 if calibration is None else float(calibration.effective_share[place])),
            }
        )
    return rows
