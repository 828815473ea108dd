"""Interpolation: the ends are sampled images, and what lies between them lies between them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from data.compute import Compute
from data.errors import ConfigError, DataError
from data.labels import Axis, LabelSpace
from data.random import normal_from_seeds, row_seeds
from generators.card import GeneratorCard
from generators.interpolation import between, interpolate, slerp
from generators.sampling import Sampler

CLASSES = LabelSpace("class", names=("a", "b"))
YAW = LabelSpace("scalar", name="yaw", minimum=-10, maximum=90)
POSE = LabelSpace("vector", axes=(Axis("yaw", "degree", 0, 90), Axis("tilt", "degree", -20, 20)))
CHAIRS = LabelSpace("class+scalar", names=("x", "y"), name="yaw", maximum=90)


def sampler_of(space):
    torch.manual_seed(0)

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(8 + max(1, math.prod(space.label_shape)), 16)

        def forward(self, latents, conditions):
            values = torch.cat([latents, conditions.float().reshape(len(latents), -1)], 1)
            return torch.tanh(self.layer(values)).reshape(-1, 1, 4, 4)

    return Sampler(Network(), GeneratorCard("x", {}, (1, 4, 4), space, 8), Compute(torch.device("cpu")))


def test_great_circles_keep_lengths_and_angles():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 5, 64)).astype(np.float32)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    second /= np.linalg.norm(second, axis=1, keepdims=True)
    way = slerp(first, second, np.linspace(0, 1, 9)).astype(np.float64)
    assert np.allclose(np.linalg.norm(way, axis=2), 1, atol=1e-6)
    steps = np.arccos(np.clip((way[:, 1:] * way[:, :-1]).sum(axis=2), -1, 1))
    whole = np.arccos((first.astype(np.float64) * second).sum(axis=1))
    assert np.allclose(steps, whole[:, None] / 8, atol=1e-5)


def test_ends_of_a_circle_are_exact_and_equal_or_opposite_vectors_have_a_way_too():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 5, 16)).astype(np.float32)
    way = slerp(first, second, np.array([0.0, 0.3, 1.0]))
    assert np.array_equal(way[:, 0], first)
    assert np.array_equal(way[:, 2], second)
    assert np.array_equal(slerp(first, first, np.array([0.0, 0.5])), np.stack([first, first], 1))
    assert np.isfinite(slerp(first, -first, np.linspace(0, 1, 5))).all()
    assert np.isfinite(slerp(np.zeros_like(first), first, np.linspace(0, 1, 5))).all()


@pytest.mark.parametrize("truncation", [1.0, 0.4])
@pytest.mark.parametrize(
    ("space", "first", "second"),
    [
        (CLASSES, [1, 0], [1, 0]),
        (YAW, [-10, 3.3], [90, 3.3]),
        (POSE, [[0, -20], [1, 2]], [[90, 20], [4, 5]]),
        (CHAIRS, [[0, 90], [1, 2]], [[0, 0.1], [1, 5]]),
    ],
)
def test_ends_are_the_sampled_images(space, first, second, truncation):
    sampler = sampler_of(space)
    labels = (np.array(first, space.dtype), np.array(second, space.dtype))
    seeds = (row_seeds(1, np.arange(2)), row_seeds(2, np.arange(2)))
    walk = interpolate(sampler, labels, seeds, 5, truncation)
    assert walk.images.shape == (2, 5, 1, 4, 4)
    assert walk.labels.shape == (2, 5, *space.label_shape)
    assert walk.labels.dtype == space.dtype
    for end in (0, 1):
        assert np.array_equal(walk.labels[:, -end], labels[end])
        assert np.array_equal(walk.images[:, -end], sampler.sample(labels[end], seeds[end], truncation))
    # With equal seeds only labels change: every image is a sampled one.
    walk = interpolate(sampler, labels, (seeds[0], seeds[0]), 5, truncation)
    for step in range(5):
        assert np.array_equal(walk.images[:, step], sampler.sample(walk.labels[:, step], seeds[0], truncation))


def test_labels_go_along_straight_lines():
    shares = np.array([0, 0.25, 1])
    way = between(np.array([[0, -20.0]], "<f4"), np.array([[90, 20.0]], "<f4"), shares, POSE)
    assert way.tolist() == [[[0, -20], [22.5, -10], [90, 20]]]
    assert between(np.array([1]), np.array([1]), shares, CLASSES).tolist() == [[1, 1, 1]]


def test_truncated_latents_stay_within_the_threshold_between_the_ends():
    ends = [normal_from_seeds(row_seeds(seed, np.arange(50)), 8) for seed in (1, 2)]
    recorded = []
    sampler = sampler_of(YAW)
    sampler.render = lambda latents, conditions: recorded.append(latents) or np.zeros((len(latents), 1, 4, 4), np.uint8)
    label = np.zeros(50, np.float32)
    interpolate(sampler, (label, label), (row_seeds(1, np.arange(50)), row_seeds(2, np.arange(50))), 7, 0.68)
    assert np.abs(recorded[0]).max() <= 0.9945
    assert np.abs(slerp(*ends, np.linspace(0, 1, 7))).max() > 2


@pytest.mark.parametrize(("space", "labels"), [(CLASSES, ([0], [1])), (CHAIRS, ([[0, 5]], [[1, 5]]))])
def test_there_is_nothing_between_classes(space, labels):
    seeds = np.zeros(1, np.uint64)
    first, second = (np.array(end, space.dtype) for end in labels)
    with pytest.raises(ConfigError, match=r"must be of one class, got '.' and '.': there is nothing between"):
        interpolate(sampler_of(space), (first, second), (seeds, seeds), 3)


def test_bad_steps_and_labels_are_refused():
    label, seeds = np.zeros(1, np.float32), np.zeros(1, np.uint64)
    with pytest.raises(ConfigError, match="at least 2, got 1"):
        interpolate(sampler_of(YAW), (label, label), (seeds, seeds), 1)
    with pytest.raises(DataError, match="finite"):
        interpolate(sampler_of(YAW), (label, label * np.nan), (seeds, seeds), 3)
