"""Whole runs with a teacher behind HTTP: every image paid once, a budget that holds, a token that is nowhere."""

import json

import numpy as np
import pytest
import torch
import yaml

from data.labels import LabelSpace
from data.reading import open_set
from data.store import Store
from flows.cli import main
from flows.loading import load_config
from flows.plan import make_plan
from flows.stages.common import RealSet, answers_of, view_rule
from students.ledger import calls_by_stage

TOKEN = "s3cret-token-0123456789"
QUICK = {
    "distill": {
        "students": [{"name": "small", "network": "convnet", "options": {"channels": 2}}],
        "methods": [{"name": "ce"}, {"name": "kd"}],
        "data": ["real", "real+synthetic"],
        "seeds": [0],
        "training": {"steps": 3, "warmup_steps": 1, "batch_size": 8},
    },
    "candidates": {"per_label": 6, "subsample": False},
    "generator": {"options": {"width": 8, "latent_size": 8}, "steps": 2, "batch_size": 8},
}


def run(capsys, *arguments):
    capsys.readouterr()
    status = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def teacher(server, **settings):
    return {
        "kind": "http",
        "url": server.url,
        "batch_images": 16,
        "backoff_seconds": 0.01,
        "timeout_seconds": 5.0,
        **settings,
    }


@pytest.fixture
def write(tiny):
    def written(section, **more):
        path = tiny(**QUICK, **more)
        # Not merged with the teacher of the tiny experiment, which is a trained one.
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "teacher": section}))
        return path

    return written


def test_a_whole_run_pays_every_image_once_and_hides_the_token(write, tmp_path, capsys, teacher_server, monkeypatch):
    server = teacher_server(10, token=TOKEN)
    monkeypatch.setenv("DIGITS_TOKEN", TOKEN)
    server.faults.extend(["drop", "500", "", "429 0", "refuse"])
    config, store = write(teacher(server, token_variable="DIGITS_TOKEN", max_calls=110)), tmp_path / "store"
    status, out, err = run(capsys, "run", config, "--store", store, "--direct", "--json")
    assert status == 0, err
    summary = json.loads(out)
    manifests = {
        stage["stage"]: json.loads((store / stage["stage"] / stage["fingerprint"] / "manifest.json").read_text())
        for stage in summary["stages"]
    }
    metrics = {name: manifest["metrics"] for name, manifest in manifests.items()}
    assert not server.twice
    ledgers = list((store / "ledger").glob("*.sqlite"))
    assert len(ledgers) == 1
    paid = calls_by_stage(ledgers[0])
    assert sum(paid.values()) == len(server.charged) <= 110
    assert paid["answers"] == metrics["answers"]["paid_calls"] == 50
    assert paid["candidates"] == metrics["candidates"]["paid_calls"] <= metrics["candidates"]["teacher_calls"] == 60
    # Stages that judge ask nothing, and say so.
    assert set(paid) == {"answers", "candidates"}
    assert metrics["fidelity"]["teacher_calls_to_judge"] == 0
    assert "value" not in metrics["teacher"]
    fidelity = json.loads((store / "fidelity" / manifests["fidelity"]["fingerprint"] / "fidelity.json").read_text())
    assert fidelity["compared"]["raw"]["accuracy"]["value"] is None
    assert any("teacher.judges" in note for note in fidelity["notes"])
    audit = json.loads((store / "audit" / manifests["audit"]["fingerprint"] / "audit.json").read_text())
    assert audit["noise"]["validation"] is None
    assert audit["noise"]["estimate"]["teacher"] is None
    # The answers are the server's.
    answers = open_set(store / "answers" / manifests["answers"]["fingerprint"] / "answers.h5")
    real = open_set(store / "prepare" / manifests["prepare"]["fingerprint"] / "real.h5")
    asked = real.take("images", np.asarray(answers.columns["source_row"]))
    np.testing.assert_array_equal(answers.columns["teacher_outputs"], server.expected(asked))
    # A second run, and one that makes the stages again, ask for nothing.
    requests = len(server.requests)
    assert run(capsys, "run", config, "--store", store, "--direct", "--json")[0] == 0
    for stage in ("answers", "candidates"):
        again = ("run", config, "--store", store, "--direct", "--json", "--only", stage, "--force", stage)
        assert run(capsys, *again)[0] == 0
    assert len(server.requests) == requests
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 30
    assert not [path for path in files if TOKEN.encode() in path.read_bytes()]
    assert TOKEN not in out + err


