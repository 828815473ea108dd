"""The assess stage on fresh networks: every label space, repetition, seeds, and what leaves parts of it out."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import students.assessment.robustness
import students.evaluation
from data.labels import Axis, LabelSpace
from data.store import Artifact
from data.workspace import Workspace
from data.writing import write_set
from flows.assessing import over_seeds, pooled_bins
from flows.config import Config
from flows.loading import load_config
from flows.measuring import corrupted_places
from flows.plan import make_plan
from flows.stages import assess
from flows.student_config import Assess
from students.assessment.corruptions import CONSTANTS
from students.model import build_model, label_statistics, save_model

SHAPE = (1, 8, 8)
SPACES = {
    "class": LabelSpace("class", ("a", "b", "c")),
    "scalar": LabelSpace("scalar", name="yaw", unit="degree", minimum=-10, maximum=90),
    "vector": LabelSpace("vector", axes=(Axis("yaw", "degree", -10, 90), Axis("tilt", "degree", 0, 45))),
    "class+scalar": LabelSpace("class+scalar", ("a", "b"), name="yaw", unit="degree", minimum=0, maximum=90),
}
SMALL, WIDE = {"network": "convnet", "options": {"channels": 2}}, {"network": "convnet", "options": {"channels": 6}}


def artifact(folder: Path) -> Artifact:
    folder.mkdir(parents=True)
    return Artifact(folder, {"fingerprint": folder.name, "config": {}, "stage": folder.name})


def some_labels(space: LabelSpace, count: int, rng):
    low, high = ([getattr(axis, end) for axis in space.dimensions] for end in ("minimum", "maximum"))
    values = rng.uniform(low, high, (count, len(low))) if low else None
    return space.join(rng.integers(0, space.classes, count) if space.has_classes else None, values)


class Run:
    """A real set, a teacher and students of fresh weights, and the context of the stage."""

    def __init__(self, root: Path, space: LabelSpace, students=(("small", SMALL), ("copy", SMALL), ("wide", WIDE))):
        rng = np.random.default_rng(0)
        self.root, self.space, self.teacher = root, space, {}
        split = np.repeat([0, 1, 2], [20, 10, 50]).astype(np.uint8)
        self.images = rng.integers(0, 256, (len(split), *SHAPE), dtype=np.uint8)
        self.labels = some_labels(space, len(split), rng)
        self.inputs = {name: artifact(root / name) for name in ("real", "teacher")}
        columns = {"images": self.images, "labels": self.labels, "source_row": np.arange(80), "split": split}
        described = {"label_space": space, "provenance": {}, "license": "CC-BY-4.0"}
        write_set(self.inputs["real"].path("real.h5"), columns, kind="real", **described)
        self._save(self.inputs["teacher"].folder, {"network": "convnet", "options": {"channels": 8}}, 99)
        self.nodes = {}
        for name, network in students:
            for seed in (0, 1):
                key = f"{name} / seed {seed}"
                self.inputs[key] = artifact(root / key.replace("/", "-"))
                self._save(self.inputs[key].folder, network, seed)
                arguments = {"student": name, "method": "ce", "data": "real", "seed": seed}
                request = SimpleNamespace(config={"distill": {"student": network}})
                self.nodes[key] = SimpleNamespace(stage="distill", arguments=arguments, key=key, request=request)

    def _save(self, folder: Path, network: dict, seed: int) -> None:
        torch.manual_seed(seed)
        statistics = label_statistics(self.labels, self.space)
        made = build_model(network["network"], network["options"], SHAPE, self.space, [128.0], [70.0], *statistics)
        save_model(folder, made)

    def assess(self, name: str = "out", progress=lambda *told: None, **options) -> tuple[dict, dict, dict]:
        settings = {"latency_batches": [2], "latency_repeats": 2, "severities": [1, 5], **options}
        sections = {"compute": {"device": "cpu", "precision": "fp32"}, "assess": settings, "teacher": self.teacher}
        config = Config.model_validate(sections)
        node = SimpleNamespace(inputs={"real": SimpleNamespace(stage="prepare"), **self.nodes}, stage="assess")
        workspace = Workspace(self.root / name, progress=progress)
        metrics = assess.run(SimpleNamespace(config=config, node=node, inputs=self.inputs, workspace=workspace, seed=3))
        found, times = (json.loads(workspace.path(file).read_text()) for file in ("assess.json", "latency.json"))
        return metrics, found, times


def numbers_of(value) -> list[float]:
    if isinstance(value, dict | list):
        return [
            number for item in (value.values() if isinstance(value, dict) else value) for number in numbers_of(item)
        ]
    return [value] if isinstance(value, int | float) else []


@pytest.mark.parametrize("kind", SPACES)
def test_every_label_space_has_all_figures(kind, tmp_path):
    space = SPACES[kind]
    metrics, found, times = Run(tmp_path, space).assess()
    assert [(entry["student"], entry["seed"]) for entry in found["students"]] == [
        (name, seed) for name in ("small", "copy", "wide") for seed in (0, 1)
    ]
    assert (metrics["models"], metrics["networks"], metrics["test_images"]) == (6, 2, 50)
    # Three corruptions at two severities, and the images as they are.
    assert metrics["teacher_calls_to_judge"] == 7 * 50
    wanted = {"class": {"accuracy"}, "class+scalar": {"accuracy", "mae"}}.get(kind, {"mae"})
    for entry in (found["teacher"], *found["students"]):
        assert set(entry["robustness"]) == wanted
        assert ("ece" in entry["calibration"]) == space.has_classes
        assert [residual["axis"] for residual in entry["calibration"]["residuals"]] == [
            axis.name for axis in space.dimensions
        ]
        assert entry["size"]["multiply_adds"] > entry["size"]["parameters"] > 0
        assert entry["size"]["bytes"] > 4 * entry["size"]["parameters"]
    assert found["teacher"]["agreement"] is None
    for entry in found["students"]:
        assert ("top1" in entry["agreement"]) == space.has_classes
        assert len(entry["agreement"]["values"]) == len(space.dimensions)
    assert all(math.isfinite(number) for number in numbers_of(found))
    assert set(times["batches"]["2"]["students"]) == {"small", "copy", "wide"}
    assert times["networks"] == [["small", "copy"], ["wide"]]
    assert times["batches"]["2"]["teacher"]["speedup"]["median"] == 1.0


def test_the_same_bytes_again_but_for_times(tmp_path):
    run = Run(tmp_path, SPACES["class"])
    run.assess("one")
    run.assess("two")
    first, second = ((tmp_path / name / "assess.json").read_bytes() for name in ("one", "two"))
    assert first == second


def test_seeds_become_means_and_deviations(tmp_path):
    _, found, _ = Run(tmp_path, SPACES["class"]).assess()
    row = next(row for row in found["summary"] if row["student"] == "small")
    own = [entry for entry in found["students"] if entry["student"] == "small"]
    assert row["seeds"] == [0, 1]
    for part, name in (("calibration", "ece"), ("agreement", "divergence")):
        values = [entry[part][name] for entry in own]
        assert row[part][name]["mean"] == pytest.approx(np.mean(values))
        assert row[part][name]["std"] == pytest.approx(np.std(values, ddof=1))
    drops = [entry["robustness"]["accuracy"]["by"]["blur"]["5"] for entry in own]
    assert row["robustness"]["accuracy"]["by"]["blur"]["5"]["mean"] == pytest.approx(np.mean(drops))
    assert sum(bin["count"] for bin in row["calibration"]["reliability"]) == 2 * 50
    (alone,) = over_seeds([own[0]])
    assert alone["calibration"]["ece"] == {"mean": own[0]["calibration"]["ece"], "std": None}


def test_clean_figures_are_those_of_the_models(tmp_path):
    from data.compute import Compute
    from students.evaluation import figures, predict
    from students.model import load_model

    run = Run(tmp_path, SPACES["class+scalar"])
    _, found, _ = run.assess()
    cpu = Compute(torch.device("cpu"))
    for key, entry in zip(run.nodes, found["students"], strict=True):
        outputs = predict(load_model(run.inputs[key].folder, cpu), run.images[30:], cpu)
        accuracy, error = figures(outputs, run.labels[30:], run.space)[:2]
        assert entry["robustness"]["accuracy"]["clean"] == pytest.approx(accuracy.value)
        assert entry["robustness"]["mae"]["clean"] == pytest.approx(error.value)


def test_parts_that_are_not_asked_for_are_left_out(tmp_path):
    metrics, found, times = Run(tmp_path, SPACES["class"]).assess(corruptions=[], latency_batches=[])
    assert {entry["robustness"] for entry in found["students"]} == {None}
    assert [row["robustness"] for row in found["summary"]] == [None] * 3
    assert (times["batches"], times["networks"], metrics["networks"]) == ({}, [], 0)
    assert metrics["teacher_calls_to_judge"] == 50


def test_a_teacher_that_is_paid_is_left_out_and_said(tmp_path):
    run = Run(tmp_path, SPACES["class"])
    run.teacher = {"kind": "http", "url": "http://127.0.0.1:9/"}
    metrics, found, times = run.assess()
    assert found["teacher"] is None
    assert (metrics["teacher_measured"], metrics["teacher_calls_to_judge"]) == ("none", 0)
    assert "teacher.judges" in found["skipped"][0]
    assert {entry["agreement"] for entry in found["students"]} == {None}
    assert all(entry["calibration"]["ece"] >= 0 for entry in found["students"])
    assert times["batches"]["2"]["teacher"] is None
    assert set(times["batches"]["2"]["students"]["small"]) == {"seconds"}


@pytest.mark.parametrize(("role", "asked"), [("free", [50] * 7), ("recorded", [50])])
def test_a_teacher_that_only_answers_is_asked_no_more_than_it_may(role, asked, tmp_path, monkeypatch):
    run, calls = Run(tmp_path, SPACES["class"]), []

    class Teacher:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            calls.append("closed")

        def answer(self, images):
            calls.append(len(images))
            return np.random.default_rng(0).normal(size=(len(images), 3)).astype(np.float32)

        def paid(self):
            return {"paid_calls": 11}

    monkeypatch.setattr("flows.assessing.measured_role", lambda teacher, folder: role)
    monkeypatch.setattr("flows.teachers.judging_teacher", lambda context, compute: Teacher())
    metrics, found, times = run.assess()
    assert calls == [*asked, "closed"]
    assert (metrics["teacher_calls_to_judge"], metrics["paid_calls"]) == (sum(asked), 11)
    assert (found["teacher"]["robustness"] is None) == (role == "recorded")
    assert found["teacher"]["size"] is None
    assert found["teacher"]["calibration"]["ece"] > 0
    assert all(0 <= entry["agreement"]["top1"] <= 100 for entry in found["students"])
    assert times["batches"]["2"]["teacher"] is None
    assert len(found["skipped"]) == 1


def test_many_students_are_measured_in_turns(tmp_path, monkeypatch):
    run = Run(tmp_path, SPACES["class"])
    _, whole, _ = run.assess("whole")
    monkeypatch.setattr(assess, "_HELD", 2)
    _, turns, _ = run.assess("turns")
    assert turns == whole


@pytest.mark.parametrize("done", [0, 1, 4])
def test_a_killed_stage_goes_on(done, tmp_path, monkeypatch):
    run = Run(tmp_path, SPACES["class"])
    told = []
    run.assess("whole", progress=lambda *report: told.append(report[:3]))
    # The teacher, six students, and three corruptions at two severities.
    assert (told[-1], {report[2] for report in told}) == (("assess", 13, 13), {13})
    assert [report[1] for report in told] == sorted(report[1] for report in told)
    asked, corrupted = Counter(), Counter()
    predict, corrupt = students.evaluation.predict, students.assessment.robustness.corrupt

    def counted(model, images, *rest):
        asked[model.card["options"]["channels"]] += 1
        return predict(model, images, *rest)

    def failing(images, corruption, severity, **more):
        if killed and sum(corrupted.values()) == done:
            raise KeyboardInterrupt
        corrupted[corruption, severity] += 1
        return corrupt(images, corruption, severity, **more)

    monkeypatch.setattr(students.evaluation, "predict", counted)
    monkeypatch.setattr(students.assessment.robustness, "corrupt", failing)
    killed, nodes = True, run.nodes
    # The same students in another order are the same artifact.
    run.nodes = dict(reversed(nodes.items()))
    with pytest.raises(KeyboardInterrupt):
        run.assess("killed")
    killed, run.nodes = False, nodes
    run.assess("killed")
    first, second = ((tmp_path / name / "assess.json").read_bytes() for name in ("whole", "killed"))
    assert first == second
    # Every image is corrupted once in each way for all models, and each model has seen it once.
    assert corrupted == {(name, level): 1 for name in ("gaussian_noise", "blur", "contrast") for level in (1, 5)}
    assert asked == {8: 7, 2: 4 * 7, 6: 2 * 7}


def test_some_of_the_images_are_corrupted(tmp_path):
    from data.compute import Compute
    from data.random import derive_seed
    from students.assessment.corruptions import corrupt
    from students.evaluation import figures, predict
    from students.model import load_model

    run = Run(tmp_path, SPACES["scalar"])
    metrics, found, _ = run.assess(test_images=20)
    _, whole, _ = run.assess("whole")
    assert (found["test_images"], found["corrupted_images"], whole["corrupted_images"]) == (50, 20, 50)
    assert metrics["teacher_calls_to_judge"] == 50 + 6 * 20
    for some, other in zip(found["students"], whole["students"], strict=True):
        assert (some["agreement"], some["calibration"]) == (other["agreement"], other["calibration"])
    places = corrupted_places(50, 20, 3)
    images, labels = run.images[30:][places], run.labels[30:][places]
    cpu = Compute(torch.device("cpu"))
    changed = corrupt(images, "blur", 5, seed=derive_seed(3, "corruptions"), rows=30 + places)
    for key, entry in zip(run.nodes, found["students"], strict=True):
        model, own = load_model(run.inputs[key].folder, cpu), entry["robustness"]["mae"]
        clean, blurred = (
            figures(predict(model, shown, cpu), labels, run.space)[0].value for shown in (images, changed)
        )
        assert own["clean"] == pytest.approx(clean)
        assert own["by"]["blur"]["5"] == pytest.approx(blurred)


def test_fewer_corrupted_images_are_a_part_of_more():
    few, more, all_of_them = (corrupted_places(1000, wanted, 5) for wanted in (10, 300, 2000))
    assert len(few) == 10
    assert len(more) == 300
    assert set(few) < set(more)
    np.testing.assert_array_equal(all_of_them, np.arange(1000))
    assert set(few) != set(corrupted_places(1000, 10, 6))
    # Of all of the set, not of its beginning.
    assert 400 < more.mean() < 600
    assert (np.diff(more) > 0).all()


def test_bins_of_several_seeds_are_pooled():
    tables = [
        [{"low": 0.0, "high": 1.0, "count": 1, "confidence": 0.5, "accuracy": 1.0}],
        [{"low": 0.0, "high": 1.0, "count": 3, "confidence": 0.9, "accuracy": 0.0}],
    ]
    assert pooled_bins(tables) == [{"low": 0.0, "high": 1.0, "count": 4, "confidence": 0.8, "accuracy": 0.25}]


def test_the_page_has_every_key_and_constant():
    page = (Path(__file__).parents[2] / "docs" / "assessment.md").read_text()
    assert all(f"`assess.{key}`" in page for key in Assess.model_fields)
    for corruption, values in CONSTANTS.items():
        row = next(line for line in page.splitlines() if line.startswith(f"| `{corruption}` |"))
        assert [float(cell) for cell in row.split("|")[3:8]] == list(values)


def test_the_node_comes_after_all_students_and_can_be_left_out(tiny):
    plan = make_plan(load_config(tiny(), ()))
    assert [node.stage for node in plan[-2:]] == ["assess", "report"]
    (node,) = [node for node in plan if node.stage == "assess"]
    students = {other.key for other in plan if other.stage == "distill"}
    assert set(node.inputs) == {"real", "teacher", *students}
    without = make_plan(load_config(tiny(), ("assess.enabled=false",)))
    assert "assess" not in {node.stage for node in without}
    assert len(without) == len(plan) - 1


@pytest.mark.parametrize(
    ("overrides", "change", "same"),
    [
        ((), "assess.latency_repeats=7", False),
        (("assess.latency_batches=[]",), "assess.latency_repeats=7", True),
        (("assess.corruptions=[]",), "assess.severities=[2]", True),
        (("assess.corruptions=[]",), "assess.test_images=7", True),
        ((), "assess.test_images=7", False),
        ((), "assess.severities=[2]", False),
        ((), "compute.device=cpu", True),
    ],
)
def test_only_what_matters_is_in_the_fingerprint(tiny, overrides, change, same):
    before, after = (
        {node.key: node.request.fingerprint for node in make_plan(load_config(tiny(), words))}
        for words in (overrides, (*overrides, change))
    )
    assert (before["assess"] == after["assess"]) == same
    assert {key for key in before if before[key] != after[key]} <= {"assess", "report"}


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"severities": [6]}, "severities"),
        ({"severities": []}, "severities"),
        ({"severities": [1, 1]}, "must be distinct"),
        ({"corruptions": ["fog"]}, "corruptions"),
        ({"latency_batches": [0]}, "latency_batches"),
    ],
)
def test_wrong_settings_are_named(section, words):
    with pytest.raises(ValueError, match=words):
        Config.model_validate({"assess": section})
