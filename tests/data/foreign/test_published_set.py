from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from data.errors import DataError
from data.foreign import open_foreign
from data.labels import Axis, LabelSpace

ANGLES = LabelSpace("scalar", name="yaw", unit="degree", maximum=90)
CLASSES = LabelSpace("class", names=("a", "b"))
POSES = LabelSpace("vector", axes=(Axis("yaw", "degree", 0, 90), Axis("tilt", "degree", -20, 20)))
IMAGES = np.random.default_rng(0).integers(0, 256, (6, 3, 8, 8), dtype=np.uint8)
DEGREES = np.array([0, 90, 0.1, 37.5, 5, 6])


def save(path: Path, **arrays: Any) -> Path:
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file.create_dataset(name, data=values, compression="gzip", compression_opts=6)
    return path


@pytest.mark.parametrize(
    ("arrays", "space"),
    [
        ({"images": IMAGES, "labels": DEGREES}, ANGLES),
        ({"imgs": IMAGES, "labels": np.array([0, 1, 1, 0, 1, 1])}, CLASSES),
        ({"images": IMAGES, "labels": np.stack([DEGREES, DEGREES / 9], axis=1)}, POSES),
    ],
)
def test_images_with_labels_are_candidates_whatever_their_arrays_are_called(
    tmp_path: Path, arrays: dict[str, Any], space: LabelSpace
) -> None:
    found = open_foreign(save(tmp_path / "x.h5", **arrays), space, (3, 8, 8))
    assert found.layout == "published"
    assert len(found) == 6
    assert np.array_equal(found.labels, arrays["labels"].astype(space.dtype))
    assert np.array_equal(found.read(2, 5), IMAGES[2:5])
    assert found.seeds.tolist() == list(range(6))


def test_test_rows_of_a_file_are_no_candidates(tmp_path: Path) -> None:
    path = save(
        tmp_path / "x.h5",
        images_train=IMAGES[:4], labels_train=DEGREES[:4], images_test=IMAGES[4:], labels_test=DEGREES[4:],
    )  # fmt: skip
    found = open_foreign(path, ANGLES, (3, 8, 8))
    assert np.array_equal(found.labels, DEGREES[:4].astype(np.float32))
    assert np.array_equal(found.read(0, 4), IMAGES[:4])


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"images": IMAGES[:, :, :4], "labels": DEGREES}, r"shape \(3, 8, 8\), got \(3, 4, 8\)"),
        (
            {"images": IMAGES, "labels": DEGREES + 1},
            "labels: yaw must lie between 0 degree and 90 degree, got 91 in row 1",
        ),
        ({"images": IMAGES, "labels": DEGREES, "types": np.arange(6)}, r"the layout rc49; candidates\.file needs"),
        ({"photos": IMAGES, "labels": DEGREES}, "has labels, photos, which is no known layout"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, arrays: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        open_foreign(save(tmp_path / "x.h5", **arrays), ANGLES, (3, 8, 8))
