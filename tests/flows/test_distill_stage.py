"""What reaches a student from the artifacts: views, the live teacher, the recipe, the weight of synthetic rows."""

from __future__ import annotations

import inspect
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import students.data_parallel
from data.errors import DataError, StageError
from data.labels import LabelSpace
from data.reading import ImageSet, open_set
from data.recipes.groups import read_groups, write_groups
from data.recipes.mixes import sample_mixes, write_mixes
from data.store import Artifact
from data.views import ViewRule
from data.workspace import Workspace
from data.writing import write_set
from flows.config import Config
from flows.stages import answers as answering
from flows.stages import distill, teacher
from flows.stages.common import RealSet
from flows.student_config import Training
from students.training import train_student

SPACE = LabelSpace("class", ("a", "b", "c"))
TRAINING = {"steps": 4, "warmup_steps": 1, "batch_size": 8, "validate_every": 2}
SMALL = {"network": "convnet", "options": {"channels": 3}}
TRAIN_ROWS = np.arange(0, 60, 3)


def real_set(folder: Path) -> Artifact:
    rng = np.random.default_rng(0)
    columns = {
        "images": rng.integers(0, 256, (60, 1, 8, 8), dtype=np.uint8),
        "labels": np.arange(60) // 3 % 3,
        "split": (np.arange(60) % 3).astype(np.uint8),
        "source_row": np.arange(60),
    }
    folder.mkdir()
    write_set(folder / "real.h5", columns, kind="real", label_space=SPACE, provenance={}, license="CC0-1.0")
    return Artifact(folder, {"stage": "prepare", "fingerprint": "r", "metrics": {}})


def answers(folder: Path, views: int) -> Artifact:
    outputs = np.random.default_rng(1).normal(size=(max(1, views) * 20, 3)).astype(np.float32)
    columns = {"teacher_outputs": outputs, "source_row": np.tile(TRAIN_ROWS, max(1, views))}
    told: object = "clean"
    if views:
        columns["view"] = np.repeat(np.arange(views), 20)
        told = {"seed": 6, "shift_pixels": 1, "flip": True}
    folder.mkdir()
    write_set(
        folder / "answers.h5", columns, kind="answers", label_space=SPACE, provenance={"view": told}, license="CC0-1.0"
    )
    return Artifact(folder, {"stage": "answers", "metrics": {"teacher_calls": len(outputs)}})


def context(folder, inputs, method, options=None, planned=None, **sections):
    method = {"name": method, "options": options or {}}
    config = Config.model_validate(
        {
            "compute": {"precision": "fp32"},
            "teacher": {**SMALL, "training": TRAINING},
            **sections,
            "distill": {"training": TRAINING, "methods": [method], **sections.get("distill", {})},
        }
    )
    section = {"student": SMALL, "method": method, **(planned or {})}
    node = SimpleNamespace(request=SimpleNamespace(config={"distill": section}), stage="distill")
    folder.mkdir()
    return SimpleNamespace(config=config, inputs=inputs, workspace=Workspace(folder), node=node, seed=0, ledgers=None)


@pytest.fixture
def given(monkeypatch):
    """What the training is called with, beside what it does."""
    calls = []
    original = students.data_parallel.train_in_processes

    def train(*arguments, **options):
        calls.append(SimpleNamespace(processes=arguments[0], data=arguments[1], **options))
        return original(*arguments, **options)

    monkeypatch.setattr(students.data_parallel, "train_in_processes", train)
    return calls


def test_every_key_of_the_recipe_is_one_of_the_training():
    settings = inspect.signature(train_student).parameters
    for name, field in Training.model_fields.items():
        assert settings[name].kind is inspect.Parameter.KEYWORD_ONLY
        # Where the training has a default of its own that differs, it is the one that changes nothing.
        assert settings[name].default in (inspect.Parameter.empty, field.default, 0)
    assert len(Training.model_fields) >= 19


@pytest.mark.parametrize("views", [0, 3])
def test_answers_reach_the_student_with_the_rule_of_their_views(views, tmp_path, given):
    inputs = {"real": real_set(tmp_path / "real"), "answers": answers(tmp_path / "answers", views)}
    metrics = distill.run(context(tmp_path / "work", inputs, "kd"))
    outputs = np.asarray(open_set(inputs["answers"].path("answers.h5")).columns["teacher_outputs"])
    rows = given[0].data.real
    assert rows.views == (ViewRule(6, 1, True) if views else None)
    np.testing.assert_array_equal(rows.teacher_outputs, outputs.reshape(views, 20, 3) if views else outputs)
    assert given[0].teacher is None
    assert given[0].processes == 1
    assert (metrics["steps"], metrics["stopped_early"], metrics["teacher_calls"]) == (4.0, 0.0, len(outputs))
    assert metrics["multiply_adds"] > metrics["parameters"] > 0


def test_a_method_that_asks_the_teacher_gets_its_network(tmp_path, given):
    real = real_set(tmp_path / "real")
    teacher.run(context(tmp_path / "teacher", {"real": real}, "ce"))
    made = Artifact(tmp_path / "teacher", {"stage": "teacher", "fingerprint": "t", "metrics": {}})
    distill.run(context(tmp_path / "work", {"real": real, "teacher": made}, "hint"))
    asked = given[-1].teacher
    assert asked.card["options"] == SMALL["options"]
    assert not any(parameter.requires_grad for parameter in asked.parameters())


