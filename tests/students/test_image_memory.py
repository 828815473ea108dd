"""Batches read from files against those of images on the device; and mixes against a loop over them."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import students.image_memory
from data.compute import Compute
from data.errors import ConfigError, DataError
from data.gathering import WindowReader
from data.labels import Axis, LabelSpace
from data.reading import ImageSet, open_set
from data.recipes.mixes import Mixes, sample_mixes
from data.views import ViewRule
from data.workspace import Workspace
from data.writing import write_set
from students.augmentation import Augmentation
from students.image_memory import DeviceImages, MappedImages
from students.mixed_images import images_of
from students.team import Team
from students.training import train_student
from students.training_data import DeviceBatches, Rows, TrainingData

COMPUTE = Compute(torch.device("cpu"))
CLASSES = LabelSpace("class", ("a", "b", "c", "d"))
POSE = LabelSpace("vector", axes=(Axis("yaw", "degree", 0.0, 90.0), Axis("tilt", "degree", 0.0, 90.0)))
BOTH = LabelSpace("class+scalar", ("a", "b", "c"), maximum=90.0)
SPACES = {space.kind: space for space in (CLASSES, POSE, BOTH)}


def stored(folder: Path, count: int, seed: int) -> ImageSet:
    rng = np.random.default_rng(seed)
    path = folder / f"set-{seed}.h5"
    columns = {
        "images": rng.integers(0, 256, (count, 2, 6, 6), dtype=np.uint8),
        "labels": rng.integers(0, 4, count),
        "seed": np.arange(count, dtype=np.uint64),
    }
    write_set(path, columns, kind="samples", label_space=CLASSES, provenance={}, license="CC0-1.0")
    return open_set(path)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TrainingData]:
    """The same rows, read from files and held in memory, with a second part of each kind."""
    folder, rng = tmp_path_factory.mktemp("sets"), np.random.default_rng(5)
    first, second = stored(folder, 600, 0), stored(folder, 350, 1)
    rows = np.sort(rng.permutation(600)[:500])
    answers = [rng.normal(size=(count, 4)).astype(np.float32) for count in (500, 350, 90)]
    labels = [first.take("labels", rows), np.array(second.columns["labels"])]
    made = {}
    for name in ("mapped", "device"):
        lazy = [first.select("images", rows), second.select("images")]
        images = lazy if name == "mapped" else [np.array(item[:]) for item in (lazy[0], second.columns["images"])]
        real = Rows(images[0], labels[0], answers[0])
        views = replace(real, teacher_outputs=np.stack([answers[0], answers[0] + 1]), views=ViewRule(3, 1, True))
        synthetic = Rows(images[1], labels[1], answers[1])
        mixed = {kind: sample_mixes(500, kind, 1.0, 90, 6, 8) for kind in ("mixup", "cutmix")}
        seconds = {
            "none": (real, None),
            "synthetic": (real, synthetic),
            "views": (views, synthetic),
            "mixup": (real, Rows(images[0], labels[0], answers[2], mixes=mixed["mixup"])),
            "cutmix": (real, Rows(images[0], labels[0], answers[2], soft_labels=True, mixes=mixed["cutmix"])),
        }
        made.update({f"{name} {key}": TrainingData(*parts) for key, parts in seconds.items()})
    return made


def batches(data: TrainingData, memory: str, space: LabelSpace = CLASSES, **changes: Any) -> DeviceBatches:
    settings: dict[str, Any] = {
        "batch_size": 24, "real_fraction": 0.5, "seed": 5, "label_mean": 0.0, "label_std": 1.0,
        "teacher_outputs": True, "compute": COMPUTE, "augmentation": Augmentation(1, True), "label_smoothing": 0.1,
    }  # fmt: skip
    return DeviceBatches(data, space, image_memory=memory, **{**settings, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("order", ["rows", "blocks"])
@pytest.mark.parametrize("part", ["none", "synthetic", "views", "mixup", "cutmix"])
@pytest.mark.parametrize("team", [Team(), Team(1, 2)])
def test_mapped_batches_are_those_of_the_device(
    data: dict[str, TrainingData], order: str, part: str, team: Team
) -> None:
    device = batches(data[f"device {part}"], "device", order=order, team=team)
    mapped = batches(data[f"mapped {part}"], "mapped", order=order, team=team)
    assert isinstance(mapped._images, MappedImages)
    assert isinstance(device._images, DeviceImages)
    assert isinstance(mapped._images._singly[0], WindowReader) == (order == "blocks")
    for step in (0, 1, 40, 2, 90):
        assert mapped.rows_at(step) == device.rows_at(step)
        (images, batch), (others, other) = mapped.at(step), device.at(step)
        assert images.dtype == torch.uint8
        assert torch.equal(images, others)
        assert torch.equal(batch.labels, other.labels)
        assert torch.equal(batch.teacher(), other.teacher())


def test_groups_are_read_from_files_too(data: dict[str, TrainingData]) -> None:
    for order in ("rows", "blocks"):
        device = batches(data["device synthetic"], "device", order=order, groups=(2, 1))
        mapped = batches(data["mapped synthetic"], "mapped", order=order, groups=(2, 1))
        for step in (0, 7):
            assert torch.equal(mapped.at(step)[0], device.at(step)[0])


def test_images_on_the_device_may_come_from_files(data: dict[str, TrainingData]) -> None:
    expected = batches(data["device mixup"], "device").at(4)[0]
    held = batches(data["mapped mixup"], "device")
    assert isinstance(held._images, DeviceImages)
    # Mixes of the real images need no images of their own.
    assert len(held._images._images) == 500
    assert torch.equal(held.at(4)[0], expected)


def test_auto_takes_the_device_where_it_holds_the_images(
    data: dict[str, TrainingData], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(batches(data["mapped synthetic"], "auto")._images, DeviceImages)
    told: list[int] = []
    monkeypatch.setattr(students.image_memory, "fits_in_memory", lambda nbytes: bool(told.append(nbytes)))
    assert isinstance(batches(data["mapped synthetic"], "auto")._images, MappedImages)
    assert isinstance(batches(data["mapped mixup"], "auto")._images, MappedImages)
    batches(data["mapped mixup"], "auto", team=Team(0, 2))
    assert told == [850 * 72, 500 * 72, 2 * 500 * 72]
    with pytest.raises(ConfigError, match="image_memory must be 'auto', 'device' or 'mapped', got 'disk'"):
        batches(data["mapped none"], "disk")


@pytest.mark.parametrize("order", ["rows", "blocks"])
def test_every_row_comes_once_a_pass(data: dict[str, TrainingData], order: str) -> None:
    loader = batches(data["mapped none"], "mapped", order=order, batch_size=20, augmentation=Augmentation())
    seen = np.concatenate([loader.rows_at(step)["real"] for step in range(25)])
    assert np.array_equal(np.sort(seen), np.arange(500))
    images = np.array(data["mapped none"].real.images[:])
    assert np.array_equal(loader.at(3)[0].numpy(), images[loader.rows_at(3)["real"]])


def mixed_by_hand(images: Any, mixes: Mixes, number: int) -> Any:
    first, second = (images[int(rows[number])].astype(np.float64) for rows in (mixes.first, mixes.second))
    if mixes.kind == "mixup":
        share = float(mixes.coefficient[number])
        return np.rint(share * first + (1 - share) * second)
    top, left, height, width = mixes.box[number]
    pasted = first.copy()
    pasted[:, top : top + height, left : left + width] = second[:, top : top + height, left : left + width]
    return pasted


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("soft", [False, True])
def test_mixes_are_what_a_loop_makes_of_them(kind: str, space: str, soft: bool) -> None:
    rng, label_space = np.random.default_rng(1), SPACES[space]
    images = rng.integers(0, 256, (30, 2, 6, 6), dtype=np.uint8)
    classes = rng.integers(0, max(label_space.classes, 1), 30)
    values = rng.uniform(0, 90, (30, 2)).astype(np.float32)
    labels = {"class": classes, "vector": values, "class+scalar": np.stack([classes, values[:, 0]], 1)}[space]
    labels = labels.astype(label_space.dtype)
    mixes = sample_mixes(30, kind, 0.7, 25, 6, 2)  # type: ignore[arg-type]
    outputs = rng.normal(size=(25, label_space.outputs)).astype(np.float32)
    clean = rng.normal(size=(30, label_space.outputs)).astype(np.float32)
    mean, std = torch.arange(label_space.outputs) * 1.0, torch.arange(label_space.outputs) + 2.0
    if label_space.has_classes:
        mean[: label_space.classes], std[: label_space.classes] = 0.0, 1.0
    data = TrainingData(Rows(images, labels, clean), Rows(images, labels, outputs, soft_labels=soft, mixes=mixes))
    assert data.names == ["real", "mixed"]
    loader = batches(data, "device", label_space, augmentation=None, label_mean=mean, label_std=std)
    for step in range(3):
        seen, batch = loader.at(step)
        numbers = loader.rows_at(step)
        assert [len(rows) for rows in numbers.values()] == [12, 12]
        assert np.array_equal(seen[:12].numpy(), images[numbers["real"]])
        for place, number in enumerate(numbers["mixed"], 12):
            assert np.array_equal(seen[place].numpy(), mixed_by_hand(images, mixes, number))
            share = float(mixes.coefficient[number])
            first, second = mixes.first[number], mixes.second[number]
            torch.testing.assert_close(batch.teacher()[place], (torch.from_numpy(outputs[number]) - mean) / std)
            if label_space.has_classes:
                expected = torch.full((label_space.classes,), 0.1 / label_space.classes)
                expected[classes[first]] += 0.9 * share
                expected[classes[second]] += 0.9 * (1 - share)
                if soft:
                    expected = torch.from_numpy(outputs[number][: label_space.classes]).softmax(0)
                torch.testing.assert_close(batch.labels[place], expected)
            if label_space.dimensions:
                start = label_space.classes
                told = outputs[number][start:] if soft else share * values[first] + (1 - share) * values[second]
                wanted = (torch.from_numpy(told[: label_space.outputs - start]) - mean[start:]) / std[start:]
                found = batch.labels if batch.values is None else batch.values
                torch.testing.assert_close(found[place], wanted.float())
            torch.testing.assert_close(
                loader.targets(1)[0][number],
                torch.cat([batch.labels[place].reshape(-1), *([] if batch.values is None else [batch.values[place]])]),
            )
        torch.testing.assert_close(batch.teacher()[:12], (torch.from_numpy(clean[numbers["real"]]) - mean) / std)
    whole = images_of(data.parts[1])
    assert whole.shape == (25, 2, 6, 6)
    by_hand = np.stack([mixed_by_hand(images, mixes, number) for number in range(25)])
    assert np.array_equal(whole[3:9], by_hand[3:9])
    assert np.array_equal(whole[np.array([20, 1])], by_hand[[20, 1]])


def test_mixes_that_do_not_fit_are_named(data: dict[str, TrainingData]) -> None:
    given = data["device mixup"]
    real, mixed = given.parts
    assert mixed.mixes is not None
    with pytest.raises(ConfigError, match="must go with methods whose rows come singly, got one that compares groups"):
        batches(given, "device", groups=(1, 1))
    with pytest.raises(DataError, match=r"mixed rows: teacher outputs must have shape \(90, 4\), got \(500, 4\)"):
        batches(TrainingData(real, replace(mixed, teacher_outputs=real.teacher_outputs)), "device")
    with pytest.raises(DataError, match="mixed rows: teacher outputs must be there"):
        batches(TrainingData(real, replace(mixed, teacher_outputs=None)), "device")
    far = replace(mixed.mixes, second=mixed.mixes.second + 500)
    with pytest.raises(DataError, match=r"mixed rows: mixes must be of rows 0\.\.499, got \d+\.\.994; make them anew"):
        batches(TrainingData(real, replace(mixed, mixes=far)), "device")
    with pytest.raises(DataError, match="real rows: must be images themselves, got mixes"):
        batches(TrainingData(mixed), "device")
    with pytest.raises(DataError, match="mixed rows: views must be of images themselves"):
        batches(TrainingData(real, replace(mixed, views=ViewRule(1))), "device")
    empty = mixed.mixes.at(np.zeros(0, np.int64))
    with pytest.raises(DataError, match="mixed rows: there must be at least one mixed image"):
        batches(TrainingData(real, replace(mixed, mixes=empty)), "device")


@pytest.mark.parametrize("part", ["synthetic", "cutmix"])
@pytest.mark.parametrize("order", ["rows", "blocks"])
def test_a_student_is_the_same_wherever_images_lie(
    data: dict[str, TrainingData], part: str, order: str, tmp_path: Path
) -> None:
    found = {}
    for memory in ("device", "mapped"):
        given = data[f"{memory} {part}"]
        found[memory] = train_student(
            pickle.loads(pickle.dumps(given)), (given.real.images, given.real.labels), CLASSES, network="convnet",
            options={"channels": 4}, method="kd", steps=6, batch_size=16, order=order, validate_every=3,  # type: ignore[arg-type]
            shift_pixels=1, seed=1, initial_seed=2, compute=COMPUTE, image_memory=memory,  # type: ignore[arg-type]
            workspace=Workspace(tmp_path / memory),
        )  # fmt: skip
    assert found["mapped"] == found["device"]
    first, second = ((tmp_path / memory / "model.safetensors").read_bytes() for memory in ("mapped", "device"))
    assert first == second


def test_rows_of_files_are_pickled_by_name(data: dict[str, TrainingData]) -> None:
    assert len(pickle.dumps(data["mapped none"].real.images)) < len(pickle.dumps(data["device none"].real.images)) / 4
