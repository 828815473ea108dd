"""Tiny fake runs, with all their artifacts, for the tests of the report."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from data.labels import Axis, LabelSpace
from data.writing import write_set
from flows.assessing import over_seeds
from flows.reporting.build import build_report
from flows.reporting.inputs import ReportInputs, StudentRun
from students.assessment.agreement import agreement
from students.assessment.calibration import calibration
from students.assessment.latency import latency_summary
from students.assessment.robustness import robustness
from students.evaluation import figures, headlines

HOSTILE = "<script>alert(1)</script>"
CLASSES = LabelSpace("class", ("zero", HOSTILE, "$two_{$"))
ANGLES = LabelSpace("scalar", name="yaw angle", unit="degree", minimum=0, maximum=90)


POSE = LabelSpace(
    "vector", axes=(Axis("yaw", "degree", 0.0, 90.0), Axis(HOSTILE, "degree", -10.0, 50.0), Axis("size", "", 0.5, 1.5))
)
MODELS = LabelSpace("class+scalar", ("stool", HOSTILE, "bench"), name="yaw angle", unit="degree", minimum=0, maximum=90)
METHODS = {
    "class": ("ce", "kd"),
    "scalar": ("mse", "imitation"),
    "vector": ("mse", "imitation"),
    "class+scalar": ("joint", "joint_kd"),
}


def label_column(space: LabelSpace, count: int) -> np.ndarray:
    """Labels whose class is the row's number modulo the classes, and whose values repeat after 30 rows."""
    number = np.arange(count)
    if space.kind == "vector":
        low, high = (np.array([getattr(axis, end) for axis in space.axes]) for end in ("minimum", "maximum"))
        steps = np.stack([number % 30 / 29, number % 7 / 6, number % 2 / 1], axis=1)
        return (low + steps * (high - low)).astype(space.dtype)
    return space.join(number % 3 if space.has_classes else None, (number % 30 * 3.0)[:, None])


def measured(space: LabelSpace, value: float) -> dict:
    """Metrics of a model with a figure of ``value`` percent or units."""
    if space.kind in ("class", "scalar"):
        metric, unit = ("accuracy", "%") if space.kind == "class" else ("mae", "degree")
        return {"metric": metric, "unit": unit, "value": value, "validation": value}
    if space.kind == "vector":
        shares = [value / 10, value / 100, value / 1000]
        figures = [
            {"metric": "mae", "value": value / 5, "unit": "% of range", "of": ""},
            *(
                {"metric": "mae", "value": share, "unit": axis.unit, "of": axis.name}
                for axis, share in zip(space.axes, shares, strict=True)
            ),
        ]
        return {
            **{name: figures[0][name] for name in ("metric", "unit", "value")},
            "figures": figures,
            "validation": 1.0,
        }
    figures = [
        {"metric": "accuracy", "value": value, "unit": "%", "of": ""},
        {"metric": "mae", "value": value / 40, "unit": "degree", "of": ""},
    ]
    checked = {"validation": 9.0, "validation_accuracy": value + 1, "validation_mae": value / 50}
    return {**{name: figures[0][name] for name in ("metric", "unit", "value")}, "figures": figures, **checked}


def manifest(stage: str, **metrics) -> dict:
    return {
        "stage": stage,
        "fingerprint": f"{stage}-{'0123456789abcdef' * 3}",
        "recipe_version": 1,
        "config": {},
        "inputs": {"real": "feedbeef" * 8},
        "seed": 0,
        "packages": {"torch": HOSTILE},
        "device": "cpu",
        "seconds": 75.0,
        "metrics": metrics,
        "files": {"model.safetensors": {"bytes": 2048, "sha256": "ab" * 32}},
    }


def write_log(path: Path, *names: str) -> None:
    rows = [{"step": step, **{name: 0.5**step for name in names}} for step in range(0, 50, 10)]
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"step": 50, "validation": 90.0}]))


