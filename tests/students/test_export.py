"""Models leave as weights, ONNX and torch.export programs, and give the same answers there."""

from __future__ import annotations

import json
import re
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from data.compute import Compute
from data.errors import ConfigError, DataError, StageError
from data.labels import Axis, LabelSpace
from students import programs
from students.evaluation import predict
from students.export import KEY, export_model, open_exported
from students.model import ImageModel, build_model
from students.model_card import model_card
from students.networks import networks
from students.networks.mobilenet_v2 import InvertedResidual
from students.networks.shufflenet_v1 import ShuffleUnit as ShuffleUnitV1
from students.networks.shufflenet_v2 import DownUnit
from students.networks.shufflenet_v2 import ShuffleUnit as ShuffleUnitV2
from students.onnx_file import open_onnx_student
from students.preprocessing import Preprocessing
from students.teachers.interface import Interface
from students.teachers.onnx import open_onnx

COMPUTE = Compute(torch.device("cpu"))
SPACES = {
    "class": LabelSpace("class", ("a", "b|c", "d")),
    "scalar": LabelSpace("scalar", name="yaw", unit="degree", minimum=-10.0, maximum=90.0),
    "vector": LabelSpace("vector", axes=(Axis("yaw", "degree", 0, 90), Axis("tilt", "degree", -20, 20))),
    "class+scalar": LabelSpace("class+scalar", ("x", "y"), name="yaw", unit="degree", maximum=90.0),
}
ABOUT = {"name": "small / kd", "license": "CC-BY-4.0", "figures": [{"metric": "accuracy", "value": 91.25, "unit": "%"}]}
#: Small options of our networks; libraries' own networks are theirs to export, one of them stands for all.
NETWORKS: dict[str, dict[str, Any]] = {
    "convnet": {"channels": 4},
    "mobilenet_v2": {"width": 0.25, "expansion": 1},
    "resnet": {"depth": 8, "width": 4},
    "shufflenet_v1": {"channels": 36},
    "shufflenet_v2": {"width": "0.5"},
    "torchvision": {"name": "resnet18"},
    "vgg": {"width": 4},
    "wide_resnet": {"depth": 10, "widen": 1},
}


def make(kind: str = "class", network: str = "convnet", shape: tuple[int, int, int] = (3, 9, 8)) -> ImageModel:
    """A model that has seen a few images, so that its statistics are not those of the start."""
    space = SPACES[kind]
    torch.manual_seed(3)
    scale = (0.0, 1.0) if kind == "class" else (40.0, 25.0)
    if kind in ("vector", "class+scalar"):
        scale = tuple(np.r_[np.zeros(space.classes) + off, np.zeros(len(space.dimensions)) + value]  # type: ignore
                      for off, value in ((0.0, 40.0), (1.0, 25.0)))  # fmt: skip
    prepared = Preprocessing(12, 1) if network == "convnet" else None
    channels = 1 if prepared else shape[0]
    model = build_model(
        network, NETWORKS[network], shape, space, [100.0] * channels, [60.0] * channels, *scale, preprocessing=prepared
    )
    model(torch.randint(0, 256, (8, *shape), dtype=torch.uint8))
    return model.eval()


def some_images(count: int, shape: tuple[int, ...] = (3, 9, 8)) -> Tensor:
    return torch.from_numpy(np.random.default_rng(count).integers(0, 256, (count, *shape)).astype(np.uint8))


def run_onnx(path: Path) -> Callable[[Tensor], dict[str, Tensor]]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_outputs()]
    return lambda images: {
        name: torch.from_numpy(found)
        for name, found in zip(names, session.run(None, {"images": images.numpy()}), strict=True)
    }


