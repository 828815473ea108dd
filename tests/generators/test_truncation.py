"""Truncation, rendering and every kind of label, with a generator whose images can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from data.compute import Compute
from data.errors import ConfigError
from data.labels import Axis, LabelSpace
from data.random import normal_from_seeds, row_seeds
from generators.card import GeneratorCard
from generators.sampling import BLOCK_ROWS, Sampler, truncate

SPACES = {
    "class": LabelSpace("class", names=("a", "b", "c")),
    "scalar": LabelSpace("scalar", name="yaw", minimum=-10, maximum=90),
    "vector": LabelSpace("vector", axes=(Axis("yaw", "degree", 0, 90), Axis("tilt", "degree", -20, 20))),
    "class+scalar": LabelSpace("class+scalar", names=("x", "y"), name="yaw", maximum=90),
}


class Plain(nn.Module):
    """Latents on the first row of an image, conditions on the second; records the blocks that it gets."""

    def __init__(self):
        super().__init__()
        self.blocks = []

    def forward(self, latents, conditions):
        self.blocks.append(len(latents))
        values = conditions.float().reshape(len(latents), -1)
        rows = torch.zeros(len(latents), 1, 4, 4)
        rows[:, 0, 0] = latents / 4
        rows[:, 0, 1, : values.shape[1]] = values / 4
        return rows


def make(kind):
    space = SPACES[kind]
    return Sampler(Plain(), GeneratorCard("plain", {}, (1, 4, 4), space, 4), Compute(torch.device("cpu")))


def some_labels(space, count):
    rng = np.random.default_rng(0)
    values = np.array([axis.minimum for axis in space.dimensions]) + rng.uniform(size=(count, 1)) * np.array(
        [axis.maximum - axis.minimum for axis in space.dimensions]
    )
    return space.join(rng.integers(0, max(space.classes, 1), count), values)


@pytest.mark.parametrize("kind", sorted(SPACES))
def test_every_kind_of_label_reaches_the_network_as_its_condition(kind):
    sampler, space = make(kind), SPACES[kind]
    labels, seeds = some_labels(space, 2 * BLOCK_ROWS + 5), row_seeds(3, np.arange(2 * BLOCK_ROWS + 5))
    images = sampler.sample(labels, seeds)
    conditions = space.conditions(labels).reshape(len(labels), -1)
    expected = np.rint((conditions.astype(np.float64) / 4 + 1) * 127.5)
    assert np.abs(images[:, 0, 1, : conditions.shape[1]] - expected).max() <= 1
    assert np.array_equal(images, sampler.render(normal_from_seeds(seeds, 4), space.conditions(labels)))
    assert set(sampler._generator.blocks) == {BLOCK_ROWS}
    order = np.random.default_rng(1).permutation(len(labels))[:9]
    assert np.array_equal(sampler.sample(labels[order], seeds[order]), images[order])


def test_truncated_latents_follow_the_normal_distribution_cut_off_at_the_threshold():
    latents = normal_from_seeds(row_seeds(0, np.arange(4000)), 8)
    for truncation in (0.95, 0.68, 0.38):
        threshold = stats.norm.ppf((1 + truncation) / 2)
        cut = truncate(latents, truncation)
        assert cut.dtype == np.float32
        assert np.abs(cut).max() <= threshold + 1e-6
        assert stats.kstest(cut.ravel(), stats.truncnorm(-threshold, threshold).cdf).pvalue > 0.01
        # A seed keeps its character: signs and order stay.
        assert np.array_equal(np.signbit(cut), np.signbit(latents))
        assert np.array_equal(np.argsort(cut[:, 0]), np.argsort(latents[:, 0]))
    assert stats.norm.ppf((1 + 0.68) / 2) == pytest.approx(1.0, abs=0.01)


def test_no_truncation_changes_nothing_and_full_truncation_leaves_the_middle():
    latents = normal_from_seeds(row_seeds(0, np.arange(100)), 8)
    assert truncate(latents, 1.0) is latents
    assert np.abs(truncate(latents, 1 - 1e-12) - latents).max() < 1e-5
    assert not truncate(latents, 0.0).any()
    assert np.isfinite(truncate(np.array([0, 40, -40, 5e-324], np.float32), 0.5)).all()


@pytest.mark.parametrize("truncation", [-0.1, 1.1, float("nan")])
def test_truncation_outside_its_range_is_refused(truncation):
    with pytest.raises(ConfigError, match=r"truncation must lie in \[0, 1\]"):
        make("scalar").sample(np.zeros(1, np.float32), np.zeros(1, np.uint64), truncation)


def test_a_truncated_row_does_not_depend_on_its_neighbours():
    sampler = make("scalar")
    labels, seeds = some_labels(SPACES["scalar"], 300), row_seeds(1, np.arange(300))
    whole = sampler.sample(labels, seeds, 0.5)
    assert not np.array_equal(whole, sampler.sample(labels, seeds))
    assert np.array_equal(sampler.sample(labels[150:152], seeds[150:152], 0.5), whole[150:152])
