"""Blocks of large images are read, written and digested in pieces, of which no byte and no digest may depend."""

from __future__ import annotations

import tracemalloc
from typing import Any

import h5py
import numpy as np
import pytest

import data.digests
import data.writing
from data.digests import pieces
from data.errors import DataError
from data.identical_images import ids_of_images
from data.reading import open_set, verify_set
from data.schema import KINDS
from data.writing import consolidate, write_set

META: dict[str, Any] = {"provenance": {}, "license": "CC-BY-4.0"}


@pytest.mark.parametrize(
    ("row_bytes", "wanted"),
    [(30, [(5, 8), (8, 11), (11, 12)]), (100, [(n, n + 1) for n in range(5, 12)]), (0, [(5, 12)])],
)
def test_pieces_have_as_many_rows_as_fit_and_at_least_one(monkeypatch, row_bytes, wanted):
    monkeypatch.setattr(data.digests, "PIECE_BYTES", 99)
    assert list(pieces(5, 12, row_bytes)) == wanted
    assert list(pieces(5, 5, row_bytes)) == []


def test_equal_images_are_found_whatever_is_held(monkeypatch):
    images = np.random.default_rng(0).integers(0, 2, (50, 1, 2, 2), np.uint8)
    wanted = [next(n for n in range(50) if np.array_equal(images[n], images[row])) for row in range(50)]
    for bound in (1, 17, 1 << 25):
        monkeypatch.setattr(data.digests, "PIECE_BYTES", bound)
        assert ids_of_images([images[:20], images[20:]]).tolist() == wanted


@pytest.mark.parametrize("shuffle_seed", [None, 11])
def test_the_bytes_do_not_depend_on_how_many_rows_are_held(
    tmp_path, monkeypatch, class_space, make_columns, shuffle_seed
):
    sizes, settings = (4000, 200, 7), {"kind": "real", "label_space": class_space, **META}
    for number, size in enumerate(sizes):
        columns = make_columns(class_space, size, *KINDS["real"], seed=number)
        write_set(tmp_path / f"{number}.h5", columns, **settings)
    paths = [tmp_path / f"{number}.h5" for number in range(len(sizes))]
    written = {}
    for bound in (300, 12 * 1000, 1 << 40):
        monkeypatch.setattr(data.digests, "PIECE_BYTES", bound)
        monkeypatch.setattr(data.writing, "_BYTES_A_TAKE", bound // 3)
        digest = consolidate(paths, tmp_path / "s.h5", shuffle_seed=shuffle_seed, **settings)
        written[digest, (tmp_path / "s.h5").read_bytes()] = bound
        assert verify_set(tmp_path / "s.h5")["rows"] == sum(sizes)
    assert len(written) == 1
    flipped = bytearray((tmp_path / "s.h5").read_bytes())
    images = open_set(tmp_path / "s.h5").columns["images"]
    with h5py.File(tmp_path / "s.h5") as file:
        place = file["images"].id.get_offset()
    flipped[place + images[0].nbytes * 4100] ^= 1
    (tmp_path / "s.h5").write_bytes(flipped)
    monkeypatch.setattr(data.digests, "PIECE_BYTES", 1000)
    with pytest.raises(DataError, match=r"images rows 4096\.\.4206 is damaged"):
        verify_set(tmp_path / "s.h5")


def test_large_images_are_joined_a_piece_at_a_time(tmp_path, monkeypatch, class_space):
    monkeypatch.setattr(data.digests, "PIECE_BYTES", 1 << 20)
    monkeypatch.setattr(data.writing, "_BYTES_A_TAKE", 1 << 19)
    rows = 200
    for number in range(2):
        columns = {
            "images": np.full((rows, 3, 128, 128), number, np.uint8),
            "labels": np.zeros(rows, np.int64),
            "split": np.zeros(rows, np.uint8),
            "source_row": np.arange(rows),
        }
        write_set(tmp_path / f"{number}.h5", columns, kind="real", label_space=class_space, **META)
    tracemalloc.start()
    paths = [tmp_path / f"{number}.h5" for number in range(2)]
    consolidate(paths, tmp_path / "s.h5", kind="real", label_space=class_space, shuffle_seed=0, **META)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # All 400 rows are less than a block, and 20 MB.
    assert peak < 3 << 20
    assert len(open_set(tmp_path / "s.h5")) == 2 * rows
