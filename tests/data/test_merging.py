from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.errors import ConfigError, DataError
from data.labels import Axis, LabelSpace
from data.merging import MERGEABLE, merge_sets
from data.reading import open_set, verify_set
from data.schema import BLOCK_ROWS, KINDS
from data.writing import shuffled_order, write_set

SPACE = LabelSpace("class", names=("cat", "dog", "bird"))


@pytest.fixture
def make(tmp_path: Path, make_columns: Any) -> Any:
    """Writes a set of random columns and returns its path and columns."""

    def make(name: str, rows: int, kind: str = "real", space: LabelSpace = SPACE, seed: int = 0, **options: Any) -> Any:
        changed = options.pop("changed", {})
        more = options.pop("more", ())
        columns = make_columns(space, rows, *KINDS[kind], *more, seed=seed) | changed
        described = {"kind": kind, "label_space": space, "provenance": {"name": name}, "license": "MIT"} | options
        write_set(tmp_path / name, columns, **described)
        return tmp_path / name, columns

    return make


@pytest.mark.parametrize("kind", MERGEABLE)
def test_rows_of_all_inputs_are_there_in_the_order_told(
    make: Any, tmp_path: Path, kind: str, label_space: LabelSpace
) -> None:
    inputs = [make(f"{number}.h5", rows, kind, label_space, number) for number, rows in enumerate((5, 0, 4100))]
    result = merge_sets([path for path, _ in inputs], tmp_path / "out.h5", shuffle_seed=3)
    merged = open_set(tmp_path / "out.h5")
    order = shuffled_order(4105, 3)
    for name in KINDS[kind]:
        wanted = np.concatenate([columns[name] for _, columns in inputs])
        if name == "source_row":
            wanted = np.arange(4105)
        assert np.array_equal(merged.columns[name], wanted[order]), name
    assert np.array_equal(merged.columns["source_row"], order)
    assert merged.kind == kind
    assert merged.label_space == label_space
    assert verify_set(tmp_path / "out.h5")["rows"] == 4105 == result["rows"]
    told = merged.provenance["merged"]
    assert [item["content_sha256"] for item in told] == [open_set(path).content_sha256 for path, _ in inputs]
    assert [item["provenance"] for item in told] == [{"name": f"{number}.h5"} for number in range(3)]
    assert json.loads(json.dumps(result)) == result
    assert str(tmp_path) not in json.dumps(merged.provenance)
    assert result["identical_images"] == 0


def test_equal_inputs_give_equal_bytes_wherever_they_lie(make: Any, tmp_path: Path) -> None:
    paths = [make("a.h5", 6)[0], make("b.h5", 7, seed=1)[0]]
    (tmp_path / "there").mkdir()
    moved = [path.rename(tmp_path / "there" / path.name) for path in paths]
    merge_sets(moved, tmp_path / "1.h5")
    [path.rename(tmp_path / path.name) for path in moved]
    merge_sets(paths, tmp_path / "2.h5")
    assert (tmp_path / "1.h5").read_bytes() == (tmp_path / "2.h5").read_bytes()


def test_sets_can_be_merged_again_and_again(make: Any, tmp_path: Path) -> None:
    path = make("a.h5", 2)[0]
    for number in range(1, 9):
        other, into = make("other.h5", 2, seed=number)[0], tmp_path / f"{number}.h5"
        merge_sets([path, other], into)
        path = into
    merged = open_set(path)
    assert len(merged) == 18
    assert merged.provenance["merged"][1]["content_sha256"] == open_set(other).content_sha256
    before = merged.provenance["merged"][0]["provenance"]["merged"]
    assert [sorted(item) for item in before] == [["content_sha256", "kept", "kind", "license", "rows"]] * 2
    assert [item["rows"] for item in before] == [14, 2]


