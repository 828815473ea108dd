"""The command ``run``: plan, execute, record, show."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data.errors import DataError
from data.files import write_json
from data.store import Store
from flows.config import Config
from flows.execute import WITHOUT_NETWORK, Outcome, Runner, Selection, run_directly, run_identity
from flows.loading import load_config
from flows.plan import Node, Status, make_plan, statuses
from flows.teacher_identity import asks_teacher, check_token


def run_command(
    config_path: Path,
    store_path: Path,
    overrides: Sequence[str],
    selection: Selection,
    *,
    dry_run: bool,
    direct: bool,
    as_json: bool,
) -> None:
    """Runs an experiment, or says what would run; prints what ``DESIGN`` promises for ``--json``."""
    started = time.monotonic()
    config = load_config(config_path, overrides)
    store = open_store(store_path)
    plan = make_plan(config)
    nodes = selection.chosen(plan)
    if dry_run:
        from flows.preflight import check_labels

        check_labels(config, {node.stage for node in nodes})
        show_plan(statuses(nodes, store), selection, as_json)
        return
    run = run_identity(config, plan)
    runner = execute(config, store, nodes, selection, run, direct=direct, quiet=as_json)
    record_run(store, config, plan, run)
    summary = summarise(run, store, plan, runner.outcomes, time.monotonic() - started)
    if as_json:
        print(json.dumps(summary))
    else:
        from flows.terminal import show_summary

        show_summary(summary, plan[-1].request.fingerprint, store)


def open_store(path: Path) -> Store:
    """The store of a command; damaged artifacts are named on standard error."""
    return Store(path, warn=lambda sentence: print(f"stillhouse: {sentence}", file=sys.stderr))


def execute(
    config: Config, store: Store, nodes: list[Node], selection: Selection, run: str, *, direct: bool, quiet: bool
) -> Runner:
    """Runs nodes; Prefect starts only when one of them is not there.

    Raises:
        StillhouseError: as the failing stage raised it.
    """
    waiting = [
        node for node in nodes if selection.forces(node) or store.find(node.stage, node.request.fingerprint) is None
    ]
    if not waiting:
        runner = Runner(config, store, selection)
        list(run_directly(runner, nodes))
        return runner
    check_store(store)
    from flows.preflight import check_labels, preflight

    stages = {node.stage for node in waiting}
    if stages <= WITHOUT_NETWORK:
        check_labels(config, stages)
    else:
        preflight(config, stages)
    if any(asks_teacher(node.stage, config.teacher, node.inputs) for node in waiting):
        check_token(config.teacher)
    from flows.terminal import Display

    with Display(len(nodes), quiet=quiet) as display:
        runner = Runner(config, store, selection, display.progress, display.done, display.warn)
        if direct:
            list(run_directly(runner, nodes))
        else:
            from flows.pipeline import run_with_prefect

            run_with_prefect(runner, nodes, run)
    return runner


def check_store(store: Store) -> None:
    """Makes the store's folder.

    Raises:
        DataError: if it cannot be made.
    """
    try:
        store.root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"the store {store.root} cannot be made ({error.strerror}); try --store DIR.") from error


def record_run(store: Store, config: Config, plan: list[Node], run: str) -> None:
    """Writes ``runs/<run>.json``: the configuration and every fingerprint, so that the run can be found again."""
    path = store.root / "runs" / f"{run}.json"
    record = {
        "run": run,
        "name": config.name,
        "config": config.model_dump(mode="json"),
        "stages": [
            {"key": node.key, "stage": node.stage, "fingerprint": node.request.fingerprint, **node.arguments}
            for node in plan
        ],
    }
    if path.exists() and json.loads(path.read_text(encoding="utf-8")) == record:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, record)


def summarise(run: str, store: Store, plan: list[Node], outcomes: list[Outcome], seconds: float) -> dict[str, Any]:
    """The object that ``--json`` prints; a student has a result for every figure of whole labels."""
    from flows.reporting.results import recorded_figures
    from students.evaluation import headlines

    report = store.folder("report", plan[-1].request.fingerprint) / "report.html"
    results = []
    # Those of the report: a student that only the density ratio reads is no result.
    for node in plan[-1].inputs.values():
        artifact = store.find(node.stage, node.request.fingerprint) if node.stage == "distill" else None
        if artifact is not None:
            counts = {name: artifact.metrics[name] for name in ("steps", "teacher_calls")}
            for figure in headlines(recorded_figures(artifact.metrics)):
                measured = {"metric": figure.metric, "value": figure.value, "unit": figure.unit}
                results.append({**node.arguments, **measured, **counts})
    return {
        "run": run,
        "report": str(report) if report.is_file() else None,
        "seconds": round(seconds, 3),
        "stages": stage_rows(outcomes),
        "results": results,
    }


def stage_rows(outcomes: list[Outcome]) -> list[dict[str, Any]]:
    """What ``--json`` says of every stage that is done."""
    return [
        {
            "stage": outcome.node.stage,
            "key": outcome.node.key,
            "fingerprint": outcome.artifact.fingerprint,
            "state": outcome.state,
            "seconds": round(outcome.seconds, 3),
            "path": str(outcome.artifact.folder),
        }
        for outcome in outcomes
    ]


def show_plan(status: list[Status], selection: Selection, as_json: bool) -> None:
    """Prints for every stage whether it is cached, and why it would run otherwise."""
    rows = []
    for item in status:
        forced = selection.forces(item.node)
        state = "cached" if item.cached and not forced else "would run"
        why = "forced" if forced and item.cached else item.why
        rows.append(
            {
                "stage": item.node.stage,
                "key": item.node.key,
                "fingerprint": item.node.request.fingerprint,
                "state": state,
                "why": why,
            }
        )
    if as_json:
        print(json.dumps({"stages": rows}))
        return
    width = max(len(row["key"]) for row in rows)
    for row in rows:
        print(f"{row['key']:{width}}  {row['fingerprint'][:12]}  {row['state']:9}  {row['why']}".rstrip())
