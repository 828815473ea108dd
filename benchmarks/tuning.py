"""Measures how noisy the short runs of stage ``tuning`` are, by how they are scored and whether they are paired.

    OMP_NUM_THREADS=1 python benchmarks/tuning.py configs/digits.yaml --store store

writes ``benchmarks/results/tuning_<name>.json``. The store must hold the candidates. Short runs with many seeds, of
the student alone and of each of ``tuning.quantiles``, are validated twenty times; a setting's score may then be that of
its last weights, a mean over late validations, or the best. For each of these: the mean of every setting, the standard
deviation over seeds, and the noise that is left when runs of one seed are compared (``flows.tuning.paired_error``).
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shlex
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from record import RESULTS, machine

from data.reading import open_set
from data.store import Store
from data.workspace import Workspace, read_log
from flows.config import Config
from flows.filtering import CandidateFilter
from flows.loading import load_config
from flows.plan import make_plan, tuning_steps
from flows.stages.common import RealSet, answers_of, compute_of
from flows.tuning import paired_error, short_training
from students.training import train_student
from students.training_data import Rows, TrainingData

Curves = npt.NDArray[np.float64]
VALIDATIONS = 20
SCORES: dict[str, Callable[[Curves], Curves]] = {
    "last weights": lambda curves: curves[..., -1],
    "mean of the last 3 validations": lambda curves: curves[..., -3:].mean(axis=-1),
    "mean of the last 5 validations": lambda curves: curves[..., -5:].mean(axis=-1),
    "best validation": lambda curves: curves.max(axis=-1),
}


def training_data(config: Config, store: Store) -> tuple[RealSet, list[tuple[str, TrainingData]]]:
    """The real set, and what each setting trains on."""
    nodes = {node.stage: node for node in make_plan(config)}
    found = {name: store.find(name, nodes[name].request.fingerprint) for name in ("prepare", "answers", "candidates")}
    missing = [name for name, artifact in found.items() if artifact is None]
    if missing:
        raise SystemExit(f"{', '.join(missing)} must be in the store; run the configuration with it first.")
    artifacts = {name: artifact for name, artifact in found.items() if artifact is not None}
    real = RealSet.of(artifacts["prepare"])
    train = real.train
    rows = Rows(train.images, train.labels, answers_of(artifacts["answers"], train.rows))
    chosen = CandidateFilter(open_set(artifacts["candidates"].path("candidates.h5")), config.synthetic)
    settings = [("alone", TrainingData(rows))]
    for quantile in config.tuning.quantiles:
        kept = chosen.keep(quantile)[0]
        images, outputs = (chosen.candidates.take(name, kept) for name in ("images", "teacher_outputs"))
        settings.append((f"{quantile:g}", TrainingData(rows, Rows(images, chosen.labels(kept), outputs))))
    return real, settings


def curve(config: Config, real: RealSet, data: TrainingData, steps: int, seed: int) -> list[float]:
    """Validation scores of one short run."""
    student, method = config.distill.students[0], config.distill.methods[0]
    training = short_training(config.distill.training.model_dump(), steps)
    with tempfile.TemporaryDirectory() as folder:
        train_student(
            data,
            (real.validation.images, real.validation.labels),
            real.label_space,
            network=student.network,
            options=student.options,
            method=method.name,
            method_options=method.options,
            **{**training, "validate_every": max(1, steps // VALIDATIONS)},
            real_fraction=config.distill.real_fraction,
            seed=seed,
            initial_seed=seed,
            compute=compute_of(config),
            workspace=Workspace(Path(folder)),
        )
        rows = read_log(Path(folder) / "training.jsonl")
    return [row["validation"] for row in rows if "validation" in row][-VALIDATIONS:]


def described(names: list[str], curves: Curves) -> list[dict[str, Any]]:
    """Means and noise of every way of scoring, of the settings with synthetic images."""
    figures = []
    for name, score in SCORES.items():
        values = score(curves)
        seeds = values.shape[1]
        figures.append(
            {
                "score": name,
                "means": {key: round(float(mean), 2) for key, mean in zip(names, values.mean(axis=1), strict=True)},
                "deviation": round(float(np.sqrt(values[1:].var(axis=1, ddof=1).mean())), 2),
                "paired_noise": round(paired_error(values[1:].tolist()) * float(np.sqrt(seeds / 2)), 2),
            }
        )
    return figures


def main() -> None:
    """Measures, prints and writes the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    parser.add_argument("--store", type=Path, default=Path("store"))
    parser.add_argument("--steps", type=int, help="steps of a run; unset: those of stage tuning")
    parser.add_argument("--seeds", type=int, default=8)
    options = parser.parse_args()
    config = load_config(options.config, [*options.overrides])
    tuned = load_config(options.config, [*options.overrides, "synthetic.quantile=auto", "synthetic.count=auto"])
    steps = options.steps or tuning_steps(tuned)
    real, settings = training_data(config, Store(options.store))
    curves = [[curve(config, real, data, steps, seed) for seed in range(options.seeds)] for _, data in settings]
    figures = described([name for name, _ in settings], np.array(curves))
    words = [word for word in sys.argv[1:] if not word.startswith(str(options.store))]
    record = {
        "command": shlex.join(["python", "benchmarks/tuning.py", *(word for word in words if word != "--store")]),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine(),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "packages": {"python": platform.python_version(), "numpy": np.__version__, "torch": torch.__version__},
        "steps": steps,
        "seeds": options.seeds,
        "figures": figures,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"tuning_{config.name}{'' if options.steps is None else f'_{steps}'}.json"
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    for figure in figures:
        print(json.dumps(figure))
    print(path)


if __name__ == "__main__":
    main()
