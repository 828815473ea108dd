"""Functions, factories, ONNX files and ensembles as teachers: closed forms, and what is refused."""

import sys
import types

import numpy as np
import pytest
import torch
from torch import nn

from data.compute import Compute
from data.errors import ConfigError, DataError, StageError
from data.labels import Axis, LabelSpace
from students.model import build_model
from students.teachers.ensemble import EnsembleAnswers, EnsembleNetwork, mean_answer
from students.teachers.factory import call_factory
from students.teachers.function import FunctionAnswers
from students.teachers.interface import Interface
from students.teachers.network import NetworkAnswers, check_network, imported_model
from students.teachers.onnx import check_weights_beside, open_onnx

CLASSES = LabelSpace("class", names=("a", "b", "c"))
BOTH = LabelSpace("class+scalar", names=("a", "b"), minimum=5.0, maximum=10.0)
VECTOR = LabelSpace("vector", axes=(Axis("x", "", 0, 4), Axis("y", "", -1, 1)))
SHAPE = (1, 5, 5)
CPU = Compute(torch.device("cpu"))


def images(count=11):
    return np.random.default_rng(0).integers(0, 256, (count, *SHAPE), np.uint8)


def sums(block):
    return block.reshape(len(block), -1)[:, :3]


def answers_of(function, rows=4, **settings):
    return FunctionAnswers(function, Interface(CLASSES, SHAPE), "it", rows, **settings)


def test_a_function_gets_blocks_of_one_size():
    sizes = []

    def function(block):
        sizes.append(len(block))
        return sums(block)

    teacher = answers_of(function)
    outputs = teacher.answer(images())
    assert sizes == [4, 4, 4]
    np.testing.assert_allclose(outputs, images().reshape(11, -1)[:, :3] / 255, rtol=1e-6)
    assert teacher.answer(images(0)).shape == (0, 3)
    assert teacher.label_space is CLASSES


def test_tensors_and_bytes_are_taken():
    given = answers_of(lambda block: torch.from_numpy(sums(block)).requires_grad_()).answer(images())
    np.testing.assert_allclose(given, images().reshape(11, -1)[:, :3] / 255, rtol=1e-6)
    raw = answers_of(lambda block: sums(block) if block.dtype == np.uint8 else None, raw=True).answer(images())
    np.testing.assert_array_equal(raw, images().reshape(11, -1)[:, :3])


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda block: 1 / 0, r"it fails on 4 images \(ZeroDivisionError: division by zero\)"),
        (lambda block: sums(block)[:-1], r"numbers of shape \(4, K\) for 4 images, got float32 \(3, 3\)"),
        (lambda block: sums(block).reshape(-1), r"numbers of shape \(4, K\)"),
        (lambda block: ["x"] * len(block), r"numbers of shape \(4, K\)"),
        (lambda block: sums(block) * np.nan, "must give finite outputs"),
        (lambda block: sums(block)[:, :2], "must give 3 outputs an image for the class labels, got 2"),
    ],
)
def test_what_a_function_gets_wrong_is_named(function, words):
    with pytest.raises(StageError, match=words):
        answers_of(function).answer(images(4))


def test_what_a_factory_gets_wrong_is_named(monkeypatch):
    module = types.ModuleType("factories_here")
    module.number = lambda: 3
    module.broken = lambda: 1 / 0
    module.network = lambda width: nn.Linear(width, 2)
    monkeypatch.setitem(sys.modules, "factories_here", module)
    monkeypatch.setattr("data.factories._find", lambda name, key: None)
    with pytest.raises(ConfigError, match="must return a torch network or a function of images, got int"):
        call_factory("factories_here:number", {}, 0)
    with pytest.raises(ConfigError, match=r"fails when it is called with its options \(ZeroDivisionError"):
        call_factory("factories_here:broken", {}, 0)
    with pytest.raises(ConfigError, match=r"fails when it is called with its options \(TypeError"):
        call_factory("factories_here:network", {"depth": 1}, 0)
    state = torch.get_rng_state()
    first, second, other = (call_factory("factories_here:network", {"width": 3}, seed).weight for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("network", "error", "words"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(9, 3)), ConfigError, r"must take images of shape \(1, 5, 5\)"),
        (nn.Sequential(nn.Flatten(), nn.Linear(25, 4)), StageError, "must give 3 outputs an image"),
        (nn.Conv2d(1, 3, 3), StageError, r"must give a tensor \(B, K\)"),
        (nn.LSTM(5, 3), (ConfigError, StageError), "must"),
    ],
)
def test_a_network_that_does_not_fit_is_named(network, error, words):
    with pytest.raises(error, match=words):
        imported_model(network, Interface(CLASSES, SHAPE), {"network": "x", "options": {}}, "it")


