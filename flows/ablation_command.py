"""The command ``ablate``: what each step of the data path adds, as a table, a page and a picture."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

from data.errors import ConfigError
from flows.ablation import make_ablation, plan_ablation
from flows.commands import execute, open_store, record_run, show_plan, stage_rows
from flows.execute import Selection, run_identity
from flows.loading import load_config
from flows.plan import statuses
from flows.preflight import check_labels

#: What ``--json`` prints of an entry of ``arms`` in ablation.json.
_PRINTED = (
    "arm", "student", "metric", "unit", "mean", "std", "seeds", "values", "difference", "half_width", "images",
    "teacher_calls",
)  # fmt: skip


def ablate_command(
    config_path: Path,
    store_path: Path,
    overrides: Sequence[str],
    *,
    seeds: str | None,
    method: str | None,
    dry_run: bool,
    direct: bool,
    as_json: bool,
) -> None:
    """Runs the arms of an ablation and compares them, or says what would run."""
    started = time.monotonic()
    config = load_config(config_path, overrides)
    ablation = make_ablation(config, None if seeds is None else parse_seeds(seeds), method)
    plan = plan_ablation(ablation)
    store = open_store(store_path)
    if dry_run:
        check_labels(config)
        show_plan(statuses(plan, store), Selection(), as_json)
        return
    # The last arm reads every section that any arm reads.
    config = ablation.arms[-1].config
    run = run_identity(config, plan)
    runner = execute(config, store, plan, Selection(), run, direct=direct, quiet=as_json)
    record_run(store, config, plan, run)
    artifact = runner.outcomes[-1].artifact
    result = json.loads(artifact.path("ablation.json").read_text(encoding="utf-8"))
    summary = {
        "run": run,
        "report": str(artifact.path("ablation.html")),
        "seconds": round(time.monotonic() - started, 3),
        "stages": stage_rows(runner.outcomes),
        "arms": [{name: row[name] for name in _PRINTED} for row in result["arms"]],
    }
    if as_json:
        print(json.dumps(summary))
    else:
        from flows.terminal import show_ablation_summary

        show_ablation_summary(summary, result)


def parse_seeds(text: str) -> tuple[int, ...]:
    """Seeds from numbers with commas between them.

    Raises:
        ConfigError: if it is anything else.
    """
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError as error:
        raise ConfigError(f"--seeds must be whole numbers with commas between them, got '{text}'.") from error
