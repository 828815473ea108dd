"""The Prefect flow: every stage a task, shown as Completed, or as Cached when the store holds it.

The store is the only truth: Prefect persists no result and decides no cache hit.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from flows.execute import Outcome, Runner
from flows.plan import Node


def quiet_prefect(store: Path) -> None:
    """Sets up Prefect before its first import: no telemetry, no chatter, its files in the store.

    What the user has set in the environment stays as it is.
    """
    home = store.resolve() / ".prefect"
    for key, value in {
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_HOME": str(home),
        "PREFECT_LOCAL_STORAGE_PATH": str(home / "results"),
        # The server keeps the runs' logs; the terminal has the one sentence of the command line instead.
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
        "PREFECT_LOGGING_SERVER_LEVEL": "CRITICAL",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    }.items():
        os.environ.setdefault(key, value)


def run_with_prefect(runner: Runner, nodes: list[Node], run_name: str) -> None:
    """Runs nodes as tasks of one flow run; without a server of the user's, on a temporary one on loopback.

    Args:
        runner: runs a node and keeps its outcome.
        nodes: what to run, inputs first.
        run_name: name of the flow run.

    Raises:
        StillhouseError: as the failing stage raised it.
    """
    quiet_prefect(runner.store.root)
    from prefect import flow, task
    from prefect.cache_policies import NO_CACHE
    from prefect.states import Completed

    def stage(key: str) -> Any:
        node = by_key[key]
        outcome = runner.cached(node)
        if outcome is not None:
            return Completed(name="Cached", message="whole in the store", data=reference(outcome))
        return reference(runner.run(node))

    by_key = {node.key: node for node in nodes}

    @flow(name="pipeline", flow_run_name=run_name, persist_result=False, validate_parameters=False)
    def pipeline() -> list[Any]:
        references: list[Any] = []
        for node in nodes:
            run = task(name=node.stage, task_run_name=node.key, cache_policy=NO_CACHE, persist_result=False)(stage)
            references.append(run(node.key))
        return references

    pipeline()


def reference(outcome: Outcome) -> dict[str, str]:
    """The small reference that passes between tasks: never an array."""
    return {
        "stage": outcome.node.stage,
        "fingerprint": outcome.artifact.fingerprint,
        "state": outcome.state,
    }
