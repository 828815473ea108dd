"""Networks: sizes known from the papers, shapes, edges and refusals."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision

from data.errors import ConfigError
from data.labels import LabelSpace
from students.model import ImageModel, build_model, parameter_count
from students.networks import ImageShape, make_network, networks
from students.networks._shuffle import Shuffle
from students.networks._small_images import halvings
from students.networks.mobilenet_v2 import InvertedResidual
from students.networks.vgg import BLOCKS
from students.networks.wide_resnet import PreActivationBlock

CLASSES = LabelSpace("class", ("a", "b", "c"))
SCALAR = LabelSpace("scalar", name="angle", unit="degree", maximum=90.0)


#: Small options of every network, so that the sweeps stay quick.
SMALL: dict[str, dict[str, Any]] = {
    "convnet": {"channels": 4},
    "factory": {"factory": "own_network_of_tests:make", "channels": 6},
    "mobilenet_v2": {"width": 0.25, "expansion": 2},
    "resnet": {"depth": 8, "width": 4},
    "shufflenet_v1": {"channels": 60},
    "shufflenet_v2": {"width": "0.5"},
    "timm": {"name": "test_resnet", "zero_init_last": False},
    "torchvision": {"name": "mobilenet_v3_small"},
    "vgg": {"width": 4},
    "wide_resnet": {"depth": 10, "widen": 1},
}
SHAPES: list[ImageShape] = [(1, 8, 8), (3, 32, 32), (3, 64, 64), (1, 28, 28), (2, 9, 17)]


@pytest.fixture(autouse=True)
def own_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module of the user's in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    module = tmp_path / "own_network_of_tests.py"
    module.write_text(OWN_NETWORK)
    yield module
    sys.modules.pop("own_network_of_tests", None)


OWN_NETWORK = """
from torch import nn

