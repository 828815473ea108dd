"""A file that HDF5 writes through Python: the bytes of HDF5's own driver, and an error where HDF5 would crash."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

import data.hdf5_writing
import data.writing
from data.errors import DataError
from data.foreign.fake_h5 import write_fake_h5
from data.merging import merge_sets
from data.reading import verify_set
from data.schema import KINDS
from data.writing import write_set

META = {"provenance": {}, "license": "MIT"}
FULL = """
import resource, sys
from pathlib import Path
import numpy as np
from data.errors import DataError
from data.foreign.fake_h5 import write_fake_h5
from data.labels import LabelSpace
from data.writing import write_set
path, limit, rows = Path(sys.argv[1]), int(sys.argv[2]), 20_000
images = np.random.default_rng(0).integers(0, 256, (rows, 1, 4, 4), dtype=np.uint8)
labels, seeds = np.arange(rows) % 2, np.arange(rows, dtype=np.uint64)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    if sys.argv[3] == "set":
        columns = {"images": images, "labels": labels, "seed": seeds}
        space = LabelSpace("class", names=("a", "b"))
        write_set(path, columns, kind="samples", label_space=space, provenance={"a": "x" * 1000}, license="MIT")
    else:
        write_fake_h5(path, lambda start, stop: images[start:stop], labels, seeds, (1, 4, 4))
except DataError as error:
    sys.stderr.write(str(error))
    sys.exit(7)
"""


@pytest.mark.parametrize("layout", ["set", "fake"])
@pytest.mark.parametrize("limit", [0, 100, 200_000, 400_000])
def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path, layout, limit):
    environment = {**os.environ, "PYTHONPATH": str(Path(data.hdf5_writing.__file__).parents[1])}
    command = [sys.executable, "-c", FULL, str(tmp_path / "s.h5"), str(limit), layout]
    done = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    assert done.returncode == 7, done
    assert "cannot be written ([Errno 27] File too large); make room" in done.stderr
    assert list(tmp_path.iterdir()) == []


class OwnDriver:
    """The file itself in the place of a sink, so that HDF5 writes it as it does for everybody."""

    def __init__(self, path):
        self.path = path

    def __fspath__(self):
        return str(self.path)

    def check(self):
        """It has raised already."""


@pytest.mark.parametrize("rows", [0, 5, 5000])
def test_the_bytes_are_those_that_the_driver_of_hdf5_writes(tmp_path, class_space, make_columns, monkeypatch, rows):
    columns = make_columns(class_space, rows)
    settings = {"kind": "real", "label_space": class_space, "provenance": {"a": "x" * 40_000}, "license": "MIT"}
    write_set(tmp_path / "through.h5", columns, **settings)
    monkeypatch.setattr(data.writing, "writing_beside", lambda path: nullcontext(OwnDriver(path)))
    write_set(tmp_path / "own.h5", columns, **settings)
    assert (tmp_path / "through.h5").read_bytes() == (tmp_path / "own.h5").read_bytes()


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), KeyboardInterrupt()])
def test_an_error_within_a_write_comes_out_after_hdf5_has_closed(
    tmp_path, class_space, make_columns, monkeypatch, error
):
    def fail(*arguments):
        raise error

    monkeypatch.setattr(data.hdf5_writing.os, "pwrite", fail)
    columns = make_columns(class_space, 5, *KINDS["samples"])
    expected = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else DataError
    with pytest.raises(expected):
        write_set(tmp_path / "s.h5", columns, kind="samples", label_space=class_space, **META)
    with pytest.raises(expected):
        write_fake_h5(
            tmp_path / "s.h5", lambda a, b: columns["images"][a:b], columns["labels"], columns["seed"], (1, 3, 4)
        )
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []


def test_two_writers_of_one_path_both_finish_and_one_of_both_sets_is_there(
    tmp_path, class_space, make_columns, monkeypatch
):
    path, settings = tmp_path / "s.h5", {"kind": "samples", "label_space": class_space, **META}
    first, second = (make_columns(class_space, rows, *KINDS["samples"]) for rows in (9, 5))
    real, again = data.hdf5_writing.replace_durably, []

    def replace(temporary, target):
        if not again:
            again.append(temporary)
            # While the first one is about to rename, another writes the same path.
            write_set(path, second, **settings)
            assert verify_set(path)["rows"] == 5
        real(temporary, target)

    monkeypatch.setattr(data.hdf5_writing, "replace_durably", replace)
    write_set(path, first, **settings)
    assert verify_set(path)["rows"] == 9
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_of_a_person_that_is_called_tmp_is_left_alone(tmp_path, class_space, make_columns):
    paths = [tmp_path / "s.h5.tmp", tmp_path / "other.h5"]
    for number, path in enumerate(paths):
        columns = make_columns(class_space, 6, *KINDS["samples"], seed=number)
        write_set(path, columns, kind="samples", label_space=class_space, **META)
    before = paths[0].read_bytes()
    assert merge_sets(paths, tmp_path / "s.h5")["rows"] == 12
    assert paths[0].read_bytes() == before


def test_a_set_may_be_read_by_those_whom_the_umask_lets(tmp_path, class_space, make_columns):
    before = os.umask(0o027)
    try:
        columns = make_columns(class_space, 6, *KINDS["samples"])
        write_set(tmp_path / "s.h5", columns, kind="samples", label_space=class_space, **META)
    finally:
        os.umask(before)
    assert (tmp_path / "s.h5").stat().st_mode & 0o777 == 0o640