def write_images(root: Path, space: LabelSpace, shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(0)

    def columns(count: int) -> dict:
        labels = label_column(space, count)
        ratios = rng.gamma(2.0, 0.5, count).astype("<f4")
        return {
            "images": rng.integers(0, 256, (count, *shape), dtype=np.uint8),
            "labels": labels,
            "condition": labels,
            "seed": np.arange(count, dtype="<u8"),
            "density_ratio": ratios,
            "accepted": (ratios > 0.8).astype("|u1"),
            "teacher_outputs": rng.normal(size=(count, space.outputs)).astype("<f4"),
            "teacher_error": rng.gamma(1.0, 1.0, count).astype("<f4"),
            "split": (np.arange(count) % 3).astype("|u1"),
            "source_row": np.arange(count, dtype="<i8"),
        }

    def write(stage: str, kind: str, values: dict, names: str) -> None:
        (root / stage).mkdir(exist_ok=True)
        write_set(
            root / stage / f"{kind}.h5",
            {name: values[name] for name in names.split()},
            kind=kind,
            label_space=space,
            provenance={"homepage": "https://example.org/data"},
            license="CC-BY-4.0",
        )

    write("prepare", "real", columns(90), "images labels split source_row")
    write("candidates", "draws", columns(300), "condition seed density_ratio accepted")
    write("candidates", "examples", columns(60), "images condition seed density_ratio accepted")
    made = columns(120)
    names = "images labels condition seed density_ratio teacher_outputs teacher_error"
    write("candidates", "candidates", made, names)
    kept = np.flatnonzero(made["teacher_error"] < 1.5)
    write("synthetic", "synthetic", {k: v[kept] for k, v in made.items()} | {"source_row": kept}, names + " source_row")
    labels = [
        {"label": v.tolist(), "drawn": 10, "accepted": 4, "acceptance": 0.4, "effective_sample_size": 6.0, "bound": 3.0}
        for v in np.unique(made["labels"], axis=0)
    ]
    (root / "candidates" / "sampling.json").write_text(json.dumps({"labels": labels}))
    one = [{"label": None, "threshold": 1.5}]
    each = [{"label": name, "threshold": 1.5} for name in space.names]
    scope, thresholds = ("per_class", each) if space.has_classes else ("global", one)
    selection = {"quantile": 0.8, "scope": scope, "thresholds": thresholds}
    (root / "synthetic" / "selection.json").write_text(json.dumps(selection))


def make_inputs(root: Path, space: LabelSpace, shape: tuple[int, int, int], seeds: int = 3) -> ReportInputs:
    root.mkdir(parents=True)
    write_images(root, space, shape)
    stages = ("prepare", "teacher", "answers", "generator", "ratio", "candidates", "synthetic")
    folders = {stage: root / stage for stage in stages}
    for folder in folders.values():
        folder.mkdir(exist_ok=True)
    write_log(root / "teacher" / "training.jsonl", "loss", "ce")
    write_log(root / "generator" / "generator.jsonl", "d_loss", "g_loss", "d_real", "d_fake")
    write_log(root / "generator" / "embedding_label.jsonl", "loss")
    write_log(root / "ratio" / "ratio.jsonl", "loss", "divergence", "penalty", "spread")
    manifests = {stage: manifest(stage) for stage in stages}
    manifests["teacher"] = manifest(
        "teacher",
        **(measured(space, 97.25) | ({"validation": 98.0} if space.kind in ("class", "scalar") else {})),
        parameters=12345.0,
        steps=50.0,
    )
    students = []
    alone, distilled = METHODS[space.kind]
    for place, (method, data) in enumerate([(alone, "real"), (alone, "real+synthetic"), (distilled, "real+synthetic")]):
        for seed in range(seeds):
            folder = root / f"{method}-{data}-{seed}"
            folder.mkdir()
            write_log(folder / "training.jsonl", "loss")
            value = 80.0 + 2.125 * place + 0.7 * seed**2
            numbers = {**measured(space, value), "steps": 50.0, "teacher_calls": 90 * place}
            students.append(StudentRun("tiny", method, data, seed, folder, manifest("distill", **numbers)))
    return ReportInputs("run", {"name": HOSTILE, "source": {"kind": "digits"}}, folders, manifests, students)


def outputs_of(space: LabelSpace, labels: np.ndarray, noise: float, seed: int) -> np.ndarray:
    """Outputs of a model that is right but for some noise."""
    rng = np.random.default_rng(seed)
    found = rng.normal(0, noise, (len(labels), space.outputs))
    if space.has_classes:
        found[np.arange(len(labels)), space.class_part(labels)] += 3
    found[:, space.classes :] += space.continuous_part(labels)
    return found


def assessed_entry(space: LabelSpace, noise: float, seed: int, taught: np.ndarray | None) -> dict:
    """What the stage ``assess`` measures of a model."""
    labels = label_column(space, 200)
    outputs = outputs_of(space, labels, noise, seed)
    clean = {figure.metric: figure.value for figure in headlines(figures(outputs, labels, space))}
    worse = {name: value - 5 if name == "accuracy" else value + 5 for name, value in clean.items()}
    return {
        "size": {"parameters": 1362, "bytes": 5600, "multiply_adds": 31234},
        "agreement": None if taught is None else agreement(outputs, taught, space),
        "calibration": calibration(outputs, labels, space, 15),
        "robustness": robustness(clean, {name: {1: clean, 5: worse} for name in ("gaussian_noise", "blur")}),
    }


def with_assessment(inputs: ReportInputs, root: Path, space: LabelSpace) -> ReportInputs:
    """The same run with the artifact of the stage ``assess``."""
    taught = outputs_of(space, label_column(space, 200), 0.8, 99)
    entries = [
        {
            **{name: getattr(run, name) for name in ("student", "method", "data", "seed")},
            **assessed_entry(space, 1.0, place, taught),
        }
        for place, run in enumerate(inputs.students)
    ]
    found = {
        "format": 1,
        "label_space": space.to_dict(),
        "seed": 0,
        "test_images": 200,
        "corrupted_images": 150,
        "bins": 15,
        "corruptions": ["gaussian_noise", "blur"],
        "severities": [1, 5],
        "skipped": [],
        "teacher": assessed_entry(space, 0.8, 99, None),
        "students": entries,
        "summary": over_seeds(entries),
    }
    latency = {"format": 1, "device": "cpu", "threads": 1, "precision": "fp32", "repeats": 20, "networks": [["tiny"]]}
    seconds = {"teacher": [0.004, 0.006, 0.008], "": [0.001, 0.001, 0.004]}
    timed = latency_summary(seconds, "teacher")
    latency["batches"] = {"1": {"teacher": timed["teacher"], "students": {"tiny": timed[""]}}}
    (root / "assess").mkdir(parents=True)
    for name, document in (("assess.json", found), ("latency.json", latency)):
        (root / "assess" / name).write_text(json.dumps(document))
    return replace(
        inputs,
        folders={**inputs.folders, "assess": root / "assess"},
        manifests={**inputs.manifests, "assess": manifest("assess", teacher_calls_to_judge=1000)},
    )


def with_methods(inputs: ReportInputs, root: Path, names: tuple[str, ...]) -> ReportInputs:
    """The same run with more methods, on both kinds of data with two seeds."""
    students = []
    for place, name in enumerate(names):
        for data in ("real", "real+synthetic"):
            for seed in (0, 1):
                folder = root / f"{place}-{data}-{seed}"
                folder.mkdir(parents=True)
                rows = [{"step": step, "loss": 0.5**step, "validation": 80.0 + step / 10} for step in range(0, 50, 10)]
                (folder / "training.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
                value = 80.0 + place + seed / 2 + (data != "real")
                numbers = {**measured(CLASSES, value), "steps": 50.0, "teacher_calls": 90}
                students.append(StudentRun("tiny", name, data, seed, folder, manifest("distill", **numbers)))
    return replace(inputs, students=students)


@dataclass(frozen=True)
class Run:
    """A fake run, and the folder with its report."""

    inputs: ReportInputs
    folder: Path


def _run(root: Path, space: LabelSpace, shape: tuple[int, int, int]) -> Run:
    inputs = make_inputs(root / "store", space, shape)
    build_report(inputs, root / "report")
    return Run(inputs, root / "report")


@pytest.fixture(scope="session")
def digits(tmp_path_factory) -> Run:
    return _run(tmp_path_factory.mktemp("digits"), CLASSES, (1, 8, 8))


@pytest.fixture(scope="session")
def chairs(tmp_path_factory) -> Run:
    return _run(tmp_path_factory.mktemp("chairs"), ANGLES, (3, 32, 32))


@pytest.fixture(scope="session")
def pose(tmp_path_factory) -> Run:
    return _run(tmp_path_factory.mktemp("pose"), POSE, (1, 8, 8))


@pytest.fixture(scope="session")
def models(tmp_path_factory) -> Run:
    return _run(tmp_path_factory.mktemp("models"), MODELS, (1, 8, 8))


MANY = (
    "ce", "kd", "dkd", "dist", "lskd", "dtkd", "ctkd", "nkd", "cckd", "ckd", "correlation", "r2kd", "mixup_kd",
    "dtkd+ckd",
)  # fmt: skip


@pytest.fixture(scope="session")
def many(tmp_path_factory) -> Run:
    """Fourteen methods on two kinds of data, assessed."""
    root = tmp_path_factory.mktemp("many")
    inputs = with_methods(make_inputs(root / "store", CLASSES, (1, 8, 8)), root / "students", MANY)
    inputs = with_assessment(inputs, root, CLASSES)
    build_report(inputs, root / "report")
    return Run(inputs, root / "report")


@pytest.fixture
def assess():
    """Adds the artifact of the stage ``assess`` to a run."""
    return with_assessment


@pytest.fixture
def one_seed(tmp_path) -> ReportInputs:
    return make_inputs(tmp_path / "store", CLASSES, (1, 8, 8), seeds=1)


@pytest.fixture
def hostile() -> str:
    return HOSTILE
