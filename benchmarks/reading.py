"""Random batches of 500,000 images of 3x32x32: our reader beside memory, h5py, a DataLoader, datasets and gzip files.

    OMP_NUM_THREADS=1 python benchmarks/reading.py [--count 500000] [--folder FOLDER]

writes ``benchmarks/results/reading.json``. All files are in the page cache. Every way gives images and labels of random
rows, in batches of 128, and runs once a round beside a memory copy; ratios are those within a round. It needs about
6 GB in the folder, which is emptied afterwards, and as much memory.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import h5py
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from record import write_record
from rounds import Copy, beginning, interleaved, rate, ratios, spread, write_images
from torch.utils.data import DataLoader, Dataset

from data.batch_reader import BatchReader
from data.labels import LabelSpace
from data.reading import open_set
from data.torch_batches import BatchDataset
from data.writing import write_set

SHAPE = (3, 32, 32)
SPACE = LabelSpace("class", tuple(f"class {number}" for number in range(100)))


class OneByOne(Dataset[tuple[torch.Tensor, int]]):
    """Images and labels sample by sample, as a data set of torch usually gives them."""

    def __init__(self, images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        """One image and its label."""
        return torch.from_numpy(self.images[row].copy()), int(self.labels[row])


def write_files(folder: Path, count: int) -> dict[str, Any]:
    """Our set, the originals' gzip file, and a table of Hugging Face datasets."""
    images = write_images(folder / "images.npy", count)
    labels = np.random.default_rng(1).integers(0, len(SPACE.names), count)
    columns = {"images": images, "labels": labels, "seed": np.arange(count, dtype=np.uint64)}
    made: dict[str, Any] = {}

    def timed(name: str, write: Callable[[], object]) -> None:
        start = time.perf_counter()
        write()
        made[name] = round(time.perf_counter() - start, 1)

    def gzipped() -> None:
        with h5py.File(folder / "fake.h5", "w") as file:
            chosen = {"dtype": np.uint8, "compression": "gzip", "compression_opts": 6}
            stored = file.create_dataset("fake_images", images.shape, **chosen)
            made["gzip_chunks"] = stored.chunks
            # A run of whole chunks at a time, so that each is packed once.
            step = stored.chunks[0]
            for start in range(0, count, step):
                stored[start : start + step] = images[start : start + step]
            file.create_dataset("fake_labels", data=labels)

    def table() -> None:
        # The form that ``datasets`` gives Array3D columns: lists of lists of lists.
        features = datasets.Features({"image": datasets.Array3D(SHAPE, "uint8"), "label": datasets.Value("int64")})
        with (
            pa.OSFile(str(folder / "table.arrow"), "wb") as file,
            pa.ipc.new_stream(file, features.arrow_schema) as out,
        ):
            for start in range(0, count, 1000):
                stop = min(start + 1000, count)
                storage = pa.array(np.array(images[start:stop]).reshape(-1))
                for length in reversed(SHAPE):
                    storage = pa.ListArray.from_arrays(np.arange(0, len(storage) + 1, length, np.int32), storage)
                column = pa.ExtensionArray.from_storage(features.arrow_schema.field("image").type, storage)
                out.write_batch(pa.record_batch([column, pa.array(labels[start:stop])], features.arrow_schema))

    timed(
        "ours",
        lambda: write_set(
            folder / "set.h5", columns, kind="samples", label_space=SPACE, provenance={}, license="CC0-1.0"
        ),
    )
    timed("gzip", gzipped)
    timed("table", table)
    made["bytes"] = {name: (folder / name).stat().st_size for name in ("set.h5", "fake.h5", "table.arrow")}
    return made


