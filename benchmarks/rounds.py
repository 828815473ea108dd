"""Speeds of several ways beside each other: every way once a round, so that whatever else runs meets all of them."""

from __future__ import annotations

import datetime
import os
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from record import machine

#: Bytes of the copy that bandwidth is measured by.
COPIED = 256 << 20


class Copy:
    """Memory-copy bandwidth, one thread, in bytes a second."""

    def __init__(self) -> None:
        self._source, self._target = np.ones(COPIED, np.uint8), np.ones(COPIED, np.uint8)

    def __call__(self) -> float:
        """The median of three copies."""
        seconds = []
        for _ in range(3):
            start = time.perf_counter()
            np.copyto(self._target, self._source)
            seconds.append(time.perf_counter() - start)
        return COPIED / statistics.median(seconds)


def rate(step: Callable[[int], int], seconds: float, first: int) -> float:
    """Images a second of ``step``, which is called with rising numbers and tells how many images it gave; 0 ends it."""
    images, number = 0, first
    start = passed = time.perf_counter()
    while passed - start < seconds:
        given = step(number)
        images, number, passed = images + given, number + 1, time.perf_counter()
        if not given:
            break
    return images / (passed - start)


def interleaved(
    ways: Mapping[str, Callable[[int], float]], rounds: int, reference: Callable[[], float]
) -> tuple[list[float], dict[str, list[float]]]:
    """Runs every way once a round.

    Args:
        ways: each tells a rate, given the number of the round.
        rounds: how many.
        reference: measured at the beginning of every round.

    Returns:
        What ``reference`` said, and the rates by name; one number a round.
    """
    references: list[float] = []
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        references.append(reference())
        for name, way in ways.items():
            rates[name].append(way(number))
            print(f"round {number}: {name}: {rates[name][-1]:,.0f}", flush=True)
    return references, rates


def spread(values: Sequence[float], digits: int = 3) -> dict[str, float]:
    """Median, least and most."""
    found = {"median": statistics.median(values), "least": min(values), "most": max(values)}
    return {name: round(value, digits) for name, value in found.items()}


def ratios(values: Sequence[float], to: Sequence[float], digits: int = 4) -> dict[str, float]:
    """Spread of ratios within rounds."""
    return spread([value / other for value, other in zip(values, to, strict=True)], digits)


def beginning(name: str, settings: Mapping[str, Any], packages: Mapping[str, str]) -> dict[str, Any]:
    """The beginning of a record: command, date, machine, load, versions and settings."""
    return {
        "command": shlex.join(["python", f"benchmarks/{name}.py", *_told(sys.argv[1:])]),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine(),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "load_average": [round(load, 1) for load in os.getloadavg()],
        "packages": {"python": platform.python_version(), "numpy": np.__version__, **packages},
        "settings": dict(settings),
    }


def _told(arguments: Sequence[str]) -> list[str]:
    """Arguments without the folder of the files, which is a matter of the machine."""
    told: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == "--folder":
            next(words, None)
        elif not word.startswith("--folder="):
            told.append(word)
    return told


def write_images(path: Path, count: int, shape: tuple[int, int, int] = (3, 32, 32)) -> npt.NDArray[np.uint8]:
    """Smooth fields with noise as an .npy file, written in pieces; the map of it, read-only."""
    images = np.lib.format.open_memmap(path, "w+", np.uint8, (count, *shape))  # type: ignore[no-untyped-call]
    channels, height, width = shape
    for start in range(0, count, 8192):
        rng = np.random.default_rng(start)
        rows = min(8192, count - start)
        field = rng.integers(20, 200, (rows, channels, height // 8, width // 8), dtype=np.uint8)
        noise = rng.integers(0, 56, (rows, *shape), dtype=np.uint8)
        images[start : start + rows] = field.repeat(8, axis=2).repeat(8, axis=3) + noise
        images.flush()
    del images
    return np.load(path, mmap_mode="r")  # type: ignore[no-any-return]
