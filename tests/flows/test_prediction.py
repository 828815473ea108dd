"""``stillhouse predict`` and ``stillhouse export`` of students and teachers, on models with fresh weights."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from data import factories
from data.labels import Axis, LabelSpace
from data.store import Request, Store
from data.writing import write_set
from flows.cli import main
from flows.made_from import about_model
from flows.prediction import describe, in_words
from students.export import open_exported
from students.model import ImageModel, build_model, save_model

CLASSES = LabelSpace("class", ("cat", "dog", "owl", "yak"))
POSE = LabelSpace("vector", axes=(Axis("yaw", "degree", 0, 90), Axis("tilt", "", -20, 20)))
BOTH = LabelSpace("class+scalar", ("chair", "stool"), name="yaw", unit="degree", maximum=90.0)
SHAPES = {"class": (1, 8, 10), "vector": (3, 8, 10), "class+scalar": (2, 8, 10)}
SPACES = {"class": CLASSES, "vector": POSE, "class+scalar": BOTH}
Run = Callable[..., tuple[int, str, str]]


def make(kind: str, network: str = "convnet", **options: Any) -> ImageModel:
    torch.manual_seed(1)
    shape, space = SHAPES[kind], SPACES[kind]
    pixels = [100.0] * shape[0], [60.0] * shape[0]
    scale = (0.0, 1.0) if kind == "class" else (np.zeros(space.outputs), np.ones(space.outputs))
    return build_model(network, options or {"channels": 4}, shape, space, *pixels, *scale).eval()


def put(store: Store, model: ImageModel | None, stage: str = "distill", inputs: dict[str, str] | None = None) -> Path:
    """An artifact with the model, as a stage would leave it."""

    def train(workspace: Any) -> dict[str, Any]:
        if model is not None:
            save_model(workspace.folder, model)
        else:
            workspace.path("nothing.txt").write_text("")
        return {
            "figures": [{"metric": "accuracy", "value": 87.5, "unit": "%", "of": ""}],
            "parameters": 12.0,
            "steps": 5,
        }

    config: dict[str, Any] = {
        "distill": {"method": {"name": "kd", "options": {"alpha": 0.5}}, "data": "real"},
        "seed": 3,
    }
    if stage == "teacher":
        config = {"teacher": {"network": "resnet", "options": {"depth": 8}}}
    request = Request(stage, 1, config, inputs or {}, label=f"tiny: {stage}", seed=3)
    return store.build(request, train)[0].folder


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main([str(word) for word in words])
        told = capsys.readouterr()
        return status, told.out, told.err

    return call


def pictures(folder: Path, mode: str, count: int = 3) -> list[Path]:
    """PNG files of 10 x 8 noise."""
    folder.mkdir(exist_ok=True)
    paths = []
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 10, 3)).astype(np.uint8)
        paths.append(folder / f"{number}.png")
        Image.fromarray(pixels).convert(mode).save(paths[-1])
    return paths


def read(path: Path, channels: int) -> torch.Tensor:
    pixels = np.asarray(Image.open(path).convert("L" if channels == 1 else "RGB"))
    return torch.from_numpy(pixels.reshape(8, 10, channels).transpose(2, 0, 1).copy())[None]


@pytest.mark.parametrize("form", ["folder", "fingerprint", "safetensors", "onnx"])
def test_every_form_of_a_student_tells_the_same(form: str, run: Run, tmp_path: Path) -> None:
    model, store = make("class"), tmp_path / "store"
    folder = put(Store(store), model)
    student: object = {"folder": folder, "fingerprint": folder.name[:8]}.get(form)
    if student is None:
        student = tmp_path / f"student.{form}"
        assert run("export", folder, "--format", form, "--out", student)[0] == 0
        assert (tmp_path / f"student.{form}.card.md").read_text().startswith("# tiny: distill\n")
    paths = pictures(tmp_path / "images", "L")
    status, out, err = run("predict", student, paths[0], tmp_path / "images", "--store", store, "--json", "--top", 2)
    assert (status, err) == (0, "")
    told = json.loads(out)
    assert told["student"] == str(student)
    assert LabelSpace.from_dict(told["label_space"]) == CLASSES
    assert [row["image"] for row in told["predictions"]] == [str(path) for path in [paths[0], *paths]]
    for path, row in zip(paths, told["predictions"][1:], strict=True):
        with torch.no_grad():
            probabilities = model(read(path, 1)).softmax(dim=1)[0]
        values, places = probabilities.topk(2)
        assert [found["name"] for found in row["classes"]] == [CLASSES.names[place] for place in places.tolist()]
        assert row["class"] == row["classes"][0]["name"]
        assert [found["probability"] for found in row["classes"]] == pytest.approx(values.tolist(), abs=1e-4)


def test_values_come_with_their_units_and_grey_pictures_become_coloured(run: Run, tmp_path: Path) -> None:
    model = make("vector")
    folder = put(Store(tmp_path / "store"), model)
    (path,) = pictures(tmp_path / "images", "L", 1)
    status, out, _ = run("predict", folder, path)
    with torch.no_grad():
        yaw, tilt = model(read(path, 3))[0].tolist()
    assert (status, out) == (0, f"{path}  yaw {yaw:.4g} degree, tilt {tilt:.4g}\n")


def test_sets_are_answered_row_by_row(run: Run, tmp_path: Path) -> None:
    model = make("class+scalar")
    folder = put(Store(tmp_path / "store"), model)
    images = np.random.default_rng(0).integers(0, 256, (70, 2, 8, 10)).astype(np.uint8)
    labels = np.zeros((70, 2), np.float32)
    seeds = np.arange(70, dtype=np.uint64)
    described: dict[str, Any] = {"kind": "samples", "label_space": BOTH, "license": "CC0-1.0", "provenance": {}}
    path = tmp_path / "set.h5"
    write_set(path, {"images": images, "labels": labels, "seed": seeds}, **described)
    status, out, _ = run("predict", folder, path, "--json")
    assert status == 0
    rows = json.loads(out)["predictions"]
    assert [row["image"] for row in rows] == [f"{path}:{number}" for number in range(70)]
    with torch.no_grad():
        outputs = model(torch.from_numpy(images))
    assert [row["values"][0]["value"] for row in rows] == pytest.approx(outputs[:, 2].tolist(), abs=1e-4)
    assert [row["class"] for row in rows] == [BOTH.names[place] for place in outputs[:, :2].argmax(dim=1).tolist()]
    other = put(Store(tmp_path / "other"), make("class"))
    status, _, err = run("predict", other, path)
    assert status == 3
    assert "must hold images of 1x8x10, got 2x8x10" in err


def test_pictures_of_another_size_are_resized_only_if_asked(run: Run, tmp_path: Path) -> None:
    folder = put(Store(tmp_path / "store"), make("class"))
    path = tmp_path / "large.jpg"
    Image.new("RGB", (20, 16), (200, 100, 50)).save(path)
    status, _, err = run("predict", folder, path)
    assert status == 3
    assert "large.jpg: must be 10 x 8 pixels, got 20 x 16; resize it, or try --resize" in err
    assert run("predict", folder, path, "--resize")[0] == 0


def test_what_cannot_be_used_is_named(run: Run, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    folder, remote = put(store, make("class")), put(store, None, "teacher")
    (good,) = pictures(tmp_path / "images", "L", 1)
    bad, empty, text = tmp_path / "bad.png", tmp_path / "empty", tmp_path / "model.pt2"
    bad.write_bytes(good.read_bytes()[:60])
    empty.mkdir()
    text.write_text("")
    for words, expected, sentence in (
        ((folder, bad), 3, "bad.png: cannot be read as an image"),
        ((folder, tmp_path / "absent.png"), 3, "absent.png: there is no such file or folder"),
        ((folder, empty), 3, ".gif, .tif, .tiff), got a folder without any"),
        ((text, good), 2, "ends with .safetensors or .onnx, got 'model.pt2'; a torch-export program is code"),
        ((remote, good), 2, "must hold a network that its card describes, got a teacher of kind 'trained'"),
        ((put(store, None, "ratio"), good), 2, "predict takes a distill or teacher artifact, got a ratio artifact"),
        (("abcdef", good, "--store", tmp_path / "store"), 3, "must name one artifact"),
        ((folder,), 2, "Missing argument"),
    ):
        status, _, err = run("predict", *words)
        assert status == expected, words
        assert sentence in err
    broken = tmp_path / "x.safetensors"
    broken.write_bytes(b"x")
    assert run("predict", broken, good)[0] == 3
    status, _, err = run("export", remote, "--format", "onnx", "--out", tmp_path / "x.onnx")
    assert status == 2
    assert "must hold a network" in err
    adapted = put(store, make("class"), "teacher", {"real": "0"})
    (adapted / "teacher.json").write_text('{"adapted": true, "identity": {}, "interface": {}, "network": "x"}')
    status, _, err = run("predict", adapted, good)
    assert status == 2
    assert "use it where it is from" in err
    status, _, err = run("export", folder, "--format", "zip", "--out", tmp_path / "x.onnx")
    assert status == 2
    assert "--format must be one of safetensors, onnx, torch-export, got 'zip'" in err


def test_lines_are_short() -> None:
    outputs = np.log(np.array([0.125, 0.5, 0.25, 0.125], np.float32))
    told = describe(outputs, CLASSES, 3)
    assert in_words(told) == "dog 50.0 %, owl 25.0 %, cat 12.5 %"
    assert [found["probability"] for found in told["classes"]] == pytest.approx([0.5, 0.25, 0.125], abs=1e-6)
    told = describe(np.array([1000.0, -1000.0, 37.26], np.float32), BOTH, 1)
    assert in_words(told) == "chair 100.0 %, 37.26 degree"


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    monkeypatch.setattr(factories, "_trusted", set())
    (tmp_path / "predicting_of_tests.py").write_text(
        "from torch import nn\n\ndef make(image_shape, outputs):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(image_shape[0] * image_shape[1] * image_shape[2], outputs))\n"
    )
    yield "predicting_of_tests:make"
    sys.modules.pop("predicting_of_tests", None)


def test_a_factory_runs_only_when_the_command_names_it(own_module: str, run: Run, tmp_path: Path) -> None:
    folder = put(Store(tmp_path / "store"), make("class", "factory", factory=own_module))
    (path,) = pictures(tmp_path / "images", "L", 1)
    sys.modules.pop("predicting_of_tests")
    status, _, err = run("predict", folder, path)
    assert status == 2
    assert f"names the factory '{own_module}', which is code that would run here" in err
    assert "predicting_of_tests" not in sys.modules
    assert run("export", folder, "--format", "safetensors", "--out", tmp_path / "x.safetensors")[0] == 2
    assert run("predict", folder, path, "--factory", own_module)[0] == 0


def test_a_card_tells_what_a_student_was_made_from(run: Run, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")

    def prepare(workspace: Any) -> dict[str, Any]:
        write_set(
            workspace.path("real.h5"),
            {
                "images": np.zeros((3, 1, 8, 10), np.uint8),
                "labels": np.array([0, 1, 2], np.int64),
                "split": np.array([0, 1, 2], np.uint8),
                "source_row": np.arange(3),
            },
            kind="real",
            label_space=CLASSES,
            license="CC-BY-4.0",
            provenance={"source": {"name": "animals"}, "homepage": "https://example.org"},
        )
        return {"train": 1, "validation": 1, "test": 1}

    real = store.build(Request("prepare", 1, {}, {}), prepare)[0].folder.name
    teacher = put(store, make("class"), "teacher", {"real": real}).name
    answers = store.build(Request("answers", 1, {}, {"teacher": teacher}), lambda workspace: {})[0].folder.name
    folder = put(store, make("class"), "distill", {"real": real, "answers": answers})
    about = about_model(store.resolve(str(folder)))
    assert {key: about[key] for key in ("source", "homepage", "license", "train_images", "test_images")} == {
        "source": "animals",
        "homepage": "https://example.org",
        "license": "CC-BY-4.0",
        "train_images": 1,
        "test_images": 1,
    }
    assert about["method"] == "kd (alpha 0.5)"
    assert about["teacher"] == f"resnet (depth 8), accuracy 87.5 %, fingerprint {teacher[:12]}"
    out = tmp_path / "x.safetensors"
    status, told, _ = run("export", folder.name[:10], "--store", store.root, "--format", "safetensors", "--out", out)
    assert status == 0
    assert told.splitlines()[-1] == f"{out}: safetensors, {out.stat().st_size} bytes"
    assert open_exported(out)[1] == json.loads(json.dumps(about))
    assert "| licence of the data | CC-BY-4.0 |" in (tmp_path / "x.safetensors.card.md").read_text()
    assert run("export", folder, "--format", "safetensors", "--out", tmp_path / "y", "--no-card")[0] == 0
    assert not (tmp_path / "y.card.md").exists()


def test_an_onnx_file_needs_no_torch(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "student.onnx"
    assert run("export", put(Store(tmp_path / "store"), make("class")), "--format", "onnx", "--out", file)[0] == 0
    (path,) = pictures(tmp_path / "images", "RGB", 1)
    code = "import sys; sys.modules['torch'] = None; from flows.cli import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, "predict", file, path], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == run("predict", file, path)[1]
