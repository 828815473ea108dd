"""Networks: sizes known from the papers, shapes, edges and refusals."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from data.errors import ConfigError
from students.model import parameter_count
from students.networks import ImageShape, make_network, networks


def test_every_network_is_found() -> None:
    assert networks.names() == ["convnet", "resnet"]


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
        ("convnet", {"channels": 0}, (1, 8, 8), "'channels'"),
        ("convnet", {"blocks": 5}, (1, 8, 8), "at most 4 for 8x8"),
    ],
)
def test_what_does_not_fit_is_refused(name: str, options: dict[str, Any], shape: ImageShape, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_network(name, options, shape, 2)


def test_the_deepest_convnet_that_the_message_allows_works() -> None:
    assert make_network("convnet", {"blocks": 4, "channels": 2}, (1, 8, 8), 2)(torch.zeros(2, 1, 8, 8)).shape == (2, 2)
