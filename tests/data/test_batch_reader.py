"""A reader's batches against rows taken one by one, in threads, processes and out of pickles."""

from __future__ import annotations

import ctypes
import mmap
import multiprocessing
import pickle
import re
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import data.gathering
import data.mapped_rows
import data.reading
from data.batch_reader import BatchReader, shared_rows
from data.errors import ConfigError, DataError
from data.labels import LabelSpace
from data.mapped_rows import MappedRows
from data.reading import open_set
from data.writing import write_set

SPACE = LabelSpace("class", ("a", "b", "c"))
ROWS = 700


def write(path: Path, rows: int, seed: int, shape: tuple[int, int, int] = (2, 5, 4), **columns: Any) -> Path:
    rng = np.random.default_rng(seed)
    made = {
        "images": rng.integers(0, 256, (rows, *shape), dtype=np.uint8),
        "labels": rng.integers(0, 3, rows),
        "seed": rng.integers(0, 2**63, rows).astype(np.uint64),
        **columns,
    }
    write_set(path, made, kind="samples", label_space=SPACE, provenance={}, license="CC0-1.0")
    return path


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("sets") / "first.h5", ROWS, 0)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("sets") / "second.h5", 90, 1)


def with_h5py(path: Path, column: str) -> np.ndarray[Any, Any]:
    with h5py.File(path) as file:
        return np.asarray(file[column][...])


def blocks(given: Any, batch_size: int = 32, seed: int = 4, **options: Any) -> BatchReader:
    return BatchReader(given, batch_size, seed, order="blocks", block_rows=16, window_blocks=3, **options)


READERS: dict[str, Callable[..., BatchReader]] = {
    "rows": lambda given, batch_size=32, seed=4, **options: BatchReader(given, batch_size, seed, **options),
    "blocks": blocks,
    "in memory": lambda given, batch_size=32, seed=4, **options: BatchReader(
        given, batch_size, seed, in_memory=True, **options
    ),
}


