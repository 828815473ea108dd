"""The density ratio that a training leaves behind: that of the discriminator beside the generator that was kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from data.batches import to_unit
from data.compute import Compute
from data.errors import DataError
from data.labels import LabelSpace
from data.workspace import Workspace
from generators import fitting, ratio_head
from generators.continuous import train_continuous_gan
from generators.ratio_head import load_density_ratio

LEVEL = LabelSpace("scalar", name="level", unit="%", minimum=-100, maximum=100)
CPU = Compute(torch.device("cpu"))
LABELS = np.linspace(-100, 100, 32, dtype=np.float32)
IMAGES = np.random.default_rng(0).integers(0, 256, (32, 1, 8, 8), dtype=np.uint8)


def train(folder: Path, **settings: object) -> None:
    train_continuous_gan(
        IMAGES,
        LABELS,
        LEVEL,
        network_options={"width": 4, "latent_size": 8, "label_input": "nli"},
        batch_size=8,
        seed=1,
        compute=CPU,
        workspace=Workspace(folder),
        **{"steps": 4, **settings},
    )


def test_a_saved_ratio_is_that_of_the_chosen_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = []
    save = fitting.save_density_ratio
    monkeypatch.setattr(fitting, "save_density_ratio", lambda *both: (kept.append(both[1]), save(*both)))
    train(
        tmp_path / "a",
        density_ratio_weight=0.5,
        label_regression_weight=1.0,
        snapshots=4,
        judge=lambda step, sample: {"distance": abs(step - 2)},
    )
    train(tmp_path / "b", density_ratio_weight=0.5, label_regression_weight=1.0, steps=2)
    ratios = load_density_ratio(tmp_path / "a", CPU)(IMAGES, LABELS)
    assert ratios.shape == (32,)
    assert ratios.dtype == np.float32
    assert (ratios >= 0).all()
    conditions = torch.from_numpy(LEVEL.conditions(LABELS))
    with torch.no_grad():
        expected = kept[0].eval()(to_unit(torch.from_numpy(IMAGES)), conditions).ratios
    np.testing.assert_allclose(ratios, expected.numpy(), rtol=1e-5)
    # The training that ended at the chosen snapshot left the same discriminator.
    for name in ("discriminator.safetensors", "generator.safetensors"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_ratio_does_not_depend_on_the_other_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(tmp_path, density_ratio_weight=0.5, steps=2)
    monkeypatch.setattr(ratio_head, "BLOCK_ROWS", 8)
    rate = load_density_ratio(tmp_path, CPU)
    ratios = rate(IMAGES, LABELS)
    assert len(np.unique(ratios)) > 1
    order = np.random.default_rng(0).permutation(32)
    np.testing.assert_array_equal(rate(IMAGES[order], LABELS[order]), ratios[order])
    np.testing.assert_array_equal(rate(IMAGES[:11], LABELS[:11]), ratios[:11])
    np.testing.assert_array_equal(rate(IMAGES[5:6], LABELS[5:6]), ratios[5:6])
    assert rate(IMAGES[:0], LABELS[:0]).shape == (0,)


def test_a_training_without_the_head_is_named(tmp_path: Path) -> None:
    train(tmp_path, steps=1)
    assert not (tmp_path / "discriminator.safetensors").exists()
    with pytest.raises(DataError, match="must have a density ratio of its own, got none"):
        load_density_ratio(tmp_path, CPU)
