"""A million images of 3x32x32 prepared, verified and read by blocks: resident memory and seconds of each.

    OMP_NUM_THREADS=1 python benchmarks/big_set.py [--count 1000000] [--folder FOLDER]

writes ``benchmarks/results/big_set.json``. The images come from .npy files, through source ``arrays`` and stage
``prepare``. Each of the three has a process of its own, which tells the largest resident memory it had (``VmHWM``, in
which pages of mapped files count, too). A million images take 9 GB in the folder, which is emptied afterwards.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

MOST_MB = 500
SHAPE = (3, 32, 32)


def status_mb(key: str) -> float:
    """A line of /proc/self/status, in MB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(key))


def prepare(folder: Path) -> dict[str, Any]:
    """Runs the stage on the .npy files."""
    from data.workspace import Workspace
    from flows.config import Config
    from flows.execute import StageContext
    from flows.plan import make_source
    from flows.stages import prepare as stage

    source = {"kind": "arrays", "image_file": str(folder / "images.npy"), "label_file": str(folder / "labels.npy")}
    sections = {"source": source, "prepare": {"validation_images": 10_000, "test_images": 10_000}}
    config = Config.model_validate(sections)
    # What planning asks for, and what the stage compares with what it finds.
    request = SimpleNamespace(config={"source": make_source(config).identity()}, seed=0)
    node: Any = SimpleNamespace(config=config, request=request, stage="prepare")
    workspace = Workspace(folder / "prepared")
    told: dict[str, Any] = stage.run(StageContext(node, {}, workspace, print))
    workspace.clear_state()
    return told


def verify(folder: Path) -> dict[str, Any]:
    """Compares all digests of the set."""
    from data.reading import verify_set

    told = verify_set(folder / "prepared" / "real.h5")
    return {"bytes": told["bytes"], "rows": told["rows"]}


def read(folder: Path) -> dict[str, Any]:
    """One pass in blocks, and a look at every image and label."""
    import numpy as np

    from data.batch_reader import BatchReader

    reader = BatchReader(
        folder / "prepared" / "real.h5", 250, 0, order="blocks", columns=("images", "labels", "source_row")
    )
    rows = len(reader.sets[0])
    seen, pixels, out = np.zeros(rows, np.bool_), 0, reader.buffers()
    for step in range(rows // 250):
        batch = reader.at(step, out)
        seen[batch["source_row"]] = True
        pixels += int(batch["images"].sum(dtype=np.int64))
    return {"different_rows": int(seen.sum()), "mean_pixel": round(pixels / (rows * int(np.prod(SHAPE))), 3)}


PHASES = {"prepare": prepare, "verify": verify, "read by blocks": read}


def main() -> None:
    """Measures, prints and writes the record; with ``--child`` runs one phase and tells."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="where the files lie; unset: the system's folder for such files")
    parser.add_argument("--child", choices=PHASES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        at_first, start = status_mb("VmHWM"), time.perf_counter()
        told = PHASES[options.child](options.folder)
        seconds = round(time.perf_counter() - start, 1)
        figures = {
            "seconds": seconds,
            "peak_resident_mb": round(status_mb("VmHWM"), 1),
            "mb_at_first": round(at_first, 1),
        }
        print(json.dumps({**figures, **told}))
        return
    measure(options)


def measure(options: argparse.Namespace) -> None:
    """Writes the .npy files, has each phase run in a process of its own, and writes the record."""
    import h5py
    import numpy as np
    from record import write_record
    from rounds import beginning, write_images

    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        expected = write_images(folder / "images.npy", options.count, SHAPE)
        mean = float(np.mean([expected[start : start + 8192].mean() for start in range(0, options.count, 8192)]))
        np.save(folder / "labels.npy", np.random.default_rng(1).integers(0, 100, options.count))
        for phase in PHASES:
            command = [sys.executable, __file__, "--child", phase, "--folder", name]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            figures[phase] = json.loads(done.stdout.splitlines()[-1])
            print(phase, json.dumps(figures[phase]), flush=True)
    peak = max(told["peak_resident_mb"] for told in figures.values())
    assert figures["read by blocks"]["different_rows"] == options.count - options.count % 250
    assert abs(figures["read by blocks"]["mean_pixel"] - mean) < 0.2
    parts = [f"{told['peak_resident_mb']:.0f} MB to {phase}" for phase, told in figures.items()]
    record = {
        **beginning("big_set", {"count": options.count, "image_shape": SHAPE}, {"h5py": h5py.__version__}),
        "sentence": f"{options.count:,} images of 3x32x32 need at most {peak:.0f} MB resident: {', '.join(parts)}.",
        "figures": figures,
        "peak_resident_mb": peak,
        "allowed_mb": MOST_MB,
    }
    write_record("big_set", record)


if __name__ == "__main__":
    main()