def test_the_recipe_that_was_planned_gives_the_groups(tmp_path, given):
    real = real_set(tmp_path / "real")
    inputs = {"real": real, "answers": answers(tmp_path / "answers", 0)}
    path = tmp_path / "pairs.h5"
    digest = write_groups(path, open_set(real.path("real.h5")), 1, 1, 30, 4)

    def run(name, planned, recipe=str(path)):
        distill.run(context(tmp_path / name, inputs, "ckd", planned=planned, distill={"recipe": recipe}))

    run("planned", {"recipe": digest})
    positive, negative = given[0].data.real.groups
    np.testing.assert_array_equal(TRAIN_ROWS[positive], read_groups(path).positive)
    np.testing.assert_array_equal(TRAIN_ROWS[negative], read_groups(path).negative)
    run("drawn", {}, None)
    assert given[1].data.real.groups is None
    with pytest.raises(StageError, match="has changed since this run was planned"):
        run("changed", {"recipe": "0" * 64})
    other = real_set(tmp_path / "other").path("real.h5")
    columns = {name: np.array(values) for name, values in open_set(other).columns.items()}
    columns["images"][0] += 1
    write_set(other, columns, kind="real", label_space=SPACE, provenance={}, license="CC0-1.0")
    foreign = tmp_path / "foreign.h5"
    digest = write_groups(foreign, open_set(other), 1, 1, 30, 4)
    with pytest.raises(DataError, match=r"distill\.recipe .*foreign\.h5 must be of the set"):
        run("foreign", {"recipe": digest}, str(foreign))


@pytest.fixture
def untaken(monkeypatch):
    """Images of the real set may be read some rows at a time, never a whole part."""
    original = ImageSet.take

    def take(self, column, rows):
        assert column != "images" or self.kind != "real", "a whole part of the real images was taken into memory"
        return original(self, column, rows)

    monkeypatch.setattr(ImageSet, "take", take)


def test_no_part_of_the_real_images_is_held_whole(tmp_path, untaken, monkeypatch):
    real = real_set(tmp_path / "real")
    images = open_set(real.path("real.h5"))
    teacher.run(context(tmp_path / "teacher", {"real": real}, "ce"))
    taught = Artifact(tmp_path / "teacher", {"stage": "teacher", "fingerprint": "t", "metrics": {}})
    compared = tmp_path / "groups"
    compared.mkdir()
    write_groups(compared / "groups.h5", images, 1, 1, 30, 4)
    inputs = {"real": real, "answers": answers(tmp_path / "answers", 0), "groups": Artifact(compared, {"metrics": {}})}
    distill.run(context(tmp_path / "stage", inputs, "ckd"))
    path = tmp_path / "pairs.h5"
    recipe = {"recipe": write_groups(path, images, 1, 1, 30, 4)}
    distill.run(context(tmp_path / "recipe", inputs, "ckd", planned=recipe, distill={"recipe": str(path)}))
    mixed = tmp_path / "mixes"
    mixed.mkdir()
    write_mixes(mixed / "mixes.h5", images, sample_mixes(TRAIN_ROWS, "mixup", 1.0, 12, (8, 8), 0), facts={})
    mixes = context(tmp_path / "mixed", {"real": real, "mixes": Artifact(mixed, {"metrics": {}})}, "ce")
    mixes.node.request.config["recipes"] = {"mixes": {"labels": "mixed"}}
    distill.run(mixes)
    for views in (0, 2):
        asked = context(tmp_path / f"asked {views}", {"real": real, "teacher": taught}, "ce", answers={"views": views})
        assert answering.run(asked)["teacher_calls"] == 20 * max(views, 1)


@pytest.mark.parametrize("views", [0, 3])
def test_pictures_are_those_of_all_images_at_once(views, tmp_path):
    real = RealSet.of(real_set(tmp_path / "real"))
    rule = ViewRule(6, 2, True)
    found = list(answering.pictures(real.unread_train, 2, rule if views else None, views))
    # Four blocks of the network at a time; a view begins anew.
    assert [len(images) for images in found] == [8, 8, 4] * max(views, 1)
    whole = real.images.columns["images"][TRAIN_ROWS]
    expected = [whole]
    if views:
        expected = [rule(torch.from_numpy(whole), torch.arange(20), view).numpy() for view in range(views)]
    np.testing.assert_array_equal(np.concatenate(found), np.concatenate(expected))


def test_synthetic_rows_come_with_their_share_and_weight(tmp_path, given):
    rng = np.random.default_rng(2)
    folder = tmp_path / "synthetic"
    folder.mkdir()
    columns = {
        "images": rng.integers(0, 256, (12, 1, 8, 8), dtype=np.uint8),
        "labels": np.arange(12) % 3,
        "condition": np.arange(12) % 3,
        "teacher_outputs": rng.normal(size=(12, 3)).astype(np.float32),
        "teacher_error": np.zeros(12, np.float32),
        "density_ratio": np.ones(12, np.float32),
        "seed": np.arange(12, dtype=np.uint64),
        "source_row": np.arange(12),
    }
    write_set(folder / "synthetic.h5", columns, kind="synthetic", label_space=SPACE, provenance={}, license="CC0-1.0")
    made = Artifact(folder, {"stage": "synthetic", "metrics": {"soft_labels": 1.0, "teacher_calls": 40}})
    inputs = {"real": real_set(tmp_path / "real"), "synthetic": made}
    planned = {"real_fraction": 0.25, "synthetic_weight": 0.4}
    metrics = distill.run(context(tmp_path / "work", inputs, "ce", planned=planned))
    assert (given[0].real_fraction, given[0].synthetic_weight) == (0.25, 0.4)
    assert given[0].data.synthetic.soft_labels
    np.testing.assert_array_equal(given[0].data.synthetic.images, columns["images"])
    assert metrics["teacher_calls"] == 40
