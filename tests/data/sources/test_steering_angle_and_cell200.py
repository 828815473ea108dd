from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from data.errors import DataError
from data.sources.cell200 import Cell200
from data.sources.steering_angle import SteeringAngle

RNG = np.random.default_rng(1)
FRAMES = RNG.integers(0, 256, (12, 3, 16, 16), dtype=np.uint8)
DEGREES = np.array([-88.13, 97.92, 0, 0, -3.5, 12.25, 7, -40, 33, 0.5, -0.5, 60])
CELLS = RNG.integers(0, 256, (12, 1, 16, 16), dtype=np.uint8)
COUNTS = np.array([1, 200, 7, 7, 50, 99, 3, 2, 150, 10, 11, 12])


def save(path: Path, arrays: dict[str, Any]) -> str:
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file.create_dataset(name, data=values, compression="gzip", compression_opts=6)
    return str(path)


def frames(path: Path, **changes: Any) -> SteeringAngle:
    return SteeringAngle(save(path, {"images": FRAMES, "labels": DEGREES, **changes}))


def cells(path: Path, **changes: Any) -> Cell200:
    arrays = {
        "IMGs_grey": CELLS[:9],
        "CellCounts": COUNTS[:9],
        "IMGs_grey_test": CELLS[9:],
        "CellCounts_test": COUNTS[9:],
    }
    return Cell200(save(path, {**arrays, **changes}))


def test_steering_angles_have_the_range_of_the_file(tmp_path: Path) -> None:
    source = frames(tmp_path / "x.h5")
    space = source.label_space
    assert (space.kind, space.name, space.unit) == ("scalar", "steering angle", "degree")
    assert space.minimum == np.float32(-88.13)
    assert space.maximum == np.float32(97.92)
    # What is stored lies within the range exactly: both went through float32.
    assert space.normalise(source.labels().astype(np.float64)).min() == 0
    assert source.labels().dtype == np.float32
    assert np.array_equal(source.labels(), DEGREES.astype(np.float32))
    assert source.pool().tolist() == [0] * 12
    assert np.array_equal(source.images(np.array([11, 0])), FRAMES[[11, 0]])
    assert source.image_shape == (3, 16, 16)


def test_steering_angles_keep_the_files_test_rows_apart(tmp_path: Path) -> None:
    arrays = {
        "images_train": FRAMES[:8],
        "labels_train": DEGREES[:8],
        "images_test": FRAMES[8:],
        "labels_test": DEGREES[8:],
    }
    source = SteeringAngle(save(tmp_path / "x.h5", arrays))
    assert source.pool().tolist() == [1] * 8 + [2] * 4
    assert np.array_equal(source.labels(), DEGREES.astype(np.float32))
    assert np.array_equal(source.images(np.arange(12)[::-1]), FRAMES[::-1])


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (DEGREES / 98, "which looks normalised"),
        (DEGREES * 1000, r"must be degrees, got -88130 to 97920; convert"),
        (np.full(12, 5.0), "labels must differ, got 5 degree for all rows"),
    ],
)
def test_angles_that_are_no_degrees_are_refused(tmp_path: Path, labels: Any, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        _ = frames(tmp_path / "x.h5", labels=labels).label_space


def test_arrays_that_nobody_reads_are_told(tmp_path: Path) -> None:
    assert frames(tmp_path / "x.h5").notes() == ()
    assert frames(tmp_path / "x.h5", weather=np.arange(12)).notes() == ("x.h5: weather is not read.",)
    assert cells(tmp_path / "y.h5", a=np.arange(2), b=np.arange(3)).notes() == ("y.h5: a, b are not read.",)


def test_another_data_set_is_not_taken_for_steering_angles(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the layout rc49; source steering_angle needs .*; try source\.kind rc49"):
        frames(tmp_path / "x.h5", types=np.arange(12)).labels()


def test_cells_are_counted_in_grey_images(tmp_path: Path) -> None:
    source = cells(tmp_path / "x.h5")
    space = source.label_space
    assert (space.kind, space.unit, space.minimum, space.maximum) == ("scalar", "cell", 1, 200)
    assert source.image_shape == (1, 16, 16)
    assert source.labels().tolist() == COUNTS.tolist()
    assert source.labels().dtype == np.float32
    assert source.pool().tolist() == [1] * 9 + [2] * 3
    assert np.array_equal(source.images(np.arange(12)), CELLS)


def test_cells_without_test_rows_may_all_do_both(tmp_path: Path) -> None:
    source = Cell200(save(tmp_path / "x.h5", {"IMGs_grey": CELLS, "CellCounts": COUNTS.astype(np.float64)}))
    assert source.pool().tolist() == [0] * 12
    assert source.labels().tolist() == COUNTS.tolist()


@pytest.mark.parametrize(
    ("counts", "sentence"),
    [
        (COUNTS[:9] + 0.5, r"CellCounts must be whole numbers, got 1\.5 in row 0"),
        (COUNTS[:9] + 1, "must lie between 1 and 200, got 2 to 201"),
        (COUNTS[:9] - 1, "must lie between 1 and 200, got 0 to 199"),
    ],
)
def test_counts_that_cannot_be_are_refused(tmp_path: Path, counts: Any, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        cells(tmp_path / "x.h5", CellCounts=counts, CellCounts_test=np.array([5, 6, 7])).labels()


@pytest.mark.parametrize("make", [frames, cells])
def test_identity_follows_the_content_and_not_the_place(tmp_path: Path, make: Any) -> None:
    here = make(tmp_path / "a.h5")
    (tmp_path / "b.h5").write_bytes((tmp_path / "a.h5").read_bytes())
    assert here.identity() == type(here)(str(tmp_path / "b.h5")).identity()
    assert str(tmp_path) not in str(here.identity())
    extra = {"weather": np.arange(9)}
    assert here.identity() != make(tmp_path / "b.h5", **extra).identity()
