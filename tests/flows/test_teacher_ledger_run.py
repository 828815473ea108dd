"""Whole runs and their ledgers: budgets that hold for a stage, ensembles, requests that fail, weights made again."""

import json

import numpy as np
import pytest
import yaml

from data.errors import ConfigError
from data.store import Store
from flows.cli import main
from flows.loading import load_config
from students.ledger import calls_by_stage

ONLY = ("prepare", "teacher", "answers")


def run(capsys, *arguments):
    capsys.readouterr()
    status = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def endpoint(server, **settings):
    return {"kind": "http", "url": server.url, "batch_images": 16, "backoff_seconds": 0.01, **settings}


@pytest.fixture
def asked(tiny, tmp_path, capsys):
    """Runs what asks about the 50 training images; status and words of the last stage that ran."""

    def runs(section, *more, stages=ONLY, **sections):
        path = tiny(distill={"data": ["real"]}, **sections)
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "teacher": section}))
        for stage in stages:
            arguments = ("run", path, "--store", tmp_path / "store", "--direct", "--json", "--only", stage, *more)
            status, _, err = run(capsys, *arguments)
            if status:
                break
        return status, err

    return runs


def answers(tmp_path):
    return next(iter(Store(tmp_path / "store").artifacts("answers")))


def test_a_stage_that_the_budget_does_not_allow_pays_nothing(asked, tmp_path, teacher_server):
    server = teacher_server(10)
    small = {"compute": {"block_rows": 4}}
    status, err = asked(endpoint(server, max_calls=40), **small)
    assert status == 4
    assert "must allow 50 more images, but of 40 0 are spent and 40 are left; none of these 50 was asked for" in err
    assert "Raise teacher.max_calls to at least 50" in err
    assert not server.requests
    assert asked(endpoint(server, max_calls=50), **small)[0] == 0
    assert len(server.charged) == 50


def test_all_views_are_counted_before_the_first(asked, teacher_server):
    server = teacher_server(10)
    views = {"answers": {"views": 3, "shift_pixels": 1}}
    status, err = asked(endpoint(server, max_calls=100), **views)
    assert status == 4
    assert "of 100 0 are spent" in err
    assert not server.requests


def test_an_ensemble_of_one_endpoint_pays_and_counts_an_image_once(asked, tmp_path, teacher_server):
    server = teacher_server(10)
    members = [endpoint(server, max_calls=50), endpoint(server, gives="logits", batch_images=7, max_calls=50)]
    status, err = asked({"kind": "ensemble", "members": members, "max_calls": 50})
    assert status == 0, err
    assert sum(server.charged.values()) == 50
    assert answers(tmp_path).metrics["paid_calls"] == 50


def test_the_budget_of_a_member_is_counted_through_the_ensemble(asked, teacher_server):
    first, second = teacher_server(10), teacher_server(10)
    section = {"kind": "ensemble", "members": [endpoint(first), endpoint(second, max_calls=49)], "max_calls": 500}
    status, err = asked(section)
    assert status == 4
    assert "of 49 0 are spent" in err
    assert not first.requests


def test_a_server_that_takes_fewer_images_now(asked, tmp_path, teacher_server):
    server = teacher_server(10)
    server.most_images = 8
    assert asked(endpoint(server, attempts=2))[0] == 4
    small = endpoint(server, attempts=2, batch_images=8)
    status, err = asked(small)
    assert status == 4
    assert "a request for 16 images that was left unanswered before still fails" in err
    assert "teacher.give_up_unanswered: true" in err
    assert len(server.charged) == 34
    status, err = asked({**small, "give_up_unanswered": True})
    assert status == 0, err
    assert len(server.charged) == 50
    assert not server.twice
    # The 16 images that were given up count as spent, too.
    assert answers(tmp_path).metrics["paid_calls"] == 66


def test_another_encoding_does_not_change_what_is_sent_again(asked, teacher_server):
    server = teacher_server(10)
    server.faults.append("drop")
    assert asked(endpoint(server, attempts=1))[0] == 4
    assert asked(endpoint(server, encoding="json"))[0] == 0
    assert server.forms == ["npz", "npz", "json", "json", "json"]
    assert not server.twice


def test_an_answer_that_the_configuration_does_not_fit_is_paid_for_once(asked, teacher_server):
    server = teacher_server(12)
    status, err = asked(endpoint(server))
    assert status == 4
    assert "must give 10 outputs an image for the class labels, got 12; choose the columns by teacher.outputs" in err
    assert len(server.charged) == 50
    status, err = asked(endpoint(server, outputs=list(range(10))))
    assert status == 0, err
    assert sum(server.charged.values()) == 50


def test_weights_that_were_made_again_have_a_ledger_of_their_own(asked, tmp_path, monkeypatch):
    # What a factory reads is no part of who it is, but its weights are in the artifact.
    (tmp_path / "changing_teacher.py").write_text(
        "import torch\nfrom pathlib import Path\n"
        "def make():\n"
        "    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))\n"
        f"    torch.nn.init.constant_(network[1].bias, float(Path({str(tmp_path / 'bias')!r}).read_text()))\n"
        "    return network\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    section = {"kind": "factory", "factory": "changing_teacher:make", "ledger": True}
    outputs = []
    for bias in ("0", "1000"):
        (tmp_path / "bias").write_text(bias)
        for stages, more in ((("prepare",), ()), (("teacher",), ("--force", "teacher"))):
            status, err = asked(section, *more, stages=stages)
            assert status == 0, err
        status, err = asked(section, "--force", "answers", stages=("answers",))
        assert status == 0, err
        from data.reading import open_set

        outputs.append(np.asarray(open_set(answers(tmp_path).path("answers.h5")).columns["teacher_outputs"]))
    assert outputs[1].mean() - outputs[0].mean() == pytest.approx(1000, abs=10)
    ledgers = list((tmp_path / "store" / "ledger").glob("*.sqlite"))
    assert [calls_by_stage(path) for path in ledgers] == [{"answers": 50}] * 2


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "ALL_PROXY"])
def test_an_environment_that_cannot_be_used_is_not_blamed_on_the_store(asked, teacher_server, monkeypatch, variable):
    monkeypatch.setenv(variable, {"SSL_CERT_FILE": "/nope.pem", "ALL_PROXY": "socks5://127.0.0.1:9"}[variable])
    status, err = asked(endpoint(teacher_server(10)))
    assert status == 2
    assert f"environment variable {variable} must" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "url",
    [
        "http://",
        "https://exa mple/x",
        "http://h:99999/",
        "http://h:0/",
        "http://:80/",
        "http://a..b/",
        "http://[::1/",
        "http://" + "a" * 64,
        "http://h/\u0007",
    ],
)
def test_an_address_that_is_none_is_refused(tiny, url):
    path = tiny()
    document = {**yaml.safe_load(path.read_text()), "teacher": {"kind": "http", "url": url}}
    path.write_text(json.dumps(document))
    with pytest.raises(ConfigError, match=r"url"):
        load_config(path)


@pytest.mark.parametrize("url", ["http://h", "https://h.example.:8443/x?y=1", "http://[::1]:80/", "http://127.0.0.1"])
def test_an_address_is_taken(tiny, url):
    path = tiny()
    path.write_text(json.dumps({**yaml.safe_load(path.read_text()), "teacher": {"kind": "http", "url": url}}))
    assert load_config(path).teacher.url == url
