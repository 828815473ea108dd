"""Models: normalisation inside, outputs in the label's unit, files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.torch import load_file

from data.compute import Compute
from data.errors import ConfigError, DataError
from data.labels import Axis, LabelSpace
from students.evaluation import predict
from students.model import ImageModel, build_model, label_statistics, load_model, pixel_statistics, save_model
from students.networks import networks

COMPUTE = Compute(torch.device("cpu"))
SCALAR = LabelSpace("scalar", name="angle", unit="degree", maximum=90.0)
CLASSES = LabelSpace("class", ("a", "b", "c"))
POSE = LabelSpace("vector", axes=(Axis("yaw", "degree", 0.0, 90.0), Axis("tilt", "radian", -3.0, 1.0)))
BOTH = LabelSpace("class+scalar", ("a", "b", "c"), maximum=90.0)


@pytest.mark.parametrize("rows_a_block", [1, 3, 100])
def test_pixel_statistics_equal_numpy(rows_a_block: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (7, 3, 5, 4)).astype(np.uint8)
    images[:, 2] = 9
    mean, std = pixel_statistics(images, rows_a_block)
    np.testing.assert_allclose(mean, images.mean(axis=(0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(std, images.std(axis=(0, 2, 3)), rtol=1e-10, atol=1e-9)


def test_a_model_normalises_its_images_and_scales_its_outputs() -> None:
    model = build_model("convnet", {"channels": 3}, (2, 8, 8), SCALAR, [10.0, 20.0], [2.0, 0.0], 45.0, 30.0).eval()
    images = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (4, 2, 8, 8)).astype(np.uint8))
    normalised = torch.empty(4, 2, 8, 8)
    normalised[:, 0] = (images[:, 0].float() - 10.0) / 2.0
    normalised[:, 1] = (images[:, 1].float() - 20.0) / 1e-6
    torch.testing.assert_close(model(images), model.network(normalised) * 30.0 + 45.0, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("name", [name for name in networks.names() if name != "factory"])
def test_features_are_what_the_last_linear_layer_reads(name: str) -> None:
    model = build_model(name, None, (2, 8, 8), CLASSES, [10.0, 20.0], [2.0, 3.0]).eval().requires_grad_(False)
    images = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (4, 2, 8, 8)).astype(np.uint8))
    features = model.features(images)
    assert features.shape == (4, model.feature_size)
    assert features.dtype == torch.float32
    last = [module for module in model.network.modules() if isinstance(module, torch.nn.Linear)][-1]
    torch.testing.assert_close(last(features), model(images))
    assert not last._forward_pre_hooks  # nothing is left behind


def test_a_network_without_a_linear_layer_has_no_features() -> None:
    model = ImageModel(torch.nn.Conv2d(1, 3, 8), {"label_space": CLASSES.to_dict()}, [0.0], [1.0])
    with pytest.raises(
        ConfigError,
        match="must have a linear layer to give features, got 'Conv2d' without one; try another network, a method",
    ):
        model.features(torch.zeros(1, 1, 8, 8, dtype=torch.uint8))
    with pytest.raises(ConfigError, match=r"'kd', or, for the density ratio, ratio\.features 'classifier'"):
        _ = model.feature_size


def test_features_of_many_places_are_averaged_over_them() -> None:
    class Places(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = torch.nn.Linear(3, 2)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.last(images.flatten(2).transpose(1, 2)).mean(dim=1)

    model = ImageModel(Places(), {"label_space": CLASSES.to_dict()}, np.zeros(3), np.ones(3)).eval()
    images = torch.randint(0, 256, (2, 3, 4, 4), dtype=torch.uint8)
    torch.testing.assert_close(model.features(images), images.float().mean(dim=(2, 3)))


@pytest.mark.parametrize("name", ["resnet", "convnet"])
def test_outputs_and_features_of_one_pass(name: str) -> None:
    model = build_model(name, None, (2, 16, 16), SCALAR, [10.0, 20.0], [2.0, 3.0], 4.0, 5.0)
    images = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (4, 2, 16, 16)).astype(np.uint8))
    passes: list[torch.Tensor] = []
    handle = model.network.register_forward_hook(lambda _, inputs, outputs: passes.append(outputs))
    outputs, features = model.with_features(images)
    handle.remove()
    assert len(passes) == 1
    torch.testing.assert_close(outputs, passes[0] * 5.0 + 4.0)
    assert [tuple(found.shape[2:]) for found in features.maps] == [(16, 16), (8, 8), (4, 4)]
    # The pooled features are the mean of the last map, as both networks end with the global average.
    torch.testing.assert_close(features.pooled, features.maps[-1].mean(dim=(2, 3)))
    gradients = torch.autograd.grad(features.maps[0].sum() + outputs.sum(), next(iter(model.network.parameters())))
    assert gradients[0].abs().sum() > 0
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in model.modules())


def test_the_map_of_a_resolution_is_the_last_one_after_its_activation() -> None:
    model = build_model("convnet", {"channels": 3, "blocks": 2}, (1, 8, 8), CLASSES, [60.0], [50.0]).eval()
    images = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (4, 1, 8, 8)).astype(np.uint8))
    normalised = (images.float() - 60.0) / 50.0
    convolution, norm, activation, pool, *_ = list(model.network)
    first = activation(norm(convolution(normalised)))
    _, features = model.with_features(images)
    torch.testing.assert_close(features.maps[0], first)
    torch.testing.assert_close(features.maps[1].mean(dim=(2, 3)), model.features(images))
    assert features.maps[1].shape == pool(first).shape


def test_what_lacks_the_proportions_of_the_image_is_no_feature_map() -> None:
    class Tokens(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.heads, self.last = torch.nn.Unflatten(1, (1, 3, 16)), torch.nn.Linear(48, 3)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.last(self.heads(images.flatten(1)).flatten(1))

    model = ImageModel(Tokens(), {"label_space": CLASSES.to_dict()}, np.zeros(3), np.ones(3))
    assert model.with_features(torch.zeros(2, 3, 4, 4))[1].maps == ()


def labels_of(space: LabelSpace, count: int = 12) -> npt.NDArray[Any]:
    rng = np.random.default_rng(3)
    classes = rng.integers(0, 3, count) if space.has_classes else None
    return space.join(classes, rng.uniform(0, 50, (count, len(space.dimensions))) if space.dimensions else None)


@pytest.mark.parametrize("space", [SCALAR, CLASSES, POSE, BOTH])
def test_label_statistics_equal_loops(space: LabelSpace) -> None:
    labels = labels_of(space)
    mean, std = label_statistics(labels, space)
    assert mean.shape == std.shape == (() if space.kind in ("class", "scalar") else (space.outputs,))
    wanted = [(0.0, 1.0)] * space.classes
    for axis in range(len(space.dimensions)):
        column = [float(value) for value in labels.reshape(len(labels), -1)[:, axis + space.has_classes]]
        middle = sum(column) / len(column)
        wanted.append((middle, (sum((value - middle) ** 2 for value in column) / len(column)) ** 0.5))
    outputs = np.broadcast_to(np.stack([mean, std], axis=-1), (space.outputs, 2))
    np.testing.assert_allclose(outputs, wanted, rtol=1e-5)


@pytest.mark.parametrize("space", [POSE, BOTH])
def test_every_output_has_a_scale_of_its_own(space: LabelSpace) -> None:
    mean, std = label_statistics(labels_of(space), space)
    model = build_model("convnet", {"channels": 3}, (1, 8, 8), space, [60.0], [50.0], mean, std).eval()
    images = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (4, 1, 8, 8)).astype(np.uint8))
    plain = model.network((images.float() - 60.0) / 50.0)
    outputs = model(images)
    for output in range(space.outputs):
        expected = plain[:, output] * float(std[output]) + float(mean[output])
        torch.testing.assert_close(outputs[:, output], expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(model.standardised(outputs), plain, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(outputs[:, : space.classes], plain[:, : space.classes])


@pytest.mark.parametrize("space", [SCALAR, CLASSES])
def test_the_scales_of_a_class_and_of_a_scalar_are_single_numbers_in_files(space: LabelSpace, tmp_path: Path) -> None:
    save_model(tmp_path, build_model("convnet", {"channels": 3}, (1, 8, 8), space, [60.0], [50.0], 3.0, 2.0))
    weights = load_file(tmp_path / "model.safetensors")
    assert weights["label_mean"].shape == weights["label_std"].shape == ()


@pytest.mark.parametrize("space", [SCALAR, CLASSES, POSE, BOTH])
def test_files_bring_back_the_same_model(space: LabelSpace, tmp_path: Path) -> None:
    scale = label_statistics(labels_of(space), space)
    model = build_model("resnet", {"depth": 8, "width": 4}, (1, 8, 8), space, [60.0], [50.0], *scale)
    images = np.random.default_rng(2).integers(0, 256, (5, 1, 8, 8)).astype(np.uint8)
    model(torch.from_numpy(images))  # moves the batch statistics away from their start
    save_model(tmp_path, model)
    again = load_model(tmp_path, COMPUTE)
    assert not again.training
    assert again.label_space == space
    assert again.card == model.card
    np.testing.assert_array_equal(predict(again, images, COMPUTE), predict(model, images, COMPUTE))


def test_damaged_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"model\.json"):
        load_model(tmp_path, COMPUTE)
    save_model(tmp_path, build_model("convnet", {"channels": 3}, (1, 8, 8), CLASSES, [0.0], [1.0]))
    card = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps({**card, "options": {"channels": 4}}))
    with pytest.raises(DataError, match="cannot be loaded into ImageModel"):
        load_model(tmp_path, COMPUTE)
