from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

from data.errors import ConfigError, DataError
from data.faults import UnreadableImages
from data.sources import notes, skipped
from data.sources.utkface import UtkFace

RNG = np.random.default_rng(2)
FACES = RNG.integers(0, 256, (8, 3, 16, 16), dtype=np.uint8)
AGES = np.array([1, 60, 61, 0, 26, 26, 116, 35])
NAMES = (
    "100_1_0_20170112213500903.jpg.chip.jpg",
    "1_0_2_20161219154018453.jpg.chip.jpg",
    "26_1_4_20170116184028385.jpg",
    "55_0_0_20170116232725357jpg.chip.jpg",
)


def encoded(image: Any, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image.transpose(1, 2, 0)).save(stream, kind)
    return stream.getvalue()


def folder(path: Path) -> Path:
    """PNG bytes under the names of UTKFace, so that pixels can be compared exactly."""
    path.mkdir()
    for name, image in zip(NAMES, FACES, strict=False):
        (path / name).write_bytes(encoded(image))
    return path


def save(path: Path, arrays: dict[str, Any]) -> str:
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file.create_dataset(name, data=values, compression="gzip", compression_opts=6)
    return str(path)


def hdf5(path: Path, **changes: Any) -> UtkFace:
    arrays = {"images": FACES, "labels": AGES, "races": np.arange(8) % 5, **changes}
    return UtkFace(save(path, {k: v for k, v in arrays.items() if v is not None}), image_size=16)


def test_ages_are_read_off_the_names(tmp_path: Path) -> None:
    source = UtkFace(str(folder(tmp_path / "x")), image_size=16)
    assert source.labels().tolist() == [1, 26, 55]
    assert source.labels().dtype == np.float32
    assert source.pool().tolist() == [0, 0, 0]
    assert np.array_equal(source.images(np.array([2, 0, 1])), FACES[[3, 1, 2]])
    assert skipped(source) == ()
    assert notes(source) == ("1 of 4 faces are left out: their age is not within 1 to 60 years.",)
    space = source.label_space
    assert (space.kind, space.name, space.unit, space.minimum, space.maximum) == ("scalar", "age", "year", 1, 60)


def test_the_range_of_ages_is_a_choice(tmp_path: Path) -> None:
    source = UtkFace(str(folder(tmp_path / "x")), image_size=16, minimum_age=26, maximum_age=100)
    assert source.labels().tolist() == [100, 26, 55]
    with pytest.raises(DataError, match=r"must have faces of 2 to 3 years, got none; try another minimum_age"):
        UtkFace(str(tmp_path / "x"), image_size=16, minimum_age=2, maximum_age=3).labels()


def test_folders_within_are_read_and_hidden_files_are_not(tmp_path: Path) -> None:
    path = folder(tmp_path / "x")
    (path / "part2").mkdir()
    (path / "part2" / "30_0_0_20170116184028386.jpg").write_bytes(encoded(FACES[7]))
    (path / "._26_1_4_20170116184028385.jpg").write_bytes(b"of a Mac")
    (path / "__MACOSX").mkdir()
    (path / "readme.txt").write_text("what this is")
    source = UtkFace(str(path), image_size=16)
    assert source.labels().tolist() == [1, 26, 55, 30]
    assert np.array_equal(source.images(np.array([3])), FACES[7:8])


def test_a_face_that_lies_there_twice_is_one_row(tmp_path: Path) -> None:
    """One packing has the folders UTKFace and crop_part1 with the same files; programs add numbers to copies."""
    path = tmp_path / "x"
    path.mkdir()
    folder(path / "UTKFace")
    single = UtkFace(str(path / "UTKFace"), image_size=16)
    folder(path / "crop_part1")
    (path / "crop_part1" / "26_1_4_20170116184028385.jpg.chip (1).jpg").write_bytes(encoded(FACES[2]))
    both = UtkFace(str(path), image_size=16)
    assert both.labels().tolist() == single.labels().tolist() == [1, 26, 55]
    assert np.array_equal(both.images(np.arange(3)), FACES[1:4])
    assert notes(single) == notes(both)[:1]
    assert notes(both)[1:] == (
        "5 files are left out as copies: their names tell the same age, gender, race and date as another file, such "
        f"as crop_part1/{NAMES[0]} and UTKFace/{NAMES[0]}.",
    )


