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


def main() -> None:
    """Runs, then writes the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    parser.add_argument("--store", type=Path, default=Path("store"))
    options = parser.parse_args()
    arguments = ["run", str(options.config), *(word for item in options.overrides for word in ("--set", item))]
    command = [sys.executable, "-m", "flows.cli", *arguments, "--store", str(options.store), "--direct", "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    summary = json.loads(done.stdout)
    manifests = [json.loads(Path(stage["path"], "manifest.json").read_text()) for stage in summary["stages"]]
    seconds: dict[str, float] = {}
    for manifest in manifests:
        seconds[manifest["stage"]] = round(seconds.get(manifest["stage"], 0.0) + manifest["seconds"], 1)
    report = json.loads(Path(summary["report"]).with_name("report.json").read_text())
    record = {
        "command": shlex.join(["stillhouse", *arguments]),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine(),
        "packages": manifests[0]["packages"],
        "run": summary["run"],
        "seconds": {**seconds, "all": round(sum(seconds.values()), 1)},
        "teacher": report["teacher"],
        "summary": report["summary"],
        "axes": report["axes"],
        "effects": report["effects"],
        "results": report["results"],
        "sentence": report["sentence"],
        "sampling": next(m["metrics"] for m in manifests if m["stage"] == "candidates"),
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{summary['run']}.json"
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(f"{path}: {report['sentence']}")


if __name__ == "__main__":
    main()
