import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from data.errors import ConfigError
from students.pruning import pruned_copy


@pytest.fixture
def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 7, 3), nn.BatchNorm2d(7), nn.ReLU(), nn.Conv2d(7, 5, 3, bias=False), nn.Flatten(),
        nn.Linear(80, 13), nn.Linear(13, 4),
    )  # fmt: skip


def weights(network: nn.Module) -> list[torch.Tensor]:
    return [layer.weight for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]


@pytest.mark.parametrize("amount", [0.0, 0.1, 0.37, 0.9])
@pytest.mark.parametrize("channels_last", [False, True])
def test_agrees_with_the_pruning_of_torch(network: nn.Sequential, amount: float, channels_last: bool) -> None:
    expected = copy.deepcopy(network)
    if channels_last:
        network = network.to(memory_format=torch.channels_last)
    for layer in expected:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            prune.l1_unstructured(layer, "weight", amount)
            prune.remove(layer, "weight")
    pruned = pruned_copy(network, amount)
    assert pruned.state_dict().keys() == network.state_dict().keys()
    for key, value in pruned.state_dict().items():
        assert torch.equal(value, expected.state_dict()[key]), key
    for own, whole in zip(weights(pruned), weights(network), strict=True):
        assert int((own == 0).sum()) == round(amount * own.numel())
        if amount:
            assert whole[own == 0].abs().max() <= own[own != 0].abs().min()


def test_the_network_itself_stays_as_it_is(network: nn.Sequential) -> None:
    network.train()
    before = copy.deepcopy(network.state_dict())
    pruned = pruned_copy(network, 0.5)
    assert not pruned.training
    assert network.training
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


def test_nothing_pruned_answers_alike(network: nn.Sequential) -> None:
    images = torch.randn(4, 3, 8, 8)
    network.eval()
    assert torch.equal(pruned_copy(network, 0.0)(images), network(images))
    assert not torch.equal(pruned_copy(network, 0.1)(images), network(images))


def test_equal_weights_are_pruned_in_the_right_number() -> None:
    layer = nn.Linear(10, 10)
    nn.init.constant_(layer.weight, 0.5)
    pruned = pruned_copy(nn.Sequential(layer), 0.25)
    assert int((weights(pruned)[0] == 0).sum()) == 25


@pytest.mark.parametrize("amount", [-0.1, 1.0, float("nan")])
def test_amounts_out_of_range(network: nn.Sequential, amount: float) -> None:
    with pytest.raises(ConfigError, match="amount"):
        pruned_copy(network, amount)