def test_links_to_nothing_and_pipes_are_named_or_left_out_and_do_not_stop_planning(tmp_path: Path) -> None:
    path = folder(tmp_path / "x")
    (path / "40_0_0_20170116184028385.jpg").symlink_to(tmp_path / "gone.jpg")
    os.mkfifo(path / "41_0_0_20170116184028385.jpg")
    strict, lenient = UtkFace(str(path), image_size=16), UtkFace(str(path), image_size=16, damaged="skip")
    assert strict.identity() != lenient.identity()
    with pytest.raises(UnreadableImages, match=r"2 of 6 images .*40_0_0_\d+\.jpg \(must be a file, no folder, pipe or"):
        strict.labels()
    assert lenient.labels().tolist() == [1, 26, 55]
    assert [fault.name[:2] for fault in skipped(lenient)] == ["40", "41"]


def test_images_are_cropped_to_the_size_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.mkdir()
    # Left and right quarters differ from the middle, and only the middle is kept.
    wide = np.full((3, 32, 64), 9, np.uint8)
    wide[:, :, 16:48] = 200
    (path / NAMES[1]).write_bytes(encoded(wide))
    (path / NAMES[2]).write_bytes(encoded(wide))
    found = UtkFace(str(path), image_size=32).images(np.array([0]))
    assert found.shape == (1, 3, 32, 32)
    assert (found == 200).all()
    with pytest.raises(
        UnreadableImages, match=r"2 of 2 images cannot be read: 1_0_2.*must be 32 x 32 pixels, got 64 x 32"
    ):
        UtkFace(str(path), image_size=32, fit="exact").images(np.array([0, 1]))


BAD = ("39_1_20170116174525125.jpg.chip.jpg", "53__0_20170116184028385.jpg", "cat.png", "24_2_0_20170116184028385.jpg")


def test_names_that_lack_a_field_are_counted_and_left_out_only_by_choice(tmp_path: Path) -> None:
    path = folder(tmp_path / "x")
    for name in BAD:
        (path / name).write_bytes(encoded(FACES[6]))
    with pytest.raises(UnreadableImages) as caught:
        UtkFace(str(path), image_size=16).labels()
    assert "utkface: 4 of 8 images cannot be read" in str(caught.value)
    assert "39_1_20170116174525125.jpg.chip.jpg (must be named age_gender_race_date.jpg" in str(caught.value)
    assert "rename or remove them, or set source.damaged to skip" in str(caught.value)
    source = UtkFace(str(path), image_size=16, damaged="skip")
    assert source.labels().tolist() == [1, 26, 55]
    assert {fault.name for fault in skipped(source)} == set(BAD)


def test_damaged_files_are_named_or_left_out_by_choice(tmp_path: Path) -> None:
    path = folder(tmp_path / "x")
    (path / NAMES[2]).write_bytes(encoded(FACES[2])[:200])
    (path / NAMES[0]).write_bytes(b"")
    source = UtkFace(str(path), image_size=16)
    assert source.labels().tolist() == [1, 26, 55]
    with pytest.raises(
        UnreadableImages, match=r"1 of 3 images cannot be read: 26_1_4_20170116184028385\.jpg \(truncated"
    ):
        source.images(np.arange(3))
    lenient = UtkFace(str(path), image_size=16, damaged="skip")
    # The file of 100 years is not of the ages asked for, so that nobody looks at it.
    assert [fault.name for fault in skipped(lenient)] == [NAMES[2]]
    assert lenient.labels().tolist() == [1, 55]
    assert lenient.pool().tolist() == [0, 0]
    assert np.array_equal(lenient.images(np.array([1, 0])), FACES[[3, 1]])


def test_identity_of_a_folder_follows_names_content_and_options(tmp_path: Path) -> None:
    path, other = folder(tmp_path / "x"), folder(tmp_path / "y")
    identity = UtkFace(str(path)).identity()
    assert identity == UtkFace(str(other)).identity()
    assert str(tmp_path) not in str(identity)
    options: list[dict[str, Any]] = [{"image_size": 32}, {"fit": "stretch"}, {"damaged": "skip"}, {"minimum_age": 2}]
    assert all(identity != UtkFace(str(path), **option).identity() for option in options)
    (other / NAMES[1]).write_bytes(encoded(FACES[7]))
    assert identity != UtkFace(str(other)).identity()
    (path / NAMES[1]).rename(path / NAMES[1].replace("1_0_2", "2_0_2"))
    assert identity != UtkFace(str(path)).identity()