def make(image_shape, outputs, channels=8):
    return nn.Sequential(
        nn.Conv2d(image_shape[0], channels, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(channels, outputs),
    )

def wrong(image_shape, outputs):
    return nn.Flatten()

def nothing(image_shape, outputs):
    return 5

def broken(image_shape, outputs):
    raise RuntimeError("no weights here")
"""


def test_every_network_is_found() -> None:
    assert networks.names() == sorted(SMALL)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", sorted(SMALL))
@pytest.mark.parametrize("space", [CLASSES, SCALAR])
def test_every_network_trains_a_step_and_gives_features(name: str, shape: ImageShape, space: LabelSpace) -> None:
    torch.manual_seed(0)
    model = build_model(name, SMALL[name], shape, space, [100.0], [60.0], 5.0 if space is SCALAR else 0.0)
    images = torch.randint(0, 256, (4, *shape), dtype=torch.uint8)
    outputs, features = model.with_features(images)
    assert outputs.shape == (4, space.outputs)
    assert features.pooled.shape == (4, model.feature_size)
    sizes = [found.shape[2] * found.shape[3] for found in features.maps]
    assert sizes
    assert sizes == sorted(sizes, reverse=True)
    assert min(sizes) > 1
    before = [parameter.detach().clone() for parameter in model.parameters()]
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    outputs.square().mean().backward()
    optimiser.step()
    changed = [not torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True)]
    assert sum(changed) >= 0.9 * len(changed)  # a bias before a batch normalisation may stay
    model.eval()
    torch.testing.assert_close(model.features(images), model.with_features(images)[1].pooled)
    assert torch.isfinite(model(images)).all()


@pytest.mark.parametrize("name", sorted(SMALL))
def test_initial_weights_depend_on_the_seed_alone(name: str) -> None:
    states = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        states.append(make_network(name, SMALL[name], (3, 16, 16), 3).state_dict())
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())
    assert any(not torch.equal(value, states[2][key]) for key, value in states[0].items())


@pytest.mark.parametrize("name", sorted(set(SMALL) - {"factory", "timm", "torchvision"}))
def test_our_networks_train_on_a_batch_of_one(name: str) -> None:
    network = make_network(name, SMALL[name], (1, 8, 8), 3)
    outputs = network(torch.randn(1, 1, 8, 8))
    outputs.sum().backward()
    assert torch.isfinite(outputs).all()


#: Networks of Tian, Krishnan and Isola (2020), 3 x 32 x 32 and 100 classes: their parameters.
ZOO: list[tuple[str, dict[str, Any], int]] = [
    ("resnet", {"depth": 8, "width": 64, "stem": 32}, 1_233_540),
    ("resnet", {"depth": 32, "width": 64, "stem": 32}, 7_433_860),
    ("resnet", {"depth": 20}, 278_324),
    ("resnet", {"depth": 32}, 472_756),
    ("resnet", {"depth": 56}, 861_620),
    ("resnet", {"depth": 110}, 1_736_564),
    ("wide_resnet", {"depth": 40, "widen": 2}, 2_255_156),
    ("wide_resnet", {"depth": 40, "widen": 1}, 569_780),
    ("wide_resnet", {"depth": 16, "widen": 2}, 703_284),
    ("vgg", {"depth": 8}, 3_965_028),
    ("vgg", {"depth": 13}, 9_462_180),
    ("mobilenet_v2", {}, 812_836),
    ("shufflenet_v1", {}, 949_258),
    ("shufflenet_v2", {}, 1_355_528),
]


@pytest.mark.parametrize(("name", "options", "parameters"), ZOO)
def test_the_zoo_has_its_known_sizes(name: str, options: dict[str, Any], parameters: int) -> None:
    assert parameter_count(make_network(name, options, (3, 32, 32), 100)) == parameters


def test_depths_count_layers_with_weights() -> None:
    for depth, blocks in BLOCKS.items():
        layers = make_network("vgg", {"depth": depth, "width": 2}, (3, 32, 32), 10).modules()
        # The paper's names count three linear layers; 8 is a later one and counts six layers and two of pooling.
        convolutions = sum(isinstance(layer, torch.nn.Conv2d) for layer in layers)
        assert convolutions == sum(blocks) == (5 if depth == 8 else depth - 3)
    network = make_network("wide_resnet", {"depth": 16, "widen": 1}, (3, 32, 32), 10)
    bodies = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d) and m.kernel_size == (3, 3)]
    assert len(bodies) + 3 == 16  # the paper counts a shortcut of each stage too


@pytest.mark.parametrize(
    ("side", "wanted"),
    [(8, [8, 4, 2]), (9, [9, 5, 3]), (15, [15, 8, 4]), (16, [16, 8, 4, 2]), (32, [16, 8, 4, 2]), (64, [32, 16, 8, 4])],
)
def test_small_images_are_halved_less_often_and_keep_2x2(side: int, wanted: list[int]) -> None:
    model = build_model("mobilenet_v2", {"width": 0.25}, (1, side, side), CLASSES, [0.0], [1.0])
    found = model.with_features(torch.zeros(2, 1, side, side))[1].maps
    assert [layer.shape[2] for layer in found] == wanted


def test_halvings_are_left_out_at_the_beginning() -> None:
    assert halvings("x", (1, 8, 8), 4) == (False, False, True, True)
    assert halvings("x", (1, 31, 90), 4) == (False, True, True, True)
    assert halvings("x", (1, 32, 32), 4) == (True,) * 4
    assert halvings("x", (1, 8, 8), 1) == (True,)


def test_the_shuffle_equals_a_loop() -> None:
    images = torch.arange(12.0).reshape(1, 12, 1, 1)
    shuffled = Shuffle(3)(images).flatten().tolist()
    assert shuffled == [group * 4 + place for place in range(4) for group in range(3)]


def test_a_block_whose_branch_gives_nothing_is_its_shortcut() -> None:
    block = PreActivationBlock(4, 4, 1)
    torch.nn.init.zeros_(block.body[-1].weight)
    inputs = torch.randn(2, 4, 5, 5)
    torch.testing.assert_close(block(inputs), inputs)
    unit = InvertedResidual(4, 4, 1, 2).eval()
    torch.nn.init.zeros_(unit.body[-1].weight)
    torch.testing.assert_close(unit(inputs), inputs)


def test_a_library_gives_the_same_as_when_called_directly() -> None:
    torch.manual_seed(0)
    ours = make_network("torchvision", {"name": "resnet18"}, (3, 32, 32), 5).eval()
    torch.manual_seed(0)
    theirs = torchvision.models.resnet18(num_classes=5).eval()
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(ours(images), theirs(images), rtol=0, atol=0)
    assert ours.state_dict().keys() == theirs.state_dict().keys()


@pytest.mark.parametrize("name", ["torchvision", "timm"])
def test_a_small_stem_keeps_the_size_of_the_image(name: str) -> None:
    sides = {}
    for small in (False, True):
        network = make_network(name, {"name": "resnet18", "small_stem": small}, (1, 32, 32), 5)
        model = ImageModel(network, {"label_space": CLASSES.to_dict()}, [0.0], [1.0])
        sides[small] = [found.shape[2] for found in model.with_features(torch.zeros(2, 1, 32, 32))[1].maps]
    assert sides == {False: [16, 8, 4, 2], True: [32, 16, 8, 4]}


def test_options_are_handed_on_to_libraries() -> None:
    options = {"name": "vit_b_16", "image_size": 16}
    network = make_network("torchvision", options, (3, 16, 16), 3)
    assert network.image_size == 16
    options = {"name": "vit_tiny_patch16_224", "img_size": 16, "patch_size": 4, "depth": 1}
    assert make_network("timm", options, (2, 16, 16), 3).patch_embed.num_patches == 16


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ConfigError, match=r"pip install 'stillhouse\[timm\]'"):
        make_network("timm", {}, (3, 32, 32), 2)


def resnet_parameters(depth: int, width: int, channels: int, outputs: int) -> int:
    """Counts every weight of a residual network by hand."""
    total = channels * width * 9 + 2 * width
    before = width
    for stage in range(3):
        now = width * 2**stage
        for block in range((depth - 2) // 6):
            source = before if block == 0 else now
            total += source * now * 9 + 2 * now + now * now * 9 + 2 * now
            if source != now:
                total += source * now + 2 * now
        before = now
    return total + before * outputs + outputs


def test_resnet20_has_its_known_size() -> None:
    assert parameter_count(make_network("resnet", {"depth": 20, "width": 16}, (3, 32, 32), 10)) == 272_474
    # The size that RepDistiller's resnet20 has for CIFAR-100.
    assert parameter_count(make_network("resnet", {"depth": 20}, (3, 32, 32), 100)) == 278_324


@pytest.mark.parametrize(("depth", "width", "channels"), [(8, 4, 1), (14, 6, 3), (32, 2, 5)])
def test_resnet_sizes(depth: int, width: int, channels: int) -> None:
    network = make_network("resnet", {"depth": depth, "width": width}, (channels, 8, 8), 7)
    assert parameter_count(network) == resnet_parameters(depth, width, channels, 7)
    weighty = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    assert sum(not isinstance(m, torch.nn.Conv2d) or m.kernel_size == (3, 3) for m in weighty) == depth


def test_convnet_size() -> None:
    network = make_network("convnet", {"channels": 6, "blocks": 3}, (1, 8, 8), 10)
    assert parameter_count(network) == 6 * 9 + 12 + 2 * (36 * 9 + 12) + 60 + 10


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 28, 28), (2, 9, 17)])
@pytest.mark.parametrize(("name", "options"), [("resnet", {"depth": 8, "width": 4}), ("convnet", {"channels": 4})])
def test_shapes_and_a_batch_of_one(name: str, options: dict[str, Any], shape: ImageShape) -> None:
    network = make_network(name, options, shape, 5)
    for rows in (1, 3):
        outputs = network(torch.randn(rows, *shape))
        assert outputs.shape == (rows, 5)
        assert torch.isfinite(outputs).all()
        outputs.sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize(
    ("name", "options", "shape", "message"),
    [
        ("resnet", {"depth": 18}, (1, 8, 8), "got 18; try 20"),
        ("resnet", {"depth": 2}, (1, 8, 8), "got 2; try 8"),
        ("resnet", {"width": 0}, (1, 8, 8), "'width'"),
        ("resnet", {}, (1, 7, 8), "at least 8x8, got 7x8"),
        ("resnet", {"stem": -1}, (1, 8, 8), "'stem'"),
        ("wide_resnet", {"depth": 20}, (1, 8, 8), "got 20; try 22"),
        ("wide_resnet", {"widen": 0}, (1, 8, 8), "'widen'"),
        ("wide_resnet", {}, (1, 8, 7), "at least 8x8, got 8x7; try 'convnet'"),
        ("vgg", {"depth": 12}, (1, 8, 8), "got 12; try 11"),
        ("vgg", {"width": 0}, (1, 8, 8), "'width'"),
        ("vgg", {}, (1, 7, 7), "at least 8x8"),
        ("mobilenet_v2", {"width": 0.01}, (1, 8, 8), "'width'"),
        ("mobilenet_v2", {"expansion": 0}, (1, 8, 8), "'expansion'"),
        ("mobilenet_v2", {}, (1, 7, 7), "at least 8x8"),
        ("shufflenet_v1", {"groups": 4}, (1, 8, 8), "1, 2, 3 or 6, got 4"),
        ("shufflenet_v1", {"channels": 100}, (1, 8, 8), "a multiple of 12, .* got 100; try 96"),
        ("shufflenet_v1", {"channels": 24}, (1, 8, 8), "above 24"),
        ("shufflenet_v1", {}, (1, 7, 7), "at least 8x8"),
        ("shufflenet_v2", {"width": "3"}, (1, 8, 8), "one of 0.5, 1, 1.5, 2, got '3'"),
        ("shufflenet_v2", {}, (1, 7, 7), "at least 8x8"),
        ("torchvision", {"name": "rsnet18"}, (3, 32, 32), "did you mean 'resnet18'"),
        ("torchvision", {"name": "resnet18", "weights": "DEFAULT"}, (3, 32, 32), "got 'weights'"),
        ("torchvision", {"name": "resnet18", "depth": 3}, (3, 32, 32), "cannot be built"),
        ("torchvision", {"name": "swin_t", "small_stem": True}, (3, 32, 32), "pieces of 4x4, moving by 4"),
        ("torchvision", {"name": "vgg11"}, (3, 16, 16), "must take images of 3x16x16, but it fails"),
        ("timm", {"name": "hf-hub:some/one"}, (3, 32, 32), "must be one of its architectures"),
        ("timm", {"name": "resnet18", "checkpoint_path": "x"}, (3, 32, 32), "got 'checkpoint_path'"),
        ("factory", {}, (3, 8, 8), "must be 'module:function', got ''"),
        ("factory", {"factory": "own_network_of_tests:absent"}, (3, 8, 8), "no function 'absent'"),
        ("factory", {"factory": "own_network_of_tests:make", "width": 3}, (3, 8, 8), "with the options width, got"),
        ("factory", {"factory": "own_network_of_tests:wrong"}, (3, 8, 8), r"shape \(1, 2\) .* \(1, 192\)"),
        ("factory", {"factory": "own_network_of_tests:nothing"}, (3, 8, 8), "must be a torch.nn.Module, got int"),
        ("factory", {"factory": "own_network_of_tests:broken"}, (3, 8, 8), "RuntimeError: no weights here"),
        ("convnet", {"channels": 0}, (1, 8, 8), "'channels'"),
        ("convnet", {"blocks": 5}, (1, 8, 8), "at most 4 for 8x8"),
    ],
)
def test_what_does_not_fit_is_refused(name: str, options: dict[str, Any], shape: ImageShape, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_network(name, options, shape, 2)


def test_the_deepest_convnet_that_the_message_allows_works() -> None:
    assert make_network("convnet", {"blocks": 4, "channels": 2}, (1, 8, 8), 2)(torch.zeros(2, 1, 8, 8)).shape == (2, 2)
