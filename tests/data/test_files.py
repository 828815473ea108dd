"""Files beside their place: what killed writers left goes, what others are writing stays."""

from __future__ import annotations

import os
import time

import pytest

from data.files import create_beside, write_json


def old(path):
    long_ago = time.time() - 3600
    os.utime(path, (long_ago, long_ago))
    return path


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path):
    left = tmp_path / "set.h5.0123456789ab.tmp"
    kept = [tmp_path / name for name in ("set.h5.tmp", "other.h5.0123456789ab.tmp", "set.h5.notes.tmp", "set.h5")]
    for path in (left, *kept):
        path.write_bytes(b"rows")
        old(path)
    descriptor, temporary = create_beside(tmp_path / "set.h5")
    os.close(descriptor)
    assert not left.exists()
    assert all(path.exists() for path in (*kept, temporary))


def test_a_file_that_is_being_written_stays_however_old(tmp_path):
    descriptor, writing = create_beside(tmp_path / "set.h5")
    old(writing)
    another, beside = create_beside(tmp_path / "set.h5")
    assert writing.exists()
    os.close(descriptor)
    # The writer is gone, and its file is not new.
    third, _ = create_beside(tmp_path / "set.h5")
    assert not writing.exists()
    assert beside.exists()
    os.close(another)
    os.close(third)


@pytest.mark.parametrize("name", ["x" * 200, "\N{SNOWMAN}" * 70, "a[0-9]*.json"])
def test_names_may_be_long_or_look_like_patterns(name, tmp_path):
    write_json(tmp_path / name, {"a": 1})
    assert [path.name for path in tmp_path.iterdir()] == [name]
