"""Sampling: a row's bytes depend on its label and seed alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from data.compute import Compute
from data.errors import DataError
from data.labels import LabelSpace
from data.random import normal_from_seeds, row_seeds
from generators.card import describe_network, save_generator
from generators.networks import build_network
from generators.sampling import BLOCK_ROWS, Sampler, load_generator

CLASSES = LabelSpace("class", names=("a", "b", "c"))
YAW = LabelSpace("scalar", name="yaw", unit="degree", minimum=-10, maximum=90)
COMPUTES = {
    "fp32": Compute(torch.device("cpu")),
    "bf16": Compute(torch.device("cpu"), torch.bfloat16, channels_last=True),
}


def make(folder: Path, name: str, compute: Compute, side: int = 16) -> Sampler:
    torch.manual_seed(0)
    network = build_network(name, {"width": 8, "latent_size": 16})
    space = CLASSES if name == "sngan" else YAW
    generator = network.generator((3, side, side), space)
    for key, parameter in generator.named_parameters():
        if "gain" in key or "bias.weight" in key:
            torch.nn.init.normal_(parameter, std=0.5)
    save_generator(folder, describe_network(name, network, (3, side, side), space, {}), generator)
    return load_generator(folder, compute)


def some_labels(name: str, count: int) -> npt.NDArray[np.generic]:
    if name == "sngan":
        return np.arange(count, dtype=np.int64) % 3
    return np.linspace(-10, 90, count, dtype=np.float32)


@pytest.mark.parametrize("precision", sorted(COMPUTES))
@pytest.mark.parametrize("name", ["sngan", "ccgan_sngan"])
def test_bytes_of_a_row_depend_on_neither_batch_nor_order(tmp_path: Path, name: str, precision: str) -> None:
    sampler = make(tmp_path, name, COMPUTES[precision])
    count = 2 * BLOCK_ROWS + 37
    labels, seeds = some_labels(name, count), row_seeds(5, np.arange(count))
    whole = sampler.sample(labels, seeds)
    assert whole.shape == (count, 3, 16, 16)
    assert len(np.unique(whole.reshape(count, -1), axis=0)) > 0.9 * count
    order = np.random.default_rng(0).permutation(count)
    np.testing.assert_array_equal(sampler.sample(labels[order], seeds[order]), whole[order])
    np.testing.assert_array_equal(sampler.sample(labels[200:203], seeds[200:203]), whole[200:203])
    np.testing.assert_array_equal(sampler.sample(labels[-1:], seeds[-1:]), whole[-1:])


def test_a_row_equals_the_network_on_its_own_latent_and_normalised_label(tmp_path: Path) -> None:
    sampler = make(tmp_path, "ccgan_sngan", COMPUTES["fp32"])
    torch.manual_seed(0)
    labels, seeds = np.array([40.0, 65.0], np.float32), np.array([3, 2**63 + 1], np.uint64)
    generator = sampler._generator
    with torch.no_grad():
        images = generator(torch.from_numpy(normal_from_seeds(seeds, 16)), torch.tensor([0.5, 0.75]))
    expected = np.clip(np.rint((images.numpy().astype(np.float64) + 1) * 127.5), 0, 255)
    assert np.abs(sampler.sample(labels, seeds).astype(float) - expected).max() <= 1
    assert sampler.label_space == YAW
    assert sampler.image_shape == (3, 16, 16)


def test_no_rows_give_no_images_and_bad_labels_are_refused(tmp_path: Path) -> None:
    sampler = make(tmp_path, "sngan", COMPUTES["fp32"], side=8)
    assert sampler.sample(np.empty(0, np.int64), np.empty(0, np.uint64)).shape == (0, 3, 8, 8)
    with pytest.raises(DataError, match=r"must lie in 0\.\.2"):
        sampler.sample(np.array([3]), np.array([1], np.uint64))
    with pytest.raises(ValueError, match="equal lengths, got 2 and 1"):
        sampler.sample(np.array([1, 2]), np.array([1], np.uint64))
