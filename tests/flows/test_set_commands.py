"""The commands ``stillhouse data``: what they print and write, for people and programs, and what they refuse."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest

from data.labels import Axis, LabelSpace
from data.reading import open_set
from data.recipes.groups import read_groups
from data.recipes.mixes import read_mixes
from data.writing import write_set
from flows.cli import main

CLASSES = LabelSpace("class", ("cat", "dog", "\x1b[31mred"))
ANGLE = LabelSpace("scalar", name="yaw angle", unit="degree", minimum=0, maximum=60)
POSE = LabelSpace("vector", axes=(Axis("yaw", "degree", 0, 60), Axis("size", "", 0, 1)))
BOTH = LabelSpace("class+scalar", ("cat", "dog"), name="age", unit="year", minimum=0, maximum=6)


def labels_of(space, count):
    number = np.arange(count)
    values = (
        np.stack([number % 7 * (axis.maximum / 6) for axis in space.dimensions], axis=1) if space.dimensions else None
    )
    return space.join(number % space.classes if space.has_classes else None, values)


def real(path, space=CLASSES, *, rows=60, seed=0, outputs=False):
    rng = np.random.default_rng(seed)
    columns = {
        "images": rng.integers(0, 256, (rows, 1, 8, 6), dtype=np.uint8),
        "labels": labels_of(space, rows),
        "split": (np.arange(rows) // 3 % 3).astype(np.uint8),
        "source_row": np.arange(rows),
    }
    if outputs:
        columns["teacher_outputs"] = rng.normal(size=(rows, space.outputs)).astype(np.float32)
    provenance = {"source": {"name": "my data"}, "homepage": "https://example.org"}
    write_set(path, columns, kind="real", label_space=space, provenance=provenance, license="CC0-1.0")
    return path


@pytest.fixture
def data(capsys):
    """A command of ``stillhouse data``: status, output, and what went to standard error as one line."""

    def command(*words):
        capsys.readouterr()
        status = main(["data", *map(str, words)])
        shown = capsys.readouterr()
        return status, shown.out, " ".join(shown.err.split())

    return command


def test_info_tells_people_what_a_set_holds(tmp_path, data):
    path = real(tmp_path / "set.h5", outputs=True)
    status, out, _ = data("info", path)
    assert status == 0
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[0] == f"{path}: a set of kind 'real', format version 1"
    for line in (
        "rows 60",
        "labels 3 classes",
        "parts 21 training, 21 validation, 18 test",
        "license CC0-1.0",
        "source my data",
        "homepage https://example.org",
        "images uint8 60 x 1 x 8 x 6 2.8 KiB",
        "0 cat 20",
        f"content SHA-256 {open_set(path).content_sha256}",
    ):
        assert line in lines
    assert any(line.startswith("images 6 x 8 pixels (width x height), grey, levels 0 to 25") for line in lines)
    # Names are of whoever made the file: they must not steer the terminal.
    assert "\x1b" not in out
    assert not out.startswith("{")


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        (ANGLE, ["labels yaw angle from 0 to 60 degree", "yaw angle [degree] rows", "0 to 10 9", "50 to 60 16"]),
        (POSE, ["labels yaw from 0 to 60 degree, size from 0 to 1", "yaw [degree] rows", "size rows"]),
        (BOTH, ["labels 2 classes with age from 0 to 6 year", "1 dog 30", "age [year] rows"]),
    ],
)
def test_info_counts_values_in_ranges(space, expected, tmp_path, data):
    path = real(tmp_path / "set.h5", space)
    status, out, _ = data("info", path)
    assert status == 0
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert set(expected) <= set(lines), lines
    for axis in space.dimensions:
        first = next(
            place for place, line in enumerate(lines) if line == f"{axis.name} [{axis.unit}] rows".replace(" []", "")
        )
        counts = [int(line.rsplit(" ", 1)[1]) for line in lines[first + 1 : first + 7]]
        assert sum(counts) == 60


def test_many_classes_are_summed_up(tmp_path, data):
    space = LabelSpace("class", tuple(f"class {number}" for number in range(50)))
    status, out, _ = data("info", real(tmp_path / "set.h5", space, rows=75))
    assert status == 0
    assert "50 classes with 1 ('class 25') to 2 ('class 0') rows; --json tells all." in out


def test_info_is_json_for_programs(tmp_path, data):
    path = real(tmp_path / "set.h5")
    status, out, _ = data("info", path, "--json")
    told = json.loads(out)
    assert status == 0
    assert told["rows"] == 60
    assert told["columns"]["images"]["shape"] == [60, 1, 8, 6]
    assert told["labels"]["labels"]["dog"] == 20


def test_pairs_are_of_the_relation_that_is_asked_for(tmp_path, data):
    path = real(tmp_path / "set.h5", outputs=True)
    labels = np.asarray(open_set(path).columns["labels"])
    for relation, equal in (("same_class", True), ("different_class", False)):
        out = tmp_path / f"{relation}.h5"
        words = ("pairs", path, "--relation", relation, "--negative", 2, "--count", 30, "--most-per-row", 8)
        status, told, err = data(*words, "--out", out, "--json")
        assert status == 0, err
        groups = read_groups(out)
        assert json.loads(told)["groups"] == len(groups.positive) == 30
        assert ((labels[groups.positive] == labels[groups.negative]) == equal).all()
        members = np.concatenate([groups.positive, groups.negative], axis=1)
        assert np.bincount(members.reshape(-1)).max() <= 8
        assert not (members // 3 % 3).any()
        assert open_set(out).provenance["relation"] == relation
    out = tmp_path / "similar.h5"
    assert data("pairs", path, "--relation", "teacher_similar", "--neighbours", 4, "--count", 9, "--out", out)[0] == 0


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        (
            ("--relation", "teacher_similar"),
            3,
            "must have the column 'teacher_outputs', got kind 'real' without it; wit",
        ),
        (("--relation", "near_label"), 2, "relation near_label must have labels with values, got classes alone"),
        (("--relation", "nearest"), 2, "relation must be one of uniform, same_class"),
        (("--positive", 30), 2, "must have at least one comparison"),
    ],
)
def test_pairs_that_cannot_be_are_refused(words, status, sentence, tmp_path, data):
    path, out = real(tmp_path / "set.h5"), tmp_path / "pairs.h5"
    found = data("pairs", path, *words, "--out", out)
    assert found[0] == status
    assert sentence in found[2]
    assert not out.exists()


def test_mixes_are_written_as_rows_or_as_images(tmp_path, data):
    path, out = real(tmp_path / "set.h5"), tmp_path / "mixes.h5"
    words = ("mix", path, "--kind", "mixup", "--alpha", 0.4, "--count", 25, "--seed", 2)
    status, told, err = data(*words, "--out", out, "--json")
    assert status == 0, err
    mixes = read_mixes(out)
    told = json.loads(told)
    assert told == {"path": str(out), "of": mixes.of, "content_sha256": mixes.content_sha256, "mixes": 25}
    assert not (mixes.first // 3 % 3).any()
    whole = tmp_path / "mixed.h5"
    status, told, err = data(*words, "--materialise", "--out", whole)
    assert status == 0, err
    assert told.startswith(f"{whole}: 25 mixed images of {path} by mixup")
    images = open_set(path).columns["images"]
    share = mixes.coefficient[:, None, None, None].astype(np.float64)
    expected = np.rint(share * images[mixes.first] + (1 - share) * images[mixes.second])
    made = open_set(whole)
    assert made.kind == "mixed"
    np.testing.assert_array_equal(made.columns["images"], expected.astype(np.uint8))
    for made_of in (out, whole):
        assert data("verify", made_of)[:2] == (0, f"{made_of} is whole.\n")
        status, text, _ = data("info", made_of)
        assert status == 0
        assert "by mixup, of two rows each" in text


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--kind", "mixop"), "kind of mixes must be 'mixup' or 'cutmix', got 'mixop'"),
        (("--alpha", 0), "alpha of mixes must be a finite number above 0, got 0"),
    ],
)
def test_mixes_that_cannot_be_are_refused(words, sentence, tmp_path, data):
    status, _, err = data("mix", real(tmp_path / "set.h5"), *words, "--out", tmp_path / "mixes.h5")
    assert status == 2
    assert sentence in err


def test_sets_are_merged(tmp_path, data):
    first, second = real(tmp_path / "a.h5"), real(tmp_path / "b.h5", seed=1)
    out = tmp_path / "both.h5"
    status, told, err = data("merge", first, second, "--out", out, "--json")
    assert status == 0, err
    assert json.loads(told)["rows"] == 120
    joined = open_set(out)
    wanted = np.concatenate([open_set(path).columns["images"] for path in (first, second)])
    assert {image.tobytes() for image in joined.columns["images"]} == {image.tobytes() for image in wanted}
    assert data("verify", out)[0] == 0
    status, _, err = data("merge", first, "--out", tmp_path / "one.h5")
    assert status == 2
    assert "FILE must be given at least twice" in err
    status, _, err = data("merge", first, real(tmp_path / "c.h5", ANGLE), "--out", tmp_path / "odd.h5")
    assert status == 3
    assert "c.h5" in err


def test_images_that_another_set_tests_with_are_left_out_of_training_by_choice(tmp_path, data):
    first, out = real(tmp_path / "a.h5"), tmp_path / "both.h5"
    found = open_set(first)
    columns = {name: np.array(values) for name, values in found.columns.items()}
    columns["split"] = (columns["split"] + 1) % 3
    second = tmp_path / "b.h5"
    write_set(second, columns, kind="real", label_space=CLASSES, provenance={}, license="CC0-1.0")
    status, _, err = data("merge", first, second, "--out", out)
    assert status == 3
    assert "choose to drop leaks (--drop-leaks)" in err
    status, told, err = data("merge", first, second, "--drop-leaks", "--out", out)
    assert status == 0, err
    joined = open_set(out)
    # Each image is in two parts; the row of the earlier part goes.
    assert len(joined) == 60
    assert "60 rows of 2 sets, 60 dropped leaks" in told
    parts = {image.tobytes(): part for image, part in zip(columns["images"], columns["split"], strict=True)}
    kept = {image.tobytes(): part for image, part in zip(*map(joined.columns.get, ("images", "split")), strict=True)}
    before = {image.tobytes(): part for image, part in zip(*map(found.columns.get, ("images", "split")), strict=True)}
    assert kept == {image: max(part, before[image]) for image, part in parts.items()}


COMMANDS = [("pairs", ()), ("mix", ()), ("merge", ("again",))]


@pytest.mark.parametrize(("command", "more"), COMMANDS)
def test_nothing_is_overwritten(command, more, tmp_path, data):
    path, out = real(tmp_path / "set.h5"), tmp_path / "there.h5"
    out.write_bytes(b"precious")
    words = [command, path, *([real(tmp_path / "other.h5", seed=3)] if more else []), "--out", out]
    status, _, err = data(*words)
    assert status == 2
    assert f"--out must be a new file, got {out}, which is there; remove it first." in err
    assert out.read_bytes() == b"precious"
    words[-1] = tmp_path / "absent" / "new.h5"
    status, _, err = data(*words)
    assert status == 2
    assert f"make {tmp_path / 'absent'} first." in err


@pytest.mark.parametrize("command", ["info", "verify", "pairs", "mix", "merge", "export", "card"])
def test_what_is_no_set_is_told_in_a_sentence(command, tmp_path, data):
    path = tmp_path / "bad.h5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(300))
    more = {
        "pairs": ("--out", tmp_path / "o.h5"), "mix": ("--out", tmp_path / "o.h5"),
        "merge": (path, "--out", tmp_path / "o.h5"), "export": ("--format", "image-folder", "--out", tmp_path / "o"),
        "card": ("--out", tmp_path / "o"),
    }.get(command, ())  # fmt: skip
    status, out, err = data(command, path, *more)
    assert status == 3
    assert "bad.h5" in err
    assert err.startswith("stillhouse: ")
    assert not out
    assert not (tmp_path / "o").exists()
    assert not (tmp_path / "o.h5").exists()


def test_files_that_a_person_names_are_parsed_in_another_process(tmp_path, data, monkeypatch):
    path, other = real(tmp_path / "set.h5"), real(tmp_path / "other.h5", seed=2)
    opened = []
    original = h5py.File

    def record(name, *arguments, **options):
        opened.append(str(name))
        return original(name, *arguments, **options)

    monkeypatch.setattr(h5py, "File", record)
    for number, words in enumerate(
        [
            ("info", path), ("verify", path), ("pairs", path, "--count", 9, "--out"), ("mix", path, "--out"),
            ("merge", path, other, "--out"), ("export", path, "--format", "image-folder", "--out"),
        ]
    ):  # fmt: skip
        out = [tmp_path / f"out-{number}"] if words[-1] == "--out" else []
        status, _, err = data(*words, *out)
        assert status == 0, err
    assert opened
    assert not {str(path), str(other)} & set(opened)


def test_damaged_images_are_not_made_whole_by_mixing_them(tmp_path, data):
    path = real(tmp_path / "set.h5")
    whole = bytearray(path.read_bytes())
    whole[whole.index(np.asarray(open_set(path).columns["images"])[7].tobytes())] ^= 4
    path.write_bytes(whole)
    status, _, err = data("mix", path, "--materialise", "--out", tmp_path / "mixed.h5")
    assert status == 3
    assert "images rows 0..59 is damaged" in err
    assert not (tmp_path / "mixed.h5").exists()


def test_a_flipped_bit_is_found_and_named(tmp_path, data):
    path = real(tmp_path / "set.h5")
    whole = bytearray(path.read_bytes())
    image = np.asarray(open_set(path).columns["images"])[7].tobytes()
    whole[whole.index(image)] ^= 4
    path.write_bytes(whole)
    assert data("info", path)[0] == 0
    status, _, err = data("verify", path)
    assert status == 3
    assert "images rows 0..59 is damaged" in err


def test_sets_are_exported_and_told_to_strangers(tmp_path, data):
    path = real(tmp_path / "set.h5", BOTH)
    status, told, err = data("export", path, "--format", "image-folder", "--out", tmp_path / "folder", "--json")
    assert status == 0, err
    assert json.loads(told)["images"] == 60
    words = ("card", path, "--out", tmp_path / "card", "--title", "My data", "--creator", "A. Person", "--json")
    status, told, err = data(*words)
    assert status == 0, err
    assert "My data" in (tmp_path / "card" / "README.md").read_text()
    status, _, err = data("export", path, "--format", "tar", "--out", tmp_path / "x")
    assert status == 2
    assert "--format must be one of" in err
