"""Multiply-adds against sums by hand."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

from students.cost import multiply_adds
from students.networks import ImageShape, make_network


def counted_by_hooks(network: nn.Module, shape: ImageShape) -> int:
    """Every output number of a layer costs as many multiply-adds as it has inputs."""
    total = 0

    def count(layer: nn.Module, inputs: tuple[torch.Tensor, ...], outputs: torch.Tensor) -> None:
        nonlocal total
        del inputs
        total += outputs[0].numel() * layer.weight[0].numel()

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
    network.eval()(torch.zeros(1, *shape))
    return total


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 9, 17)])
@pytest.mark.parametrize("name", ["resnet", "convnet"])
def test_cost_equals_a_count_layer_by_layer(name: str, shape: ImageShape) -> None:
    network = make_network(name, None, shape, 10)
    assert multiply_adds(network, shape) == counted_by_hooks(network, shape)


def test_a_layer_by_hand() -> None:
    layers = nn.Sequential(nn.Conv2d(2, 6, 3, padding=1, groups=2), nn.Flatten(), nn.Linear(6 * 20, 5))
    assert multiply_adds(layers, (2, 4, 5)) == 6 * 20 * 9 + 6 * 20 * 5


class Attention(nn.Module):
    """Attention over the pixels of an image, each a token of C numbers."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(channels, 2, batch_first=True)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        tokens = images.flatten(2).transpose(1, 2)
        return self.attention(tokens, tokens, tokens, need_weights=False)[0]


def test_attention_is_counted_however_it_is_computed() -> None:
    tokens, channels = 4 * 5, 8
    projections = tokens * channels * 4 * channels  # to queries, keys, values, and out
    products = 2 * tokens * tokens * channels  # queries with keys, weights with values, over all heads
    assert multiply_adds(Attention(channels), (channels, 4, 5)) == projections + products
    assert torch.backends.mha.get_fastpath_enabled()


def test_resnet20_has_the_cost_of_the_literature() -> None:
    # 40.55 million by the usual tables, which pad shortcuts with zeros; those of 1x1 convolutions cost twice 0.13 more.
    network = make_network("resnet", {"depth": 20}, (3, 32, 32), 10)
    assert multiply_adds(network, (3, 32, 32)) == 40_551_040 + 2 * 131_072


def test_the_network_is_left_as_it_was() -> None:
    network = make_network("convnet", None, (1, 8, 8), 2)
    network[1].eval()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    multiply_adds(network, (1, 8, 8))
    assert network.training
    assert not network[1].training
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_cost_is_what_torchvision_publishes() -> None:
    network = make_network("torchvision", {"name": "resnet18"}, (3, 224, 224), 1000)
    published = torchvision.models.ResNet18_Weights.DEFAULT.meta["_ops"]  # in thousand millions, three digits
    assert multiply_adds(network, (3, 224, 224)) / 1e9 == pytest.approx(published, abs=6e-4)
