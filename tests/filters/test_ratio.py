"""The density ratio: a known one is recovered; the whole training resumes; files bring back the same ratio."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from data.compute import Compute
from data.errors import DataError, StageError
from data.labels import Axis, LabelSpace
from data.workspace import Workspace
from filters.autoencoder import train_autoencoder
from filters.features import Extractor, answers, load_extractor, train_extractor
from filters.ratio import load_ratio, train_ratio
from filters.ratio_fitting import fit_ratio
from filters.vicinity import Vicinity

COMPUTE = Compute(torch.device("cpu"))
CLASSES = LabelSpace("class", ("a", "b"))
SCALAR = LabelSpace("scalar", maximum=90.0)
VECTOR = LabelSpace("vector", axes=(Axis("side", maximum=90.0), Axis("other", minimum=-1.0)))
BOTH = LabelSpace("class+scalar", ("a", "b"), maximum=90.0)
SPACES = [CLASSES, SCALAR, VECTOR, BOTH]


def log_density(points: torch.Tensor, mean: torch.Tensor, deviation: float) -> torch.Tensor:
    """Of a round Gaussian in the plane, up to log(2 pi)."""
    return -((points - mean).square().sum(1) / (2 * deviation**2)) - 2 * math.log(deviation)


CASES = [(space, "batch") for space in SPACES] + [(space, "label") for space in (CLASSES, SCALAR)]


@pytest.mark.parametrize(("space", "penalty"), CASES, ids=lambda value: getattr(value, "kind", value))
def test_a_known_ratio_is_recovered(space: LabelSpace, penalty: Any, tmp_path: Path) -> None:
    rng = torch.Generator().manual_seed(0)

    def real_mean(conditions: torch.Tensor) -> torch.Tensor:
        """The first number of a label moves the mean across; the second, if there is one, up or down."""
        first, *more = conditions.float().reshape(len(conditions), -1).unbind(1)
        return torch.stack([0.9 - 1.8 * first, 1.2 * more[0] - 0.6 if more else torch.zeros_like(first)], dim=1)

    def labels_of(count: int) -> tuple[npt.NDArray[Any], torch.Tensor]:
        uniform = torch.rand(count, 2, generator=rng).double().numpy()
        classes = uniform[:, 0] < 0.5 if space.has_classes else None
        values = uniform[:, -len(space.dimensions) :] if space.dimensions else None
        spans = np.array([[axis.maximum - axis.minimum, axis.minimum] for axis in space.dimensions]).reshape(-1, 2)
        labels = space.join(classes, None if values is None else values * spans[:, 0] + spans[:, 1])
        return labels, torch.from_numpy(space.conditions(labels))

    labels, conditions = labels_of(20_000)
    real = real_mean(conditions) + torch.randn(20_000, 2, generator=rng)
    fakes = 1.3 * torch.randn(4, 20_000, 2, generator=rng)
    network = fit_ratio(
        real, labels, fakes, space, widths=(64, 64), dropout=0.0, steps=500, batch_size=256,
        learning_rate=2e-3, penalty=penalty, seed=1, compute=COMPUTE, workspace=Workspace(tmp_path),
    )  # fmt: skip
    assert not any(parameter.requires_grad for parameter in network.parameters())

    _, conditions = labels_of(4000)
    points = 1.3 * torch.randn(4000, 2, generator=rng)
    true = (log_density(points, real_mean(conditions), 1.0) - log_density(points, torch.zeros(2), 1.3)).exp()
    found = network(points, conditions)
    assert true.mean().item() == pytest.approx(1.0, abs=0.05)
    assert found.mean().item() == pytest.approx(1.0, abs=0.1)
    one_number = conditions.ndim == 1
    assert np.corrcoef(found.numpy(), true.numpy())[0, 1] > (0.97 if one_number else 0.95)
    assert (found - true).abs().mean().item() < (0.12 if one_number else 0.16)


def test_a_class_whose_fakes_are_far_wider_is_calibrated_by_the_penalty_per_label(tmp_path: Path) -> None:
    """Fakes of "a" are a little too wide, those of "b" four times, so that their ratios reach 16 and are mostly 0."""
    rng = torch.Generator().manual_seed(0)
    labels = np.arange(6000) % 2
    deviation = torch.tensor([1.2, 4.0])
    conditions = torch.from_numpy(labels)
    real = torch.randn(6000, 2, generator=rng)
    fakes = deviation[conditions][:, None] * torch.randn(4, 6000, 2, generator=rng)
    points = deviation[conditions][:, None] * torch.randn(6000, 2, generator=rng)
    true = torch.zeros(6000)
    for label in (0, 1):
        mine, centre = conditions == label, torch.zeros(2)
        spread = float(deviation[label])
        true[mine] = (log_density(points[mine], centre, 1.0) - log_density(points[mine], centre, spread)).exp()
    away = {}
    for penalty in ("batch", "label"):
        network = fit_ratio(
            real, labels, fakes, CLASSES, widths=(64, 64), dropout=0.0, steps=500, batch_size=128, penalty=penalty,
            penalty_weight=1.0, learning_rate=2e-3, seed=1, compute=COMPUTE, workspace=Workspace(tmp_path / penalty),
        )  # fmt: skip
        found = network(points, conditions)
        away[penalty] = [abs(found[conditions == label].mean().item() - 1.0) for label in (0, 1)]
        if penalty == "label":
            assert max(away["label"]) < 0.12
            for label in (0, 1):
                mine = conditions == label
                assert np.corrcoef(found[mine].numpy(), true[mine].numpy())[0, 1] > 0.85
    assert max(away["label"]) < max(away["batch"])


def test_fakes_that_are_outside_are_never_drawn(tmp_path: Path) -> None:
    """Every second fake is worthless, and the fakes of some rows all are; either would ruin the ratio."""
    rng = torch.Generator().manual_seed(0)
    labels = np.arange(400) % 2
    real, fakes = torch.randn(400, 2, generator=rng), torch.randn(4, 400, 2, generator=rng)
    inside = torch.rand(4, 400, generator=rng) < 0.5
    inside[:, :50] = False
    fakes[~inside] = torch.nan
    real[~inside.any(0)] = torch.nan

    def fit(inside: torch.Tensor, folder: str) -> None:
        fit_ratio(
            real.nan_to_num(), labels, fakes, CLASSES, inside=inside, widths=(32,), steps=20, batch_size=64,
            log_every=1, seed=1, compute=COMPUTE, workspace=Workspace(tmp_path / folder),
        )  # fmt: skip

    fit(inside, "good")
    with pytest.raises(StageError, match="non-finite"):
        fit(torch.ones_like(inside), "bad")
    with pytest.raises(StageError, match="must be predicted to lie in the vicinity of its label, got none of 1600"):
        fit(torch.zeros_like(inside), "none")


def faint(labels: npt.NDArray[Any], seeds: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint8]:
    """A generator of images that are too faint, each a function of its own label and seed."""
    noise = (seeds[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(63)
    images = noise.reshape(-1, 1, 8, 8).astype(np.uint8)
    images[_right(labels), :, :, :4] += 30
    return images


def _right(labels: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Whether the first number of each label is positive."""
    return np.asarray(labels.reshape(len(labels), -1)[:, 0] > 0)


