"""The extractor: shapes, learning, blocks, resume, files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from data.compute import Compute
from data.errors import DataError
from data.labels import Axis, LabelSpace
from data.workspace import Workspace, read_log
from filters.features import Extractor, answers, extract, load_extractor, pooled_features, train_extractor

COMPUTE = Compute(torch.device("cpu"))
CLASSES = LabelSpace("class", ("left", "right"))
SCALAR = LabelSpace("scalar", minimum=-45.0, maximum=45.0)
VECTOR = LabelSpace("vector", axes=(Axis("across", minimum=-45.0, maximum=45.0), Axis("shade", maximum=2.0)))
BOTH = LabelSpace("class+scalar", ("left", "right"), minimum=0.0, maximum=2.0)
SPACES = [CLASSES, SCALAR, VECTOR, BOTH]


def bars(count: int, seed: int, space: LabelSpace = CLASSES) -> tuple[npt.NDArray[np.uint8], npt.NDArray[Any]]:
    """One half of each image is brighter, and for labels of two numbers one quarter, or three, may be black."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    images = rng.integers(0, 120, (count, 1, 8, 8)).astype(np.uint8)
    for side in (0, 1):
        images[labels == side, :, :, 4 * side : 4 * side + 4] += 100
    if space.kind == "class":
        return images, labels
    angles = (labels * 90.0 - 45.0).astype(np.float32)
    if space.kind == "scalar":
        return images, angles
    shades = rng.integers(0, 2, count)
    images[shades == 1, :, 6:] = 0
    return images, np.stack([angles if space.kind == "vector" else labels, 2 * shades], axis=1).astype(np.float32)


class Interrupting(Workspace):
    """A workspace whose loop is killed before one of its steps."""

    def steps(self, name: str, total: int, state: Mapping[str, Any], *, log_every: int = 50) -> Iterator[int]:
        for step in super().steps(name, total, state, log_every=log_every):
            if step == 4:
                raise KeyboardInterrupt
            yield step


def train(workspace: Workspace, space: LabelSpace = CLASSES, **changes: Any) -> Extractor:
    images, labels = bars(48, 0, space)
    settings: dict[str, Any] = {
        "width": 4, "steps": 25, "batch_size": 16, "learning_rate": 0.05, "shift_pixels": 1, "log_every": 8,
        "seed": 1, "compute": COMPUTE, "workspace": workspace,
    }  # fmt: skip
    return train_extractor(images, labels, space, **{**settings, **changes})


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 28, 28), (2, 33, 64), (1, 5, 6)])
def test_features_are_as_large_as_the_image(shape: tuple[int, int, int]) -> None:
    extractor = Extractor(shape, 4, width=4)
    images = torch.randint(0, 256, (3, *shape), dtype=torch.uint8)
    assert extractor.features(images).shape == (3, int(np.prod(shape)))
    assert extractor(images).shape == (3, 4)
    assert extractor.features(images).min() < 0  # the raw layer, no activation
    pooled = extractor.pooled(images)
    assert pooled.shape == (3, extractor.pooled_size)
    assert pooled.dtype == torch.float32
    torch.testing.assert_close(extractor.image_sized(pooled), extractor.features(images))


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.kind)
def test_it_learns_and_freezes(space: LabelSpace, tmp_path: Path) -> None:
    steps = 25 if space in (CLASSES, SCALAR) else 60
    extractor = train(Workspace(tmp_path), space, steps=steps)
    assert not extractor.training
    assert not any(parameter.requires_grad for parameter in extractor.parameters())
    images, labels = bars(60, 2, space)
    outputs = answers(extractor, images, COMPUTE)
    assert outputs.shape == (60, space.outputs)
    guesses = [outputs[:, : space.classes].argmax(1)] if space.has_classes else []
    guesses += [np.round(column) * (axis.maximum - axis.minimum) + axis.minimum
                for column, axis in zip(outputs[:, space.classes :].T, space.dimensions, strict=True)]  # fmt: skip
    for guess, truth in zip(guesses, labels.reshape(60, -1).T, strict=True):
        assert (guess == truth).mean() > 0.9
    log = read_log(tmp_path / "features.jsonl")
    assert log[-1]["loss"] < log[0]["loss"]


def test_a_resumed_training_is_the_uninterrupted_one(tmp_path: Path) -> None:
    train(Workspace(tmp_path / "straight"), steps=8)
    with pytest.raises(KeyboardInterrupt):
        train(Interrupting(tmp_path / "resumed", checkpoint_seconds=0.0), steps=8)
    train(Workspace(tmp_path / "resumed"), steps=8)
    for file in ("extractor.safetensors", "features.json", "features.jsonl"):
        assert (tmp_path / "resumed" / file).read_bytes() == (tmp_path / "straight" / file).read_bytes()


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    extractor = Extractor((1, 8, 8), 2, width=4).eval().requires_grad_(False)
    images = bars(11, 3)[0]
    all_rows = extract(extractor, images, COMPUTE, batch_size=4)
    torch.testing.assert_close(all_rows, extractor.features(torch.from_numpy(images)))
    assert torch.equal(extract(extractor, images[6:7], COMPUTE, batch_size=4), all_rows[6:7])
    assert extract(extractor, images[:0], COMPUTE).shape == (0, 64)
    pooled = pooled_features(extractor, images, COMPUTE, batch_size=4)
    assert isinstance(pooled, np.ndarray)
    assert pooled.dtype == np.float32
    np.testing.assert_allclose(pooled, extractor.pooled(torch.from_numpy(images)), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(pooled_features(extractor, images[6:7], COMPUTE, batch_size=4), pooled[6:7])
    assert pooled_features(extractor, images[:0], COMPUTE).shape == (0, extractor.pooled_size)


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.kind)
def test_files_bring_back_the_extractor(space: LabelSpace, tmp_path: Path) -> None:
    extractor = train(Workspace(tmp_path), space, steps=3)
    loaded = load_extractor(tmp_path, COMPUTE)
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    images, _ = bars(20, 1, space)
    np.testing.assert_array_equal(answers(loaded, images, COMPUTE), answers(extractor, images, COMPUTE))
    np.testing.assert_array_equal(pooled_features(loaded, images, COMPUTE), pooled_features(extractor, images, COMPUTE))


def test_damaged_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"features\.json must be readable"):
        load_extractor(tmp_path, COMPUTE)
    train(Workspace(tmp_path), steps=1)
    card = (tmp_path / "features.json").read_text()
    (tmp_path / "features.json").write_text(card.replace('"class"', '"color"'))
    with pytest.raises(DataError, match=r"features\.json must be readable.*train the features again"):
        load_extractor(tmp_path, COMPUTE)
    (tmp_path / "features.json").write_text(card)
    (tmp_path / "extractor.safetensors").write_bytes(b"damaged")
    with pytest.raises(DataError, match="cannot be loaded into Extractor"):
        load_extractor(tmp_path, COMPUTE)
