"""Stage ``recipes``: mixes with the teacher's answers, what they cost, and that a killed stage goes on where it was."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml
from scipy.special import log_softmax

import flows.stages.recipes as stage
from data.compute import pick_compute
from data.reading import open_set
from data.recipes.mixes import read_mixes, sample_mixes
from data.splitting import TRAIN
from data.store import Store
from flows import teachers
from flows.cli import main
from students.evaluation import predict
from students.model import load_model

DATA = ["real", "real+mixed"]


def artifact(store, name):
    (found,) = Store(store).artifacts(name)
    return found


def run(store, path, *only, extra=()):
    """Exit statuses of single stages, one after the other."""
    command = ["run", str(path), "--store", str(store), "--direct", "--json", *extra]
    return [main([*command, "--only", name]) for name in only]


def mixed_by_hand(images, mixes):
    made = []
    for first, second, share, (top, left, height, width) in zip(
        images[mixes.first], images[mixes.second], mixes.coefficient, mixes.box, strict=True
    ):
        if mixes.kind == "cutmix":
            image = first.copy()
            image[:, top : top + height, left : left + width] = second[:, top : top + height, left : left + width]
        else:
            image = np.rint(float(share) * first + (1 - float(share)) * second).astype(np.uint8)
        made.append(image)
    return np.stack(made)


@pytest.fixture(scope="module")
def taught(tiny, tmp_path_factory):
    """A store with the real set and the teacher of the tiny experiment."""
    store = tmp_path_factory.mktemp("taught") / "store"
    assert run(store, tiny(distill={"data": DATA}), "prepare", "teacher") == [0, 0]
    return store


@pytest.fixture
def fresh(taught, tmp_path):
    """A copy of it."""
    import shutil

    return shutil.copytree(taught, tmp_path / "store")


@pytest.mark.parametrize("kind", ["cutmix", "mixup"])
def test_answers_are_those_to_the_mixed_images(kind, tiny, fresh):
    path = tiny(distill={"data": DATA}, recipes={"mixes": {"kind": kind, "count": 40, "seed": 5}})
    assert run(fresh, path, "recipes") == [0]
    made, real = artifact(fresh, "recipes"), open_set(artifact(fresh, "prepare").path("real.h5"))
    mixes = read_mixes(made.path("mixes.h5"))
    rows = np.flatnonzero(real.columns["split"] == TRAIN)
    expected = sample_mixes(rows, kind, 1.0, 40, (8, 8), 5)
    for name in ("first", "second", "coefficient", "box"):
        np.testing.assert_array_equal(getattr(mixes, name), getattr(expected, name))
    assert mixes.of == real.content_sha256
    assert set(mixes.first) <= set(rows)
    compute = pick_compute("cpu", "fp32")
    teacher = load_model(artifact(fresh, "teacher").folder, compute)
    answers = predict(teacher, mixed_by_hand(real.columns["images"], mixes), compute, batch_size=64)
    np.testing.assert_allclose(mixes.teacher_outputs, answers, rtol=1e-5, atol=1e-5)
    assert made.metrics == {"mixes": 40, "drawn": 40, "teacher_calls": 40}
    # What was drawn and by whom it was answered is told.
    told = open_set(made.path("mixes.h5")).provenance
    assert (told["seed"], told["alpha"], told["teacher"]) == (5, 1.0, artifact(fresh, "teacher").fingerprint)


def test_picked_mixes_are_those_that_the_teacher_is_least_sure_of(tiny, fresh, monkeypatch):
    path = tiny(distill={"data": DATA}, recipes={"mixes": {"count": 90}})
    assert run(fresh, path, "recipes") == [0]
    everything = read_mixes(artifact(fresh, "recipes").path("mixes.h5"))
    document = yaml.safe_load(path.read_text())
    document["recipes"] = {"mixes": {"count": 30, "pick": 3}}
    path.write_text(yaml.safe_dump(document))
    assert run(fresh, path, "recipes") == [0]
    picked = next(item for item in Store(fresh).artifacts("recipes") if item.metrics["mixes"] == 30)
    assert picked.metrics == {"mixes": 30, "drawn": 90, "teacher_calls": 90}
    logarithms = log_softmax(everything.teacher_outputs.astype(np.float64), axis=1)
    entropy = -(np.exp(logarithms) * logarithms).sum(axis=1)
    best = np.sort(np.argsort(-entropy)[:30])
    kept = read_mixes(picked.path("mixes.h5"))
    np.testing.assert_array_equal(kept.first, everything.first[best])
    np.testing.assert_array_equal(kept.teacher_outputs, everything.teacher_outputs[best])


class Interrupting:
    """Counts the images that the teacher is asked about, and is killed at one of the requests."""

    def __init__(self, monkeypatch, at=None):
        self.asked, self.at = [], at
        original = teachers.OpenTeacher.answer

        def answer(teacher, images):
            if len(self.asked) == self.at:
                raise KeyboardInterrupt
            self.asked.append(len(images))
            return original(teacher, images)

        monkeypatch.setattr(teachers.OpenTeacher, "answer", answer)


def test_a_killed_stage_goes_on_at_the_first_missing_block(tiny, fresh, tmp_path, monkeypatch, capsys):
    import shutil

    path = tiny(distill={"data": DATA}, recipes={"mixes": {"count": 50, "pick": 2}})
    whole = shutil.copytree(fresh, tmp_path / "whole")
    assert run(whole, path, "recipes") == [0]
    monkeypatch.setattr(stage, "_BLOCK_ROWS", 16)
    with monkeypatch.context() as patch:
        killed = Interrupting(patch, at=3)
        assert run(fresh, path, "recipes") == [130]
    assert killed.asked == [16, 16, 16]
    rest = Interrupting(monkeypatch)
    capsys.readouterr()
    assert run(fresh, path, "recipes") == [0]
    assert json.loads(capsys.readouterr().out)["stages"][0]["state"] == "resumed"
    assert rest.asked == [16, 16, 16, 4]
    both = [artifact(store, "recipes") for store in (fresh, whole)]
    assert both[0].metrics == both[1].metrics
    assert both[0].path("mixes.h5").read_bytes() == both[1].path("mixes.h5").read_bytes()


def endpoint(server, **settings):
    return {"kind": "http", "url": server.url, "batch_images": 16, "backoff_seconds": 0.01, **settings}


@pytest.fixture
def paying(tiny, tmp_path, teacher_server):
    """Runs the stage with a teacher that is paid by the image, in one store; the server, and the outcome."""
    server = teacher_server(10)

    def go(settings, **mixes):
        path = tiny(distill={"data": DATA}, recipes={"mixes": {"count": 40, **mixes}})
        document = yaml.safe_load(path.read_text())
        path.write_text(yaml.safe_dump({**document, "teacher": endpoint(server, **settings)}))
        store = tmp_path / "store"
        return run(store, path, "prepare", "teacher", "recipes")[-1], store

    return server, go


def test_no_mixed_image_is_paid_for_twice_and_the_budget_is_checked_first(paying, capsys):
    server, go = paying
    capsys.readouterr()
    assert go({"max_calls": 50}, pick=2)[0] == 4
    assert "of 50 0 are spent and 50 are left" in capsys.readouterr().err
    assert not server.requests
    status, store = go({"max_calls": 80}, pick=2)
    assert status == 0
    # An empty box leaves an image as it is, so that a few of the 80 images may be equal.
    paid = sum(server.charged.values())
    assert 70 < paid <= 80
    assert artifact(store, "recipes").metrics == {"mixes": 40, "drawn": 80, "teacher_calls": 80, "paid_calls": paid}
    assert not server.twice
