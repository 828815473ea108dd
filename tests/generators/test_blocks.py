"""The building blocks against manual formulas."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from data.errors import ConfigError
from generators.blocks import ConditionalBatchNorm, DownBlock, UpBlock, channel_plan, check_at_least
from generators.bottlenecks import DownBottleneck, UpBottleneck
from generators.conditions import LabelInput
from generators.layers import PLAIN, SPECTRAL, Layers


def test_conditional_batch_norm_equals_the_manual_formula() -> None:
    torch.manual_seed(0)
    layer = ConditionalBatchNorm(3, partial(nn.Embedding, 2))
    images, labels = torch.randn(5, 3, 4, 4), torch.tensor([0, 1, 1, 0, 1])
    mean = images.mean(dim=(0, 2, 3), keepdim=True)
    variance = ((images - mean) ** 2).mean(dim=(0, 2, 3), keepdim=True)
    normalised = (images - mean) / torch.sqrt(variance + 1e-5)
    expected = torch.stack(
        [
            normalised[i] * (1 + layer.gain.weight[label])[:, None, None] + layer.bias.weight[label][:, None, None]
            for i, label in enumerate(labels.tolist())
        ]
    )
    torch.testing.assert_close(layer(images, labels), expected)


def test_conditional_batch_norm_starts_as_plain_batch_norm_in_evaluation() -> None:
    layer = ConditionalBatchNorm(3, LabelInput(0, 1, 4).zero_layer).eval()
    images = torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(layer(images, torch.randn(2, 4)), images / (1 + 1e-5) ** 0.5)


def test_without_a_map_it_is_an_ordinary_batch_norm_that_ignores_the_condition() -> None:
    layer, plain = ConditionalBatchNorm(3, None), nn.BatchNorm2d(3)
    images = torch.randn(5, 3, 4, 4)
    assert torch.equal(layer(images, None), plain(images))
    assert [name for name, _ in layer.named_parameters()] == ["norm.weight", "norm.bias"]


@pytest.mark.parametrize(
    ("side", "plan"),
    [(8, [8, 4]), (16, [16, 8, 4]), (32, [32, 16, 8, 4]), (64, [32, 32, 16, 8, 4]), (128, [32, 32, 32, 16, 8, 4])],
)
def test_channels_double_at_each_halving_up_to_eightfold(side: int, plan: list[int]) -> None:
    assert channel_plan((1, side, side), 4) == plan


@pytest.mark.parametrize(("shape", "fix"), [((1, 28, 28), "32 x 32"), ((3, 32, 64), "64 x 64"), ((3, 4, 4), "8 x 8")])
def test_unfit_sizes_are_refused_with_the_fix(shape: tuple[int, int, int], fix: str) -> None:
    with pytest.raises(ConfigError, match=f"got {shape[1]} x {shape[2]}; try padding or resizing .* to {fix}"):
        channel_plan(shape, 4)


def test_up_block_skip_equals_up_sampling_before_its_convolution() -> None:
    torch.manual_seed(0)
    block = UpBlock(6, 4, partial(nn.Embedding, 2)).eval()
    nn.init.zeros_(block.conv2.weight)
    features = torch.randn(2, 6, 4, 4)
    expected = block.skip(features.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3))
    torch.testing.assert_close(block(features, torch.tensor([0, 1])), expected)


@pytest.mark.parametrize("first", [True, False])
def test_down_block_equals_the_order_of_the_paper(first: bool) -> None:
    torch.manual_seed(0)
    block = DownBlock(3, 4, pool=True, first=first).eval()
    images = torch.randn(2, 3, 8, 8)
    entered = images if first else images.relu()
    hidden = block.conv2(block.conv1(entered).relu())
    expected = nn.functional.avg_pool2d(hidden, 2) + nn.functional.avg_pool2d(block.skip(images), 2)
    torch.testing.assert_close(block(images), expected, rtol=1e-4, atol=1e-5)


def test_up_bottleneck_equals_its_steps_and_drops_the_last_channels() -> None:
    torch.manual_seed(0)
    block = UpBottleneck(16, 8, partial(nn.Embedding, 2), PLAIN, up=True).eval()
    features, labels = torch.randn(2, 16, 4, 4), torch.tensor([0, 1])
    hidden = block.conv1(block.norm1(features, labels).relu())
    assert hidden.shape == (2, 4, 4, 4)
    hidden = block.norm2(hidden, labels).relu().repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    hidden = block.conv3(block.norm3(block.conv2(hidden), labels).relu())
    hidden = block.conv4(block.norm4(hidden, labels).relu())
    skip = features[:, :8].repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    torch.testing.assert_close(block(features, labels), hidden + skip)


def test_down_bottleneck_equals_its_steps_and_convolves_the_further_channels() -> None:
    torch.manual_seed(0)
    block = DownBottleneck(8, 20, PLAIN, pool=True).eval()
    features = torch.randn(2, 8, 8, 8)
    hidden = block.conv2(block.conv1(features.relu()).relu())
    hidden = nn.functional.avg_pool2d(block.conv3(hidden.relu()).relu(), 2)
    skip = nn.functional.avg_pool2d(features, 2)
    torch.testing.assert_close(block(features), block.conv4(hidden) + torch.cat([skip, block.further(skip)], dim=1))
    assert DownBottleneck(8, 8, PLAIN, pool=False).further is None


@pytest.mark.parametrize(("size", "stride", "side"), [(1, 1, 5), (3, 1, 5), (3, 2, 3)])
def test_convolutions_keep_the_side_or_divide_it(size: int, stride: int, side: int) -> None:
    layer = PLAIN.convolution(2, 3, size, stride=stride)
    assert layer(torch.zeros(1, 2, 5, 5)).shape == (1, 3, side, side)
    assert not layer.bias.any()


def test_transposed_convolutions_start_at_four_pixels_and_double() -> None:
    assert PLAIN.transposed(2, 3, start=True)(torch.zeros(1, 2, 1, 1)).shape == (1, 3, 4, 4)
    assert PLAIN.transposed(2, 3)(torch.zeros(1, 2, 4, 4)).shape == (1, 3, 8, 8)


def test_initial_weights_are_what_they_are_called() -> None:
    torch.manual_seed(0)
    xavier = PLAIN.convolution(32, 32, 3).weight
    assert xavier.std().item() == pytest.approx((2 * 2 / (64 * 9)) ** 0.5, rel=0.05)
    assert Layers(initial="normal").linear(64, 64).weight.std().item() == pytest.approx(0.02, rel=0.05)
    rows = Layers(initial="orthogonal").convolution(16, 8, 3).weight.flatten(1)
    torch.testing.assert_close(rows @ rows.T, torch.eye(8), atol=1e-5, rtol=0)


def test_spectral_layers_have_norm_one_whatever_the_initial_weights() -> None:
    torch.manual_seed(0)
    for initial in ("xavier", "normal", "orthogonal"):
        layer = Layers(spectral_norm=True, initial=initial).linear(6, 9)
        assert torch.linalg.svdvals(layer.weight)[0].item() == pytest.approx(1.0, abs=0.02)
    assert SPECTRAL.spectral_norm


def test_options_below_the_least_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="option 'depth' of a generator must be at least 1, got 0"):
        check_at_least(1, width=3, depth=0)
