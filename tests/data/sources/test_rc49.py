from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from data.errors import ConfigError, DataError
from data.sources.rc49 import Rc49

# Three chairs at 0.1, 0.2 .. 0.9 and 89.9 degrees, as the papers' programs order them: one chair after the other.
ANGLES = np.tile(np.r_[np.arange(1, 10) / 10, 89.9], 3)
TYPES = np.repeat(np.arange(3), 10)
IMAGES = np.random.default_rng(0).integers(0, 256, (30, 3, 16, 16), dtype=np.uint8)
# 89.9 degrees times ten is 898.9999999999999: the last digit is odd all the same.
ODD = np.array([row for row in range(30) if str(ANGLES[row])[-1] in "13579"])
EVEN = np.setdiff1d(np.arange(30), ODD)


def save(path: Path, arrays: dict[str, Any]) -> Path:
    """gzip 6 with chunks of h5py's own choice, as the originals; float64 labels, int64 types and row numbers."""
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            if values is not None:
                file.create_dataset(name, data=values, compression="gzip", compression_opts=6)
    return path


def ccgan(path: Path, **changes: Any) -> Path:
    return save(path, {"images": IMAGES, "labels": ANGLES, "types": TYPES, **changes})


def kd(path: Path, **changes: Any) -> Path:
    halves = {}
    for name, rows in (("odd", ODD), ("even", EVEN)):
        halves |= {f"images_{name}": IMAGES[rows], f"labels_{name}": ANGLES[rows], f"types_{name}": TYPES[rows]}
    lists = {"train": [0, 5, 9, 2], "subtrain": [0, 5, 9], "subvalid": [2], "rest": [1, 3, 4, 6, 7, 8, *range(10, 18)]}
    return save(path, {**halves, **{f"indx_odd_{name}": np.array(rows) for name, rows in lists.items()}, **changes})


def test_the_files_own_list_trains_and_all_else_tests(tmp_path: Path) -> None:
    train = np.array([28, 0, 2, 14])
    source = Rc49(str(ccgan(tmp_path / "x.h5", indx_train=train)))
    assert source.image_shape == (3, 16, 16)
    assert np.flatnonzero(source.pool() == 1).tolist() == sorted(train)
    assert (source.pool() == 2).sum() == 26
    labels = source.labels()
    assert labels.dtype == np.float32
    assert np.array_equal(labels, ANGLES.astype(np.float32))
    rows = np.array([29, 3, 3, 0])
    assert np.array_equal(source.images(rows), IMAGES[rows])
    space = source.label_space
    assert (space.kind, space.name, space.unit, space.minimum, space.maximum) == (
        "scalar",
        "yaw angle",
        "degree",
        0,
        90,
    )


def test_without_a_list_the_last_digit_decides(tmp_path: Path) -> None:
    pool = Rc49(str(ccgan(tmp_path / "x.h5"))).pool()
    assert len(ODD) == 18
    assert np.flatnonzero(pool == 1).tolist() == ODD.tolist()
    assert np.flatnonzero(pool == 2).tolist() == EVEN.tolist()


def test_the_papers_899_angles_give_450_that_train(tmp_path: Path) -> None:
    angles = np.arange(1, 900) / 10
    path = ccgan(
        tmp_path / "x.h5", images=np.zeros((899, 1, 4, 4), np.uint8), labels=angles, types=np.zeros(899, np.int64)
    )
    assert np.bincount(Rc49(str(path)).pool()).tolist() == [0, 450, 449]


def test_chairs_are_classes_where_asked_for(tmp_path: Path) -> None:
    source = Rc49(str(ccgan(tmp_path / "x.h5")), label="type+yaw")
    assert source.label_space.kind == "class+scalar"
    assert source.label_space.names == ("chair 0", "chair 1", "chair 2")
    assert np.array_equal(source.labels(), np.stack([TYPES, ANGLES], axis=1).astype(np.float32))
    source.label_space.check(source.labels(), "x")
    plain = ccgan(tmp_path / "y.h5", types=None, indx_train=np.arange(4))
    with pytest.raises(DataError, match=r"must have types for the labels type\+yaw; try source\.label yaw"):
        _ = Rc49(str(plain), label="type+yaw").label_space


def test_of_cgan_kd_the_odd_rest_and_all_even_angles_test(tmp_path: Path) -> None:
    source = Rc49(str(kd(tmp_path / "x.h5")), label="type+yaw")
    order = np.r_[ODD, EVEN]
    assert np.array_equal(source.labels(), np.stack([TYPES, ANGLES], axis=1)[order].astype(np.float32))
    assert np.array_equal(source.images(np.arange(30)), IMAGES[order])
    assert np.flatnonzero(source.pool() == 1).tolist() == [0, 2, 5, 9]
    assert (source.pool() == 2).sum() == 26