def test_values_of_a_network_get_their_units():
    network = nn.Sequential(nn.Flatten(), nn.Linear(25, 2), nn.Sigmoid())
    interface = Interface(VECTOR, SHAPE, values="normalised", mean=(0.5,), std=(0.25,))
    model = imported_model(network, interface, {"network": "x", "options": {}}, "it")
    given = NetworkAnswers(model, CPU, 4).answer(images())
    with torch.inference_mode():
        own = network((torch.from_numpy(images()).float() / 255 - 0.5) / 0.25).numpy()
    np.testing.assert_allclose(given, own * [4.0, 2.0] + [0.0, -1.0], rtol=1e-5, atol=1e-6)


def test_the_mean_of_teachers_is_that_of_probabilities_and_values():
    rng = np.random.default_rng(0)
    given = torch.from_numpy(rng.normal(size=(3, 6, 3)).astype(np.float32) * 4)
    weights = (0.5, 0.3, 0.2)
    mean = mean_answer(given, weights, 2).numpy()
    shares = np.exp(given[..., :2].numpy().astype(np.float64))
    shares /= shares.sum(axis=-1, keepdims=True)
    expected = sum(weight * part for weight, part in zip(weights, shares, strict=True))
    np.testing.assert_allclose(np.exp(mean[:, :2]), expected, rtol=1e-5)
    values = sum(weight * part[:, 2].numpy() for weight, part in zip(weights, given, strict=True))
    np.testing.assert_allclose(mean[:, 2], values, rtol=1e-5, atol=1e-6)
    extreme = torch.tensor([[[500.0, -500.0]], [[-500.0, 500.0]]])
    assert torch.isfinite(mean_answer(extreme, (0.5, 0.5), 2)).all()
    single = mean_answer(given[:1], (1.0,), 0)
    assert torch.equal(single, given[0])


def test_an_ensemble_of_networks_is_one_network():
    torch.manual_seed(0)
    members = [build_model("convnet", {"channels": 2}, SHAPE, BOTH, [100.0 + seed], [50.0]) for seed in range(3)]
    weights = (2.0, 1.0, 1.0)
    asked = EnsembleAnswers([NetworkAnswers(member, CPU, 4) for member in members], weights)
    network = EnsembleNetwork([member.eval() for member in members], weights)
    pictures = torch.from_numpy(images()).float().requires_grad_()
    outputs = network(pictures)
    np.testing.assert_allclose(outputs.detach().numpy(), asked.answer(images()), rtol=1e-4, atol=1e-5)
    outputs.sum().backward()
    assert pictures.grad.abs().sum() > 0
    assert asked.label_space.kind == "class+scalar"


def onnx_file(path, dtype="FLOAT", shape=("B", 1, 5, 5)):
    onnx = pytest.importorskip("onnx")
    kind = getattr(onnx.TensorProto, dtype)
    weights = np.random.default_rng(0).normal(size=(int(np.prod(shape[1:])), 3)).astype(np.float32)
    helper = onnx.helper
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Flatten", ["floats"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["outputs"]),
    ]
    graph = helper.make_graph(
        nodes,
        "teacher",
        [helper.make_tensor_value_info("images", kind, shape)],
        [helper.make_tensor_value_info("outputs", onnx.TensorProto.FLOAT, (shape[0], 3))],
        [onnx.numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))
    return weights


@pytest.mark.parametrize(
    ("dtype", "shape"), [("FLOAT", ("B", 1, 5, 5)), ("FLOAT16", ("B", 1, 5, 5)), ("FLOAT", (2, 1, 5, 5))]
)
def test_an_onnx_file_gets_normalised_images(tmp_path, dtype, shape):
    pytest.importorskip("onnxruntime")
    weights = onnx_file(tmp_path / "t.onnx", dtype, shape)
    teacher = open_onnx(tmp_path / "t.onnx", Interface(CLASSES, SHAPE, mean=(0.5,), std=(0.5,)), CPU, 4)
    expected = ((images() / 255 - 0.5) / 0.5).reshape(11, -1) @ weights
    np.testing.assert_allclose(teacher.answer(images()), expected, rtol=1e-2, atol=2e-2 if dtype == "FLOAT16" else 1e-4)


