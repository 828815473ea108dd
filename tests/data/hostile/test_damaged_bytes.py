"""Sets whose bytes were changed outside of HDF5; some with the checksums of its metadata made right again."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from data.errors import DataError
from data.schema import KINDS
from data.untrusted import open_untrusted, verify_untrusted
from data.writing import write_set

ROWS = 6


@pytest.fixture
def columns(class_space, make_columns):
    return make_columns(class_space, ROWS, *KINDS["candidates"], "source_row", "split")


@pytest.fixture
def path(tmp_path, columns, class_space) -> Path:
    write_set(tmp_path / "s.h5", columns, kind="candidates", label_space=class_space, provenance={}, license="MIT")
    return tmp_path / "s.h5"


def assert_whole(path, columns, quarantine):
    found = open_untrusted(path, quarantine, verify=True)
    assert sorted(found.columns) == sorted(columns)
    assert all(np.array_equal(found.columns[name], values) for name, values in columns.items())


def offsets(path):
    with h5py.File(path) as file:
        return {name: file[name].id.get_offset() for name in file if name != "digests"}


def move(path, tools, name, offset):
    """Gives a data set another place in the file, with the checksum that its header then needs."""
    old = struct.pack("<Q", offsets(path)[name])
    content = bytearray(path.read_bytes())
    blocks = tools["find_blocks"](bytes(content))
    assert content.count(old) == 1
    place = content.index(old)
    content[place : place + 8] = struct.pack("<Q", offset)
    tools["repair"](content, blocks)
    path.write_bytes(content)


def test_lookup3_gives_its_authors_values(hdf5_bytes):
    lookup3 = hdf5_bytes["lookup3"]
    phrase = b"Four score and seven years ago"
    # Jenkins 2006, lookup3.c, driver5
    assert [lookup3(b""), lookup3(b"", 0xDEADBEEF), lookup3(phrase), lookup3(phrase, 1)] == [
        0xDEADBEEF,
        0xBD5B7DDE,
        0x17770551,
        0xCD628161,
    ]


def test_all_metadata_with_checksums_is_found_and_repaired(path, columns, hdf5_bytes, quarantine):
    content = path.read_bytes()
    blocks = hdf5_bytes["find_blocks"](content)
    # superblock, root, digests, one header for a column and its digests, and the five parts of the heap of attributes
    assert len(blocks) >= 3 + 2 * len(columns) + 5
    broken = bytearray(content)
    for block in blocks:
        broken[block.at : block.at + 4] = bytes(4)
    path.write_bytes(broken)
    with pytest.raises(DataError, match="cannot be read as HDF5"):
        open_untrusted(path, quarantine)
    hdf5_bytes["repair"](broken, blocks)
    assert bytes(broken) == content


def test_a_bit_flipped_in_the_header_of_a_data_set_is_told_with_its_name(path, columns, hdf5_bytes, quarantine):
    content = path.read_bytes()
    with h5py.File(path) as file:
        named = {h5py.h5o.get_info(file[name].id).addr: name for name in file}
        named |= {h5py.h5o.get_info(file[f"digests/{name}"].id).addr: f"digests/{name}" for name in columns}
    told = set()
    for block in hdf5_bytes["find_blocks"](content):
        if block.first not in named:
            continue
        item = named[block.first]
        broken = bytearray(content)
        # Past the signature; the checksum then disagrees.
        broken[block.first + 8] ^= 1
        path.write_bytes(broken)
        with pytest.raises(DataError, match=f"{path}: (the list of members of )?{item} cannot be read as HDF5"):
            verify_untrusted(path, quarantine)
        told.add(item)
    assert told == {*columns, *(f"digests/{name}" for name in columns), "digests"}


def test_a_bit_flipped_where_attributes_lie_is_told_with_them(path, hdf5_bytes, quarantine):
    content = bytearray(path.read_bytes())
    # The heap before it holds the names of the columns.
    place = content.rindex(b"FRHP")
    content[place + 20] ^= 1
    path.write_bytes(content)
    with pytest.raises(
        DataError, match=f"{path}: (the list of attributes|attribute [a-z_0-9]+) cannot be read as HDF5"
    ):
        verify_untrusted(path, quarantine)


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        (lambda at, size: at["seed"], "must not share bytes with"),
        (lambda at, size: at["seed"] + 8, "must not share bytes with"),
        (lambda at, size: at["seed"] - 8, "must not share bytes with"),
        (lambda at, size: at["labels"] + 4, "condition must lie at a multiple of 8 bytes in the file"),
        # These HDF5 itself refuses; tests of the quarantine let a child claim them.
        (lambda at, size: size // 8 * 8, "invalid dataset size"),
        (lambda at, size: size // 8 * 8 - 40, "invalid dataset size"),
        (lambda at, size: 1 << 62, "invalid dataset size"),
        (lambda at, size: (1 << 64) - 16, "invalid dataset size|overflow"),
        (lambda at, size: 0, "H5Dget_offset"),
    ],
)
def test_places_that_a_set_cannot_have_are_refused(path, hdf5_bytes, quarantine, place, sentence):
    move(path, hdf5_bytes, "condition", place(offsets(path), path.stat().st_size))
    with pytest.raises(DataError, match=sentence):
        open_untrusted(path, quarantine)


def test_a_place_in_the_metadata_reads_no_other_file_and_fails_its_digest(path, hdf5_bytes, quarantine):
    move(path, hdf5_bytes, "seed", 8)
    assert offsets(path)["seed"] == 8
    open_untrusted(path, quarantine)
    with pytest.raises(DataError, match=r"seed rows 0\.\.5 is damaged"):
        verify_untrusted(path, quarantine)


def test_a_link_that_only_another_program_understands_is_refused(path, hdf5_bytes, quarantine):
    with h5py.File(path, "r+") as file:
        del file["labels"]
        file["labels"] = h5py.ExternalLink("x.h5", "/y")
    content = bytearray(path.read_bytes())
    blocks = hdf5_bytes["find_blocks"](bytes(content))
    # Version, flags (the kind of link is told), 64 for an external one, length of the name, name.
    place = content.index(b"\x01\x08\x40\x06labels")
    content[place + 2] = 100
    hdf5_bytes["repair"](content, blocks)
    path.write_bytes(content)
    with h5py.File(path) as file:
        assert file.id.links.get_info(b"labels").type == 100
    with pytest.raises(DataError, match="labels is a link to another place"):
        open_untrusted(path, quarantine)


def test_a_file_cut_anywhere_is_refused(path, quarantine):
    content = path.read_bytes()
    for length in sorted({0, 1, 7, 8, 47, 48, 96, 4095, 4096, len(content) - 1, *range(100, len(content), 2500)}):
        path.write_bytes(content[:length])
        with pytest.raises(DataError, match="cannot be read as HDF5"):
            open_untrusted(path, quarantine)


def test_what_is_appended_does_no_harm(path, columns, quarantine):
    path.write_bytes(path.read_bytes() + bytes(range(256)) * 20)
    assert_whole(path, columns, quarantine)


def test_a_set_behind_a_user_block_reads_right(path, columns, quarantine):
    content = path.read_bytes()
    # A superblock is looked for at 0, 512, 1024 ..., and all addresses count from it.
    path.write_bytes(b"#!/bin/sh\n".ljust(512, b"\n") + content)
    assert_whole(path, columns, quarantine)


def test_the_mark_of_a_writer_that_was_killed_is_refused(tmp_path, quarantine):
    path = tmp_path / "s.h5"
    code = (
        "import h5py, os, sys; file = h5py.File(sys.argv[1], 'w', libver='latest'); "
        "file['a'] = [1]; file.swmr_mode = True; file.flush(); os._exit(1)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=False, timeout=60)
    with pytest.raises(DataError, match="cannot be read as HDF5"):
        open_untrusted(path, quarantine)


def test_every_bit_of_values_and_digests_counts(path, columns, quarantine):
    content = path.read_bytes()
    with h5py.File(path) as file:
        spans = [(file[name].id.get_offset(), file[name].nbytes, name) for name in columns]
        spans += [(item.id.get_offset(), item.nbytes, f"digests/{name}") for name, item in file["digests"].items()]
    rng = np.random.default_rng(0)
    for offset, length, name in spans:
        damaged = bytearray(content)
        damaged[offset + int(rng.integers(length))] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=f"{name} row"):
            verify_untrusted(path, quarantine)


def test_a_device_and_a_link_are_refused_without_being_opened(path, tmp_path, quarantine):
    for name in ("/dev/zero", "/dev/null"):
        with pytest.raises(DataError, match="must be a regular file"):
            open_untrusted(name, quarantine)
    (tmp_path / "link.h5").symlink_to(path)
    with pytest.raises(DataError, match="must be a regular file"):
        open_untrusted(tmp_path / "link.h5", quarantine)


def test_what_is_checked_is_what_is_mapped_though_the_name_leads_elsewhere_then(
    path, columns, tmp_path, quarantine, monkeypatch, class_space, make_columns
):
    other = make_columns(class_space, ROWS, *KINDS["candidates"], seed=7)
    write_set(tmp_path / "o.h5", other, kind="candidates", label_space=class_space, provenance={}, license="MIT")
    ask = quarantine.ask

    def swapped(*arguments, **settings):
        answer = ask(*arguments, **settings)
        os.replace(tmp_path / "o.h5", path)
        return answer

    monkeypatch.setattr(quarantine, "ask", swapped)
    found = open_untrusted(path, quarantine, verify=True)
    assert np.array_equal(found.columns["images"], columns["images"])


def test_a_change_in_place_while_it_is_checked_is_noticed(path, quarantine, monkeypatch):
    ask = quarantine.ask

    def changed(*arguments, **settings):
        answer = ask(*arguments, **settings)
        with path.open("ab") as file:
            file.write(b"more")
        return answer

    monkeypatch.setattr(quarantine, "ask", changed)
    with pytest.raises(DataError, match="was changed while it was checked"):
        open_untrusted(path, quarantine)


def test_a_set_goes_to_another_process_by_its_path_and_is_opened_apart_there(path, columns, quarantine):
    import pickle

    found = open_untrusted(path, quarantine)
    shutil.copy(path, path.with_name("copy.h5"))
    again = pickle.loads(pickle.dumps(found))
    assert not again.trusted
    assert np.array_equal(again.columns["images"], columns["images"])


def test_what_could_not_be_read_is_not_written(tmp_path, columns, class_space):
    settings = {"kind": "candidates", "label_space": class_space, "license": "MIT"}
    deep: list[object] = []
    for _ in range(70):
        deep = [deep]
    for provenance, sentence in (({"a": "x" * (1 << 22)}, "at most 4194304 bytes"), ({"a": deep}, "at most 64 deep")):
        with pytest.raises(DataError, match=sentence):
            write_set(tmp_path / "x.h5", columns, provenance=provenance, **settings)
        assert list(tmp_path.iterdir()) == []