def bright(count: int, seed: int, space: LabelSpace) -> tuple[npt.NDArray[np.uint8], npt.NDArray[Any]]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    images = rng.integers(0, 64, (count, 1, 8, 8)).astype(np.uint8)
    images[labels > 0, :, :, :4] += 120
    if space.kind == "class":
        return images, labels
    if space.kind == "scalar":
        return images, (labels * 90.0).astype(np.float32)
    first = labels * 90.0 if space.kind == "vector" else labels
    second = [rng.uniform(axis.minimum, axis.maximum, count) for axis in space.dimensions][-1]
    return images, np.stack([first, second], axis=1).astype(np.float32)


class Interrupting(Workspace):
    """A workspace whose named loop is killed before its third step."""

    stop_in = ""

    def steps(self, name: str, total: int, state: Mapping[str, Any], *, log_every: int = 50) -> Iterator[int]:
        for step in super().steps(name, total, state, log_every=log_every):
            if step == 3 and name == self.stop_in:
                raise KeyboardInterrupt
            yield step

    def shards(self, name: str, total: int, suffix: str = ".h5") -> Iterator[tuple[int, Path]]:
        for number, path in super().shards(name, total, suffix):
            if number == 1 and name == self.stop_in:
                raise KeyboardInterrupt
            yield number, path


def features(folder: Path, space: LabelSpace) -> Extractor:
    return train_extractor(
        *bright(40, 0, space), space, width=4, steps=30, batch_size=16, shift_pixels=1, seed=5, compute=COMPUTE,
        workspace=Workspace(folder / "features"),
    )  # fmt: skip


