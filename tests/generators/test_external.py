"""External generators: loaded from the user's own modules, checked before their images are taken."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from data.errors import ConfigError, StageError
from data.labels import Axis, LabelSpace
from generators.external import ExternalSampler, check_external

CLASSES = LabelSpace("class", names=("a", "b", "c"))
YAW = LabelSpace("scalar", name="yaw", minimum=-10, maximum=90)
POSE = LabelSpace("vector", axes=(Axis("yaw", "degree", 0, 90), Axis("tilt", "degree", -20, 20)))
CHAIRS = LabelSpace("class+scalar", names=("x", "y"), name="yaw", maximum=90)
SHAPE = (1, 2, 3)


def sound(seeds, labels):
    """An image of each row's own seed and label."""
    rows = [
        np.random.default_rng([int(seed), *np.atleast_1d(label).astype(np.int64) + 100]).integers(0, 256, SHAPE)
        for seed, label in zip(seeds, labels, strict=True)
    ]
    return np.array(rows, np.uint8).reshape(len(seeds), *SHAPE)


def sampler_of(function, space=CLASSES):
    return ExternalSampler(function, "made:here", space, SHAPE)


def some(count, space=CLASSES):
    labels = space.join(np.arange(count) % 2, np.tile([[1.5] * len(space.dimensions)], (count, 1)))
    return labels, np.arange(count, dtype=np.uint64)


@pytest.mark.parametrize("space", [CLASSES, YAW, POSE, CHAIRS], ids=lambda space: space.kind)
def test_rows_come_back_as_the_function_makes_them(space):
    labels, seeds = some(600, space)
    images = sampler_of(sound, space).sample(labels, seeds)
    assert np.array_equal(images, sound(seeds, labels))
    assert np.array_equal(sampler_of(sound, space).sample(labels[7:8], seeds[7:8]), images[7:8])
    assert sampler_of(sound, space).sample(labels[:0], seeds[:0]).shape == (0, *SHAPE)
    metrics = check_external(sampler_of(sound, space), 3)
    assert metrics["factory"] == "made:here"
    assert 0 < metrics["mean_level"] < 255


@pytest.mark.parametrize(
    "convert",
    [
        lambda images: torch.from_numpy(images),
        lambda images: images.astype(np.float64) / 127.5 - 1,
        lambda images: images.astype(np.float32) / 127.5 - 1,
        lambda images: (torch.from_numpy(images).float() / 127.5 - 1).requires_grad_(),
        lambda images: [list(image) for image in images],
    ],
)
def test_arrays_and_tensors_of_bytes_or_floats_are_taken(convert):
    labels, seeds = some(9)
    assert np.array_equal(sampler_of(lambda *row: convert(sound(*row))).sample(labels, seeds), sound(seeds, labels))


def test_bfloat16_and_a_small_overshoot_are_taken():
    labels, seeds = some(5)
    floats = lambda *row: (torch.from_numpy(sound(*row)).float() / 127.5 - 1).bfloat16() * 1.1  # noqa: E731
    images = sampler_of(floats).sample(labels, seeds)
    expected = np.clip((sound(seeds, labels).astype(float) - 127.5) * 1.1 + 127.5, 0, 255)
    assert np.abs(images - expected).max() <= 3


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (lambda seeds, labels: sound(seeds, labels)[:1], r"of shape \(4, 1, 2, 3\) for 4 rows, got \(1, 1, 2, 3\)"),
        (lambda seeds, labels: sound(seeds, labels).astype(int), "uint8, or floating point in .*, got int64"),
        (lambda seeds, labels: sound(seeds, labels) * 1.0, r"got values from \d+ to 2\d\d"),
        (lambda seeds, labels: sound(seeds, labels) * np.float32("nan"), "finite, got 24 values"),
        (lambda seeds, labels: None, "must be of shape"),
        (lambda seeds, labels: 1 / 0, r"failed \(ZeroDivisionError: division by zero\); --debug"),
        (lambda seeds, labels: np.random.default_rng(None).random((len(seeds), *SHAPE)), "in a second call"),
        (lambda seeds, labels: np.random.default_rng(int(seeds[0])).random((len(seeds), *SHAPE)), "without the other"),
        (lambda seeds, labels: sound(seeds, labels) / 127.5 - sound(seeds, labels).mean() / 127.5, "without the other"),
    ],
)
def test_what_a_generator_must_not_do_is_told_in_one_sentence(function, sentence):
    with pytest.raises(StageError, match=sentence):
        sampler_of(function).sample(*some(4))
    with pytest.raises(StageError):
        check_external(sampler_of(function), 0)


def test_a_single_row_is_checked_among_made_up_neighbours():
    def first_seed(seeds, labels):
        return np.random.default_rng(int(seeds[0])).random((len(seeds), *SHAPE))

    labels, seeds = some(1)
    with pytest.raises(StageError, match="without the other"):
        sampler_of(first_seed).sample(labels, seeds + np.uint64(2**64 - 1))


def test_the_check_is_made_once():
    calls = []

    def counted(seeds, labels):
        calls.append(len(seeds))
        return sound(seeds, labels)

    sampler = sampler_of(counted)
    sampler.sample(*some(300))
    assert calls == [4, 4, 1, 1, 1, 1, 256, 44]
    sampler.sample(*some(3))
    assert calls[8:] == [3]


def test_a_function_with_block_rows_is_given_that_many_rows():
    calls = []

    def fixed(seeds, labels):
        calls.append(len(seeds))
        return sound(seeds, labels)

    fixed.block_rows = 16
    labels, seeds = some(35)
    assert np.array_equal(sampler_of(fixed).sample(labels, seeds), sound(seeds, labels))
    assert set(calls) == {16}
    fixed.block_rows = 0
    with pytest.raises(ConfigError, match=r"block_rows .* 1\.\.65536, got 0"):
        sampler_of(fixed)


def test_a_function_cannot_change_the_rows_that_it_is_given():
    def spoils(seeds, labels):
        images = sound(seeds, labels)
        seeds[:], labels[:] = 0, 0
        return images

    labels, seeds = some(5)
    sampler_of(spoils).sample(labels, seeds)
    assert seeds.tolist() == list(range(5))
    assert labels.tolist() == [0, 1, 0, 1, 0]


def test_bad_rows_and_truncation_are_refused():
    labels, seeds = some(3)
    with pytest.raises(ConfigError, match="truncation must be 1 with the external generator made:here"):
        sampler_of(sound).sample(labels, seeds, 0.5)
    with pytest.raises(ValueError, match="equal lengths, got 3 and 2"):
        sampler_of(sound).sample(labels, seeds[:2])
