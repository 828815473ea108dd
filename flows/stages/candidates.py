"""Stage ``candidates``: samples by label, subsamples by rejection, asks the teacher."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt

    from data.compute import Compute
    from data.labels import LabelSpace
    from flows.drawing import Draws, Ratio, Sample
    from flows.execute import StageContext

VERSION = 1
_ROWS_A_SHARD = 4096


def run(context: StageContext) -> dict[str, Any]:
    """Writes ``candidates.h5`` (what is accepted), ``draws.h5`` (seed and ratio of every draw), ``examples.h5``.

    A shard holds some labels; it is committed whole, and a killed run goes on at the first missing one.
    """
    options, workspace = context.config.candidates, context.workspace
    if options.file is not None:
        from flows.importing import import_candidates

        return import_candidates(context)
    import numpy as np

    from data.random import derive_seed
    from data.writing import consolidate, write_set
    from filters.teacher_filter import teacher_error
    from flows.drawing import draw_labels
    from flows.generated_labels import generated_labels
    from flows.stages.common import RealSet, compute_of
    from students.evaluation import predict
    from students.model import load_model

    compute = compute_of(context.config)
    real = RealSet.of(context.inputs["real"])
    space = real.label_space
    teacher = load_model(context.inputs["teacher"].folder, compute)
    sample, ratio = _sample(context, compute), _ratio(context, compute)
    labels = generated_labels(real.train.labels, space, options.labels, context.seed)
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
            sample,
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


def _sample(context: StageContext, compute: Compute) -> Sample:
    """The generator's sampling, truncated where that is asked for."""
    from functools import partial

    from flows.stages.common import sampler_of

    sampler, truncation = sampler_of(context, compute), context.config.candidates.truncation
    return sampler.sample if truncation == 1.0 else partial(sampler.sample, truncation=truncation)


def _ratio(context: StageContext, compute: Compute) -> Ratio | None:
    """The density ratio; it was learnt on images that were not truncated, and is used on truncated ones as it is."""
    from filters.ratio import load_ratio

    if not context.config.candidates.subsample:
        return None
    return load_ratio(context.inputs["ratio"].folder, context.inputs["features"].folder, compute).ratio


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
        mine = (draws.labels == label).reshape(len(draws.labels), -1).all(axis=1)
        drawn, accepted = int(mine.sum()), int(draws.accepted[mine].sum())
        calibration = draws.calibration
        rows.append(
            {
                "label": label.tolist(),
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
