"""Both chains: a stopped and resumed training equals the uninterrupted one, byte for byte."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from data.compute import Compute
from data.errors import ConfigError, StageError
from data.labels import LabelSpace
from data.random import row_seeds
from data.workspace import Workspace, read_log
from generators.card import load_card
from generators.continuous import train_continuous_gan
from generators.sampling import load_generator
from generators.training import balanced_rows, train_class_gan

CLASSES = LabelSpace("class", names=("dark", "middle", "bright"))
LEVEL = LabelSpace("scalar", name="level", unit="%", minimum=-100, maximum=100)
COMPUTES = {
    "fp32": Compute(torch.device("cpu")),
    "bf16": Compute(torch.device("cpu"), torch.bfloat16, channels_last=True),
}
Train = Callable[..., dict[str, Any]]
#: Logged by release 0.1.0 for the trainings below: step, d_loss, g_loss, d_real, d_fake.
GOLDEN = {
    "fp32": [
        (0, 1.6164251565933228, -0.19223181903362274, 0.6137144565582275, 0.08529763668775558),
        (5, 1.600647211074829, -0.1460941582918167, 0.4558853507041931, -0.03847702592611313),
    ],
    "bf16": [
        (0, 1.616307020187378, -0.19713199138641357, 0.6192440986633301, 0.09290078282356262),
        (5, 1.600027084350586, -0.15206293761730194, 0.44968026876449585, -0.04285593330860138),
    ],
}
GOLDEN_LEVELS = (0.44833290576934814, 0.031817954033613205, 0.01381203718483448, -0.023550866171717644)


def squares(levels: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    """Images whose brightness is the level, from 0 to 1."""
    noise = np.random.default_rng(0).normal(0, 8, (len(levels), 1, 8, 8))
    return np.clip(30 + 190 * levels[:, None, None, None] + noise, 0, 255).astype(np.uint8)


def train_classes(workspace: Workspace, compute: Compute, **settings: object) -> dict[str, Any]:
    labels = np.arange(48, dtype=np.int64) % 3
    options = {"network_options": {"width": 4, "latent_size": 8}, "steps": 6, "batch_size": 16, **settings}
    return train_class_gan(
        squares(labels / 2), labels, CLASSES, seed=3, compute=compute, workspace=workspace, **options
    )


def train_levels(workspace: Workspace, compute: Compute, **settings: object) -> dict[str, Any]:
    labels = np.linspace(-100, 100, 48, dtype=np.float32)
    options = {
        "network_options": {"width": 4, "latent_size": 8, "embedding_size": 32},
        "steps": 6,
        "batch_size": 16,
        "embedding_width": 4,
        "embedding_image_steps": 4,
        "embedding_label_steps": 4,
        **settings,
    }
    return train_continuous_gan(
        squares((labels + 100) / 200), labels, LEVEL, seed=3, compute=compute, workspace=workspace, **options
    )


class StoppingWorkspace(Workspace):
    """A workspace whose training dies at a step."""

    def __init__(self, folder: Path, name: str, step: int) -> None:
        super().__init__(folder, checkpoint_seconds=0.0)
        self.stop = (name, step)

    def report(self, task: str, done: int, total: int) -> None:
        if (task, done) == self.stop:
            raise KeyboardInterrupt


@pytest.mark.parametrize("precision", sorted(COMPUTES))
@pytest.mark.parametrize(
    ("train", "stops"),
    [
        (train_classes, [("generator", 1), ("generator", 4)]),
        (train_levels, [("embedding_image", 2), ("embedding_label", 3), ("generator", 4)]),
    ],
)
def test_a_resumed_training_equals_the_uninterrupted_one(
    tmp_path: Path, train: Train, stops: list[tuple[str, int]], precision: str
) -> None:
    compute = COMPUTES[precision]
    numbers = train(Workspace(tmp_path / "whole"), compute)
    for name, step in stops:
        with pytest.raises(KeyboardInterrupt):
            train(StoppingWorkspace(tmp_path / "stopped", name, step), compute)
    torch.rand(17)  # the global random state is not part of a training
    assert train(Workspace(tmp_path / "stopped"), compute) == numbers
    for file in ("generator.safetensors", "generator.json", "generator.jsonl"):
        assert (tmp_path / "stopped" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    # Once finished, the same call only repeats its numbers.
    assert train(Workspace(tmp_path / "whole"), compute) == numbers


@pytest.mark.parametrize("train", [train_classes, train_levels])
def test_the_seed_alone_makes_the_training(tmp_path: Path, train: Train) -> None:
    state = torch.random.get_rng_state()
    train(Workspace(tmp_path / "a"), COMPUTES["fp32"], steps=2)
    assert torch.equal(state, torch.random.get_rng_state())
    torch.rand(5)
    train(Workspace(tmp_path / "b"), COMPUTES["fp32"], steps=2)
    weights = [(tmp_path / name / "generator.safetensors").read_bytes() for name in ("a", "b")]
    assert weights[0] == weights[1]


def test_class_gan_learns_the_brightness_of_each_class(tmp_path: Path) -> None:
    numbers = train_classes(
        Workspace(tmp_path),
        COMPUTES["fp32"],
        steps=120,
        discriminator_steps=1,
        augment=[],
        generator_learning_rate=2e-3,
        discriminator_learning_rate=4e-3,
        network_options={"width": 8, "latent_size": 8},
    )
    assert {"d_loss", "g_loss", "d_real", "d_fake", "told_apart"} <= set(numbers)
    assert (numbers["steps_done"], numbers["stopped_by"], numbers["chosen_step"]) == (120, "steps", 120)
    sampler = load_generator(tmp_path, COMPUTES["fp32"])
    labels = np.repeat(np.arange(3), 20)
    means = sampler.sample(labels, row_seeds(0, np.arange(60))).reshape(3, -1).mean(axis=1)
    np.testing.assert_allclose(means, [30, 125, 220], atol=35)


def test_continuous_gan_learns_the_brightness_of_each_level(tmp_path: Path) -> None:
    numbers = train_levels(
        Workspace(tmp_path),
        COMPUTES["fp32"],
        steps=150,
        discriminator_steps=1,
        augment=[],
        generator_learning_rate=2e-3,
        discriminator_learning_rate=4e-3,
        embedding_image_steps=40,
        embedding_label_steps=100,
        network_options={"width": 8, "latent_size": 8, "embedding_size": 32},
    )
    assert numbers["kappa"] == pytest.approx(2 / 47, rel=1e-3)
    sampler = load_generator(tmp_path, COMPUTES["fp32"])
    labels = np.repeat(np.array([-90, 0, 90], np.float32), 20)
    means = sampler.sample(labels, row_seeds(0, np.arange(60))).reshape(3, -1).mean(axis=1)
    np.testing.assert_allclose(means, [39, 125, 210], atol=40)


@pytest.mark.parametrize("precision", sorted(COMPUTES))
def test_the_settings_of_the_first_release_give_its_training(tmp_path: Path, precision: str) -> None:
    augment = ("color", "translation", "cutout")
    train_classes(Workspace(tmp_path), COMPUTES[precision], discriminator_steps=2, augment=augment)
    columns = ("step", "d_loss", "g_loss", "d_real", "d_fake")
    tolerance = 1e-4 if precision == "fp32" else 2e-2
    for row, expected in zip(read_log(tmp_path / "generator.jsonl"), GOLDEN[precision], strict=True):
        assert [row[column] for column in columns] == pytest.approx(expected, rel=tolerance, abs=tolerance)


def test_the_continuous_settings_of_the_first_release_give_its_training(tmp_path: Path) -> None:
    numbers = train_levels(Workspace(tmp_path), COMPUTES["fp32"])
    found = [numbers[column] for column in ("d_loss", "g_loss", "d_real", "d_fake")]
    assert found == pytest.approx(GOLDEN_LEVELS, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("train", [train_classes, train_levels])
def test_the_card_says_how_it_was_trained(tmp_path: Path, train: Train) -> None:
    numbers = train(Workspace(tmp_path), COMPUTES["fp32"], steps=3, snapshots=2, r1_weight=0.5)
    training = load_card(tmp_path).training
    assert training["r1_weight"] == 0.5
    assert training["images"] == 48
    assert training["batch_size"] == 16
    for key in ("steps_done", "stopped_by", "chosen_step"):
        assert training[key] == numbers[key]
    if train is train_levels:
        assert training["kappa"] == numbers["kappa"]


def test_images_held_out_tell_how_much_is_memorised(tmp_path: Path) -> None:
    validation = (squares(np.zeros(30)), np.zeros(30, np.int64))
    numbers = train_classes(Workspace(tmp_path), COMPUTES["fp32"], validation=validation)
    assert np.isfinite(numbers["memorised"])


def test_a_class_label_space_is_sent_to_the_other_training(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"try generator\.kind class_gan"):
        train_continuous_gan(
            np.zeros((4, 1, 8, 8), np.uint8),
            np.zeros(4, np.float32),
            CLASSES,
            seed=0,
            compute=COMPUTES["fp32"],
            workspace=Workspace(tmp_path),
        )


def test_rare_classes_repeat_until_all_are_equally_frequent() -> None:
    labels = np.array([0, 0, 0, 0, 0, 2, 2, 4])
    rows = balanced_rows(labels)
    assert np.bincount(labels[rows]).tolist() == [5, 0, 5, 0, 5]
    assert set(rows.tolist()) == set(range(8))
    np.testing.assert_array_equal(balanced_rows(np.array([1, 0, 1, 0])), np.arange(4))


def test_errors_come_before_any_training(tmp_path: Path) -> None:
    images = np.zeros((4, 1, 28, 28), np.uint8)
    with pytest.raises(ConfigError, match="got 28 x 28; try padding or resizing the source to 32 x 32"):
        train_class_gan(
            images, np.zeros(4, np.int64), CLASSES, seed=0, compute=COMPUTES["fp32"], workspace=Workspace(tmp_path)
        )
    with pytest.raises(ConfigError, match="augment must be some of"):
        train_classes(Workspace(tmp_path), COMPUTES["fp32"], augment=["blur"])
    assert read_log(tmp_path / "generator.jsonl") == []


def test_a_diverged_training_stops_with_its_numbers(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="non-finite"):
        train_classes(Workspace(tmp_path), COMPUTES["fp32"], steps=40, generator_learning_rate=float("inf"))
    assert (tmp_path / "nonfinite.json").exists()