def test_columns_that_not_all_have_are_left_out_and_named(make: Any, tmp_path: Path) -> None:
    first, _ = make("a.h5", 4, more=("seed", "view", "teacher_outputs"))
    second, _ = make("b.h5", 4, seed=1, more=("seed", "positive"))
    result = merge_sets([first, second], tmp_path / "out.h5")
    assert sorted(open_set(tmp_path / "out.h5").columns) == ["images", "labels", "seed", "source_row", "split"]
    assert result["left_out"] == ["positive", "teacher_outputs", "view"]


def test_several_kinds_give_the_one_that_demands_most_of_what_all_have(make: Any, tmp_path: Path) -> None:
    synthetic, candidates = make("a.h5", 4, "synthetic")[0], make("b.h5", 4, "candidates", seed=1)[0]
    samples, real = make("c.h5", 4, "samples", seed=2)[0], make("d.h5", 4, "real", seed=3, more=("seed",))[0]
    assert merge_sets([synthetic, candidates], tmp_path / "1.h5")["kind"] == "candidates"
    assert merge_sets([samples, candidates], tmp_path / "2.h5")["kind"] == "samples"
    with pytest.raises(DataError, match="sets of the kinds real, samples have no kind in common"):
        merge_sets([real, samples], tmp_path / "3.h5")
    groups, _ = make("e.h5", 4, "groups")
    with pytest.raises(DataError, match=r"e\.h5: must be of a kind whose rows are images with labels .*got 'groups'"):
        merge_sets([real, groups], tmp_path / "3.h5")
    assert not (tmp_path / "3.h5").exists()


ANGLES = LabelSpace("scalar", name="yaw angle", unit="degree", minimum=0.0, maximum=90.0)
POSES = LabelSpace("vector", axes=(Axis("yaw", "degree", 0.0, 90.0), Axis("shift", "", -1.0, 1.0)))


def test_ranges_of_axes_are_joined_and_labels_stay_in_their_units(make: Any, tmp_path: Path) -> None:
    first, one = make("a.h5", 5, "real", ANGLES)
    second, two = make("b.h5", 6, "real", replace(ANGLES, minimum=-30.0, maximum=60.0), seed=1)
    merge_sets([first, second], tmp_path / "out.h5", shuffle_seed=None)
    merged = open_set(tmp_path / "out.h5")
    assert merged.label_space == replace(ANGLES, minimum=-30.0, maximum=90.0)
    assert np.array_equal(merged.columns["labels"], np.concatenate([one["labels"], two["labels"]]))
    wider = replace(POSES, axes=(POSES.axes[0], replace(POSES.axes[1], maximum=4.0)))
    first, second = make("c.h5", 3, "real", POSES)[0], make("d.h5", 3, "real", wider, seed=1)[0]
    merge_sets([first, second], tmp_path / "out.h5")
    assert open_set(tmp_path / "out.h5").label_space == wider
    first, second = make("e.h5", 3, "synthetic", POSES)[0], make("f.h5", 3, "synthetic", wider, seed=1)[0]
    with pytest.raises(DataError, match=r"e\.h5: has teacher_error as a share of its label ranges, which differ"):
        merge_sets([first, second], tmp_path / "out.h5")


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (SPACE, ANGLES, "got scalar labels instead of class"),
        (SPACE, LabelSpace("class", ("cat", "bird", "dog")), "got 'bird' in the place of 'dog'"),
        (SPACE, LabelSpace("class", ("cat", "dog")), "got 2 classes instead of 3"),
        (ANGLES, replace(ANGLES, unit="radian"), r"got 'yaw angle \(radian\)' in the place of 'yaw angle \(degree\)'"),
        (POSES, replace(POSES, axes=(*POSES.axes, Axis("tilt"))), "got '3 axes' in the place of '2'"),
    ],
)
def test_other_label_spaces_are_refused(
    make: Any, tmp_path: Path, first: LabelSpace, second: LabelSpace, message: str
) -> None:
    paths = [make("a.h5", 3, "real", first)[0], make("b.h5", 3, "real", second, seed=1)[0]]
    with pytest.raises(DataError, match=rf"b\.h5: must have the label space of .*a\.h5, {message}"):
        merge_sets(paths, tmp_path / "out.h5")


