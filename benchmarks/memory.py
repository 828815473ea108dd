"""Measures the memory that candidates need: written, scored by ratio and teacher, and filtered; for two numbers.

    OMP_NUM_THREADS=1 python benchmarks/memory.py [--counts 100000 1000000] [--folder FOLDER]

writes ``benchmarks/results/memory.json``. Each number has a process of its own, which runs the stages ``candidates``
and ``synthetic`` for ten classes of 3 x 32 x 32 pixels, with narrow networks of random weights, and tells the largest
resident memory (``ru_maxrss``, with the pages of mapped files) and the largest of its anonymous part, sampled twenty
times a second. A million candidates need about 10 GB in the folder, which is emptied afterwards.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import resource
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from random_networks import SHAPE, SPACE, context_of, write_networks
from record import RESULTS, machine

from data.store import Artifact
from flows.config import Config
from flows.stages import candidates, synthetic

MOST_EXTRA_MB = 200


class AnonymousMemory(threading.Thread):
    """Watches the anonymous resident memory of this process; ``peak`` is in MB since the last reset."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = 0.0

    def run(self) -> None:
        """Looks twenty times a second."""
        while True:
            lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
            self.peak = max(self.peak, *(int(line.split()[1]) / 1e3 for line in lines if line.startswith("RssAnon")))
            time.sleep(0.05)


def work(count: int, root: Path) -> dict[str, Any]:
    """Makes and filters ``count`` candidates in this process."""
    sections = {"compute": {"threads": 1}, "candidates": {"per_label": count // SPACE.classes}}
    config = Config.model_validate(sections)
    widths: dict[str, Any] = {"generator_width": 2, "feature_width": 4, "ratio_widths": (64,), "teacher_channels": 4}
    inputs = write_networks(root / "networks", **widths)
    watch = AnonymousMemory()
    watch.start()
    told: dict[str, Any] = {"candidates": count}

    def measure(stage: ModuleType, needs: dict[str, Artifact]) -> dict[str, Any]:
        name = stage.__name__.rpartition(".")[2]
        context = context_of(config, needs, root / name)
        start, watch.peak = time.perf_counter(), 0.0
        made: dict[str, Any] = stage.run(context)
        told[name] = {
            "seconds": round(time.perf_counter() - start, 1),
            "peak_resident_mb_so_far": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3, 1),
            "peak_anonymous_mb": round(watch.peak, 1),
            **{figure: made[figure] for figure in ("drawn", "accepted", "kept") if figure in made},
        }
        context.workspace.clear_state()
        return made

    made = measure(candidates, inputs)
    measure(synthetic, {"candidates": Artifact(root / "candidates", {"fingerprint": "candidates", "metrics": made})})
    told["peak_resident_mb"] = told["synthetic"]["peak_resident_mb_so_far"]
    told["gigabytes_of_files"] = round(sum(path.stat().st_size for path in root.rglob("*.h5")) / 1e9, 2)
    return told


def in_own_process(count: int, parent: Path | None) -> dict[str, Any]:
    """Runs ``work`` in a process that has done nothing else."""
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        command = [sys.executable, __file__, "--child", str(count), "--folder", folder]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return told


def main() -> None:
    """Measures, prints and writes the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", type=int, nargs=2, default=(100_000, 1_000_000))
    parser.add_argument("--folder", type=Path, help="where the files lie; unset: the system's folder for such files")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        print(json.dumps(work(options.child, options.folder)))
        return
    figures = []
    for count in options.counts:
        figures.append(in_own_process(count, options.folder))
        print(json.dumps(figures[-1]), flush=True)
    extra = round(figures[1]["peak_resident_mb"] - figures[0]["peak_resident_mb"], 1)
    print(f"{options.counts[1]} candidates need {extra} MB more than {options.counts[0]}.")
    record = {
        "command": shlex.join(["python", "benchmarks/memory.py", "--counts", *map(str, options.counts)]),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine(),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "packages": {"python": platform.python_version(), "numpy": np.__version__, "torch": torch.__version__},
        "settings": {"image_shape": SHAPE, "classes": SPACE.classes},
        "figures": figures,
        "extra_mb": extra,
        "allowed_mb": MOST_EXTRA_MB,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / "memory.json"
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(path)


if __name__ == "__main__":
    main()