def main() -> None:
    """Measures, prints and writes the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=500_000)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each way in each round")
    parser.add_argument("--folder", type=Path, help="where the files lie; unset: the system's folder for such files")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        measure(Path(folder), options)


def measure(folder: Path, options: argparse.Namespace) -> None:
    """Writes the files, reads them in every way, and writes the record."""
    count, batch = options.count, options.batch
    written = write_files(folder, count)
    found = open_set(folder / "set.h5")
    images, labels = np.array(found.columns["images"]), np.array(found.columns["labels"])
    steps = count // batch
    order = [np.random.default_rng(number).permutation(count) for number in range(options.rounds)]
    target = {"images": np.empty((batch, *SHAPE), np.uint8), "labels": np.empty(batch, np.int64)}
    readers = {name: BatchReader(folder / "set.h5", batch, 1, order=name) for name in ("rows", "blocks")}  # type: ignore[arg-type]
    held = BatchReader(folder / "set.h5", batch, 1, in_memory=True)
    table = datasets.Dataset.from_file(str(folder / "table.arrow")).with_format("numpy")

    def rows_of(round_: int, step: int) -> npt.NDArray[np.int64]:
        start = step % steps * batch
        return order[round_][start : start + batch]

    def of_rows(read: Callable[[npt.NDArray[np.int64]], object]) -> Callable[[int], float]:
        def way(round_: int) -> float:
            def step(number: int) -> int:
                read(rows_of(round_, number))
                return batch

            return rate(step, options.seconds, 0)

        return way

    def of_steps(read: Callable[[int], object]) -> Callable[[int], float]:
        def way(round_: int) -> float:
            def step(number: int) -> int:
                read(number)
                return batch

            return rate(step, options.seconds, round_ * 10_000)

        return way

    def of_iterator(make: Callable[[int], Any], seconds: float = 2.0) -> Callable[[int], float]:
        """From the first batch on: processes and threads have begun by then."""

        def way(round_: int) -> float:
            batches = iter(make(round_))
            next(batches)
            return rate(lambda step: batch if next(batches, None) is not None else 0, max(seconds, options.seconds), 0)

        return way

    def taken(rows: npt.NDArray[np.int64]) -> None:
        np.take(images, rows, axis=0, out=target["images"], mode="clip")
        np.take(labels, rows, axis=0, out=target["labels"], mode="clip")

    def ahead(round_: int) -> Any:
        return readers["rows"].batches(round_ * 10_000)

    def loader(workers: int) -> Callable[[int], Any]:
        one_by_one = OneByOne(found.columns["images"], labels)

        def make(round_: int) -> Any:
            sampler = [int(row) for row in order[round_]]
            return DataLoader(one_by_one, batch, sampler=sampler, num_workers=workers)

        return make

    def our_loader(workers: int) -> Callable[[int], Any]:
        given = BatchDataset(readers["rows"], 10**9)
        return lambda round_: DataLoader(
            given, batch_size=None, sampler=range(round_ * 10_000, 10**9), num_workers=workers
        )

    def gzip_rows(rows: npt.NDArray[np.int64]) -> int:
        for row in rows[:1]:
            packed["fake_images"][int(row)], packed["fake_labels"][int(row)]
        return 1

    plain, packed = h5py.File(folder / "set.h5"), h5py.File(folder / "fake.h5")

    def h5py_rows(rows: npt.NDArray[np.int64]) -> None:
        rising = np.sort(rows)
        plain["images"][rising], plain["labels"][rising]

    ways = {
        "NumPy gather from memory": of_rows(lambda rows: (images[rows], labels[rows])),
        "NumPy take from memory into one buffer": of_rows(taken),
        "BatchReader": of_steps(readers["rows"].at),
        "BatchReader into one buffer": of_steps(lambda step: readers["rows"].at(step, target)),
        "BatchReader in memory": of_steps(held.at),
        "BatchReader in memory, into one buffer": of_steps(lambda step: held.at(step, target)),
        "BatchReader, a thread ahead": of_iterator(ahead),
        "BatchReader by blocks": of_steps(lambda step: readers["blocks"].at(step, target)),
        "DataLoader of BatchReader, 0 workers": of_iterator(our_loader(0)),
        "DataLoader of BatchReader, 2 workers": of_iterator(our_loader(2)),
        "DataLoader sample by sample, 0 workers": of_iterator(loader(0)),
        "DataLoader sample by sample, 2 workers": of_iterator(loader(2)),
        "h5py, sorted fancy index": of_rows(h5py_rows),
        "datasets, numpy format": of_rows(lambda rows: table[rows.tolist()]),
        "gzip file, row by row": lambda round_: rate(
            lambda number: gzip_rows(rows_of(round_, number)), options.seconds, 0
        ),
    }
    # Everything once, in memory and in the map: what has never been read has no pages in the tables of this process.
    for step in range(steps):
        taken(rows_of(0, step))
        readers["rows"].at(step, target)
        held.at(step, target)
    copies, rates = interleaved(ways, options.rounds, Copy())
    start = time.perf_counter()
    whole = packed["fake_images"][...]
    seconds = time.perf_counter() - start
    del whole
    nbytes = int(np.prod(SHAPE)) + 8
    memory = rates["NumPy gather from memory"]
    figures = {
        name: {
            "images_per_second": spread(values, 1),
            "of_copy_bandwidth": ratios([value * nbytes for value in values], copies, 6),
            "of_numpy_gather": ratios(values, memory, 6),
        }
        for name, values in rates.items()
    }
    told = []
    for way, name in (
        ("in memory", "BatchReader in memory, into one buffer"),
        ("mapped", "BatchReader into one buffer"),
    ):
        ours = figures[name]
        told.append(
            f"{way} {ours['images_per_second']['median']:,.0f} images a second, "
            f"{ours['of_numpy_gather']['median']:.2f} of a NumPy gather from memory and "
            f"{ours['of_copy_bandwidth']['median']:.2f} of memory-copy bandwidth"
        )
    sentence = f"BatchReader gives {'; '.join(told)}."
    settings = {name: str(value) for name, value in vars(options).items() if name != "folder"}
    packages = {"h5py": h5py.__version__, "torch": torch.__version__, "datasets": datasets.__version__}
    record = {
        **beginning("reading", settings, packages),
        "sentence": sentence,
        "copy_gigabytes_per_second": spread([value / 1e9 for value in copies], 2),
        "figures": figures,
        "gzip_whole_load": {"seconds": round(seconds, 1), "images_per_second": round(count / seconds)},
        "files": written,
    }
    write_record("reading", record)


if __name__ == "__main__":
    main()
