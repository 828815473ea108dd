"""The building blocks against manual formulas."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from data.errors import ConfigError
from generators.blocks import ConditionalBatchNorm, DownBlock, UpBlock, channel_plan, convolution


def test_conditional_batch_norm_equals_the_manual_formula() -> None:
    torch.manual_seed(0)
    layer = ConditionalBatchNorm(3, partial(nn.Embedding, 2))
    nn.init.normal_(layer.gain.weight)
    nn.init.normal_(layer.bias.weight)
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
    layer = ConditionalBatchNorm(3, partial(nn.Linear, 4, bias=False)).eval()
    images = torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(layer(images, torch.randn(2, 4)), images / (1 + 1e-5) ** 0.5)


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


def test_convolutions_keep_the_side() -> None:
    assert convolution(2, 3, 3)(torch.zeros(1, 2, 5, 5)).shape == (1, 3, 5, 5)
