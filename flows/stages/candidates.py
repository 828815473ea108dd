"""Stage ``candidates``: samples by label, subsamples by rejection, asks the teacher."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.files import write_json

if TYPE_CHECKING:
    import numpy.typing as npt

    from data.compute import Compute
    from flows.drawing import Ratio, Rules
    from flows.draws import Draws, Sample
    from flows.execute import StageContext
    from flows.shards import Shard

VERSION = 2


def run(context: StageContext) -> dict[str, Any]:
    """Writes ``candidates.h5`` (what is accepted), ``draws.h5`` (seed and ratio of every draw), ``examples.h5``.

    A shard holds some labels, or a part of one; it is committed whole, and a killed run goes on at the first missing
    one. ``sampling.json`` tells what the sampling of every label cost and how it ended.
    """
    options, workspace = context.config.candidates, context.workspace
    if options.file is not None:
        from flows.importing import import_candidates

        return import_candidates(context)
    from data.random import derive_seed
    from data.writing import consolidate, write_set
    from filters.teacher_filter import teacher_error
    from flows.generated_labels import generated_labels
    from flows.shards import merge_statistics, outcome_warnings, plan_shards, statistics
    from flows.stages.common import RealSet, compute_of
    from flows.teachers import open_teacher

    compute = compute_of(context.config)
    real = RealSet.of(context.inputs["real"])
    space = real.label_space
    sample, ratio = _sample(context, compute), _ratio(context, compute)
    labels = generated_labels(real.unread_train.labels, space, options.labels, context.seed)
    described: dict[str, Any] = {
        "label_space": space,
        "license": real.images.license,
        "provenance": {
            "inputs": {name: artifact.fingerprint for name, artifact in context.inputs.items()},
            **context.node.request.config,
        },
    }
    shards = plan_shards(len(labels), options.per_label, options.burn_in if options.subsample else 0)
    with open_teacher(context, compute) as teacher:
        for number, path in workspace.shards("candidates", len(shards)):
            shard = shards[number]
            draws = _draw(context, shard, labels[shard.numbers], sample, ratio, space.describe)
            kept = draws.labels[draws.accepted]
            outputs = teacher.answer(draws.images)
            _write_draws(_beside(path, "draws"), _beside(path, "examples"), draws, described)
            write_json(_statistics_path(path), statistics(labels[shard.numbers], draws, space))
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
        paid = teacher.paid()

    paths = workspace.shard_paths("candidates", len(shards))
    order = derive_seed(context.seed, "order")
    consolidate(paths, workspace.path("candidates.h5"), kind="candidates", shuffle_seed=order, **described)
    for name in ("draws", "examples"):
        parts = [_beside(path, name) for path in paths]
        consolidate(parts, workspace.path(f"{name}.h5"), kind=name, shuffle_seed=None, **described)
    told = (json.loads(_statistics_path(path).read_text(encoding="utf-8")) for path in paths)
    rows = merge_statistics(zip(shards, told, strict=True))
    workspace.path("sampling.json").write_text(json.dumps({"labels": rows}, indent=1), encoding="utf-8")
    for sentence in outcome_warnings(rows) if options.subsample else ():
        context.warn(sentence)
    drawn, accepted = (sum(row[key] for row in rows) for key in ("drawn", "accepted"))
    return {
        "labels": len(labels),
        "drawn": drawn,
        "accepted": accepted,
        "acceptance": accepted / drawn,
        "resampled": sum(row["outcome"] == "resampled" for row in rows),
        "not_subsampled": sum(not row["subsampled"] for row in rows),
        "teacher_calls": accepted,
        **paid,
    }


def _draw(
    context: StageContext,
    shard: Shard,
    labels: npt.NDArray[Any],
    sample: Sample,
    ratio: Ratio | None,
    describe: Callable[[Any], str],
) -> Draws:
    """The draws of one shard; chunks of one label share the calibration of its burn-in."""
    from flows.drawing import burn_in_calibration, draw_labels
    from flows.shards import shared_calibration, write_calibration

    rules = _rules(context)
    path = context.workspace.state_folder / f"calibration-{shard.first:06d}.json"
    calibration = None
    if shard.chunk and ratio is not None:
        calibration = shared_calibration(
            path, lambda: burn_in_calibration(labels, shard.first, sample, ratio, rules, context.seed)
        )
    draws = draw_labels(
        labels,
        shard.numbers,
        sample,
        ratio,
        rules,
        per_label=shard.per_label,
        seed=context.seed,
        describe=describe,
        chunk=shard.chunk,
        calibration=calibration,
    )
    if draws.calibration is not None and shard.per_label < context.config.candidates.per_label and not shard.chunk:
        write_calibration(path, draws.calibration)
    return draws


def _rules(context: StageContext) -> Rules:
    from flows.drawing import Rules

    options = context.config.candidates
    return Rules(
        burn_in=options.burn_in,
        bound=options.bound,
        bound_quantile=options.bound_quantile,
        least_acceptance=options.least_acceptance,
        max_draws=options.max_draws,
        fallback=options.fallback,
    )


def _sample(context: StageContext, compute: Compute) -> Sample:
    """The generator's sampling: truncated, and at labels in the vicinity of those asked for, where that is set."""
    from functools import partial

    from flows.ratio_features import vicinity_of
    from flows.stages.common import sampler_of

    sampler, truncation = sampler_of(context, compute), context.config.candidates.truncation
    sample: Sample = sampler.sample if truncation == 1.0 else partial(sampler.sample, truncation=truncation)
    vicinity = vicinity_of(context)
    return sample if vicinity is None else lambda labels, seeds: sample(vicinity.jitter(labels, seeds), seeds)


def _ratio(context: StageContext, compute: Compute) -> Ratio | None:
    """The density ratio; it was learnt on images that were not truncated, and is used on truncated ones as it is."""
    from flows.ratio_features import open_ratio

    return open_ratio(context, compute) if context.config.candidates.subsample else None


def _beside(path: Path, name: str) -> Path:
    return path.with_name(path.name.replace("candidates", name))


def _statistics_path(path: Path) -> Path:
    return _beside(path, "labels").with_suffix(".json")


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