def test_the_budget_stops_a_run_and_a_larger_one_goes_on(write, tmp_path, capsys, teacher_server):
    server, store = teacher_server(10), tmp_path / "store"
    config = write(teacher(server, max_calls=49))
    arguments = ("run", config, "--store", store, "--direct", "--json", "--set", "distill.data=[real]")
    status, _, err = run(capsys, *arguments)
    assert status == 4
    assert "teacher.max_calls must allow 50 more images, but of 49 0 are spent and 49 are left" in err
    assert not server.charged
    status, out, err = run(capsys, *arguments, "--set", "teacher.max_calls=50")
    assert status == 0, err
    assert len(server.charged) == 50
    assert {row["teacher_calls"] for row in json.loads(out)["results"]} == {0, 50}


def test_a_lie_stops_the_run_and_nothing_of_it_is_kept(write, tmp_path, capsys, teacher_server):
    server, store = teacher_server(10), tmp_path / "store"
    config = write(teacher(server))
    arguments = ("run", config, "--store", store, "--direct", "--json", "--set", "distill.data=[real]")
    server.faults.append("rows")
    status, _, err = run(capsys, *arguments)
    assert status == 4
    assert "one row for each image sent, got (15, 10)" in err
    assert calls_by_stage(next((store / "ledger").glob("*.sqlite"))) == {}
    status, _, err = run(capsys, *arguments)
    assert status == 0, err
    assert not server.twice


def test_a_refused_token_is_named_before_anything_runs(write, tmp_path, capsys, teacher_server, monkeypatch):
    server = teacher_server(10)
    monkeypatch.delenv("DIGITS_TOKEN", raising=False)
    config = write(teacher(server, token_variable="DIGITS_TOKEN"))
    status, _, err = run(capsys, "run", config, "--store", tmp_path / "store", "--direct", "--json")
    assert status == 2
    assert "environment variable DIGITS_TOKEN must hold the token, got nothing" in err
    assert not list((tmp_path / "store").glob("*/*/manifest.json"))
    assert not server.requests


def test_the_token_is_needed_only_by_stages_that_ask(write, tmp_path, capsys, teacher_server, monkeypatch):
    server, store = teacher_server(10, token=TOKEN), tmp_path / "store"
    config = write(teacher(server, token_variable="DIGITS_TOKEN"))
    arguments = ("--store", store, "--json", "--set", "distill.data=[real]")
    monkeypatch.delenv("DIGITS_TOKEN", raising=False)
    assert run(capsys, "stages", config, *arguments)[0] == 0
    assert run(capsys, "run", config, *arguments, "--dry-run")[0] == 0
    monkeypatch.setenv("DIGITS_TOKEN", TOKEN)
    assert run(capsys, "run", config, *arguments, "--direct")[0] == 0
    monkeypatch.delenv("DIGITS_TOKEN")
    asked = len(server.requests)
    for more in (("--force", "report"), ("--only", "distill", "--force", "distill"), ("--force", "assess")):
        status, _, err = run(capsys, "run", config, *arguments, "--direct", *more)
        assert status == 0, err
    assert len(server.requests) == asked
    for more in (("--force", "answers"), ("--force", "assess", "--set", "teacher.judges=true")):
        status, _, err = run(capsys, "run", config, *arguments, "--direct", *more)
        assert status == 2
        assert "environment variable DIGITS_TOKEN must hold the token" in err


