"""Every layout with arrays as its program writes them: names, types and shapes; values do not matter here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from data.errors import DataError
from data.foreign import layouts
from data.foreign.layouts import LAYOUTS, recognise
from data.untrusted import StoredArray

Arrays = dict[str, tuple[str, tuple[int, ...]]]

RGB, GREY = ("uint8", (6, 3, 8, 8)), ("uint8", (6, 1, 8, 8))
FLOATS, INTEGERS, FEW = ("float64", (6,)), ("int64", (6,)), ("int64", (3,))
FILES: dict[str, tuple[str, Arrays]] = {
    "RC-49_64x64.h5": ("rc49", {"images": RGB, "labels": FLOATS, "types": INTEGERS, "indx_train": FEW}),
    "RC-49_64x64.h5 without its split": ("rc49", {"images": RGB, "labels": FLOATS, "types": INTEGERS}),
    "RC-49_imb_64x64.h5": (
        "rc49",
        {"images": RGB, "labels": FLOATS, "types": INTEGERS}
        | {f"indx_train_{name}": FEW for name in ("unimodal", "dualmodal", "trimodal", "standard")},
    ),
    "RC-49_64x64_25.h5": (
        "rc49-kd",
        {f"{role}_{half}": kind for half in ("odd", "even") for role, kind in
         (("images", RGB), ("labels", FLOATS), ("types", INTEGERS))}
        | {f"indx_odd_{name}": FEW for name in ("train", "subtrain", "subvalid", "rest")},
    ),
    "UTKFace_64x64.h5": ("utkface", {"images": RGB, "labels": INTEGERS, "races": INTEGERS}),
    "UTKFace_64x64_proptrain_0.8_propsubtrain_0.8.h5": (
        "utkface",
        {"images": RGB, "labels": INTEGERS}
        | {f"indx_{name}": FEW for name in ("train", "subtrain", "subvalid", "test")},
    ),
    "UTKFace_64x64_prop_0.8.h5": (
        "train-test",
        {"images_train": RGB, "labels_train": INTEGERS, "images_test": RGB, "labels_test": INTEGERS},
    ),
    "SteeringAngle_64x64.h5": ("plain", {"images": RGB, "labels": FLOATS}),
    "Cell200_64x64.h5": (
        "cell200",
        {"IMGs_grey": GREY, "CellCounts": INTEGERS, "IMGs_grey_test": GREY, "CellCounts_test": INTEGERS},
    ),
    "ImageNet_128x128_100Class.h5": (
        "imagenet100",
        {"images_train": RGB, "labels_train": INTEGERS, "images_valid": RGB, "labels_valid": INTEGERS}
        | {"labels_train_label1000": INTEGERS, "labels_valid_label1000": INTEGERS, "existing_classes": FEW},
    ),
    "CIFAR10_trainset_10000_seed_2020.h5": (
        "cifar-subset",
        {"images_train": RGB, "labels_train": INTEGERS, "subtrain_indx": FEW, "subvalid_indx": FEW},
    ),
    "C10_2020.hdf5": ("biggan", {"imgs": RGB, "labels": INTEGERS}),
    "tiny-imagenet-200.h5": (
        "tiny-imagenet",
        {"imgs": RGB, "labels": INTEGERS, "imgs_val": RGB, "labels_val": INTEGERS}
        | {"indx_subtrain": FEW, "indx_subvalid": FEW},
    ),
    "fake_RC49.h5": ("fake", {"fake_images": RGB, "fake_labels": FLOATS}),
    "3dshapes.h5": ("3dshapes", {"images": ("uint8", (480_000, 64, 64, 3)), "labels": ("float64", (480_000, 6))}),
}  # fmt: skip


def written(path: Path, arrays: Arrays) -> Path:
    with h5py.File(path, "w") as file:
        for name, (kind, shape) in arrays.items():
            file.create_dataset(name, data=np.zeros(shape, kind), compression="gzip", compression_opts=6)
    return path


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Stands in for opening a file: recognition reads nothing but names, types and shapes."""

    def of(arrays: Arrays, among: Any = LAYOUTS) -> layouts.Layout:
        stored = {name: StoredArray(np.dtype(kind), shape) for name, (kind, shape) in arrays.items()}
        monkeypatch.setattr(layouts, "list_arrays", lambda path, quarantine: stored)
        return recognise(Path("some.h5"), among, reader="source x")

    return of


@pytest.mark.parametrize("title", FILES)
def test_every_published_file_is_recognised_by_its_arrays_alone(listed: Any, title: str) -> None:
    name, arrays = FILES[title]
    found = listed(arrays)
    assert found.name == name
    assert found.ignored == ()
    keys = [key for part in found.parts.values() for key in part.keys.values()]
    others = {"existing_classes"} & set(arrays)
    assert sorted([*keys, *found.indices, *others]) == sorted(arrays)
    assert found.image_shape == {"cell200": (1, 8, 8), "3dshapes": (3, 64, 64)}.get(name, (3, 8, 8))


