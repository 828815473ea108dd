"""Times a change of mind: a new quantile, scope, error, amount or relabelling of candidates that are there already.

    OMP_NUM_THREADS=1 python benchmarks/filtering.py

writes ``benchmarks/results/filtering.json``. It makes candidates of 3 x 32 x 32 pixels with random scores in a store of
its own, for the scalar labels of the chairs and for their classes with a scalar, and runs for every change
``stillhouse run CONFIG --only synthetic --direct --set ...``: seconds of the stage alone, as its manifest has them, and
of the whole command with the start of Python, medians of some repeats. Processor time is given beside them, since a
machine that others use makes the seconds longer.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import resource
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from record import RESULTS, machine

from data.labels import LabelSpace
from data.store import Store
from data.workspace import Workspace
from data.writing import write_set
from filters.teacher_filter import teacher_error
from flows.loading import load_config
from flows.plan import make_plan, make_source

ROOT = Path(__file__).resolve().parents[1]
CHANGES = {
    "chairs": (
        (),
        ("synthetic.quantile=0.5",),
        ("synthetic.scope=per_window",),
        ("synthetic.relabel=none",),
        ("synthetic.count=20000",),
    ),
    "chairs_models": (
        (),
        ("synthetic.quantile=0.5",),
        ("synthetic.scope=per_window",),
        ("synthetic.error=margin",),
        ("synthetic.relabel=soft",),
        ("synthetic.relabel=hard",),
    ),
}


def write_candidates(path: Path, space: LabelSpace, rows: int) -> None:
    """A set of candidates with random images, labels and scores."""
    rng = np.random.default_rng(0)
    classes = rng.integers(space.classes, size=rows) if space.has_classes else None
    values = [rng.uniform(axis.minimum, axis.maximum, rows) for axis in space.dimensions]
    labels = space.join(classes, np.stack(values, axis=1))
    outputs = rng.normal(0, 3, (rows, space.outputs)).astype(np.float32)
    outputs[:, space.classes :] = space.continuous_part(labels) + rng.normal(0, 3, (rows, len(values)))
    columns = {
        "images": rng.integers(0, 256, (rows, 3, 32, 32), np.uint8),
        "labels": labels,
        "condition": labels,
        "seed": rng.integers(0, 2**63, rows, np.uint64),
        "density_ratio": rng.random(rows).astype(np.float32),
        "teacher_outputs": outputs,
        "teacher_error": teacher_error(outputs, labels, space),
    }
    write_set(path, columns, kind="candidates", label_space=space, provenance={}, license="CC0-1.0")


def make_store(root: Path, config_path: Path, rows: int) -> None:
    """A store that holds the candidates of a configuration."""
    config = load_config(config_path)
    node = next(node for node in make_plan(config) if node.stage == "candidates")

    def make(workspace: Workspace) -> dict[str, Any]:
        write_candidates(workspace.path("candidates.h5"), make_source(config).label_space, rows)
        return {"teacher_calls": rows}

    Store(root).build(node.request, make)


def children_seconds() -> float:
    """Processor time of all finished child processes."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def measure(store: Path, config_path: Path, changes: tuple[str, ...], repeats: int) -> dict[str, Any]:
    """Seconds of the stage and of the command for one change; the artifact is made anew each time."""
    words = [word for change in changes for word in ("--set", change)]
    arguments = ["run", str(config_path), "--only", "synthetic", "--direct", *words]
    command = [sys.executable, "-m", "flows.cli", *arguments, "--force", "synthetic", "--store", str(store), "--json"]
    stage, whole, processor = [], [], []
    for _ in range(repeats):
        start, spent = time.perf_counter(), children_seconds()
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
        whole.append(time.perf_counter() - start)
        processor.append(children_seconds() - spent)
        manifest = json.loads(Path(json.loads(done.stdout)["stages"][-1]["path"], "manifest.json").read_text())
        stage.append(manifest["seconds"])
    return {
        "command": shlex.join(["stillhouse", *arguments]),
        "candidates": manifest["metrics"]["candidates"],
        "taken": manifest["metrics"]["taken"],
        "stage_seconds": round(statistics.median(stage), 2),
        "command_seconds": round(statistics.median(whole), 2),
        "slowest_command_seconds": round(max(whole), 2),
        "processor_seconds": round(statistics.median(processor), 2),
    }


def main() -> None:
    """Measures, prints and writes the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--candidates", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the temporary stores go; unset: the system's folder")
    options = parser.parse_args()
    figures = []
    for name, all_changes in CHANGES.items():
        config_path = Path("configs") / f"{name}.yaml"
        os.chdir(ROOT)
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            make_store(Path(folder), config_path, options.candidates)
            for changes in all_changes:
                figures.append(measure(Path(folder), config_path, changes, options.repeats))
                print(json.dumps(figures[-1]), flush=True)
    record = {
        "command": shlex.join(["python", "benchmarks/filtering.py", *sys.argv[1:]]),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine(),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "load_average": [round(load, 1) for load in os.getloadavg()],
        "packages": {"python": platform.python_version(), "numpy": np.__version__, "h5py": h5py.__version__},
        "settings": {key: value for key, value in vars(options).items() if key != "folder"},
        "figures": figures,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / "filtering.json"
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(path)


if __name__ == "__main__":
    main()