@pytest.mark.parametrize("kind", READERS)
def test_batches_are_the_rows_that_they_say(path: Path, kind: str) -> None:
    reader = READERS[kind](path, columns=("images", "labels", "seed"))
    held = {name: with_h5py(path, name) for name in ("images", "labels", "seed")}
    seen = []
    for step in range(2 * ROWS // 32 + 2):
        batch, rows = reader.at(step), reader.rows_at(step)[0]
        assert list(batch) == ["images", "labels", "seed"]
        for name, values in batch.items():
            assert values.dtype == held[name].dtype
            assert np.array_equal(values, np.stack([held[name][row] for row in rows]))
        seen.append(rows)
    flat = np.concatenate(seen)
    assert all(np.array_equal(np.sort(flat[a : a + ROWS]), np.arange(ROWS)) for a in (0, ROWS))


@pytest.mark.parametrize("kind", READERS)
def test_any_step_comes_at_once_and_into_memory_that_is_given(path: Path, kind: str) -> None:
    reader, memory = READERS[kind](path), None
    for step in (50, 3, 4, 1000, 3, 0):
        fresh = READERS[kind](path).at(step)
        memory = reader.buffers() if memory is None else memory
        given = reader.at(step, memory)
        assert given["images"] is memory["images"]
        assert all(np.array_equal(given[name], fresh[name]) for name in fresh)


@pytest.mark.parametrize("kind", READERS)
def test_sets_come_in_fixed_shares(path: Path, other: Path, kind: str) -> None:
    reader = READERS[kind]([path, other], batch_size=20, shares=(3, 1))
    assert reader.counts == [15, 5]
    alone = READERS[kind](path, batch_size=15)
    first, second = with_h5py(path, "images"), with_h5py(other, "images")
    for step in range(30):
        images, rows = reader.at(step)["images"], reader.rows_at(step)
        assert np.array_equal(images, np.concatenate([first[rows[0]], second[rows[1]]]))
        assert np.array_equal(images[:15], alone.at(step)["images"])


@pytest.mark.parametrize("kind", READERS)
def test_chosen_rows_alone_are_read(path: Path, other: Path, kind: str) -> None:
    chosen = np.flatnonzero(with_h5py(path, "labels") == 1)
    reader = READERS[kind]([path, other], rows=[chosen, None])
    images = with_h5py(path, "images")
    seen: set[int] = set()
    for step in range(len(chosen) // 16 + 1):
        batch, rows = reader.at(step), reader.rows_at(step)[0]
        assert (batch["labels"][:16] == 1).all()
        assert np.array_equal(batch["images"][:16], images[rows])
        seen |= set(rows.tolist())
    assert seen == set(chosen.tolist())


def test_shares_are_as_near_as_whole_rows_can_be() -> None:
    assert shared_rows(128, (0.5, 0.5)) == [64, 64]
    assert shared_rows(10, (1, 1, 1)) == [4, 3, 3]
    assert shared_rows(7, (2, 5)) == [2, 5]
    for size in range(3, 50):
        counts = np.array(shared_rows(size, (1, 2, 3)))
        assert counts.sum() == size
        assert np.abs(counts - size * np.array([1, 2, 3]) / 6).max() < 1
    with pytest.raises(ConfigError, match=r"must hold a row of every set, got 4 for shares of 1, 99; try 100"):
        shared_rows(4, (1, 99))
    assert shared_rows(100, (1, 99)) == [1, 99]
    with pytest.raises(ConfigError, match="shares must be above 0, got 1, 0"):
        shared_rows(4, (1, 0))


def test_what_does_not_fit_is_named(path: Path, other: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"first\.h5: must have the column 'views', got images, labels, seed"):
        BatchReader(path, 4, 0, columns=("views",))
    wide = write(tmp_path / "wide.h5", 30, 2, (2, 5, 8))
    with pytest.raises(DataError, match=r"wide\.h5: images must be as in .*first\.h5, uint8 rows of shape \(2, 5, 4\)"):
        BatchReader([path, wide], 4, 0)
    assert BatchReader([path, wide], 4, 0, columns=("labels",)).at(0)["labels"].shape == (4,)
    with pytest.raises(ConfigError, match="as many as each other and at least one, got 2, 1 and 2"):
        BatchReader([path, other], 4, 0, shares=(1,))
    with pytest.raises(ConfigError, match="at least one, got 0, 0 and 0"):
        BatchReader([], 4, 0)
    with pytest.raises(DataError, match="must have rows to read, got none"):
        BatchReader(path, 4, 0, rows=[np.zeros(0, np.int64)])
    with pytest.raises(ValueError, match=r"rows must lie in 0\.\.699"):
        BatchReader(path, 4, 0, rows=[np.array([700])])
    with pytest.raises(ConfigError, match="order must be 'rows' or 'blocks'"):
        BatchReader(path, 4, 0, order="sorted")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", READERS)
def test_a_thread_reads_ahead(path: Path, kind: str) -> None:
    reader = READERS[kind](path)
    found = list(reader.batches(5, 40, ahead=3))
    assert len(found) == 35
    for step, batch in enumerate(found, 5):
        assert np.array_equal(batch["images"], READERS[kind](path).at(step)["images"])
    before = threading.active_count()
    endless = reader.batches()
    assert np.array_equal(next(endless)["labels"], reader.at(0)["labels"])
    endless.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_a_fault_while_reading_ahead_is_told(path: Path) -> None:
    reader = BatchReader(path, 4, 0)
    reader.layout["none"] = np.dtype(np.uint8), (4,)
    with pytest.raises(KeyError, match="none"):
        next(reader.batches())


@pytest.mark.parametrize("kind", READERS)
def test_threads_share_a_reader(path: Path, kind: str) -> None:
    reader = READERS[kind](path)
    expected = [READERS[kind](path).at(step)["images"] for step in range(120)]
    steps = np.random.default_rng(0).permutation(120).tolist() * 3
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda step: reader.at(step)["images"], steps))
    assert all(np.array_equal(images, expected[step]) for step, images in zip(steps, found, strict=True))


@pytest.mark.parametrize("kind", READERS)
def test_forked_processes_go_on_with_a_reader(path: Path, kind: str) -> None:
    reader = READERS[kind](path)
    reader.at(3)
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    steps = [0, 17, 4]
    images = reader._readers["images"][0]
    # As if another thread were reading when the process is forked.
    with images._lock if kind == "blocks" else nullcontext():  # type: ignore[attr-defined]
        process = context.Process(target=lambda: sender.send([reader.at(step)["images"].tobytes() for step in steps]))
        process.start()
        assert receiver.poll(60)
        found = receiver.recv()
    process.join()
    assert found == [reader.at(step)["images"].tobytes() for step in steps]


def test_a_forked_process_is_ready_before_its_threads_begin(path: Path) -> None:
    reader = blocks(path)
    expected = reader.at(3)["images"].tobytes()
    images = reader._readers["images"][0]
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def child() -> None:
        found = images._lock.locked(), len(images._held)  # type: ignore[attr-defined]
        with ThreadPoolExecutor(4) as threads:
            read = set(threads.map(lambda _: reader.at(3)["images"].tobytes(), range(8)))
        sender.send((*found, read == {expected}))

    # As if another thread were reading when the process is forked: a lock that is reset at the first read could be
    # reset by two threads.
    with images._lock:  # type: ignore[attr-defined]
        process = context.Process(target=child)
        process.start()
        assert receiver.poll(60)
    assert receiver.recv() == (False, 0, True)
    process.join()


