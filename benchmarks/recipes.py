"""Times recipes: a million comparisons of every relation and size, a million mixes, and mixing batches on the device.

    OMP_NUM_THREADS=1 python benchmarks/recipes.py

writes ``benchmarks/results/recipes.json``. Comparisons and mixes are of 50,000 rows: seconds of the processor, the
least of a few repeats, with the search for near rows in them and apart. Mixing is of batches of random rows of images
that lie on the device: two gathers and the mix, beside one plain gather of as many rows; medians over rounds in which
each way has its turn.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy
import torch
from record import machine, write_record

from data.labels import Axis, LabelSpace
from data.recipes.applying import mix_images
from data.recipes.mixes import sample_mixes
from data.recipes.near import near_outputs, near_values, near_vectors
from data.recipes.relations import sample_related, similarity_points

CLASSES = LabelSpace("class", names=tuple(f"class {number}" for number in range(10)))
VALUES = LabelSpace("scalar")
VECTORS = LabelSpace("vector", axes=(Axis("first"), Axis("second")))


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Least processor time of a few calls."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return round(min(times), 3)


def time_groups(rows: int, count: int, repeats: int) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Seconds of every relation and size, and of the search for near rows alone."""
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 10, rows)
    outputs = rng.normal(size=(rows, 10)).astype(np.float32)
    outputs[np.arange(rows), classes] += 6
    value, vector = rng.random(rows).astype(np.float32), rng.random((rows, 2)).astype(np.float32)
    searches = {
        "near_label, values": seconds(lambda: near_values(value.astype(np.float64), None, 32), repeats),
        "near_label, vectors": seconds(lambda: near_vectors(vector.astype(np.float64), 32), repeats),
        "teacher_similar, 10 classes": seconds(lambda: near_outputs(similarity_points(outputs, CLASSES), 32), repeats),
        "teacher_similar, 100 classes": seconds(lambda: near_outputs(rng.normal(size=(rows, 100)), 32), 1),
    }
    cases: list[tuple[Any, ...]] = [
        ("uniform", classes, CLASSES, None),
        ("same_class", classes, CLASSES, None),
        ("different_class", classes, CLASSES, None),
        ("near_label", value, VALUES, None),
        ("near_label", vector, VECTORS, None),
        ("teacher_similar", classes, CLASSES, outputs),
    ]
    figures = []
    for case in cases:
        for size in (1, 2, 4, 8):
            found = seconds(lambda: sample_related(*case, size, size, count, 0), repeats)  # noqa: B023
            figures.append({"relation": case[0], "labels": case[2].kind, "sizes": f"{size}v{size}", "seconds": found})
            print(figures[-1], flush=True)
    for most, name in ((2, "twice the mean"), (1, "the mean")):
        for size in (1, 8):
            cap = most * 2 * size * count // rows
            found = seconds(lambda: sample_related(*cases[1], size, size, count, 0, most_per_row=cap), 1)  # noqa: B023
            figures.append(
                {"relation": f"same_class, most_per_row {name}", "labels": "class", "sizes": f"{size}v{size}",
                 "seconds": found}
            )  # fmt: skip
            print(figures[-1], flush=True)
    return figures, searches


def time_mixing(rows: int, side: int, batch: int, rounds: int, device: torch.device) -> list[dict[str, Any]]:
    """Images a second of each kind of mix, beside a plain gather."""
    images = torch.randint(0, 256, (rows, 3, side, side), dtype=torch.uint8, device=device)
    ways: dict[str, Callable[[], torch.Tensor]] = {
        "gather": lambda: images.index_select(0, torch.randint(0, rows, (batch,), device=device))
    }
    for kind in ("mixup", "cutmix"):
        mixes = sample_mixes(rows, kind, 1.0, 200_000, side, 0)  # type: ignore[arg-type]
        held = [torch.from_numpy(item).to(device) for item in (mixes.first, mixes.second, mixes.coefficient, mixes.box)]

        def mixed(held: list[torch.Tensor] = held, kind: str = kind) -> torch.Tensor:
            places = torch.randint(0, len(held[0]), (batch,), device=device)
            first, second, coefficient, box = (item.index_select(0, places) for item in held)
            return mix_images(images.index_select(0, first), images.index_select(0, second), coefficient, box, kind)

        ways[kind] = mixed
    times: dict[str, list[float]] = {name: [] for name in ways}
    calls = max(10, 20_000 // batch)
    for _ in range(rounds + 1):
        for name, way in ways.items():
            if device.type == "cuda":
                torch.cuda.synchronize()
            start = time.perf_counter()
            for _ in range(calls):
                way()
            if device.type == "cuda":
                torch.cuda.synchronize()
            times[name].append((time.perf_counter() - start) / calls)
    medians = {name: statistics.median(found[1:]) for name, found in times.items()}
    figures = [
        {
            "way": name,
            "device": device.type,
            "side": side,
            "batch": batch,
            "images_per_second": round(batch / found),
            "times_a_gather": round(found / medians["gather"], 2),
        }
        for name, found in medians.items()
    ]
    print(*figures, sep="\n", flush=True)
    return figures


def main() -> None:
    """Measures, prints and writes the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--name", default="recipes")
    options = parser.parse_args()
    device = torch.device(options.device)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    groups, searches = time_groups(options.rows, options.count, options.repeats)
    mixes = {
        kind: seconds(lambda: sample_mixes(options.rows, kind, 1.0, options.count, 32, 0), options.repeats)  # type: ignore[arg-type]  # noqa: B023
        for kind in ("mixup", "cutmix")
    }
    print(searches, mixes, flush=True)
    mixing = [
        figure
        for side, batch in ((32, 128), (32, 512), (64, 128))
        for figure in time_mixing(options.rows, side, batch, options.rounds, device)
    ]
    slowest = max(figure["seconds"] for figure in groups if "most" not in figure["relation"])
    record = {
        "command": shlex.join(["python", "benchmarks/recipes.py", *sys.argv[1:]]),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine(),
        "threads": torch.get_num_threads(),
        "load_average": [round(load, 1) for load in os.getloadavg()],
        "packages": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "scipy": scipy.__version__,
            "torch": torch.__version__,
        },
        "settings": {"rows": options.rows, "count": options.count, "neighbours": 32},
        "sentence": f"{options.count} comparisons of any relation and size take at most {slowest} s of the processor "
        f"with their search, {options.count} mixes {max(mixes.values())} s.",
        "groups": groups,
        "search_seconds": searches,
        "mixes_seconds": mixes,
        "mixing": mixing,
    }
    write_record(options.name, record)


if __name__ == "__main__":
    main()
