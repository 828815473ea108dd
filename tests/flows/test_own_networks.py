"""Networks of the user's own in runs: their source is part of the fingerprint, and trusted because the run names it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from data import factories
from data.compute import Compute
from data.errors import ConfigError, StageError
from data.store import Store
from flows.execute import Runner, Selection, run_directly
from flows.loading import load_config
from flows.own_networks import trust_sources
from flows.plan import make_plan
from flows.preflight import preflight

SOURCE = """
from torch import nn

def make(image_shape, outputs, channels=3):
    return nn.Sequential(
        nn.Conv2d(image_shape[0], channels, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        nn.Linear(4 * channels, outputs),
    )
"""
OWN = {"name": "own", "network": "factory", "options": {"factory": "running_of_tests:make", "channels": 5}}


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    monkeypatch.setattr(factories, "_trusted", set())
    path = tmp_path / "running_of_tests.py"
    path.write_text(SOURCE)
    yield path
    sys.modules.pop("running_of_tests", None)


def experiment(tiny: Any, **distill: Any) -> Any:
    small = {"name": "small", "network": "convnet", "options": {"channels": 2}}
    section = {"students": [OWN, small], "methods": [{"name": "ce"}], "data": ["real"], "seeds": [0], **distill}
    return load_config(tiny(distill=section, assess={"enabled": False}), ())


def fingerprints(config: Any) -> dict[str, str]:
    return {node.key: node.request.fingerprint for node in make_plan(config)}


def test_a_change_of_the_code_makes_its_student_run_again_and_no_other(tiny: Any, module: Path) -> None:
    config = experiment(tiny)
    before = fingerprints(config)
    module.write_text(SOURCE + "\n# another\n")
    after = fingerprints(config)
    changed = {key for key, value in before.items() if after[key] != value}
    assert changed == {"own / ce / real / seed 0", "report"}
    assert "running_of_tests" not in sys.modules  # planning imports nothing of it


def test_a_run_trains_it_and_loads_it_again(tiny: Any, module: Path, tmp_path: Path) -> None:
    from students.model import load_model

    config = experiment(tiny)
    preflight(config)
    plan = make_plan(config)
    runner = Runner(config, Store(tmp_path / "store"), Selection())
    wanted = [node for node in plan if node.stage == "prepare" or node.key.startswith("own")]
    outcomes = list(run_directly(runner, wanted))
    metrics = outcomes[-1].artifact.metrics
    assert metrics["parameters"] == 5 * 9 + 5 + 20 * 10 + 10
    import torch

    load_model(outcomes[-1].artifact.folder, Compute(torch.device("cpu")))
    factories._trusted.clear()
    with pytest.raises(ConfigError, match="which is code that would run here"):
        load_model(outcomes[-1].artifact.folder, Compute(torch.device("cpu")))


def test_code_that_changes_between_plan_and_run_stops_the_run(tiny: Any, module: Path) -> None:
    config = experiment(tiny)
    (node,) = [node for node in make_plan(config) if node.key.startswith("own")]
    trust_sources(config, node.request.config)
    module.write_text(SOURCE + "\n# another\n")
    with pytest.raises(StageError, match="'running_of_tests:make' has changed since this run was planned; run again"):
        trust_sources(config, node.request.config)


def test_a_module_that_is_not_there_is_named_when_planning(tiny: Any, module: Path) -> None:
    module.unlink()
    with pytest.raises(ConfigError, match="there is no module 'running_of_tests'"):
        make_plan(experiment(tiny))