@pytest.mark.parametrize("kind", READERS)
def test_calls_that_would_give_nothing_sensible_are_refused(path: Path, kind: str) -> None:
    reader = READERS[kind](path)
    for step in (-1, -7):
        with pytest.raises(ValueError, match=f"step must be 0 or more, got {step}"):
            reader.at(step)
        with pytest.raises(ValueError, match="step must be 0 or more"):
            reader.rows_at(step)
    for size, dtype in ((33, np.uint8), (31, np.uint8), (32, np.int16)):
        memory = {**reader.buffers(), "images": np.zeros((size, 2, 5, 4), dtype)}
        with pytest.raises(ValueError, match=r"images must be written to uint8 \(32, 2, 5, 4\), as buffers"):
            reader.at(0, memory)
        assert not memory["images"].any()
    with pytest.raises(ConfigError, match="ahead must be at least 1, got 0"):
        reader.batches(0, 5, ahead=0)
    with pytest.raises(ConfigError, match=r"columns must be a list of names, got 'images'; try columns=\('images',\)"):
        READERS[kind](path, columns="images")


def test_the_order_of_wide_rows_depends_on_no_column_that_is_read(tmp_path: Path) -> None:
    # Rows of 60 kB: 256 of them, 32 times, would be half a gigabyte.
    wide = write(tmp_path / "wide.h5", 200, 5, (3, 100, 200))
    readers = [
        BatchReader(wide, 16, 0, order="blocks", columns=columns) for columns in (("images", "labels"), ("labels",))
    ]
    for reader in readers:
        (order,) = reader._orders
        assert order.block_rows == (64 << 20) // (32 * 60_000) == 34  # type: ignore[attr-defined]
    assert all(np.array_equal(readers[0].rows_at(step)[0], readers[1].rows_at(step)[0]) for step in range(30))
    assert np.array_equal(readers[0].at(7)["images"], with_h5py(wide, "images")[readers[0].rows_at(7)[0]])


def test_spawned_processes_read_the_same(path: Path) -> None:
    readers = [make(path) for make in READERS.values()]
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as processes:
        for reader in readers:
            for step, batch in enumerate(processes.map(reader.at, range(4))):
                assert all(np.array_equal(batch[name], values) for name, values in reader.at(step).items())


def test_a_pickle_holds_names_and_digests(path: Path, other: Path) -> None:
    packed = pickle.dumps(BatchReader([path, other], 8, 1, order="blocks", shares=(1, 3), columns=("labels",)))
    assert len(packed) < 1000
    again, expected = pickle.loads(packed), BatchReader([path, other], 8, 1, order="blocks", shares=(1, 3))
    assert again.counts == [2, 6]
    assert list(again.at(0)) == ["labels"]
    assert np.array_equal(again.at(9)["labels"], expected.at(9)["labels"])


def test_a_set_replaced_by_another_is_not_read_again(path: Path, tmp_path: Path) -> None:
    mine = write(tmp_path / "mine.h5", 40, 3)
    packed = pickle.dumps(BatchReader(mine, 8, 1))
    write(mine, 40, 4)
    with pytest.raises(DataError, match="was replaced by another one"):
        pickle.loads(packed)


def test_selected_rows_are_pickled_by_name(path: Path) -> None:
    selected = open_set(path).select("images", np.arange(0, ROWS, 2))
    packed = pickle.dumps(selected)
    assert len(packed) < 4000
    again = pickle.loads(packed)
    assert np.array_equal(again[10:20], with_h5py(path, "images")[20:40:2])
    assert np.array_equal(again[np.array([5, 0])], with_h5py(path, "images")[[10, 0]])
    with pytest.raises(DataError, match="must have the column 'none'"):
        open_set(path).select("none")
    plain = pickle.loads(pickle.dumps(data.reading.Selected(np.arange(5), np.array([3, 1]))))
    assert plain[0:2].tolist() == [3, 1]


