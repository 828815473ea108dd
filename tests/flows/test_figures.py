"""Figures from the finished model to the result rows: every kind of label, and artifacts without a list of figures."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from data.labels import Axis, LabelSpace
from data.store import Artifact
from data.workspace import Workspace
from data.writing import write_set
from flows.commands import summarise
from flows.config import Config
from flows.reporting.results import recorded_figures
from flows.stages import distill, teacher

POSE = LabelSpace("vector", axes=(Axis("yaw", "degree", 0.0, 90.0), Axis("tilt", "radian", -1.0, 1.0)))
BOTH = LabelSpace("class+scalar", ("a", "b", "c"), name="angle", unit="degree", maximum=90.0)
KEYS = ["student", "method", "data", "seed", "metric", "value", "unit", "steps", "teacher_calls"]
TRAINING = {"steps": 4, "warmup_steps": 1, "batch_size": 8, "validate_every": 2}
SMALL = {"network": "convnet", "options": {"channels": 3}}


def results_of(metrics: dict) -> list[dict]:
    """What ``--json`` lists for a plan of one student with these metrics."""
    arguments = {"student": "small", "method": "joint", "data": "real", "seed": 3}
    request = SimpleNamespace(fingerprint="f")
    student = SimpleNamespace(stage="distill", request=request, arguments=arguments)
    plan = [student, SimpleNamespace(stage="report", request=request, inputs={"student": student})]
    artifact = SimpleNamespace(metrics={"steps": 4.0, "teacher_calls": 7, **metrics})
    store = SimpleNamespace(folder=lambda *_: Path("nowhere"), find=lambda *_: artifact)
    return summarise("run", store, plan, [], 1.0)["results"]


def figure(metric: str, value: float, unit: str, of: str = "") -> dict:
    return {"metric": metric, "value": value, "unit": unit, "of": of}


def test_an_artifact_without_a_list_has_its_one_figure():
    (row,) = results_of({"metric": "accuracy", "value": 91.5, "unit": "%"})
    assert list(row) == KEYS
    assert (row["metric"], row["value"], row["unit"], row["steps"], row["teacher_calls"]) == (
        "accuracy",
        91.5,
        "%",
        4,
        7,
    )


def test_a_class_with_a_scalar_has_two_rows():
    found = [figure("accuracy", 91.5, "%"), figure("mae", 2.5, "degree")]
    rows = results_of({"metric": "accuracy", "value": 91.5, "unit": "%", "figures": found})
    assert [list(row) for row in rows] == [KEYS, KEYS]
    assert [(row["metric"], row["value"], row["unit"]) for row in rows] == [
        ("accuracy", 91.5, "%"),
        ("mae", 2.5, "degree"),
    ]


def test_a_vector_has_one_row():
    found = [
        figure("mae", 3.5, "% of range"),
        figure("mae", 2.0, "degree", "yaw"),
        figure("mae", 0.1, "radian", "tilt"),
    ]
    (row,) = results_of({"metric": "mae", "value": 3.5, "unit": "% of range", "figures": found})
    assert (row["metric"], row["value"], row["unit"]) == ("mae", 3.5, "% of range")


def real_set(folder, space: LabelSpace) -> Artifact:
    rng = np.random.default_rng(0)
    low, span = (np.array([getattr(axis, end) for axis in space.dimensions]) for end in ("minimum", "maximum"))
    values = low + rng.random((60, len(space.dimensions))) * (span - low)
    columns = {
        "images": rng.integers(0, 256, (60, 1, 8, 8), dtype=np.uint8),
        "labels": space.join(np.arange(60) % 3 if space.has_classes else None, values),
        "split": (np.arange(60) % 3).astype(np.uint8),
        "source_row": np.arange(60),
    }
    folder.mkdir(parents=True)
    write_set(folder / "real.h5", columns, kind="real", label_space=space, provenance={}, license="CC0-1.0")
    return Artifact(folder, {"stage": "prepare", "fingerprint": "r", "metrics": {}})


@pytest.mark.parametrize(("space", "method"), [(POSE, "imitation"), (BOTH, "joint_kd")])
def test_teacher_and_student_stages_report_the_figures_of_their_labels(space, method, tmp_path):
    config = Config.model_validate(
        {
            "compute": {"precision": "fp32", "device": "cpu"},
            "teacher": {**SMALL, "training": TRAINING},
            "distill": {"training": TRAINING},
        }
    )
    real = real_set(tmp_path / "real", space)
    taught = teacher.run(context(config, {"real": real}, tmp_path / "teacher"))
    outputs = np.random.default_rng(1).normal(size=(20, space.outputs)).astype(np.float32)
    (tmp_path / "answers").mkdir()
    write_set(
        tmp_path / "answers" / "answers.h5",
        {"teacher_outputs": outputs, "source_row": np.arange(0, 60, 3)},
        kind="answers", label_space=space, provenance={"view": "clean"}, license="CC0-1.0",
    )  # fmt: skip
    answers = Artifact(tmp_path / "answers", {"stage": "answers", "metrics": {"teacher_calls": 20}})
    section = {"student": SMALL, "method": {"name": method, "options": {}}}
    learnt = distill.run(context(config, {"real": real, "answers": answers}, tmp_path / "student", section))
    for metrics in (taught, learnt):
        json.dumps(metrics)
        figures = recorded_figures(metrics)
        assert (metrics["metric"], metrics["value"], metrics["unit"]) == (
            figures[0].metric, figures[0].value, figures[0].unit,
        )  # fmt: skip
        named = [(figure.metric, figure.unit, figure.of) for figure in figures]
        if space is POSE:
            assert named == [
                ("mae", "% of range", ""), ("mae", "degree", "yaw"), ("mae", "radian", "tilt"),
                ("rmse", "degree", "yaw"), ("rmse", "radian", "tilt"),
            ]  # fmt: skip
            assert figures[0].value == pytest.approx(100 * (figures[1].value / 90 + figures[2].value / 2) / 2)
        else:
            assert named == [("accuracy", "%", ""), ("mae", "degree", ""), ("rmse", "degree", "")]
            parts = 100 - metrics["validation_accuracy"] + 100 * metrics["validation_mae"] / 90
            assert metrics["validation"] == pytest.approx(parts)
    assert learnt["teacher_calls"] == 20


def context(config, inputs, folder, section=None):
    folder.mkdir()
    node = SimpleNamespace(request=SimpleNamespace(config={"distill": section}))
    return SimpleNamespace(config=config, inputs=inputs, workspace=Workspace(folder), node=node, seed=0)


def test_result_rows_need_no_torch():
    code = "import sys; import flows.reporting.results; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