def test_what_does_not_fit_is_refused(make: Any, tmp_path: Path) -> None:
    first, columns = make("a.h5", 4)
    with pytest.raises(ConfigError, match="merge must join at least 2 sets, got 1"):
        merge_sets([first], tmp_path / "out.h5")
    with pytest.raises(ConfigError, match="which is one of its inputs"):
        merge_sets([first, make("b.h5", 4, seed=1)[0]], first)
    again, _ = make("c.h5", 4, changed=columns, license="CC0-1.0")
    with pytest.raises(DataError, match=r"c\.h5: holds the same rows as .*a\.h5"):
        merge_sets([first, again], tmp_path / "out.h5")
    big, _ = make("d.h5", 4, changed={"images": np.zeros((4, 3, 3, 4), np.uint8)})
    with pytest.raises(DataError, match=r"d\.h5: images must have the shape \(1, 3, 4\) of those in .*got \(3, 3, 4\)"):
        merge_sets([first, big], tmp_path / "out.h5")
    free, _ = make("e.h5", 4, seed=5, license="CC0-1.0")
    with pytest.raises(DataError, match=r"e\.h5: must have the license of .*'MIT', got 'CC0-1\.0'; name the license"):
        merge_sets([first, free], tmp_path / "out.h5")
    merge_sets([first, free], tmp_path / "out.h5", license="MIT AND CC0-1.0")
    assert open_set(tmp_path / "out.h5").license == "MIT AND CC0-1.0"
    content = bytearray(free.read_bytes())
    place = content.find(open_set(free).columns["images"].tobytes())
    content[place + 3] ^= 1
    free.write_bytes(content)
    with pytest.raises(DataError, match=r"e\.h5: images rows 0\.\.3 is damaged"):
        merge_sets([first, free], tmp_path / "out.h5", license="MIT")


def splits(make: Any, *parts: list[tuple[int, int]]) -> list[Path]:
    """Sets of images that are told by a number, each with its part of the split."""
    paths = []
    for number, rows in enumerate(parts):
        images = np.zeros((len(rows), 1, 3, 4), np.uint8)
        images[:, 0, 0, 0] = [image for image, _ in rows]
        changed = {"images": images, "split": np.array([part for _, part in rows], np.uint8)}
        changed["labels"] = np.array([image % 3 for image, _ in rows])
        paths.append(make(f"{number}.h5", len(rows), changed=changed, seed=number)[0])
    return paths


def held(path: Path) -> list[tuple[int, int, int]]:
    found = open_set(path).columns
    told = (found["images"][:, 0, 0, 0], found["split"], found["source_row"])
    return sorted(zip(*(values.tolist() for values in told), strict=True))


def test_an_image_that_trains_here_and_tests_there_is_a_leak(make: Any, tmp_path: Path) -> None:
    # Image 1 trains in the first and tests in the second, 2 the other way, 3 trains and validates, 4 trains in both.
    paths = splits(make, [(1, 0), (2, 2), (3, 0), (4, 0), (5, 1)], [(9, 0), (4, 0), (3, 1), (2, 0), (1, 2)])
    with pytest.raises(DataError, match=r"3 images of a training or validation part are in a later part") as caught:
        merge_sets(paths, tmp_path / "out.h5")
    for pair in (
        "0.h5 row 0 (training) and {}1.h5 row 4 (test)",
        "0.h5 row 2 (training) and {}1.h5 row 2 (validation)",
        "1.h5 row 3 (training) and {}0.h5 row 1 (test)",
    ):
        assert pair.format(f"{tmp_path}/") in str(caught.value)
    result = merge_sets(paths, tmp_path / "out.h5", drop_leaks=True)
    assert result["dropped_leaks"] == 3
    assert result["dropped_duplicates"] == 0
    assert result["identical_images"] == 4
    assert [item["kept"] for item in result["inputs"]] == [3, 4]
    assert held(tmp_path / "out.h5") == [
        (1, 2, 9),
        (2, 2, 1),
        (3, 1, 7),
        (4, 0, 3),
        (4, 0, 6),
        (5, 1, 4),
        (9, 0, 5),
    ]


