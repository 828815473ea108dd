"""The comparisons of methods: their students rest on the artifacts of the plain configuration, and all methods fit."""

from pathlib import Path

import pytest

from flows.loading import load_config
from flows.plan import make_plan, make_source
from flows.preflight import check_labels
from students.methods import make_method

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize(("name", "least"), [("digits", 19), ("chairs", 14)])
def test_methods_are_compared_on_the_same_artifacts(name, least):
    plain, compared = (load_config(CONFIGS / f"{file}.yaml", ()) for file in (name, f"{name}_methods"))
    check_labels(compared)
    assert len(compared.distill.methods) >= least
    assert len(compared.distill.seeds) >= 3
    before, after = ({node.key: node.request.fingerprint for node in make_plan(config)} for config in (plain, compared))
    shared = set(before) - {"assess", "report"}
    assert len(shared) >= 9 + 12
    assert {key for key in shared if before[key] != after[key]} == set()


@pytest.mark.parametrize("name", ["digits", "chairs"])
def test_every_method_serves_the_labels(name):
    config = load_config(CONFIGS / f"{name}_methods.yaml", ())
    kind = make_source(config).label_space.kind
    for method in config.distill.methods:
        assert kind in make_method(method.name, method.options).tasks
