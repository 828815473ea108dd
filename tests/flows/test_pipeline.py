"""Prefect: tasks show as Cached or Completed, nothing is printed, and a cron deployment really gets scheduled."""

import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

pytestmark = pytest.mark.server


def run(config, store, *more):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")}
    command = [sys.executable, "-m", "flows.cli", "run", config, "--store", store, "--json", *more]
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=240, env=environment)


def test_tasks_are_cached_or_completed_and_prefect_is_silent(tiny, tmp_path):
    config, store = tiny(), tmp_path / "store"
    assert run(config, store, "--direct", "--only", "prepare").returncode == 0
    done = run(config, store)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert {stage["state"] for stage in json.loads(done.stdout)["stages"]} == {"cached", "ran"}
    with sqlite3.connect(store / ".prefect" / "prefect.db") as database:
        tasks = database.execute("SELECT task_run.name, state_name FROM task_run").fetchall()
        flows = database.execute("SELECT name, state_name FROM flow_run").fetchall()
    database.close()
    assert ("prepare", "Cached") in tasks
    assert ("generator", "Completed") in tasks
    assert len(tasks) == 20
    assert {state for _, state in tasks} == {"Cached", "Completed"}
    assert flows == [(json.loads(done.stdout)["run"], "Completed")]

    failed = run(config, store, "--set", "synthetic.quantile=0")
    assert failed.returncode == 4
    assert failed.stdout == ""
    assert failed.stderr.count("\n") == 1
    assert failed.stderr.startswith("stillhouse: synthetic: quantile 0")


def post(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    for pause_seconds in (0.5, 1, 2, 4, 8, None):
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            # A server on SQLite answers 503 while its database is busy; Prefect's own client retries too.
            error.close()
            if error.code != 503 or pause_seconds is None:
                raise
            time.sleep(pause_seconds)
    raise AssertionError("unreachable")


def test_a_cron_deployment_gets_scheduled(tmp_path):
    """With a fastapi or SQLAlchemy beyond our bounds the server dies, or schedules nothing without a word."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_HOME": str(tmp_path),
        "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "1",
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    api = f"http://127.0.0.1:{port}/api"
    try:
        deadline = time.monotonic() + 90
        while True:
            try:
                urllib.request.urlopen(f"{api}/health", timeout=2).close()
                break
            except (urllib.error.URLError, OSError):
                assert server.poll() is None, (tmp_path / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.3)
        flow = post(f"{api}/flows/", {"name": "pipeline"})
        schedule = {"schedule": {"cron": "0 3 * * *", "timezone": "UTC"}, "active": True}
        deployment = {"name": "nightly", "flow_id": flow["id"], "schedules": [schedule]}
        post(f"{api}/deployments/", deployment)
        scheduled = 0
        while not scheduled and time.monotonic() < deadline:
            scheduled = post(f"{api}/flow_runs/count", {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}})
            time.sleep(0.5)
        assert scheduled > 0, (tmp_path / "log").read_text()
    finally:
        server.terminate()
        server.wait(30)
