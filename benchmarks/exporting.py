"""Sizes and speeds of the exports and of the card, on the digits and on 10,000 images of Fashion-MNIST.

    OMP_NUM_THREADS=1 python benchmarks/exporting.py --fashion-mnist FOLDER

writes ``benchmarks/results/exporting.json``. FOLDER holds the four idx files. Every export runs in a process of its
own, so that its peak memory is its own; it is done twice, and the second time counts: imports are no part of it.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from record import RESULTS, machine

ROWS = 10_000


def write_source(kind: str, path: Path, folder: str) -> None:
    """A source as a set of kind real: all digits, or the first training images of Fashion-MNIST."""
    from data.sources import sources
    from data.writing import write_set

    source = sources.get(kind)(**({"folder": folder, "image_size": 28} if kind == "fashion_mnist" else {}))
    rows = np.arange(min(ROWS, len(source.labels())))
    columns = {
        "images": source.images(rows),
        "labels": source.labels()[rows],
        "split": np.zeros(len(rows), np.uint8),
        "source_row": rows,
    }
    provenance = {"source": source.identity(), "homepage": source.homepage}
    write_set(
        path,
        columns,
        kind="real",
        label_space=source.label_space,
        license=source.license,
        provenance=provenance,
        shuffle_seed=0,
    )


def writers() -> dict[str, Callable[..., None]]:
    """What is measured."""
    from data.exporting.card import write_card
    from data.exporting.image_folder import export_image_folder
    from data.exporting.parquet import export_parquet
    from data.exporting.webdataset import export_webdataset

    return {
        "image-folder": export_image_folder,
        "parquet": export_parquet,
        "webdataset": export_webdataset,
        "card": write_card,
    }


def peak_mib() -> int:
    """Most memory that this process has had; what it had before it became this program does not count."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return round(next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024)


def measure(path: Path, name: str, out: Path) -> dict[str, Any]:
    """Seconds, bytes, files and peak memory of one export, in this process."""
    from data.reading import open_set

    write = writers()[name]
    # What a format imports when it is first used is no part of its speed.
    write(open_set(path), out.with_name(f"{out.name}-first"))
    found = open_set(path)
    start = time.perf_counter()
    write(found, out)
    seconds = time.perf_counter() - start
    files = [each for each in out.rglob("*") if each.is_file()]
    return {
        "format": name,
        "images": len(found),
        "seconds": round(seconds, 3),
        "images_per_second": round(len(found) / seconds),
        "bytes": sum(each.stat().st_size for each in files),
        "set_bytes": path.stat().st_size,
        "files": len(files),
        "peak_mib": peak_mib(),
    }


def main() -> None:
    """Measures and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fashion-mnist", metavar="FOLDER", help="folder of its four idx files; left out otherwise")
    parser.add_argument("--measure", nargs=3, metavar=("SET", "FORMAT", "OUT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        path, name, out = arguments.measure
        print(json.dumps(measure(Path(path), name, Path(out))))
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("digits", "fashion_mnist"):
            if kind == "fashion_mnist" and not arguments.fashion_mnist:
                continue
            path = Path(folder) / f"{kind}.h5"
            write_source(kind, path, arguments.fashion_mnist)
            for name in writers():
                command = [sys.executable, __file__, "--measure", str(path), name, str(Path(folder) / f"{kind}-{name}")]
                told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                rows.append({"source": kind, **json.loads(told)})
                print(json.dumps(rows[-1]), flush=True)
    record = {
        "command": shlex.join(["python", "benchmarks/exporting.py", *sys.argv[1:]]),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine(),
        "packages": {name: importlib.metadata.version(name) for name in ("h5py", "numpy", "Pillow", "pyarrow")},
        "rows": rows,
    }
    (RESULTS / "exporting.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