def test_every_layout_is_in_the_table() -> None:
    assert {name for name, _ in FILES.values()} == set(LAYOUTS)


def test_parts_lie_one_after_another(tmp_path: Path) -> None:
    arrays = {
        **FILES["UTKFace_64x64_prop_0.8.h5"][1],
        "images_test": ("uint8", (2, 3, 8, 8)),
        "labels_test": ("<i8", (2,)),
    }
    found = recognise(written(tmp_path / "x.h5", arrays))
    assert [(name, part.start, part.rows) for name, part in found.parts.items()] == [("train", 0, 6), ("test", 6, 2)]
    assert len(found) == 8
    assert found.parts["test"].keys == {"images": "images_test", "labels": "labels_test"}


def test_arrays_that_decide_nothing_are_ignored_and_told(listed: Any) -> None:
    found = listed({"images": RGB, "labels": FLOATS, "weather": INTEGERS, "camera/speed": FLOATS})
    assert (found.name, found.ignored) == ("plain", ("camera/speed", "weather"))


def test_the_asking_source_decides_between_layouts_that_fit_equally_well(listed: Any) -> None:
    arrays = {"images": RGB, "labels": INTEGERS, "indx_train": FEW}
    assert listed(arrays, ("rc49", "rc49-kd")).name == "rc49"
    assert listed(arrays, ("utkface", "train-test", "plain")).name == "utkface"
    with pytest.raises(DataError, match=r"which fits rc49 and utkface; .*name the source\.kind that it is meant for"):
        listed(arrays)


@pytest.mark.parametrize(
    ("arrays", "among", "sentence"),
    [
        (
            {"photos": RGB, "angles": FLOATS},
            ("rc49",),
            r"some\.h5: has angles, photos, which is no known layout; source x needs images, labels and types or "
            r"indx_train \(RC-49 of CcGAN\); rename its arrays, or try source\.kind hdf5",
        ),
        ({}, ("cell200",), "has no arrays, which is no known layout; source x needs IMGs_grey, CellCounts"),
        # A split that nobody reads would let test images train.
        ({"images": RGB, "labels": FLOATS, "split": INTEGERS}, ("plain",), "images, labels, split, which is no known"),
        ({"images": RGB, "labels": FLOATS, "my_test_rows": FEW}, ("plain",), "which is no known layout"),
        (FILES["RC-49_64x64.h5"][1], ("plain",), r"the layout rc49; .*; try source\.kind rc49"),
        (FILES["UTKFace_64x64.h5"][1], ("rc49", "rc49-kd"), r"the layout utkface; .*; try source\.kind utkface"),
        (FILES["3dshapes.h5"][1], ("plain", "train-test"), r"the layout 3dshapes; .*; try source\.kind hdf5"),
        ({"images": RGB, "labels": INTEGERS, "types": INTEGERS, "races": INTEGERS}, LAYOUTS, "fits rc49 and utkface"),
        ({"IMGs_grey": GREY, "CellCounts": INTEGERS, "IMGs_grey_test": GREY}, ("cell200",), "which is no known layout"),
        ({f"a{number:02}": FLOATS for number in range(20)}, ("plain",), "a11 and 8 more, which is no known layout"),
    ],
)  # fmt: skip
def test_what_fits_none_or_several_is_told_what_would_be_needed(
    listed: Any, arrays: Arrays, among: Any, sentence: str
) -> None:
    with pytest.raises(DataError, match=sentence):
        listed(arrays, among)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"images": ("float32", (6, 3, 8, 8))},
            r"images must be uint8 of 0 to 255, got float32; convert it, .*255 \* x",
        ),
        (
            {"images": ("uint8", (6, 8, 8, 3))},
            r"axes NCHW .* got \(6, 8, 8, 3\); convert it by x\.transpose\(0, 3, 1, 2\)",
        ),
        ({"images": ("uint8", (6, 64))}, r"must have the axes NCHW with 1 or 3 channels, got \(6, 64\); write"),
        (
            {"images": ("uint8", (0, 3, 8, 8)), "labels": ("float64", (0,)), "types": ("int64", (0,))},
            "at least one image",
        ),
        (
            {"labels": ("float64", (5,))},
            r"labels must hold a number for each of the 6 images in images, got float64 \(5,",
        ),
        ({"types": ("int64", (7,))}, r"types must hold a number for each of the 6 images"),
    ],
)
def test_arrays_of_a_wrong_form_are_named_with_the_conversion(listed: Any, changes: Arrays, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        listed({**FILES["RC-49_64x64.h5 without its split"][1], **changes})


def test_parts_of_other_sizes_are_refused(listed: Any) -> None:
    arrays = {**FILES["UTKFace_64x64_prop_0.8.h5"][1], "images_test": ("uint8", (6, 3, 9, 9))}
    with pytest.raises(DataError, match=r"one shape, got images_train \(3, 8, 8\), images_test \(3, 9, 9\)"):
        listed(arrays)


def test_no_hdf5_file_is_a_data_error(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    path.write_text("no HDF5 at all")
    with pytest.raises(DataError, match=r"x\.h5"):
        recognise(path)
