"""Reading a set that is not in memory: in one go, by blocks, at random, and through a plain map.

    OMP_NUM_THREADS=1 python benchmarks/cold_reading.py [--count 500000] [--folder FOLDER]

writes ``benchmarks/results/cold_reading.json``. Before every measurement the file is dropped from the page cache.
``amplification`` is what this process had read from the disk (``read_bytes`` of /proc/self/io) over what it asked for;
of ways that read ahead by themselves what is still on its way counts as well, since it is read for nobody. The plain
map is measured on its first batches, which is what a set larger than memory sees for ever. The folder must lie on a
disk, and takes 3 GB, which are removed afterwards.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from record import write_record
from rounds import beginning, ratios, spread, write_images

import data.gathering
from data.batch_reader import BatchReader
from data.labels import LabelSpace
from data.reading import open_set
from data.writing import write_set

SPACE = LabelSpace("class", tuple(f"class {number}" for number in range(100)))
ROW_BYTES = 3 * 32 * 32


def read_bytes() -> int:
    """Bytes that this process had read from disks so far."""
    lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("read_bytes"))


def drop(path: Path) -> None:
    """Takes a file out of the page cache."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(handle)


def main() -> None:
    """Measures, prints and writes the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=500_000)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="of random reading")
    parser.add_argument("--folder", type=Path, help="where the files lie; unset: the system's folder for such files")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder, "set.h5")
        images = write_images(Path(folder, "images.npy"), options.count)
        labels = np.random.default_rng(1).integers(0, len(SPACE.names), options.count)
        columns = {"images": images, "labels": labels, "seed": np.arange(options.count, dtype=np.uint64)}
        write_set(path, columns, kind="samples", label_space=SPACE, provenance={}, license="CC0-1.0")
        del images, columns
        Path(folder, "images.npy").unlink()
        measure(path, options)


def measure(path: Path, options: argparse.Namespace) -> None:
    """Reads the file in every way, and writes the record."""
    batch, count = options.batch, options.count

    def in_one_go(round_: int) -> int:
        del round_
        memory = bytearray(1 << 22)
        with path.open("rb", buffering=0) as file:
            while file.readinto(memory):
                pass
        return count

    def by_blocks(round_: int) -> int:
        reader = BatchReader(path, batch, round_, order="blocks", columns=("images",))
        out = reader.buffers()
        for step in range(count // batch):
            reader.at(step, out)
        return count // batch * batch

    def by_blocks_ahead(round_: int) -> int:
        reader = BatchReader(path, batch, round_, order="blocks", columns=("images",))
        for _ in reader.batches(0, count // batch):
            pass
        return count // batch * batch

    def single_rows(round_: int) -> int:
        # As for a set that memory does not hold.
        fits, data.gathering.fits_in_memory = data.gathering.fits_in_memory, lambda nbytes: False
        try:
            reader = BatchReader(path, batch, round_, columns=("images",))
        finally:
            data.gathering.fits_in_memory = fits
        return for_a_while(lambda step: reader.at(step))

    def rows_of_a_set_that_fits(round_: int) -> int:
        reader = BatchReader(path, batch, round_, columns=("images",))
        return for_a_while(lambda step: reader.at(step))

    def plain_map(round_: int) -> int:
        images = open_set(path).columns["images"]
        rows = np.random.default_rng(round_).permutation(count)
        for start in range(0, 4 * 16, 16):
            images[rows[start : start + 16]]
        return 64

    def for_a_while(read: Callable[[int], object]) -> int:
        start, step = time.perf_counter(), 0
        while time.perf_counter() - start < options.seconds and step < count // batch:
            read(step)
            step += 1
        return step * batch

    ways = {
        "in one go": in_one_go,
        "BatchReader by blocks": by_blocks,
        "BatchReader by blocks, a thread ahead": by_blocks_ahead,
        "BatchReader, single rows of a set larger than memory": single_rows,
        "BatchReader, single rows of a set that memory holds": rows_of_a_set_that_fits,
        "plain map, first 64 rows": plain_map,
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    amplifications: dict[str, list[float]] = {name: [] for name in ways}
    for round_ in range(options.rounds):
        for name, way in ways.items():
            # Opening a set reads its labels; they are dropped with the rest.
            open_set(path)
            drop(path)
            before, start = read_bytes(), time.perf_counter()
            images = way(round_)
            seconds = time.perf_counter() - start
            rates[name].append(images / seconds)
            amplifications[name].append((read_bytes() - before) / (images * ROW_BYTES))
            print(f"{name}: {images / seconds:,.0f} images/s, {amplifications[name][-1]:.2f} times", flush=True)
    figures = {
        name: {
            "images_per_second": spread(values, 0),
            "megabytes_per_second": spread([value * ROW_BYTES / 1e6 for value in values], 1),
            "of_reading_in_one_go": ratios(values, rates["in one go"]),
            "amplification": spread(amplifications[name], 2),
        }
        for name, values in rates.items()
    }
    blocks, plain = figures["BatchReader by blocks"], figures["plain map, first 64 rows"]
    sentence = (
        f"From a cold disk BatchReader by blocks gives {blocks['images_per_second']['median']:,.0f} images a second, "
        f"{blocks['of_reading_in_one_go']['median']:.2f} of reading the file in one go, and reads "
        f"{blocks['amplification']['median']:.2f} times what it gives; a plain map begins with "
        f"{plain['amplification']['median']:,.0f} times."
    )
    ahead = Path(f"/sys/dev/block/{os.major(path.stat().st_dev)}:{os.minor(path.stat().st_dev)}")
    setting = next((p for p in (ahead / "queue/read_ahead_kb", ahead / "../queue/read_ahead_kb") if p.exists()), None)
    settings = {name: value for name, value in vars(options).items() if name != "folder"}
    settings["read_ahead_kb"] = int(setting.read_text()) if setting else None
    write_record("cold_reading", {**beginning("cold_reading", settings, {}), "sentence": sentence, "figures": figures})


if __name__ == "__main__":
    main()