def check_program(run: Callable[[Tensor], dict[str, Tensor]], model: ImageModel, shape: tuple[int, ...]) -> None:
    space = model.label_space
    for count in (1, 5):
        images = some_images(count, shape)
        with torch.inference_mode():
            wanted, found = model(images), run(images)
        assert set(found) == {"outputs"} | ({"probabilities"} if space.has_classes else set())
        torch.testing.assert_close(found["outputs"], wanted, rtol=1e-4, atol=1e-4)
        if space.has_classes:
            probabilities = wanted[:, : space.classes].double().softmax(dim=1)
            torch.testing.assert_close(found["probabilities"].double(), probabilities, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", sorted(SPACES))
def test_safetensors_hold_weights_and_card(kind: str, tmp_path: Path) -> None:
    model, path = make(kind), tmp_path / "student.safetensors"
    export_model(model, path, "safetensors", ABOUT)
    again, about = open_exported(path)
    assert about == ABOUT
    assert again.card == model.card
    assert not again.training
    images = some_images(5).numpy()
    np.testing.assert_array_equal(predict(again, images, COMPUTE), predict(model, images, COMPUTE))
    with safe_open(path, framework="pt") as file:
        assert json.loads(file.metadata()[KEY])["card"]["network"] == "convnet"


@pytest.mark.parametrize("kind", sorted(SPACES))
def test_torch_programs_answer_like_the_model(kind: str, tmp_path: Path) -> None:
    model, path = make(kind), tmp_path / "student.pt2"
    export_model(model, path, "torch-export", ABOUT)
    extra = {f"{KEY}.json": ""}
    program = torch.export.load(path, extra_files=extra).module()
    check_program(program, model, (3, 9, 8))
    assert json.loads(extra[f"{KEY}.json"])["about"] == ABOUT
    assert [item.name for item in tmp_path.iterdir()] == ["student.pt2"]


@pytest.mark.parametrize("kind", ["class+scalar", "scalar"])
def test_onnx_files_answer_like_the_model(kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model, path = make(kind), tmp_path / "student.onnx"
    export_model(model, path, "onnx", ABOUT)
    assert capfd.readouterr() == ("", "")  # the exporter is talkative
    check_program(run_onnx(path), model, (3, 9, 8))
    assert [item.name for item in tmp_path.iterdir()] == ["student.onnx"]
    opened = open_onnx_student(path)
    assert (opened.label_space, opened.image_shape, opened.about) == (SPACES[kind], (3, 9, 8), ABOUT)
    images = some_images(4)
    np.testing.assert_allclose(opened.predict(images.numpy()), model(images).detach().numpy(), rtol=1e-4, atol=1e-3)
    (given,) = onnx.load(path).graph.input
    assert given.name == "images"
    assert given.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert [item.dim_value or "any" for item in given.type.tensor_type.shape.dim] == ["any", 3, 9, 8]


#: Deep ones take ten seconds each; their parts are in a test below.
DEEP = {"mobilenet_v2", "shufflenet_v1", "shufflenet_v2"}


@pytest.mark.parametrize(
    "network",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in DEEP else [])
        for name in sorted(set(NETWORKS) - {"convnet"})
    ],
)
def test_every_network_becomes_onnx(network: str, tmp_path: Path) -> None:
    model, path = make(network=network, shape=(1, 8, 8)), tmp_path / "student.onnx"
    export_model(model, path, "onnx", {})
    check_program(run_onnx(path), model, (1, 8, 8))


def test_the_parts_of_deep_networks_become_onnx(tmp_path: Path) -> None:
    parts = torch.nn.Sequential(
        InvertedResidual(1, 4, 2, 2),
        InvertedResidual(4, 4, 1, 2),
        DownUnit(4, 6, 1),
        ShuffleUnitV2(6),
        ShuffleUnitV1(6, 18, 3, 2, joined=True),
        ShuffleUnitV1(18, 18, 1, 1, joined=False),
        torch.nn.Flatten(),
        torch.nn.Linear(18 * 4, 3),
    )
    card = {"label_space": SPACES["class"].to_dict(), "image_shape": [1, 8, 8], "network": "parts", "options": {}}
    model, path = ImageModel(parts, card, [100.0], [60.0]), tmp_path / "student.onnx"
    model(some_images(8, (1, 8, 8)))
    export_model(model, path, "onnx", {})
    check_program(run_onnx(path), model, (1, 8, 8))