def test_a_method_that_runs_the_teacher_is_refused_before_anything_runs(write, tmp_path, capsys, teacher_server):
    config = write(teacher(teacher_server(10)))
    override = "distill.methods=[{name: hint}]"
    for more in ((), ("--dry-run",)):
        arguments = ("run", config, "--store", tmp_path / "store", "--direct", "--set", override, *more)
        status, _, err = run(capsys, *arguments)
        assert status == 2
        assert "'hint' needs teacher_features, which this teacher cannot give, as teacher.kind 'http'" in err


def test_how_it_is_asked_is_no_part_of_who_it_is(write, teacher_server):
    server = teacher_server(10)

    def fingerprint(**settings):
        plan = make_plan(load_config(write(teacher(server, **settings))))
        return next(node.request.fingerprint for node in plan if node.stage == "teacher")

    same = {
        "batch_images": 7,
        "timeout_seconds": 9.0,
        "attempts": 2,
        "backoff_seconds": 0.5,
        "requests_per_second": 3.0,
        "token_variable": "OTHER",
        "ledger": True,
        "max_calls": 5,
        "encoding": "json",
        "judges": True,
    }
    plain = fingerprint()
    for name, value in same.items():
        assert fingerprint(**{name: value}) == plain, name
    for other in ({"version": "2"}, {"outputs": list(range(10))}, {"gives": "probabilities"}, {"input_size": 16}):
        assert fingerprint(**other) != plain


def test_other_columns_and_units_are_paid_for_by_nothing(write, tmp_path, capsys, teacher_server):
    server, store = teacher_server(12), tmp_path / "store"
    config = write(teacher(server, outputs=list(range(10))))
    arguments = ("run", config, "--store", store, "--direct", "--json", "--only")
    for stage in ("prepare", "teacher", "answers"):
        assert run(capsys, *arguments, stage)[0] == 0
    requests = len(server.requests)
    assert requests
    config = write(teacher(server, outputs=list(range(11, 1, -1))))
    arguments = ("run", config, "--store", store, "--direct", "--json", "--only")
    for stage in ("teacher", "answers"):
        assert run(capsys, *arguments, stage)[0] == 0
    assert len(server.requests) == requests
    newest = max((store / "answers").glob("*/answers.h5"), key=lambda path: path.stat().st_mtime_ns)
    answers, real = open_set(newest), open_set(next((store / "prepare").glob("*/real.h5")))
    expected = server.expected(real.take("images", np.asarray(answers.columns["source_row"])))
    np.testing.assert_array_equal(answers.columns["teacher_outputs"], expected[:, 11:1:-1])


def test_views_are_asked_for_and_matched(write, tmp_path, capsys, teacher_server):
    server, store = teacher_server(10), tmp_path / "store"
    views = {"views": 3, "shift_pixels": 1, "flip": True}
    config = write(teacher(server), answers=views)
    arguments = ("run", config, "--store", store, "--direct", "--json", "--set", "distill.data=[real]")
    status, _, err = run(capsys, *arguments)
    assert status == 0, err
    artifact = next(iter(Store(store).artifacts("answers")))
    train = RealSet.of(next(iter(Store(store).artifacts("prepare")))).train
    outputs, rule = answers_of(artifact, train.rows), view_rule(artifact)
    assert outputs.shape == (3, 50, 10)
    for view in range(3):
        seen = rule(torch.from_numpy(train.images), torch.arange(50), view).numpy()
        np.testing.assert_array_equal(outputs[view], server.expected(seen))
        backwards = answers_of(artifact, train.rows[::-1])[view]
        np.testing.assert_array_equal(backwards, outputs[view][::-1])
    assert artifact.metrics["teacher_calls"] == 150
    assert artifact.metrics["paid_calls"] == len(server.charged) <= 150
    assert not server.twice
    assert open_set(artifact.path("answers.h5")).label_space == LabelSpace("class", tuple("0123456789"))
