"""Times how a batch is drawn from the vicinities of its targets, against a scan of all labels for each target.

    OMP_NUM_THREADS=1 python benchmarks/batch_drawing.py

writes ``benchmarks/results/batch_drawing.json``: milliseconds per batch, medians of one run, for every form and every
kind of label. The scan is how the published code of CcGAN draws (Ding et al., 2023, arXiv 2011.07466, and 2025, arXiv
2508.01725): a loop over targets, with ``np.where`` over all labels in it.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import json
import operator
import os
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy
from record import RESULTS, machine

from data.labels import Axis, LabelSpace
from generators.vicinities import Form, make_vicinity
from generators.vicinities.forms import FORMS, LEAST_WEIGHT, reach_in_kappas, soft_weights

SPACES = {
    "scalar": LabelSpace("scalar"),
    "class+scalar": LabelSpace("class+scalar", names=tuple(f"class {i}" for i in range(10))),
    "vector": LabelSpace("vector", axes=(Axis("first"), Axis("second"))),
}


def make_labels(kind: str, count: int) -> npt.NDArray[np.float32]:
    """Uniform labels, nearly all distinct; classes at random."""
    rng = np.random.default_rng(0)
    columns = {"scalar": 1, "class+scalar": 2, "vector": 2}[kind]
    labels = rng.random((count, columns)).astype(np.float32)
    if kind == "class+scalar":
        labels[:, 0] = rng.integers(10, size=count)
    return labels[:, 0] if kind == "scalar" else labels


class Scan:
    """A batch drawn by scanning all labels for each target."""

    def __init__(self, kind: str, labels: npt.NDArray[np.float32], form: Form, images: int | None, bandwidths: Any):
        values = labels.astype(np.float64).reshape(len(labels), -1)
        self.classes = values[:, 0].astype(np.int64) if kind == "class+scalar" else None
        self.columns = np.ascontiguousarray((values[:, 1:] if kind == "class+scalar" else values).T)
        self.labels = np.unique(values, axis=0)
        self.form, self.images = form, images
        shape = (10 if kind == "class+scalar" else 1, len(self.columns))
        self.sigma = np.reshape(bandwidths["sigma_label"], shape)
        self.kappa = None if images else np.reshape(bandwidths["kappa"], shape)
        self.scales = self.columns.std(axis=1)
        own = [self.columns[0]] if self.classes is None else [self.columns[0][self.classes == i] for i in range(10)]
        self.distinct = [np.unique(column, return_counts=True) for column in own]

    def widen(self, group: int, target: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Half-width of the vicinity that holds the wanted number of images."""
        assert self.images is not None
        if len(self.columns) > 1:
            scaled = [np.abs(c - t) / s for c, t, s in zip(self.columns, target, self.scales, strict=True)]
            distances = np.maximum(*scaled)
            return np.partition(distances, self.images - 1)[self.images - 1] * self.scales + 1e-6
        values, counts = self.distinct[group]
        right = int(np.searchsorted(values, target[0]))
        left, held, kappa = right - 1, 0, 0.0
        while held < self.images and (left >= 0 or right < len(values)):
            to_left = target[0] - values[left] if left >= 0 else np.inf
            to_right = values[right] - target[0] if right < len(values) else np.inf
            if to_left < to_right:
                kappa, held, left = to_left, held + counts[left], left - 1
            else:
                kappa, held, right = to_right, held + counts[right], right + 1
        return np.array([kappa + 1e-6])

    def near(self, group: int, target: npt.NDArray[np.float64], kappa: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
        """Rows in the vicinity."""
        axes = list(zip(self.columns, target, kappa, strict=True))
        if self.form == "soft":
            mask = sum(((column - t) / k) ** 2 for column, t, k in axes) <= -np.log(LEAST_WEIGHT)
        else:
            mask = functools.reduce(operator.and_, (np.abs(column - t) <= k for column, t, k in axes))
        return np.where(mask if self.classes is None else mask & (self.classes == group))[0]

    def draw(self, count: int, rng: np.random.Generator) -> tuple[Any, ...]:
        """Rows, fake labels and weights of a batch."""
        rows, fakes, differences, kappas = [], [], [], []
        dimensions = len(self.columns)
        for label in self.labels[rng.integers(len(self.labels), size=count)]:
            group = 0 if self.classes is None else int(label[0])
            near = np.zeros(0, np.intp)
            while not len(near):
                target = label[-dimensions:] + self.sigma[group] * rng.normal(size=dimensions)
                kappa = self.widen(group, target) if self.kappa is None else self.kappa[group]
                near = self.near(group, target, kappa)
            rows.append(rng.choice(near))
            half = kappa * reach_in_kappas(self.form)
            fakes.append(rng.uniform(np.maximum(target - half, 0), np.minimum(target + half, 1)))
            differences.append([self.columns[:, rows[-1]] - target, fakes[-1] - target])
            kappas.append(kappa)
        weights = soft_weights(np.array(differences), np.array(kappas)[:, None])
        return rows, fakes, weights[:, 0], weights[:, 1]


def median_milliseconds(draw: Callable[[np.random.Generator], object], repeats: int) -> float:
    """Median time of a call, after one that is not counted."""
    draw(np.random.default_rng(0))
    times = []
    for repeat in range(repeats):
        rng = np.random.default_rng(repeat)
        start = time.perf_counter()
        draw(rng)
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def main() -> None:
    """Measures, prints and writes the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=int, default=1_000_000)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--images", type=int, default=50, help="images that an adaptive vicinity holds")
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--scan-repeats", type=int, default=3)
    options = parser.parse_args()
    figures = []
    for kind, space in SPACES.items():
        labels = make_labels(kind, options.labels)
        for form in FORMS:
            for images in (None, options.images):
                start = time.perf_counter()
                vicinity = make_vicinity(labels, space, form=form, images=images)
                preparation = time.perf_counter() - start
                scan = Scan(kind, labels, form, images, vicinity.describe())
                ours = median_milliseconds(lambda rng: vicinity.draw(options.batch, rng), options.repeats)  # noqa: B023
                scans = median_milliseconds(lambda rng: scan.draw(options.batch, rng), options.scan_repeats)  # noqa: B023
                figures.append(
                    {
                        "labels": kind,
                        "form": form,
                        "kappa": "fixed" if images is None else "adaptive",
                        "milliseconds": round(ours, 3),
                        "scan_milliseconds": round(scans, 1),
                        "times_faster": round(scans / ours),
                        "preparation_seconds": round(preparation, 2),
                    }
                )
                print(json.dumps(figures[-1]), flush=True)
    record = {
        "command": shlex.join(["python", "benchmarks/batch_drawing.py", *sys.argv[1:]]),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine(),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "load_average": [round(load, 1) for load in os.getloadavg()],
        "packages": {"python": platform.python_version(), "numpy": np.__version__, "scipy": scipy.__version__},
        "settings": vars(options),
        "figures": figures,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / "batch_drawing.json"
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(path)


if __name__ == "__main__":
    main()