def test_a_file_of_ccgan_may_train_or_test_with_any_row_of_the_ages(tmp_path: Path) -> None:
    source = hdf5(tmp_path / "x.h5")
    kept = [0, 1, 4, 5, 7]
    assert source.labels().tolist() == AGES[kept].tolist()
    assert source.pool().tolist() == [0] * 5
    assert np.array_equal(source.images(np.array([4, 1, 1])), FACES[[7, 1, 1]])
    assert notes(source) == ("3 of 8 faces are left out: their age is not within 1 to 60 years.",)
    assert skipped(source) == ()
    floats = hdf5(tmp_path / "y.h5", labels=AGES.astype(np.float64))
    assert floats.labels().tolist() == AGES[kept].tolist()


def test_files_of_cgan_kd_bring_their_test_rows(tmp_path: Path) -> None:
    arrays = {"images_train": FACES[:5], "labels_train": AGES[:5], "images_test": FACES[5:], "labels_test": AGES[5:]}
    final = UtkFace(save(tmp_path / "x.h5", arrays), image_size=16)
    assert final.labels().tolist() == [1, 60, 26, 26, 35]
    assert final.pool().tolist() == [1, 1, 1, 2, 2]
    assert np.array_equal(final.images(np.arange(5)), FACES[[0, 1, 4, 5, 7]])

    lists = {"indx_train": np.array([7, 0, 2]), "indx_subtrain": np.array([7, 0]), "indx_subvalid": np.array([2])}
    first = hdf5(tmp_path / "y.h5", races=None, **lists, indx_test=np.array([1, 4, 3]))
    assert first.labels().tolist() == [1, 60, 26, 35]
    assert first.pool().tolist() == [1, 2, 2, 1]
    assert notes(first)[1] == "1 faces are left out that are in neither indx_train nor indx_test."
    listed = hdf5(tmp_path / "z.h5", indx_train=np.array([7, 0, 2]))
    assert listed.pool().tolist() == [1, 2, 2, 2, 1]


def test_images_of_an_hdf5_file_are_not_resized(tmp_path: Path) -> None:
    source = hdf5(tmp_path / "x.h5")
    with pytest.raises(DataError, match=r"3 x 16 x 16, which are not resized, .* is 64; set source\.image_size to 16"):
        UtkFace(source.path).labels()
    # Planning meets it, before anything is trained.
    with pytest.raises(DataError, match=r"set source\.image_size to 16"):
        _ = UtkFace(source.path).image_shape
    assert source.image_shape == (3, 16, 16)


def test_identity_of_an_hdf5_file_is_of_its_content_and_the_ages(tmp_path: Path) -> None:
    here = hdf5(tmp_path / "x.h5")
    (tmp_path / "y.h5").write_bytes((tmp_path / "x.h5").read_bytes())
    assert here.identity() == UtkFace(str(tmp_path / "y.h5"), image_size=16).identity()
    assert str(tmp_path) not in str(here.identity())
    assert here.identity() != UtkFace(here.path, image_size=16, maximum_age=50).identity()
    assert here.identity() != hdf5(tmp_path / "y.h5", labels=AGES + 1).identity()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"labels": AGES / 60}, r"labels must be whole numbers, got 0\.01"),
        ({"labels": AGES / 116}, "labels must be in the unit year, got 0 to 1, which looks normalised"),
        ({"labels": AGES - 2}, r"labels must be ages of 0 or more, got -2 in row 3"),
        (
            {"indx_train": np.array([1, 2]), "indx_test": np.array([2, 3])},
            "indx_test must name no row of indx_train, got 1",
        ),
        ({"races": None, "types": AGES}, r"the layout rc49; .*; try source\.kind rc49"),
        ({"images": FACES[:, :, :, :12]}, r"images of 3 x 16 x 12, .*; give another file"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        hdf5(tmp_path / "x.h5", **changes).pool()


def test_a_folder_without_images_and_unknown_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must hold image files, got none; unpack"):
        UtkFace(str(tmp_path)).identity()
    with pytest.raises(DataError, match=r"nowhere"):
        UtkFace(str(tmp_path / "nowhere")).labels()
    with pytest.raises(ConfigError, match="minimum_age must be 0 or more and below maximum_age, got 60 and 60"):
        UtkFace("x", minimum_age=60)
    with pytest.raises(ConfigError, match="image_size must be at least 4 pixels"):
        UtkFace("x", image_size=2)
    with pytest.raises(ConfigError, match="fit must be one of exact, crop, stretch, got 'pad'"):
        UtkFace("x", fit="pad")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="damaged must be error or skip, got 'keep'"):
        UtkFace("x", damaged="keep")  # type: ignore[arg-type]
