"""The sparse auto-encoder: shapes, its loss against a loop, learning, resume, files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from data.batches import to_unit
from data.compute import Compute
from data.errors import ConfigError, DataError
from data.labels import Axis, LabelSpace
from data.workspace import Workspace, read_log
from filters.autoencoder import Answer, SparseAutoencoder, autoencoder_loss, load_autoencoder, train_autoencoder
from filters.features import extract

COMPUTE = Compute(torch.device("cpu"))
CLASSES = LabelSpace("class", ("left", "right"))
SCALAR = LabelSpace("scalar", maximum=90.0)
VECTOR = LabelSpace("vector", axes=(Axis("across", maximum=90.0), Axis("shade", maximum=2.0)))
BOTH = LabelSpace("class+scalar", ("left", "right"), maximum=2.0)
SPACES = [CLASSES, SCALAR, VECTOR, BOTH]


def bars(count: int, seed: int, space: LabelSpace = CLASSES) -> tuple[npt.NDArray[np.uint8], npt.NDArray[Any]]:
    """One half of each image is brighter."""
    rng = np.random.default_rng(seed)
    sides = rng.integers(0, 2, count)
    images = rng.integers(0, 60, (count, 1, 8, 8)).astype(np.uint8)
    for side in (0, 1):
        images[sides == side, :, :, 4 * side : 4 * side + 4] += 150
    values = (
        np.stack([sides * (axis.maximum - axis.minimum) for axis in space.dimensions], 1) if space.dimensions else None
    )
    return images, space.join(sides if space.has_classes else None, values)


def train(workspace: Workspace, space: LabelSpace = CLASSES, **changes: Any) -> SparseAutoencoder:
    settings: dict[str, Any] = {
        "width": 8, "steps": 60, "batch_size": 16, "learning_rate": 3e-3, "log_every": 20, "seed": 1,
        "compute": COMPUTE, "workspace": workspace,
    }  # fmt: skip
    return train_autoencoder(*bars(48, 0, space), space, **{**settings, **changes})


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (2, 9, 17), (1, 28, 11)])
def test_codes_and_reconstructions_are_as_large_as_the_image(shape: tuple[int, int, int]) -> None:
    network = SparseAutoencoder(shape, 3, width=8)
    images = torch.randint(0, 256, (4, *shape), dtype=torch.uint8)
    answer = network(images)
    assert answer.code.shape == (4, int(np.prod(shape))) == (4, network.feature_size)
    assert answer.code.min() == 0.0
    assert answer.reconstruction.shape == images.shape
    assert answer.reconstruction.abs().max() <= 1.0
    assert answer.outputs.shape == (4, 3)
    network.eval()
    assert torch.equal(network.features(images), network(images).code)


def test_smaller_images_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least 8 pixels a side, got 7x20; try 'classifier'"):
        SparseAutoencoder((1, 7, 20), 2)


def test_the_loss_equals_a_loop() -> None:
    rng = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (3, 1, 8, 8), generator=rng, dtype=torch.uint8)
    code, made = torch.rand(3, 64, generator=rng), 2 * torch.rand(3, 1, 8, 8, generator=rng) - 1
    outputs, conditions = torch.randn(3, 1, generator=rng), torch.tensor([0.1, 0.5, 0.9])
    parts = autoencoder_loss(
        Answer(code, made, outputs), images, conditions, SCALAR, sparsity_weight=0.2, label_weight=3
    )
    pixels = zip(made.flatten().tolist(), images.flatten().tolist(), strict=True)
    assert parts["reconstruction"].item() == pytest.approx(
        sum((value - (byte / 127.5 - 1)) ** 2 for value, byte in pixels) / 192, rel=1e-5
    )
    assert parts["sparsity"].item() == pytest.approx(0.2 * sum(code.flatten().tolist()) / 192, rel=1e-5)
    found = zip(outputs[:, 0].tolist(), conditions.tolist(), strict=True)
    assert parts["label"].item() == pytest.approx(3 * sum((one - two) ** 2 for one, two in found) / 3, rel=1e-5)


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.kind)
def test_it_learns_image_and_label(space: LabelSpace, tmp_path: Path) -> None:
    network = train(Workspace(tmp_path), space)
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    images, labels = bars(60, 2, space)
    answer = network(torch.from_numpy(images))
    seen = to_unit(torch.from_numpy(images))
    assert (answer.reconstruction - seen).square().mean() < 0.3 * (seen - seen.mean()).square().mean()
    sides = labels.reshape(60, -1)[:, 0] > 0
    guesses = answer.outputs[:, 1] > answer.outputs[:, 0] if space.has_classes else answer.outputs[:, 0] > 0.5
    assert (guesses.numpy() == sides).mean() > 0.9
    log = read_log(tmp_path / "autoencoder.jsonl")
    assert log[-1]["loss"] < log[0]["loss"]
    assert log[-1]["loss"] == pytest.approx(sum(log[-1][part] for part in ("reconstruction", "sparsity", "label")))


def test_more_weight_makes_the_code_sparser(tmp_path: Path) -> None:
    means = [
        train(Workspace(tmp_path / str(weight)), sparsity_weight=weight).features(
            torch.from_numpy(bars(60, 2)[0])).mean().item() for weight in (0.0, 1.0)
    ]  # fmt: skip
    assert means[1] < 0.7 * means[0]


class Interrupting(Workspace):
    """A workspace whose loop is killed before one of its steps."""

    def steps(self, name: str, total: int, state: Mapping[str, Any], *, log_every: int = 50) -> Iterator[int]:
        for step in super().steps(name, total, state, log_every=log_every):
            if step == 4:
                raise KeyboardInterrupt
            yield step


def test_a_resumed_training_is_the_uninterrupted_one(tmp_path: Path) -> None:
    train(Workspace(tmp_path / "straight"), steps=8)
    with pytest.raises(KeyboardInterrupt):
        train(Interrupting(tmp_path / "resumed", checkpoint_seconds=0.0), steps=8)
    train(Workspace(tmp_path / "resumed"), steps=8)
    for file in ("autoencoder.safetensors", "autoencoder.json", "autoencoder.jsonl"):
        assert (tmp_path / "resumed" / file).read_bytes() == (tmp_path / "straight" / file).read_bytes()


def test_files_bring_it_back_and_damaged_ones_are_named(tmp_path: Path) -> None:
    network = train(Workspace(tmp_path), BOTH, steps=3)
    images = bars(20, 1)[0]
    assert torch.equal(extract(load_autoencoder(tmp_path, COMPUTE), images, COMPUTE), extract(network, images, COMPUTE))
    (tmp_path / "autoencoder.safetensors").write_bytes(b"damaged")
    with pytest.raises(DataError, match="cannot be loaded into SparseAutoencoder"):
        load_autoencoder(tmp_path, COMPUTE)
    with pytest.raises(DataError, match=r"autoencoder\.json must be readable"):
        load_autoencoder(tmp_path / "nowhere", COMPUTE)
