"""The extractor: shapes, learning, blocks, resume."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from data.compute import Compute
from data.labels import LabelSpace
from data.workspace import Workspace, read_log
from filters.features import Extractor, extract, label_tensor, train_extractor

COMPUTE = Compute(torch.device("cpu"))
CLASSES = LabelSpace("class", ("left", "right"))
SCALAR = LabelSpace("scalar", minimum=-45.0, maximum=45.0)


def bars(count: int, seed: int, space: LabelSpace = CLASSES) -> tuple[npt.NDArray[np.uint8], npt.NDArray[Any]]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    images = rng.integers(0, 120, (count, 1, 8, 8)).astype(np.uint8)
    for side in (0, 1):
        images[labels == side, :, :, 4 * side : 4 * side + 4] += 100
    return images, labels if space.kind == "class" else (labels * 90.0 - 45.0).astype(np.float32)


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


@pytest.mark.parametrize("space", [CLASSES, SCALAR])
def test_it_learns_and_freezes(space: LabelSpace, tmp_path: Path) -> None:
    extractor = train(Workspace(tmp_path), space)
    assert not extractor.training
    assert not any(parameter.requires_grad for parameter in extractor.parameters())
    images, labels = bars(60, 2, space)
    outputs = extractor(torch.from_numpy(images)).numpy()
    guess = outputs.argmax(1) if space is CLASSES else np.where(outputs[:, 0] > 0.5, 45.0, -45.0)
    assert (guess == labels).mean() > 0.9
    log = read_log(tmp_path / "features.jsonl")
    assert log[-1]["loss"] < log[0]["loss"]


def test_a_resumed_training_is_the_uninterrupted_one(tmp_path: Path) -> None:
    train(Workspace(tmp_path / "straight"), steps=8)
    with pytest.raises(KeyboardInterrupt):
        train(Interrupting(tmp_path / "resumed", checkpoint_seconds=0.0), steps=8)
    train(Workspace(tmp_path / "resumed"), steps=8)
    for file in ("extractor.safetensors", "features.jsonl"):
        assert (tmp_path / "resumed" / file).read_bytes() == (tmp_path / "straight" / file).read_bytes()


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    extractor = Extractor((1, 8, 8), 2, width=4).eval().requires_grad_(False)
    images = bars(11, 3)[0]
    all_rows = extract(extractor, images, COMPUTE, batch_size=4)
    torch.testing.assert_close(all_rows, extractor.features(torch.from_numpy(images)))
    assert torch.equal(extract(extractor, images[6:7], COMPUTE, batch_size=4), all_rows[6:7])
    assert extract(extractor, images[:0], COMPUTE).shape == (0, 64)


def test_labels_as_networks_take_them() -> None:
    assert label_tensor(np.array([1, 0], np.int32), CLASSES, COMPUTE).dtype == torch.int64
    angles = label_tensor(np.array([-45.0, 0.0, 45.0]), SCALAR, COMPUTE)
    assert angles.tolist() == [0.0, 0.5, 1.0]
