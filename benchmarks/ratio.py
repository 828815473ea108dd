"""Compares settings of the density ratio: what it knows of held-out images, and whether what it accepts is nearer.

    python benchmarks/ratio.py configs/digits.yaml --name digits
        --variant "classifier" --variant "auto-encoder:ratio.features=autoencoder;ratio.penalty=label"

writes ``benchmarks/results/ratio_<name>.json``. Each variant is the configuration with its changes; its stage
``ratio``, once a ratio seed, and what that needs are made if they are absent. Every variant then rates the same fresh
draws at the labels of the validation images. The joint kernel distance to these images is that of sets of one draw a
label: the first draws as they come, and draws that are accepted by rejection. Validation images are also what the
generator's snapshot was chosen by; test images are not read.
"""

from __future__ import annotations

import argparse
import datetime
import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from record import RESULTS, machine

from data.compute import Compute
from data.errors import StillhouseError
from data.random import derive_seed, row_seeds, uniform_from_seeds
from data.store import Store
from filters.features import load_extractor, pooled_features
from filters.label_groups import label_groups
from filters.ratio_diagnostics import rate_held_out
from filters.rejection import acceptance, calibrate
from flows.execute import Runner, Selection
from flows.loading import load_config
from flows.plan import make_plan
from flows.ratio_features import open_ratio, vicinity_of
from flows.stages.common import RealSet, compute_of, sampler_of
from generators.fidelity.kernels import FeatureScale, joint_distance, label_kernel
from generators.fidelity.matching import rows_at_labels

#: Continuous labels in so many groups are calibrated together.
GROUPS = 18


def main() -> None:
    """Measures, prints the table and writes the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("--name", required=True, help="of the record")
    parser.add_argument("--variant", action="append", required=True, metavar="NAME[:KEY=VALUE[;KEY=VALUE]...]")
    parser.add_argument("--draws", type=int, default=120, help="fresh draws a validation image")
    parser.add_argument("--sets", type=int, default=8, help="sets of one draw a validation image that are compared")
    parser.add_argument("--seeds", default="0,1,2", help="of the ratio and its pool alone")
    parser.add_argument("--store", type=Path, default=Path("store"))
    options = parser.parse_args()
    rows = []
    try:
        for text in options.variant:
            name, _, changes = text.partition(":")
            listed = [change for change in changes.split(";") if change]
            trainings = [measure(options, listed, int(seed)) for seed in options.seeds.split(",")]
            rows.append({"variant": name, "changes": listed, **summarised(trainings), "trainings": trainings})
            print(name, worded(rows[-1]), file=sys.stderr, flush=True)
    except StillhouseError as error:
        sys.exit(f"error: {error}")
    record = {
        "command": shlex.join(["python", "benchmarks/ratio.py", *portable(sys.argv[1:])]),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine(),
        "torch": torch.__version__,
        "draws": options.draws,
        "sets": options.sets,
        "variants": rows,
    }
    path = RESULTS / f"ratio_{options.name}.json"
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(path)


def portable(words: list[str]) -> list[str]:
    """The command line without the place of the store."""
    return [word for before, word in zip(["", *words], words, strict=False) if "--store" not in (before, word)]


def summarised(trainings: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Mean and sample standard deviation over trainings of every figure that all of them have."""
    found = {}
    for key in trainings[0]:
        if all(key in training for training in trainings):
            values = [training[key] for training in trainings]
            found[key] = {"mean": float(np.mean(values)), "std": float(np.std(values, ddof=1)) if values[1:] else 0.0}
    return found


def worded(figures: dict[str, Any]) -> str:
    """All figures on one line."""
    return ", ".join(
        f"{key} {value['mean']:.4f} ± {value['std']:.4f}" for key, value in figures.items() if isinstance(value, dict)
    )


def measure(options: argparse.Namespace, changes: list[str], seed: int) -> dict[str, Any]:
    """Figures of one training of a variant."""
    config = load_config(options.config, changes)
    plan = make_plan(config)
    planned = next(node for node in plan if node.stage == "ratio")
    request = replace(planned.request, config={**planned.request.config, "seed": seed}, seed=seed)
    node = replace(planned, request=request)
    plan[plan.index(planned)] = node
    runner = Runner(config, Store(options.store), Selection(), warn=lambda words: print(words, file=sys.stderr))
    needed = [node]
    for other in needed:
        needed += [parent for parent in other.inputs.values() if parent not in needed]
    outcomes = {other.key: runner.cached(other) or runner.run(other) for other in plan if other in needed}
    ratio = outcomes[node.key]
    features = next(other for other in plan if other.stage == "features")
    outcomes.setdefault(features.key, runner.cached(features) or runner.run(features))
    inputs = {name: outcomes[parent.key].artifact for name, parent in node.inputs.items()}
    context: Any = SimpleNamespace(
        config=config, node=node, inputs={**inputs, "ratio": ratio.artifact}, seed=node.request.seed
    )
    compute = compute_of(config)
    found = rate(context, compute, options, outcomes[features.key].artifact.folder)
    return {
        **found,
        "training_real_mean": ratio.artifact.metrics.get("ratio_real_mean", float("nan")),
        "seconds": round(ratio.artifact.manifest["seconds"], 1),
    }


def rate(context: Any, compute: Compute, options: argparse.Namespace, features: Path) -> dict[str, Any]:
    """Rates fresh draws and held-out images; compares raw and accepted draws with the latter."""
    real = RealSet.of(context.inputs["real"])
    space, held_out = real.label_space, real.validation
    sample, ratio, vicinity = sampler_of(context, compute).sample, open_ratio(context, compute), vicinity_of(context)
    labels = np.tile(held_out.labels, (options.draws, *(1,) * (held_out.labels.ndim - 1)))
    seeds = row_seeds(derive_seed("ratio benchmark"), np.arange(len(labels)))
    images = sample(labels if vicinity is None else vicinity.jitter(labels, seeds), seeds)
    ratios = ratio(images, labels)
    groups, count = label_groups(labels, space, GROUPS)
    calibration = calibrate(ratios, groups, count, 0.99, 0.05)
    probability = acceptance(ratios, groups, calibration)
    accepted = np.flatnonzero(uniform_from_seeds(seeds, 1, stream=1)[:, 0] <= probability)
    wanted = np.tile(held_out.labels, (options.sets, *(1,) * (held_out.labels.ndim - 1)))
    chosen = rows_at_labels(wanted, labels[accepted], space)
    extractor = load_extractor(features, compute)
    judges = {
        "features": lambda seen: pooled_features(extractor, seen, compute),
        "pixels": lambda seen: seen.reshape(len(seen), -1).astype(np.float32),
    }
    figures: dict[str, Any] = rate_held_out(ratios, ratio(held_out.images, held_out.labels))
    figures["acceptance"] = len(accepted) / len(labels)
    weights = label_kernel(held_out.labels, space)
    size = len(held_out.labels)
    for name, judge in judges.items():
        scale = FeatureScale.of(judge(held_out.images))
        target, drawn = scale(judge(held_out.images)), scale(judge(images[: options.sets * size]))
        figures[f"raw {name}"] = distances(drawn, target, weights)
        if (chosen >= 0).all():
            figures[f"accepted {name}"] = distances(scale(judge(images[accepted[chosen]])), target, weights)
    return figures


def distances(drawn: npt.NDArray[Any], target: npt.NDArray[Any], weights: npt.NDArray[Any]) -> float:
    """Mean joint kernel distance of the sets."""
    return float(np.mean([joint_distance(part, target, weights) for part in drawn.reshape(-1, *target.shape)]))


if __name__ == "__main__":
    main()
