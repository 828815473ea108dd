"""The label embedding: it learns the label, and resumes exactly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from data.compute import Compute
from data.errors import ConfigError
from data.workspace import Workspace, read_log
from generators.embedding import LabelEmbedding, train_label_embedding

CPU = Compute(torch.device("cpu"))


def gradients(count: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Images whose brightness is the label."""
    labels = np.linspace(0, 1, count, dtype=np.float32)
    noise = np.random.default_rng(0).normal(0, 5, (count, 1, 8, 8))
    return np.clip(40 + 160 * labels[:, None, None, None] + noise, 0, 255).astype(np.uint8), labels


def train(folder: Path, **settings: int) -> LabelEmbedding:
    images, labels = gradients()
    return train_label_embedding(
        images,
        labels,
        size=32,
        width=4,
        batch_size=32,
        seed=1,
        compute=CPU,
        workspace=Workspace(folder, checkpoint_seconds=0.0),
        **settings,
    )


def test_both_stages_learn_and_the_embedding_varies_with_the_label(tmp_path: Path) -> None:
    embedding = train(tmp_path, image_steps=80, label_steps=150)
    for name in ("embedding_image", "embedding_label"):
        log = read_log(tmp_path / f"{name}.jsonl")
        assert log[-1]["loss"] < 0.2 * log[0]["loss"]
    with torch.no_grad():
        embedded = embedding(torch.linspace(0, 1, 257))
    assert embedded.shape == (257, 32)
    torch.testing.assert_close(embedded.mean(dim=0), torch.zeros(32), atol=1e-4, rtol=0)
    assert embedded.square().sum(dim=1).mean().item() == pytest.approx(16.0, rel=1e-3)
    assert torch.pdist(embedded[::64]).min() > 0.5
    assert not any(parameter.requires_grad for parameter in embedding.parameters())


def test_a_scalar_label_trains_to_the_weights_of_the_release_before(tmp_path: Path) -> None:
    embedding = train(tmp_path, image_steps=20, label_steps=20)
    torch.testing.assert_close(embedding.centre[:4], torch.tensor([0.4556, 0.4401, 0.0, 0.5005]), atol=2e-3, rtol=0)
    assert embedding.scale.item() == pytest.approx(4.1694, rel=5e-3)


def test_a_column_of_one_value_is_a_scalar(tmp_path: Path) -> None:
    images, labels = gradients()
    settings = {"size": 32, "width": 4, "batch_size": 32, "image_steps": 3, "label_steps": 3, "seed": 1, "compute": CPU}
    first, second = (
        train_label_embedding(images, column, workspace=Workspace(tmp_path / name), **settings)
        for name, column in (("flat", labels), ("column", labels[:, None]))
    )
    for key, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[key])
    assert torch.equal(first(torch.tensor([0.2, 0.4])), first(torch.tensor([[0.2], [0.4]])))


def test_vectors_are_learnt_in_every_dimension(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = rng.random((96, 2)).astype(np.float32)
    images = np.full((96, 1, 8, 8), 20.0)
    images[:, 0, :, :4] += 200 * labels[:, 0, None, None]
    images[:, 0, :, 4:] += 200 * labels[:, 1, None, None]
    embedding = train_label_embedding(
        images.astype(np.uint8), labels, size=32, width=4, image_steps=80, label_steps=150, batch_size=32,
        seed=1, compute=CPU, workspace=Workspace(tmp_path),
    )  # fmt: skip
    for name in ("embedding_image", "embedding_label"):
        log = read_log(tmp_path / f"{name}.jsonl")
        assert log[-1]["loss"] < 0.2 * log[0]["loss"]
    assert embedding.dimensions == 2
    with torch.no_grad():
        spread = embedding(torch.rand(2000, 2, generator=torch.Generator().manual_seed(0)))
        corners = embedding(torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]))
    assert spread.mean(dim=0).norm().item() < 0.5
    assert spread.square().sum(dim=1).mean().item() == pytest.approx(16.0, rel=0.1)
    assert torch.pdist(corners).min() > 1.0


def test_standardised_vectors_are_centred_over_points_that_do_not_change() -> None:
    torch.manual_seed(0)
    embedding = LabelEmbedding(32, 3)
    embedding.standardise()
    centre = embedding.centre.clone()
    embedding.standardise()
    assert torch.equal(embedding.centre, centre)
    with torch.no_grad():
        dense = embedding.layers(torch.rand(20000, 3)).mean(dim=0)
    torch.testing.assert_close(centre, dense, atol=0.02, rtol=0)


def test_a_finished_training_gives_the_same_embedding_again(tmp_path: Path) -> None:
    first = train(tmp_path, image_steps=3, label_steps=3)
    again = train(tmp_path, image_steps=3, label_steps=3)
    other = train(tmp_path / "other", image_steps=3, label_steps=3)
    for key, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[key])
        assert torch.equal(value, other.state_dict()[key])


def test_embedding_equals_the_layers_written_out() -> None:
    torch.manual_seed(0)
    embedding = LabelEmbedding(32)
    linears = [layer for layer in embedding.layers if isinstance(layer, torch.nn.Linear)]
    assert len(linears) == 5
    hidden = torch.tensor([[0.3], [0.9]])
    for linear in linears[:4]:
        groups = (hidden @ linear.weight.T + linear.bias).reshape(2, 8, 4)
        centred = groups - groups.mean(dim=2, keepdim=True)
        hidden = (centred / torch.sqrt((centred**2).mean(dim=2, keepdim=True) + 1e-5)).reshape(2, 32).relu()
    hidden = (hidden @ linears[4].weight.T + linears[4].bias).relu()
    torch.testing.assert_close(embedding(torch.tensor([0.3, 0.9])), hidden)


@pytest.mark.parametrize("size", [8, 24, 33])
def test_sizes_that_lose_the_label_are_refused(size: int) -> None:
    with pytest.raises(ConfigError, match=f"at least 32, got {size}; try 128"):
        LabelEmbedding(size)
