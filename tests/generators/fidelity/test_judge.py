"""The judge against an explicit double loop, and what it must tell apart."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from data.errors import DataError
from data.labels import Axis, LabelSpace
from generators.fidelity.judge import make_judge
from generators.fidelity.kernels import (
    FeatureScale,
    joint_distance,
    label_kernel,
    rational_quadratic_kernel,
    relative_spread,
)

CLASSES = LabelSpace("class", ("a", "b", "c"))
ANGLES = LabelSpace("scalar", name="yaw", unit="degree", minimum=-90, maximum=90)
POSES = LabelSpace("vector", axes=(Axis("yaw", "degree", -90, 90), Axis("size", "", 1, 3)))
MODELS = LabelSpace("class+scalar", ("a", "b"), name="yaw", unit="degree", minimum=0, maximum=10)
SPACES = (CLASSES, ANGLES, POSES, MODELS)


def some_labels(space: LabelSpace, count: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    low = [axis.minimum for axis in space.dimensions]
    high = [axis.maximum for axis in space.dimensions]
    continuous = rng.uniform(low, high, (count, len(low))) if low else None
    return space.join(rng.integers(0, max(space.classes, 1), count) if space.has_classes else None, continuous)


def pictures(labels, space: LabelSpace, rng, noise: float = 20.0):
    """A bar of the class, and a blob where the continuous values say."""
    count = len(labels)
    images = rng.normal(60, noise, (count, 1, 6, 8))
    if space.has_classes:
        images[np.arange(count), 0, space.class_part(labels)] += 90
    for place, axis in enumerate(space.dimensions):
        where = (space.continuous_part(labels)[:, place] - axis.minimum) / (axis.maximum - axis.minimum)
        images[:, 0, 4 + place] += 90 * np.exp(-((np.arange(8) - 7 * where[:, None]) ** 2) / 4)
    return np.clip(np.rint(images), 0, 255).astype(np.uint8)


def flat(images):
    return images.reshape(len(images), -1).astype(np.float32) / 64


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.kind)
def test_distance_and_spread_equal_a_double_loop(space):
    rng = np.random.default_rng(1)
    labels = some_labels(space, 24)
    generated, real = rng.normal(size=(2, 24, 5)) * 1.5
    width = {
        axis.name: np.std((space.continuous_part(labels)[:, place] - axis.minimum) / (axis.maximum - axis.minimum))
        * 24 ** (-1 / (4 + len(space.dimensions)))
        for place, axis in enumerate(space.dimensions)
    }

    def like(i, j):
        value = 1.0
        if space.has_classes:
            value *= space.class_part(labels)[i] == space.class_part(labels)[j]
        for place, axis in enumerate(space.dimensions):
            one, other = space.continuous_part(labels)[[i, j], place] / (axis.maximum - axis.minimum)
            value *= np.exp(-0.5 * ((one - other) / width[axis.name]) ** 2)
        return value

    def kernel(one, other):
        shapes = (0.2, 0.5, 1, 2, 5)
        return sum((1 + np.sum((one - other) ** 2) / (2 * a * 5)) ** -a for a in shapes) / 5

    total = weight = spread = wanted = 0.0
    for i, j in itertools.permutations(range(24), 2):
        k = like(i, j)
        weight += k
        total += k * (kernel(generated[i], generated[j]) + kernel(real[i], real[j]))
        total -= k * (kernel(generated[i], real[j]) + kernel(generated[j], real[i]))
        spread += k * np.linalg.norm(generated[i] - generated[j])
        wanted += k * np.linalg.norm(real[i] - real[j])
    weights = label_kernel(labels, space)
    assert joint_distance(generated, real, weights) == pytest.approx(total / weight, rel=1e-9)
    assert relative_spread(generated, real, weights) == pytest.approx(spread / wanted, rel=1e-9)


def test_judge_numbers_are_those_of_its_parts_and_calls_repeat():
    labels = some_labels(CLASSES, 60)
    images = pictures(labels, CLASSES, np.random.default_rng(2))
    calls = []

    def sample(wanted, seeds):
        calls.append((wanted.copy(), seeds.copy()))
        return pictures(wanted, CLASSES, np.random.default_rng(3), noise=10)

    judge = make_judge(images, labels, CLASSES, flat, images=1000, seed=5)
    numbers = judge(100, sample)
    assert judge(200, sample) == numbers
    assert all(np.array_equal(one, other) for one, other in zip(*calls, strict=True))
    scale = FeatureScale.of(flat(images))
    generated, real = scale(flat(sample(*calls[0]))), scale(flat(images))
    assert real.mean() == pytest.approx(0, abs=1e-9)
    assert np.mean(real**2) == pytest.approx(1)
    assert numbers["distance"] == joint_distance(generated, real, label_kernel(labels, CLASSES))
    within = labels[:, None] == labels[None, :]
    expected = (cdist(generated, generated) * within).sum() / (cdist(real, real) * within).sum()
    assert numbers["diversity"] == pytest.approx(expected)


def test_a_part_of_many_images_is_chosen_by_the_seed():
    labels = some_labels(ANGLES, 50)
    images = pictures(labels, ANGLES, np.random.default_rng(0))
    seen = []

    def sample(wanted, seeds):
        seen.append(wanted)
        return pictures(wanted, ANGLES, np.random.default_rng(1))

    for seed in (0, 0, 1):
        make_judge(images, labels, ANGLES, flat, images=20, seed=seed)(0, sample)
    assert [len(labels) for labels in seen] == [20, 20, 20]
    assert np.array_equal(seen[0], seen[1])
    assert not np.array_equal(seen[0], seen[2])


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.kind)
def test_wrong_labels_and_collapse_are_further_away(space):
    labels = some_labels(space, 240)
    images = pictures(labels, space, np.random.default_rng(1))
    judge = make_judge(images, labels, space, flat, images=240, seed=0)

    def good(wanted, seeds):
        return pictures(wanted, space, np.random.default_rng(2))

    def shuffled(wanted, seeds):
        return pictures(wanted[np.random.default_rng(3).permutation(len(wanted))], space, np.random.default_rng(2))

    def collapsed(wanted, seeds):
        return pictures(wanted, space, np.random.default_rng(2), noise=1)

    def blurred(wanted, seeds):
        return pictures(wanted, space, np.random.default_rng(2), noise=40)

    real = judge(0, good)
    assert real["diversity"] == pytest.approx(1, abs=0.05)
    for worse in (shuffled, collapsed, blurred):
        assert judge(0, worse)["distance"] > max(10 * abs(real["distance"]), 0.01), worse.__name__
    assert judge(0, collapsed)["diversity"] < 0.7
    assert judge(0, blurred)["diversity"] > 1.3


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.kind)
def test_distance_of_real_images_to_real_images_is_zero_on_average(space):
    rng = np.random.default_rng(0)
    distances = []
    for repeat in range(150):
        labels = some_labels(space, 30, seed=repeat)
        features = [flat(pictures(labels, space, rng)) for _ in range(2)]
        # The scale must not depend on either side, or the U-statistic would not be without bias.
        distances.append(joint_distance(*(f.astype(float) - 1.1 for f in features), label_kernel(labels, space)))
    error = np.std(distances, ddof=1) / np.sqrt(len(distances))
    assert abs(np.mean(distances)) < 3 * error
    assert min(distances) < 0 < max(distances)


def test_leaving_partners_in_would_bias_the_distance():
    rng = np.random.default_rng(0)
    labels = some_labels(CLASSES, 30)
    weights = label_kernel(labels, CLASSES)
    excess = []
    for _ in range(100):
        one, other = (flat(pictures(labels, CLASSES, rng)).astype(float) for _ in range(2))
        k = [rational_quadratic_kernel(*pair) for pair in ((one, one), (other, other), (one, other))]
        excess.append((weights * (k[0] + k[1] - k[2] - k[2].T)).sum() / weights.sum())
    assert np.mean(excess) > 10 * np.std(excess) / 10


def test_judge_refuses_labels_that_all_differ():
    labels = np.arange(3)
    images = np.zeros((3, 1, 4, 4), np.uint8)
    with pytest.raises(DataError, match="at least 2 validation images of like label"):
        make_judge(images, labels, CLASSES, flat, images=10, seed=0)


def test_diversity_is_left_out_where_real_images_do_not_differ():
    labels = np.repeat([0, 1], 4)
    space = LabelSpace("class", ("a", "b"))
    images = (labels[:, None, None, None] * np.ones((8, 1, 4, 4))).astype(np.uint8)
    numbers = make_judge(images, labels, space, flat, images=8, seed=0)(0, lambda wanted, seeds: images)
    assert list(numbers) == ["distance"]
    assert numbers["distance"] == pytest.approx(0, abs=1e-9)