def test_one_of_several_lists_is_chosen_by_name(tmp_path: Path) -> None:
    lists = {f"indx_train_{name}": np.array([row, row + 5]) for row, name in enumerate(("standard", "unimodal"))}
    path = str(ccgan(tmp_path / "x.h5", **lists))
    assert np.flatnonzero(Rc49(path, split="unimodal").pool() == 1).tolist() == [1, 6]
    assert np.flatnonzero(Rc49(path, split="standard").pool() == 1).tolist() == [0, 5]
    with pytest.raises(ConfigError, match=r"several lists of training rows; set source\.split to standard or unimodal"):
        Rc49(path).pool()
    with pytest.raises(DataError, match=r"must have indx_train_trimodal for source\.split, got indx_train_standard, "):
        Rc49(path, split="trimodal").pool()
    with pytest.raises(DataError, match=r"layout of cGAN-KD has one split; leave source\.split unset"):
        Rc49(str(kd(tmp_path / "y.h5")), split="standard").pool()


def test_identity_follows_content_and_options_and_not_the_place(tmp_path: Path) -> None:
    first, second = ccgan(tmp_path / "a.h5"), tmp_path / "b.h5"
    second.write_bytes(first.read_bytes())
    identity = Rc49(str(first)).identity()
    assert identity == Rc49(str(second)).identity()
    assert str(tmp_path) not in str(identity)
    assert len({str(i) for i in (identity, Rc49(str(first), label="type+yaw").identity(),
                                 Rc49(str(first), split="standard").identity())}) == 3  # fmt: skip
    ccgan(second, labels=ANGLES + 0.1)
    assert identity != Rc49(str(second)).identity()
    with pytest.raises(DataError, match=r"nowhere\.h5"):
        Rc49(str(tmp_path / "nowhere.h5")).identity()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"labels": ANGLES / 90},
            r"labels must be in the unit degree, got 0\.0011.* to 0\.99.*, which looks normalised",
        ),
        ({"labels": ANGLES - 1}, r"labels must lie between 0 and 90 degrees, got -0\.9 to 88\.9"),
        ({"labels": ANGLES * 2}, r"must lie between 0 and 90 degrees, got 0\.2 to 179\.8"),
        ({"labels": np.full(30, np.nan)}, "must be finite, got 30"),
        (
            {"labels": ANGLES + 0.05},
            r"must be multiples of 0\.1 degree to be split by their last digit; add indx_train",
        ),
        ({"types": TYPES + 0.5}, r"types must be whole numbers, got 0\.5"),
        ({"types": TYPES - 1}, r"types must be chairs 0, 1 \.\. 48, got -1"),
        ({"types": TYPES + 47}, r"types must be chairs 0, 1 \.\. 48, got 49"),
        ({"types": np.where(TYPES, TYPES, 20_000_000)}, r"types must be chairs 0, 1 \.\. 48, got 20000000"),
        ({"indx_train": np.array([0, 30])}, r"indx_train must name rows 0\.\.29, got 0\.\.30"),
        ({"images": IMAGES / np.float32(255)}, r"images must be uint8 of 0 to 255, got float32; convert it"),
        ({"images": IMAGES.transpose(0, 2, 3, 1)}, r"convert it by x\.transpose\(0, 3, 1, 2\)"),
        ({"races": TYPES, "types": None}, r"the layout utkface; source rc49 needs .*; try source\.kind utkface"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    source = Rc49(str(ccgan(tmp_path / "x.h5", **changes)), label="type+yaw")
    with pytest.raises(DataError, match=sentence):
        source.labels(), source.pool()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"indx_odd_rest": np.array([0, 1])}, "indx_odd_rest must name no rows of indx_odd_train"),
        ({"indx_odd_subvalid": np.array([1])}, "indx_odd_subvalid must name only rows of indx_odd_train"),
        ({"indx_odd_train": np.array([18])}, r"indx_odd_train must name rows 0\.\.17, got 18\.\.18"),
        ({"indx_odd_train": None}, "which is no known layout; source rc49 needs"),
    ],
)
def test_lists_of_cgan_kd_that_contradict_each_other_are_refused(
    tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(DataError, match=sentence):
        Rc49(str(kd(tmp_path / "x.h5", **changes))).pool()


def test_unknown_options_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"label must be one of yaw, type\+yaw, got 'angle'"):
        Rc49("x.h5", label="angle")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"split must be one of standard, .*, got 'odd'"):
        Rc49("x.h5", split="odd")  # type: ignore[arg-type]