def test_the_sweep_sees_every_network() -> None:
    assert set(NETWORKS) | {"timm", "factory"} == set(networks.names())


class OtherWhenTraced(torch.nn.Module):
    """A network that is traced in another way than it answers."""

    def __init__(self) -> None:
        super().__init__()
        self.last = torch.nn.Linear(3 * 9 * 8, 3)

    def forward(self, images: Tensor) -> Tensor:
        outputs: Tensor = self.last(images.flatten(1))
        return outputs if torch.compiler.is_compiling() else outputs + 1e-3


class CannotBeTraced(OtherWhenTraced):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) * (1.0 if float(images.sum()) > 0 else 2.0)


@pytest.mark.parametrize("format", ["torch-export", "onnx"])
@pytest.mark.parametrize(
    ("network", "sentence"),
    [(OtherWhenTraced, "within 0.0001, got a difference of 0.00099"), (CannotBeTraced, "cannot be traced")],
)
def test_a_program_that_is_not_the_model_is_not_written(
    format: str, network: type[torch.nn.Module], sentence: str, tmp_path: Path
) -> None:
    model = make()
    model.card = {**model.card, "preprocessing": None}
    model.preprocess = torch.nn.Identity()
    model.network = network()
    with pytest.raises(StageError, match=sentence):
        export_model(model, tmp_path / "x", format, {})
    assert not list(tmp_path.iterdir())


def test_comparison_knows_the_unit_of_the_labels() -> None:
    model = make("scalar")  # standard deviation 25 degrees
    inference = programs.Inference(model)

    def off_by(degrees: float) -> Callable[[Tensor], dict[str, Tensor]]:
        return lambda images: {"outputs": inference(images)["outputs"] + degrees}

    programs.compare(inference, off_by(25.0 * 0.9e-4), "some")
    with pytest.raises(StageError, match="the some program must give the model's outputs"):
        programs.compare(inference, off_by(25.0 * 3e-4), "some")
    with pytest.raises(StageError, match=r"outputs of shape \(1, 1\) for 1 images"):
        programs.compare(inference, lambda images: {}, "some")


def test_what_cannot_be_written_or_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make()
    with pytest.raises(ConfigError, match="format must be one of safetensors, onnx, torch-export, got 'zip'"):
        export_model(model, tmp_path / "x", "zip", {})
    with pytest.raises(DataError, match="cannot be written"):
        export_model(model, tmp_path / "absent" / "x", "safetensors", {})
    path = tmp_path / "student.safetensors"
    export_model(model, path, "safetensors", {})
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(DataError, match="must be a model exported as safetensors"):
        open_exported(path)
    (tmp_path / "x.onnx").write_bytes(b"nothing")
    with pytest.raises(DataError, match="must be an ONNX file"):
        open_onnx_student(tmp_path / "x.onnx")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ConfigError, match=r"needs the package onnxscript; pip install 'stillhouse\[onnx\]'"):
        export_model(model, tmp_path / "y.onnx", "onnx", {})
    assert sorted(item.name for item in tmp_path.iterdir()) == ["student.safetensors", "x.onnx"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"preprocessing": {"input_size": 10**6, "input_channels": None}}, "input_size must be 1 to 4096 pixels"),
        ({"preprocessing": {"input_size": "8", "input_channels": None}}, "input_size must be a whole number"),
        ({"preprocessing": {"input_size": None, "input_channels": 7}}, "input_channels must be"),
        ({"options": {"channels": 10**5}}, "must hold the tensors of the network in its card"),
    ],
)
def test_a_card_cannot_ask_for_more_than_its_file_holds(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    path, model = tmp_path / "student.safetensors", make()
    model.card = {**model.card, **change}
    export_model(model, path, "safetensors", {})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match=words):
        open_exported(path)
    # Kilobytes: nothing of the size that is asked for was made.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 18


