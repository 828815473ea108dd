from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest

from data.errors import DataError
from data.foreign.published import open_published
from data.foreign.published_labels import in_own_units, whole

RNG = np.random.default_rng(5)
TRAIN, TEST = (RNG.integers(0, 256, (rows, 3, 8, 8), dtype=np.uint8) for rows in (1100, 40))


def write(path: Path, **changes: Any) -> Path:
    """UTKFace_64x64_prop_0.8.h5 as its program writes it: gzip 6, chunks of h5py's own choice, int64 ages."""
    arrays = {
        "images_train": TRAIN,
        "labels_train": np.arange(1100) % 60 + 1,
        "images_test": TEST,
        "labels_test": np.arange(40) + 1,
        **changes,
    }
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file.create_dataset(name, data=values, compression="gzip", compression_opts=6)
    return path


def test_rows_come_from_their_parts_in_the_order_asked_for(tmp_path: Path) -> None:
    file = open_published(write(tmp_path / "x.h5"))
    every = np.concatenate([TRAIN, TEST])
    rows = np.r_[RNG.permutation(1140), 1139, 0, 0]
    assert np.array_equal(file.images(rows), every[rows])
    assert file.images(np.zeros(0, int)).shape == (0, 3, 8, 8)
    assert np.array_equal(file.column("labels"), np.r_[np.arange(1100) % 60 + 1, np.arange(40) + 1])
    assert file.column("labels").dtype == np.int64
    with pytest.raises(DataError, match=r"rows must lie in 0\.\.1139, got 1140"):
        file.images(np.array([1140]))


@pytest.mark.parametrize(
    "stored",
    [{}, {"chunks": True}, {"compression": "gzip", "shuffle": True, "fletcher32": True}, {"compression": "lzf"}],
)
def test_every_way_of_storing_gives_the_same_pixels(tmp_path: Path, stored: dict[str, Any]) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("images", data=TEST, **stored)
        file.create_dataset("labels", data=np.linspace(-80, 90, 40), **stored)
    found = open_published(tmp_path / "x.h5")
    assert np.array_equal(found.images(np.arange(40)), TEST)
    assert np.array_equal(found.column("labels"), np.linspace(-80, 90, 40))


def test_axes_with_channels_last_are_turned_where_the_layout_declares_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from data.foreign import layouts

    pattern = replace(layouts._PATTERNS["3dshapes"], shape=(40, 8, 8, 3))
    monkeypatch.setitem(layouts._PATTERNS, "3dshapes", pattern)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["images"] = TEST.transpose(0, 2, 3, 1)
        file["labels"] = np.zeros((40, 6))
    found = open_published(tmp_path / "x.h5")
    assert found.layout.name == "3dshapes"
    assert np.array_equal(found.images(np.array([7, 3])), TEST[[7, 3]])
    with pytest.raises(DataError, match=r"labels must have one number for each of 40 rows, got the shape \(40, 6\)"):
        found.column("labels")


def test_a_pickled_file_is_opened_again_by_its_path(tmp_path: Path) -> None:
    found = open_published(write(tmp_path / "x.h5"))
    found.images(np.arange(3))
    packed = pickle.dumps(found)
    assert len(packed) < 1000
    assert np.array_equal(pickle.loads(packed).images(np.array([1105])), TEST[5:6])


def test_a_link_that_a_person_names_is_followed(tmp_path: Path) -> None:
    write(tmp_path / "x.h5")
    (tmp_path / "link.h5").symlink_to("x.h5")
    assert np.array_equal(open_published(tmp_path / "link.h5").images(np.array([3])), TRAIN[3:4])


def test_a_file_that_changed_is_read_anew(tmp_path: Path) -> None:
    path = write(tmp_path / "x.h5")
    assert open_published(path).column("labels")[0] == 1
    write(path, labels_train=np.full(1100, 33))
    os.utime(path, ns=(1, 1))
    assert open_published(path).column("labels")[0] == 33


def test_columns_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must have types for source rc49, got a file without"):
        open_published(write(tmp_path / "x.h5"), reader="source rc49").column("types")
    with pytest.raises(DataError, match=r"nowhere\.h5 cannot be found"):
        open_published(tmp_path / "nowhere.h5")


@pytest.mark.parametrize(
    ("numbers", "sentence"),
    [
        (np.array([0.0, 1.0]), r"must be one-dimensional integers, got float64 \(2,\); convert it"),
        (np.array([[0, 1]]), "must be one-dimensional integers"),
        (np.array([1, 40]), r"must name rows 0\.\.39, got 1\.\.40; it belongs to another file, or counts from 1"),
        (np.array([-1, 4]), r"must name rows 0\.\.39, got -1\.\.4"),
        (np.array([4, 4]), "must name no row twice"),
    ],
)
def test_row_numbers_that_cannot_be_are_refused(tmp_path: Path, numbers: npt.NDArray[Any], sentence: str) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["images"], file["labels"], file["indx_train"] = TEST, np.arange(40), numbers
    with pytest.raises(DataError, match=f"indx_train {sentence}"):
        open_published(tmp_path / "x.h5", ("utkface",)).row_numbers("indx_train", "all")


def test_normalised_and_broken_labels_are_refused() -> None:
    assert in_own_units(np.array([0, 1, 1]), "x", "year").tolist() == [0, 1, 1]
    assert in_own_units(np.array([0.5, 1.5]), "x", "degree").tolist() == [0.5, 1.5]
    with pytest.raises(
        DataError, match=r"x must be in the unit degree, got -0\.5 to 1, which looks normalised; multiply"
    ):
        in_own_units(np.array([-0.5, 1.0]), "x", "degree")
    with pytest.raises(DataError, match="x must be finite, got 2 that are not"):
        in_own_units(np.array([np.nan, np.inf, 1.0]), "x", "degree")
    with pytest.raises(DataError, match=r"x must be whole numbers, got 2\.5 in row 1"):
        whole(np.array([1.0, 2.5]), "x")
    assert whole(np.array([1.0, 7.0]), "x").tolist() == [1, 7]


def test_row_numbers_of_a_later_part_count_among_all_rows(tmp_path: Path) -> None:
    file = open_published(write(tmp_path / "x.h5", labels_test=np.arange(40)[::-1]))
    assert file.row_numbers("labels_test", "test").tolist() == list(range(1139, 1099, -1))
