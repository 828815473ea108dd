"""Models: normalisation inside, outputs in the label's unit, files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from data.compute import Compute
from data.errors import DataError
from data.labels import LabelSpace
from students.evaluation import predict
from students.model import build_model, load_model, pixel_statistics, save_model

COMPUTE = Compute(torch.device("cpu"))
SCALAR = LabelSpace("scalar", name="angle", unit="degree", maximum=90.0)
CLASSES = LabelSpace("class", ("a", "b", "c"))


@pytest.mark.parametrize("rows_a_block", [1, 3, 100])
def test_pixel_statistics_equal_numpy(rows_a_block: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (7, 3, 5, 4)).astype(np.uint8)
    images[:, 2] = 9
    mean, std = pixel_statistics(images, rows_a_block)
    np.testing.assert_allclose(mean, images.mean(axis=(0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(std, images.std(axis=(0, 2, 3)), rtol=1e-10, atol=1e-9)


def test_a_model_normalises_its_images_and_scales_its_outputs() -> None:
    model = build_model("convnet", {"channels": 3}, (2, 8, 8), SCALAR, [10.0, 20.0], [2.0, 0.0], 45.0, 30.0).eval()
    images = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (4, 2, 8, 8)).astype(np.uint8))
    normalised = torch.empty(4, 2, 8, 8)
    normalised[:, 0] = (images[:, 0].float() - 10.0) / 2.0
    normalised[:, 1] = (images[:, 1].float() - 20.0) / 1e-6
    torch.testing.assert_close(model(images), model.network(normalised) * 30.0 + 45.0, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("space", [SCALAR, CLASSES])
def test_files_bring_back_the_same_model(space: LabelSpace, tmp_path: Path) -> None:
    model = build_model("resnet", {"depth": 8, "width": 4}, (1, 8, 8), space, [60.0], [50.0], 3.0, 2.0)
    images = np.random.default_rng(2).integers(0, 256, (5, 1, 8, 8)).astype(np.uint8)
    model(torch.from_numpy(images))  # moves the batch statistics away from their start
    save_model(tmp_path, model)
    again = load_model(tmp_path, COMPUTE)
    assert not again.training
    assert again.label_space == space
    assert again.card == model.card
    np.testing.assert_array_equal(predict(again, images, COMPUTE), predict(model, images, COMPUTE))


def test_damaged_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"model\.json"):
        load_model(tmp_path, COMPUTE)
    save_model(tmp_path, build_model("convnet", {"channels": 3}, (1, 8, 8), CLASSES, [0.0], [1.0]))
    card = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps({**card, "options": {"channels": 4}}))
    with pytest.raises(DataError, match="cannot be loaded into ImageModel"):
        load_model(tmp_path, COMPUTE)