def resident(mapped: MappedRows) -> int:
    """Bytes of a map that are resident in this process; advice has split it into several areas."""
    address = np.frombuffer(mapped.map, np.uint8).__array_interface__["data"][0]
    found, mine, areas = 0, False, 0
    for line in Path("/proc/self/smaps").read_text().splitlines():
        head = line.split()
        if not head[0].endswith(":"):
            start = int(head[0].split("-")[0], 16)
            mine = address <= start < address + len(mapped.map)
            areas += mine
        elif mine and head[0] == "Rss:":
            found += int(head[1]) * 1024
    assert areas
    return found


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="tells what is resident")
def test_windows_that_are_done_are_not_resident(tmp_path: Path) -> None:
    path = write(tmp_path / "large.h5", 4096, 0, (3, 32, 32))
    found = open_set(path)
    mapped = MappedRows.of(found.columns["images"])
    assert mapped is not None
    reader = BatchReader(found, 64, 0, order="blocks", block_rows=64, window_blocks=4)
    for step in range(64):
        reader.at(step)
        if step % 8:
            continue
        # What else the kernel maps around a page that is touched is no more than 64 KiB a block.
        assert resident(mapped) < 1 << 20
    plain = np.array(found.columns["images"])
    assert resident(mapped) > 12_000_000
    mapped.release(0, mapped.rows)
    assert resident(mapped) < 1 << 17
    assert np.array_equal(found.columns["images"], plain)


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="tells what is resident")
def test_single_rows_of_a_set_larger_than_memory_do_not_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "large.h5", 4096, 0, (3, 32, 32))
    expected = BatchReader(path, 64, 0)
    monkeypatch.setattr(data.gathering, "fits_in_memory", lambda nbytes: False)
    monkeypatch.setattr(data.gathering, "_RESIDENT", 1 << 20)
    found = open_set(path)
    mapped = MappedRows.of(found.columns["images"])
    assert mapped is not None
    reader = BatchReader(found, 64, 0)
    for step in range(128):
        assert np.array_equal(reader.at(step)["images"], expected.at(step)["images"])
        if step % 16 == 15:
            assert resident(mapped) < 8 << 20


def test_refused_advice_ends_nothing(path: Path) -> None:
    column = open_set(path).columns["images"]
    mapped = MappedRows.of(column)
    assert mapped is not None
    libc = ctypes.CDLL(None, use_errno=True)
    address = ctypes.c_void_p(column.__array_interface__["data"][0])
    if libc.mlock(address, ctypes.c_size_t(1)):
        pytest.skip("needs memory that may be locked")
    try:
        # The kernel releases no page that is locked.
        with pytest.raises(OSError, match="Invalid argument"):
            mapped.map.madvise(mmap.MADV_DONTNEED)
        mapped.release(0, mapped.rows)
        data.reading.release_pages(column)
    finally:
        libc.munlock(address, ctypes.c_size_t(1))


def test_other_readers_of_a_map_keep_their_read_ahead(path: Path) -> None:
    found = open_set(path)
    reader, mapped = blocks(found), MappedRows.of(found.columns["images"])
    for step in range(30):
        reader.at(step)
    assert mapped is not None
    assert "rr" not in flags(mapped)
    mapped.read_singly()
    assert "rr" in flags(mapped)


def flags(mapped: MappedRows) -> set[str]:
    """What the kernel was told of the pages of a map."""
    start = np.frombuffer(mapped.map, np.uint8).__array_interface__["data"][0]
    inside, found = False, set()
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            low, high = (int(edge, 16) for edge in line.split()[0].split("-"))
            inside = low < start + len(mapped.map) and start < high
        elif inside and line.startswith("VmFlags:"):
            found |= set(line.split()[1:])
    return found


def test_the_memory_of_a_container_counts(tmp_path: Path) -> None:
    def limit(folder: Path, most: str, used: int, files: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "memory.max").write_text(f"{most}\n")
        (folder / "memory.current").write_text(f"{used}\n")
        (folder / "memory.stat").write_text(f"anon {used - files}\ninactive_file {files}\nactive_file 0\n")

    own = tmp_path / "cgroup"
    own.write_text("4:memory:/elsewhere\n0::/jobs/mine\n")
    root = tmp_path / "fs"
    assert data.mapped_rows._group_memory(root, own) is None
    limit(root / "jobs" / "mine", "max", 900, 100)
    assert data.mapped_rows._group_memory(root, own) is None
    limit(root / "jobs", "5000", 3000, 1200)
    assert data.mapped_rows._group_memory(root, own) == 5000 - 1800
    limit(root / "jobs" / "mine", "1000", 950, 400)
    assert data.mapped_rows._group_memory(root, own) == 450
    assert data.mapped_rows._group_memory(root, tmp_path / "none") is None


def test_arrays_that_are_no_map_have_no_advice(path: Path, tmp_path: Path) -> None:
    images = open_set(path).columns["images"]
    found = MappedRows.of(images[10:20])
    assert found is not None
    whole = MappedRows.of(images)
    assert whole is not None
    assert found.offset - whole.offset == 10 * images[0].nbytes
    assert bytes(found.map[found.offset : found.offset + 40]) == images[10].tobytes()
    assert MappedRows.of(np.array(images)) is None
    assert MappedRows.of(images[::2]) is None
    copied = np.memmap(path, np.uint8, "c")
    assert MappedRows.of(copied) is None


def test_rows_in_memory_come_in_the_same_order(path: Path) -> None:
    for order in ("rows", "blocks"):
        mapped, held = (BatchReader(path, 32, 4, order=order, in_memory=held) for held in (False, True))  # type: ignore[arg-type]
        assert MappedRows.of(held._readers["images"][0]._array) is None  # type: ignore[attr-defined]
        assert all(np.array_equal(mapped.at(step)["images"], held.at(step)["images"]) for step in (0, 30, 5))