def train(workspace: Workspace, space: LabelSpace, extractor: Extractor, **changes: Any) -> dict[str, float]:
    settings: dict[str, Any] = {
        "pool_rounds": 3, "widths": (32,), "steps": 8, "batch_size": 16, "learning_rate": 1e-3, "log_every": 4,
        "seed": 5, "compute": COMPUTE, "workspace": workspace,
    }  # fmt: skip
    return train_ratio(*bright(40, 0, space), space, faint, extractor, **{**settings, **changes})


def options_of(space: LabelSpace, extractor: Extractor) -> dict[str, Any]:
    """The penalty per label, and for scalars a vicinity."""
    if space is not SCALAR:
        return {"penalty": "batch" if space is VECTOR else "label"}
    return {"vicinity": Vicinity(space, (0.4,)), "predict": lambda images: answers(extractor, images, COMPUTE)}


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.kind)
def test_a_resumed_training_is_the_uninterrupted_one(space: LabelSpace, tmp_path: Path) -> None:
    extractor = features(tmp_path, space)
    options = options_of(space, extractor)
    straight = train(Workspace(tmp_path / "straight"), space, extractor, **options)
    if space is SCALAR:
        assert 0 < straight["pool_inside"] <= 1
    folder = tmp_path / "resumed"
    for stop_in in ("fakes", "ratio"):
        workspace = Interrupting(folder, checkpoint_seconds=0.0)
        workspace.stop_in = stop_in
        with pytest.raises(KeyboardInterrupt):
            train(workspace, space, extractor, **options)
    assert train(Workspace(folder), space, extractor, **options) == straight
    for file in ("ratio.safetensors", "ratio.json", "ratio.jsonl"):
        assert (folder / file).read_bytes() == (tmp_path / "straight" / file).read_bytes(), file


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.kind)
def test_files_bring_back_the_ratio(space: LabelSpace, tmp_path: Path) -> None:
    metrics = train(Workspace(tmp_path), space, features(tmp_path, space), steps=60)
    model = load_ratio(tmp_path, load_extractor(tmp_path / "features", COMPUTE), COMPUTE)
    images, labels = bright(40, 0, space)
    ratios = model.ratio(images, labels)
    assert ratios.shape == (40,)
    assert ratios.dtype == np.float32
    assert (ratios >= 0).all()
    assert ratios.mean() == pytest.approx(metrics["ratio_real_mean"], rel=1e-3)
    assert metrics["ratio_real_mean"] > metrics["ratio_fake_mean"]
    order = np.random.default_rng(0).permutation(40)
    np.testing.assert_array_equal(model.ratio(images[order], labels[order], batch_size=8), model.ratio(
        images, labels, batch_size=8)[order])  # fmt: skip
    np.testing.assert_array_equal(model.ratio(images[:1], labels[:1]), ratios[:1])
    assert model.ratio(images[:0], labels[:0]).shape == (0,)


def test_the_features_may_come_from_an_auto_encoder(tmp_path: Path) -> None:
    settings = {"steps": 30, "batch_size": 16, "seed": 1, "compute": COMPUTE, "workspace": Workspace(tmp_path)}
    network = train_autoencoder(*bright(40, 0, CLASSES), CLASSES, width=8, **settings)
    metrics = train(Workspace(tmp_path), CLASSES, network, steps=60)
    assert metrics["ratio_real_mean"] > metrics["ratio_fake_mean"]
    images, labels = bright(40, 0, CLASSES)
    assert load_ratio(tmp_path, network, COMPUTE).ratio(images, labels).mean() == pytest.approx(
        metrics["ratio_real_mean"], rel=1e-3
    )


def test_damaged_files_are_named(tmp_path: Path) -> None:
    extractor = features(tmp_path, CLASSES)
    with pytest.raises(DataError, match=r"ratio\.json"):
        load_ratio(tmp_path, extractor, COMPUTE)
    train(Workspace(tmp_path), CLASSES, extractor)
    with pytest.raises(DataError, match=r"must have 64 numbers for the ratio .* got 192"):
        load_ratio(tmp_path, Extractor((3, 8, 8), 2, 4), COMPUTE)
    (tmp_path / "ratio.safetensors").write_bytes(b"damaged")
    with pytest.raises(DataError, match="cannot be loaded into RatioNetwork"):
        load_ratio(tmp_path, extractor, COMPUTE)
