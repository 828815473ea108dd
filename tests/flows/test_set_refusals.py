"""What the commands on sets refuse rather than do badly: damage, too few rows, images of two labels."""

from __future__ import annotations

import numpy as np
import pytest

from data.labels import Axis, LabelSpace
from data.reading import open_set
from data.writing import write_set
from flows.cli import main
from flows.set_exporting import SET_FORMATS

CLASSES = LabelSpace("class", ("cat", "dog"))
POSE = LabelSpace("vector", axes=(Axis("yaw", "degree", 0, 60), Axis("size", "", 0, 1)))


def write(path, space=CLASSES, *, rows=12, split=0):
    rng = np.random.default_rng(0)
    columns = {
        "images": rng.integers(0, 256, (rows, 1, 8, 8), dtype=np.uint8),
        "labels": rng.integers(0, 2, (rows, *space.label_shape)).astype(space.dtype),
        "seed": np.arange(rows, dtype=np.uint64),
        "split": np.full(rows, split, np.uint8),
        "teacher_outputs": rng.normal(size=(rows, space.outputs)).astype(np.float32),
    }
    write_set(path, columns, kind="samples", label_space=space, license="MIT", provenance={})
    return path


@pytest.fixture
def data(capsys):
    def command(*words):
        capsys.readouterr()
        status = main(["data", *map(str, words)])
        shown = capsys.readouterr()
        return status, shown.out, " ".join(shown.err.split())

    return command


@pytest.mark.parametrize("words", [*(("export", "--format", name) for name in SET_FORMATS), ("card",)])
def test_damaged_images_are_not_handed_on_as_whole(tmp_path, data, words):
    path = write(tmp_path / "set.h5")
    whole = bytearray(path.read_bytes())
    whole[whole.index(np.asarray(open_set(path).columns["images"])[7].tobytes())] ^= 4
    path.write_bytes(whole)
    status, _, err = data(words[0], path, *words[1:], "--out", tmp_path / "out")
    assert status == 3
    assert "images rows 0..11 is damaged" in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("words", [("export", "--format", "parquet"), ("export", "--format", "fake-h5"), ("card",)])
def test_a_folder_that_is_not_there_is_named(tmp_path, data, words):
    out = tmp_path / "nodir" / "out"
    status, _, err = data(words[0], write(tmp_path / "set.h5"), *words[1:], "--out", out)
    assert status == 2
    assert f"got {out}; make {tmp_path / 'nodir'} first." in err


@pytest.mark.parametrize("relation", ["near_label", "teacher_similar", "uniform"])
@pytest.mark.parametrize("options", [{"rows": 0}, {"split": 2}])
def test_a_set_without_training_rows_has_no_comparisons(tmp_path, data, relation, options):
    path = write(tmp_path / "set.h5", POSE, **options)
    status, _, err = data("pairs", path, "--relation", relation, "--out", tmp_path / "out.h5")
    assert status == 2
    assert "must have at least one comparison of 1 with 1 rows, got none among 0 rows" in err


def test_too_few_rows_to_mix_are_counted_and_their_file_is_named(tmp_path, data):
    path = write(tmp_path / "set.h5", split=1)
    status, _, err = data("mix", path, "--out", tmp_path / "out.h5")
    assert status == 3
    assert f"{path}: must have at least 2 training rows (of 12 in all) to mix, got 0" in err


@pytest.mark.parametrize("words", [(), ("--materialise",)])
def test_mixed_images_are_not_mixed_again(tmp_path, data, words):
    path, mixed = write(tmp_path / "set.h5"), tmp_path / "mixed.h5"
    assert data("mix", path, "--count", 6, "--materialise", "--out", mixed)[0] == 0
    status, _, err = data("mix", mixed, "--count", 3, *words, "--out", tmp_path / "out.h5")
    assert status == 3
    assert "must be of images of one label each, got kind 'mixed'" in err
    assert not (tmp_path / "out.h5").exists()
    status, _, err = data("pairs", mixed, "--relation", "same_class", "--count", 3, "--out", tmp_path / "out.h5")
    assert status == 3
    assert "must have rows of one label each, got kind 'mixed'" in err


def test_what_left_comparisons_out_is_named(tmp_path, data):
    path = write(tmp_path / "set.h5")
    words = ("pairs", path, "--count", 1000)
    assert "132 comparisons (all that there are; 1000 were" in data(*words, "--out", tmp_path / "a.h5")[1]
    _, out, _ = data(*words, "--most-per-row", 2, "--out", tmp_path / "b.h5")
    assert "(all that --most-per-row 2 leaves room for; 1000 were asked for)" in out


@pytest.mark.parametrize(
    ("words", "then"), [(("data", "export"), "begins anew"), (("run",), "goes on where it stopped")]
)
def test_an_interrupted_command_says_whether_it_goes_on(capsys, monkeypatch, words, then):
    def interrupted(*_, **__):
        raise SystemExit(130)

    monkeypatch.setattr("flows.cli.app", interrupted)
    assert main(list(words)) == 130
    assert f"interrupted; the same command {then}." in capsys.readouterr().err
