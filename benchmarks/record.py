"""Runs an experiment and keeps what it measured: command, machine, versions, seconds and the result table.

    python benchmarks/record.py configs/digits.yaml [--set KEY=VALUE]...

writes ``benchmarks/results/<run>.json``. The run itself is cached and resumes like any other; seconds are those that
the stages took when they were made.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"


def machine() -> dict[str, Any]:
    """The processor, cores, memory and accelerator of this machine."""
    model = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor(),
    )
    memory = next((int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    import torch

    return {
        "processor": model,
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**20, 1),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _lines(path: str) -> list[str]:
    file = Path(path)
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []


def arguments(description: str) -> argparse.Namespace:
    """What both recorders take: a configuration, ``--set`` and ``--store``."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("config", type=Path)
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    parser.add_argument("--store", type=Path, default=Path("store"))
    return parser.parse_args()


def run_and_describe(command: str, options: argparse.Namespace) -> tuple[dict[str, Any], list[Any], dict[str, Any]]:
    """Runs a command of the project without Prefect.

    Args:
        command: ``run`` or ``ablate``.
        options: from ``arguments``.

    Returns:
        What it printed as JSON, the manifests of its stages, and the beginning of a record: command, date, machine,
        versions, run and seconds.
    """
    words = [command, str(options.config), *(word for item in options.overrides for word in ("--set", item))]
    line = [sys.executable, "-m", "flows.cli", *words, "--store", str(options.store), "--direct", "--json"]
    done = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=True)
    summary = json.loads(done.stdout)
    manifests = [json.loads(Path(stage["path"], "manifest.json").read_text()) for stage in summary["stages"]]
    seconds: dict[str, float] = {}
    for manifest in manifests:
        seconds[manifest["stage"]] = round(seconds.get(manifest["stage"], 0.0) + manifest["seconds"], 1)
    record = {
        "command": shlex.join(["stillhouse", *words]),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine(),
        "packages": manifests[0]["packages"],
        "run": summary["run"],
        "seconds": {**seconds, "all": round(sum(seconds.values()), 1)},
    }
    return summary, manifests, record


def write_record(name: str, record: dict[str, Any]) -> None:
    """Writes ``benchmarks/results/<name>.json`` and says so."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(f"{path}: {record['sentence']}")


def main() -> None:
    """Runs, then writes the record."""
    summary, manifests, record = run_and_describe("run", arguments(__doc__.splitlines()[0]))
    report = json.loads(Path(summary["report"]).with_name("report.json").read_text())
    kept = {name: report[name] for name in ("teacher", "summary", "axes", "effects", "results", "sentence")}
    # Runs on real images alone have none.
    sampling = [manifest["metrics"] for manifest in manifests if manifest["stage"] == "candidates"]
    write_record(summary["run"], {**record, **kept, **({"sampling": sampling[0]} if sampling else {})})


if __name__ == "__main__":
    main()
