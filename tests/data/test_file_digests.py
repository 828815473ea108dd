"""Remembered digests: those of hashlib, read anew when a file changes, whatever state the memory is in."""

import hashlib
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from data import file_digests
from data.errors import DataError
from data.file_digests import digest_of, digest_of_files
from data.numpy_files import scratch_file


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    # Files of tests are as new as can be.
    monkeypatch.setattr(file_digests, "SETTLE_SECONDS", -1.0)
    return tmp_path / "cache" / "stillhouse" / "digests.sqlite"


@pytest.fixture
def reads(monkeypatch):
    """Names of the files that were really read."""
    names = []
    read = file_digests._read

    def told(path):
        names.append(os.path.basename(path))
        return read(path)

    monkeypatch.setattr(file_digests, "_read", told)
    return names


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_a_file_is_read_once_until_it_changes(tmp_path, reads):
    path = write(tmp_path / "a.bin", b"x" * 3_000_000)
    for _ in range(3):
        assert digest_of(path) == hashlib.sha256(b"x" * 3_000_000).hexdigest()
    assert reads == ["a.bin"]
    # The same size, and another time of change or another inode.
    write(path, b"y" * 3_000_000)
    os.utime(path, ns=(1, 1))
    assert digest_of(path) == hashlib.sha256(b"y" * 3_000_000).hexdigest()
    write(tmp_path / "b.bin", b"z" * 3_000_000)
    os.utime(tmp_path / "b.bin", ns=(1, 1))
    os.replace(tmp_path / "b.bin", path)
    assert digest_of(path) == hashlib.sha256(b"z" * 3_000_000).hexdigest()
    assert reads == ["a.bin"] * 3


def test_links_share_what_is_known_of_the_file(tmp_path, reads):
    path = write(tmp_path / "folder" / "a.bin", b"1")
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    (tmp_path / "b.bin").symlink_to(path)
    assert digest_of(tmp_path / "link" / "a.bin") == digest_of(tmp_path / "b.bin") == digest_of(path)
    assert reads == ["a.bin"]


def test_a_file_that_changed_just_now_is_not_remembered(tmp_path, reads, monkeypatch):
    monkeypatch.setattr(file_digests, "SETTLE_SECONDS", 1e6)
    path = write(tmp_path / "a.bin", b"1")
    assert digest_of(path) == digest_of(path)
    assert reads == ["a.bin", "a.bin"]


def test_a_broken_memory_is_made_anew(tmp_path, cache, reads):
    path = write(tmp_path / "a.bin", b"1")
    wanted = hashlib.sha256(b"1").hexdigest()
    for broken in (b"no database" * 1000, b"", b"SQLite format 3\0" + b"\xff" * 5000):
        write(cache, broken)
        assert [digest_of(path), digest_of(path)] == [wanted, wanted]
    assert len(reads) == 3
    cache.unlink()
    with sqlite3.connect(cache) as other:
        other.execute("CREATE TABLE digests (name TEXT)")
    other.close()
    assert [digest_of(path), digest_of(path)] == [wanted, wanted]
    assert len(reads) == 4


def test_a_memory_that_cannot_be_written_costs_only_time(tmp_path, monkeypatch, reads):
    write(tmp_path / "file", b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    path = write(tmp_path / "a.bin", b"1")
    assert digest_of(path) == digest_of(path) == hashlib.sha256(b"1").hexdigest()
    assert reads == ["a.bin", "a.bin"]


def test_several_processes_share_the_memory(tmp_path, cache):
    paths = [write(tmp_path / "set" / f"{number}.bin", str(number).encode() * 1000) for number in range(50)]
    code = (
        "import sys; from pathlib import Path; from data import file_digests; file_digests.SETTLE_SECONDS = -1.0; "
        "root = Path(sys.argv[1]); print(file_digests.digest_of_files(root, sorted(p.name for p in root.iterdir())))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "set")]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    said = {process.communicate(timeout=60)[0].strip() for process in running}
    assert said == {digest_of_files(tmp_path / "set", sorted(path.name for path in paths))}
    with sqlite3.connect(cache) as memory:
        assert memory.execute("SELECT count(*) FROM digests").fetchone() == (50,)
    memory.close()


def test_digests_of_several_files_know_names_and_order_but_no_place(tmp_path):
    for root in ("one", "two"):
        for name in ("a.png", "deep/b.png", "ü.png"):
            write(tmp_path / root / name, name.encode())
    names = ["a.png", "deep/b.png", "ü.png"]
    expected = hashlib.sha256()
    for name in names:
        encoded = name.encode()
        expected.update(len(encoded).to_bytes(8, "little") + encoded + hashlib.sha256(encoded).digest())
    one, two = tmp_path / "one", tmp_path / "two"
    assert digest_of_files(one, names) == digest_of_files(two, [two / name for name in names]) == expected.hexdigest()
    assert digest_of_files(one, names[::-1]) != expected.hexdigest()
    (one / "a.png").rename(one / "c.png")
    assert digest_of_files(one, ["c.png", *names[1:]]) != expected.hexdigest()
    with pytest.raises(DataError, match="must lie in"):
        digest_of_files(one, [two / "a.png"])


def test_what_is_no_file_is_named(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name, sentence in (("none", "cannot be found"), ("pipe", "must be a regular file"), ("", "regular file")):
        with pytest.raises(DataError, match=sentence):
            digest_of(tmp_path / name)


def test_nothing_is_remembered_without_a_home(tmp_path, monkeypatch):
    def none():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", none)
    (tmp_path / "a").write_bytes(b"a")
    assert digest_of(tmp_path / "a") == hashlib.sha256(b"a").hexdigest()
    with scratch_file() as file:
        assert file.write(b"a") == 1