def test_leaks_are_found_as_a_loop_over_all_pairs_finds_them(make: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    parts = [[(int(image), int(rng.integers(3))) for image in rng.integers(0, 9, 7)] for _ in range(3)]
    rows = [(number, image, part) for number, items in enumerate(parts) for image, part in items]
    leaks = {
        row
        for row, (here, image, part) in enumerate(rows)
        if any(image == other and part < later and here != there for there, other, later in rows)
    }
    assert 3 < len(leaks) < len(rows)
    paths = splits(make, *parts)
    merge_sets(paths, tmp_path / "out.h5", drop_leaks=True)
    kept = [(image, part, row) for row, (_, image, part) in enumerate(rows) if row not in leaks]
    assert held(tmp_path / "out.h5") == sorted(kept)
    merge_sets(paths, tmp_path / "out.h5", drop_leaks=True, drop_duplicates=True)
    best: dict[int, tuple[int, int]] = {}
    for image, part, row in kept:
        if image not in best or part > best[image][0]:
            best[image] = part, row
    assert held(tmp_path / "out.h5") == sorted((image, part, row) for image, (part, row) in best.items())


def test_what_one_set_repeats_within_itself_is_no_leak_between_sets(make: Any, tmp_path: Path) -> None:
    paths = splits(make, [(1, 0), (1, 2)], [(2, 0), (2, 0)])
    result = merge_sets(paths, tmp_path / "out.h5")
    assert (result["rows"], result["identical_images"]) == (4, 2)
    result = merge_sets(paths, tmp_path / "out.h5", drop_duplicates=True)
    assert result["dropped_duplicates"] == 2
    assert held(tmp_path / "out.h5") == [(1, 2, 1), (2, 0, 2)]


def test_labels_that_contradict_each_other_are_counted(make: Any, tmp_path: Path) -> None:
    images = np.arange(36, dtype=np.uint8).reshape(3, 1, 3, 4)
    first, _ = make("a.h5", 3, "samples", changed={"images": images, "labels": np.array([0, 1, 2])})
    second, _ = make("b.h5", 3, "samples", changed={"images": images[::-1], "labels": np.array([2, 0, 0])}, seed=1)
    result = merge_sets([first, second], tmp_path / "out.h5", drop_duplicates=True)
    assert (result["identical_images"], result["contradicting_labels"], result["rows"]) == (3, 1, 3)


def test_memory_stays_at_a_few_blocks_of_rows(make: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    paths = []
    for number in range(3):
        images = rng.integers(0, 256, (5000, 3, 32, 32), np.uint8)
        paths.append(make(f"{number}.h5", 5000, "samples", changed={"images": images}, seed=number)[0])
    del images
    tracemalloc.start()
    merge_sets(paths, tmp_path / "out.h5")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * BLOCK_ROWS * 3072


def test_a_split_that_one_input_lacks_is_not_dropped_unasked(make: Any, tmp_path: Path) -> None:
    paths = [make("a.h5", 9, "samples", more=("split",))[0], make("b.h5", 9, "samples", seed=1)[0]]
    with pytest.raises(DataError, match=r"b\.h5: has no split, which other sets have"):
        merge_sets(paths, tmp_path / "out.h5")
    assert not (tmp_path / "out.h5").exists()
    assert merge_sets(paths, tmp_path / "out.h5", drop_split=True)["left_out"] == ["split"]


def test_names_of_a_set_do_not_steer_the_terminal(make: Any, tmp_path: Path) -> None:
    spaces = [LabelSpace("class", names=("cat", name)) for name in ("dog", "x\n\x1b[2J")]
    paths = [make(f"{n}.h5", 9, "samples", space=space, seed=n)[0] for n, space in enumerate(spaces)]
    with pytest.raises(DataError, match="in the place of") as caught:
        merge_sets(paths, tmp_path / "out.h5")
    assert str(caught.value).isprintable()
