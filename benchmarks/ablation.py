"""Ablates an experiment and keeps what it measured: command, machine, versions, seconds, and a row an arm.

    python benchmarks/ablation.py configs/digits.yaml [--set KEY=VALUE]...

writes ``benchmarks/results/ablation-<name>.json``. The ablation itself is cached and resumes like any other run;
seconds are those that the stages took when they were made.
"""

from __future__ import annotations

import json
from pathlib import Path

from record import arguments, run_and_describe, write_record


def main() -> None:
    """Ablates, then writes the record."""
    summary, _, record = run_and_describe("ablate", arguments(__doc__.splitlines()[0]))
    result = json.loads(Path(summary["report"]).with_name("ablation.json").read_text())
    kept = {name: result[name] for name in ("method", "steps", "seeds", "teacher", "arms", "left_out", "sentence")}
    write_record(f"ablation-{result['name']}", {**record, **kept})


if __name__ == "__main__":
    main()