def test_an_onnx_file_of_bytes_normalises_itself(tmp_path):
    pytest.importorskip("onnxruntime")
    weights = onnx_file(tmp_path / "t.onnx", "UINT8")
    teacher = open_onnx(tmp_path / "t.onnx", Interface(CLASSES, SHAPE), CPU, 4)
    np.testing.assert_allclose(teacher.answer(images()), images().reshape(11, -1) @ weights, rtol=1e-4)
    with pytest.raises(ConfigError, match=r"teacher.mean and teacher.std must be unset"):
        open_onnx(tmp_path / "t.onnx", Interface(CLASSES, SHAPE, mean=(0.5,)), CPU, 4)


@pytest.mark.parametrize(
    ("shape", "error", "words"),
    [
        (("B", 3, 5, 5), ConfigError, r"must take images of shape \(1, 5, 5\), got \(3, 5, 5\)"),
        (("B", 25), StageError, r"must take one input of images \(B, C, H, W\)"),
    ],
)
def test_an_onnx_file_for_other_images_is_named(tmp_path, shape, error, words):
    pytest.importorskip("onnxruntime")
    onnx_file(tmp_path / "t.onnx", shape=shape)
    with pytest.raises(error, match=words):
        open_onnx(tmp_path / "t.onnx", Interface(CLASSES, SHAPE), CPU, 4)


def test_other_files_and_weights_elsewhere_are_refused(tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    (tmp_path / "t.onnx").write_bytes(b"nothing of the kind")
    with pytest.raises(DataError, match="must be an ONNX file"):
        open_onnx(tmp_path / "t.onnx", Interface(CLASSES, SHAPE), CPU, 4)
    onnx_file(tmp_path / "t.onnx")
    model = onnx.load(str(tmp_path / "t.onnx"))
    onnx.save(model, str(tmp_path / "t.onnx"), save_as_external_data=True, location="elsewhere.bin", size_threshold=0)
    with pytest.raises(DataError, match=r"in it or in t.onnx.data, got elsewhere.bin"):
        open_onnx(tmp_path / "t.onnx", Interface(CLASSES, SHAPE), CPU, 4)


@pytest.mark.parametrize("place", ["branch", "attribute", "sparse", "function"])
def test_weights_elsewhere_are_found_wherever_they_are(tmp_path, place):
    onnx = pytest.importorskip("onnx")
    onnx_file(tmp_path / "t.onnx")
    model = onnx.load(str(tmp_path / "t.onnx"))
    hidden = onnx.helper.make_tensor("hidden", onnx.TensorProto.FLOAT, [1], [0.0])
    hidden.ClearField("float_data")
    hidden.data_location = onnx.TensorProto.EXTERNAL
    hidden.external_data.add(key="location", value="/etc/elsewhere.bin")
    node = onnx.helper.make_node("Constant", [], ["c"], value=hidden)
    if place == "branch":
        inner = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["hidden"], ["i"])], "g", [], [], [hidden])
        node = onnx.helper.make_node("If", ["x"], ["c"], then_branch=inner)
    if place == "sparse":
        model.graph.sparse_initializer.add().values.CopyFrom(hidden)
    elif place == "function":
        model.functions.add(name="f", domain="d").node.append(node)
    else:
        model.graph.node.append(node)
    (tmp_path / "t.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(DataError, match=r"in it or in t.onnx.data, got /etc/elsewhere.bin"):
        check_weights_beside(tmp_path / "t.onnx")


class Overflow(nn.Module):
    """Finite for an empty image alone."""

    def forward(self, images):
        return images.flatten(1)[:, :3] * torch.finfo(torch.float32).max * 4


def test_a_network_is_tried_on_real_images():
    model = imported_model(Overflow(), Interface(CLASSES, SHAPE), {"network": "overflow", "options": {}}, "it")
    with pytest.raises(StageError, match="it must give finite outputs, got NaN or infinite ones for 11 of 11"):
        check_network(model, Interface(CLASSES, SHAPE), images(), "it")


def test_answers_that_are_not_finite_name_the_teacher():
    model = build_model("convnet", {"channels": 2}, SHAPE, CLASSES, [0.0], [1.0])
    torch.nn.init.constant_(next(model.network.parameters()), float("nan"))
    with pytest.raises(StageError, match=r"teacher convnet must give finite outputs, got .* for 11 of 11 images"):
        NetworkAnswers(model, CPU, 4).answer(images())