def test_a_file_cannot_choose_code_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "student.safetensors"
    model = make()
    model.card = {**model.card, "network": "factory", "options": {"factory": "trap_of_tests:make"}}
    (tmp_path / "trap_of_tests.py").write_text("raise SystemExit('this code ran')\n")
    monkeypatch.chdir(tmp_path)
    export_model(model, path, "safetensors", {})
    with pytest.raises(ConfigError, match=r"names the factory 'trap_of_tests:make', which is code .*--factory"):
        open_exported(path)


@pytest.mark.parametrize("format", ["onnx", "torch-export", "safetensors"])
def test_the_code_of_the_card_runs(format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make()
    monkeypatch.chdir(tmp_path)
    export_model(model, Path("student.bin"), format, ABOUT)
    text = model_card(model.card, ABOUT, "student.bin", format)
    code = text.split("```python\n")[1].split("```")[0]
    assert len([line for line in code.splitlines() if line]) <= 6
    found: dict[str, Any] = {}
    exec(code, found)  # what a reader would paste
    wanted = model(torch.zeros(1, 3, 9, 8, dtype=torch.uint8))
    outputs = torch.as_tensor(found["outputs"])
    torch.testing.assert_close(outputs, wanted, rtol=1e-4, atol=1e-4)
    if format != "safetensors":
        assert torch.as_tensor(found["probabilities"]).sum() == pytest.approx(1.0)


def test_the_card_says_what_is_known_and_what_is_not() -> None:
    card = make("class+scalar").card
    about = {**ABOUT, "method": "kd (alpha 0.5)", "teacher": "resnet, accuracy 97 %", "test_images": 1200, "steps": 50}
    text = model_card(card, about, "x.onnx", "onnx")
    for words in (
        "# small / kd",
        "one of 2 classes and a value",
        "| classes | x, y |",
        "| yaw | 0 degree to 90 degree |",
        "2 logits then predictions: yaw (degree)",
        "uint8 (N, 3, 9, 8), red, green, blue, any N",
        "images are brought to 1 channels and 12 pixels a side",
        "On the 1,200 images of the test split",
        "| accuracy | 91.25 % |",
        "| licence of the data | CC-BY-4.0 |",
        "| source | unknown |",
        "| method | kd (alpha 0.5) |",
        "| teacher | resnet, accuracy 97 % |",
        "`stillhouse predict x.onnx IMAGE...`",
    ):
        assert words in text
    assert "b\\|c" in model_card(make().card, {}, "x", "onnx")
    assert "None were recorded." in model_card(card, {}, "x", "onnx")


def test_an_exported_student_can_be_the_next_teacher(tmp_path: Path) -> None:
    model, path = make("class+scalar"), tmp_path / "student.onnx"
    export_model(model, path, "onnx", {})
    teacher = open_onnx(path, Interface(SPACES["class+scalar"], (3, 9, 8)), COMPUTE, 4)
    images = some_images(6)
    np.testing.assert_allclose(teacher.answer(images.numpy()), model(images).detach().numpy(), rtol=1e-4, atol=1e-3)


def test_the_code_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[2] / "docs" / "exporting.md").read_text()
    blocks = [part.split("```")[0] for part in page.split("```python\n")[1:]]
    assert len(blocks) == 3
    model = build_model("convnet", {"channels": 4}, (1, 8, 8), SPACES["class"], [100.0], [60.0]).eval()
    monkeypatch.chdir(tmp_path)
    wanted = model(torch.zeros(1, 1, 8, 8, dtype=torch.uint8))
    for code, format, name in zip(
        blocks, ["onnx", "torch-export", "safetensors"], ["outputs", "probabilities", "outputs"], strict=True
    ):
        (file,) = re.findall(r'"(student\.\w+)"', code)
        export_model(model, Path(file), format, ABOUT)
        found: dict[str, Any] = {}
        exec(code, found)
        expected = wanted if name == "outputs" else wanted.softmax(dim=1)
        torch.testing.assert_close(torch.as_tensor(found[name]), expected, rtol=1e-4, atol=1e-4)
