"""Reads ten thousand damaged files as if they came from strangers, and counts what happens.

    OMP_NUM_THREADS=1 python benchmarks/fuzz.py [--sets 10000] [--foreign 3000] [--attributes 3000] [--seed 0]

writes ``benchmarks/results/fuzz.json``. Damaged copies of a set of each kind are opened and verified by
``data.untrusted``: each one must read as the original, every column, or be refused by a ``DataError``. Damaged files in
the papers' layout are unpacked: they have no digests, so that wrong pixels are possible and are counted; all else holds
for them too. Sets whose attributes say something else, with right digests, are refused or can be described: info, JSON
and card must not fail. Growth of resident memory is that of the process that runs HDF5 (over an idle fork of it, pages
of mapped files included) and, apart, that of this process, both for one file.
"""

from __future__ import annotations

import argparse
import collections
import datetime
import json
import re
import shlex
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from attribute_mutants import mutate_attributes
from mutants import Original, make_foreign, make_sets, mutate
from record import RESULTS, machine

from data.describing import describe_set
from data.errors import DataError
from data.exporting.about import About
from data.exporting.card_text import card_text
from data.quarantine import MEMORY, Quarantine
from data.reading import ImageSet, open_set
from data.untrusted import open_untrusted, unpack_arrays
from flows.set_info import info_text

Mutate = Callable[[Original, int, int], tuple[bytes, str]]
FOREIGN = ("fake_images", "fake_labels")


@dataclass
class Counts:
    """What became of the mutants of one kind of file."""

    judge: Callable[[Original, Path, Quarantine], bool]
    mutants: int = 0
    right: int = 0
    refused: int = 0
    wrong: list[str] = field(default_factory=list)
    escaped: list[str] = field(default_factory=list)
    crashed: list[str] = field(default_factory=list)
    hung: list[str] = field(default_factory=list)
    memory: list[str] = field(default_factory=list)
    sentences: collections.Counter[str] = field(default_factory=collections.Counter)
    most_grown: int = 0
    most_grown_here: int = 0
    longest_seconds: float = 0.0
    by_change: collections.Counter[str] = field(default_factory=collections.Counter)
    by_file: collections.Counter[str] = field(default_factory=collections.Counter)

    def add(self, original: Original, path: Path, changed: tuple[bytes, str], number: int, process: Quarantine) -> None:
        """Reads one mutant and books the outcome."""
        content, change = changed
        name = f"{original.name} {number} ({change})"
        path.write_bytes(content)
        process.grown = 0
        before = _reset_peak()
        began = time.monotonic()
        try:
            same = self.judge(original, path, process)
        except DataError as error:
            outcome = "refused"
            self.book(str(error).removeprefix(str(path)), name)
        except Exception as error:  # what must not happen is counted, and the run goes on
            outcome = "escaped"
            self.escaped.append(f"{name}: {type(error).__name__}: {error}"[:300])
        else:
            outcome = "right" if same else "wrong"
            if same:
                self.right += 1
            else:
                self.wrong.append(name)
        self.mutants += 1
        self.by_change[f"{change}: {outcome}"] += 1
        self.by_file[f"{original.name}: {outcome}"] += 1
        self.longest_seconds = max(self.longest_seconds, time.monotonic() - began)
        here = _peak() - before
        self.most_grown, self.most_grown_here = max(self.most_grown, process.grown), max(self.most_grown_here, here)
        if max(process.grown, here) > 2 * len(content) + MEMORY:
            self.memory.append(f"{name}: {process.grown} in the child, {here} here, file of {len(content)}")

    def book(self, sentence: str, name: str) -> None:
        """Counts a refusal by its class of sentence."""
        self.refused += 1
        if "its check ended by the limit" in sentence or "took too long" in sentence:
            self.hung.append(name)
        elif "its check ended" in sentence or "its check broke" in sentence:
            self.crashed.append(f"{name}{sentence}"[:200])
        self.sentences[sentence_class(sentence)] += 1

    def report(self) -> dict[str, Any]:
        """JSON-ready, most frequent sentences first."""
        faults = {name: getattr(self, name) for name in ("wrong", "escaped", "crashed", "hung", "memory")}
        return {
            "mutants": self.mutants,
            "right": self.right,
            "refused": self.refused,
            "wrong": len(self.wrong),
            "escaped_as_another_error": len(self.escaped),
            "refused_after_the_child_crashed": len(self.crashed),
            "refused_after_the_child_hung": len(self.hung),
            "memory_above_twice_the_file_and_64_mib": len(self.memory),
            "most_memory_grown_in_the_child_mib": round(self.most_grown / 2**20, 1),
            "most_memory_grown_in_the_reader_mib": round(self.most_grown_here / 2**20, 1),
            "longest_seconds": round(self.longest_seconds, 2),
            "sentences": dict(self.sentences.most_common()),
            "by_file": dict(sorted(self.by_file.items())),
            "by_change": dict(sorted(self.by_change.items())),
            "examples": {name: found[:20] for name, found in faults.items()},
        }


def is_same(original: Original, path: Path, process: Quarantine) -> bool:
    """Whether a mutant reads as the original.

    Raises:
        DataError: if it is refused.
    """
    if all(name in original.columns for name in FOREIGN):
        found = unpack_arrays(path, FOREIGN, process)
        return all(_equal(values, original.columns[name]) for name, values in found.items())
    opened = open_untrusted(path, process, verify=True)
    whole = open_set(original.path)
    return _described(opened) == _described(whole) and all(
        _equal(values, original.columns[name]) for name, values in opened.columns.items()
    )


def is_describable(original: Original, path: Path, process: Quarantine) -> bool:
    """Whether all that is told of a set has a form that a terminal, a file and a program can take.

    Raises:
        DataError: if it is refused.
    """
    found = open_untrusted(path, process, verify=True)
    description = describe_set(found)
    told = [info_text(found, description), json.dumps(description, allow_nan=False), card_text(found, About(), "")]
    for text in told:
        text.encode()
    return all(letter.isprintable() or letter == "\n" for letter in told[0])


def _described(found: ImageSet) -> tuple[Any, ...]:
    names = sorted(found.columns)
    return found.kind, found.label_space, found.provenance, found.license, found.content_sha256, names


def _equal(one: np.ndarray[Any, Any], two: np.ndarray[Any, Any]) -> bool:
    return one.dtype == two.dtype and one.shape == two.shape and one.tobytes() == two.tobytes()


def sentence_class(sentence: str) -> str:
    """A refusal without what is the file's own: numbers, names in quotes, what stands in brackets."""
    sentence = sentence.partition(";")[0].strip(": ")
    reason = re.search(r"cannot be read as HDF5 \((.*)\)", sentence)
    if reason:
        return "HDF5: " + re.sub(r"\d+", "N", re.sub(r"'[^']*'", "'…'", reason[1]))[:80]
    sentence = re.sub(r"\(.*?\)|\[.*?\]", "(…)", re.sub(r"'[^']*'|\"[^\"]*\"", "'…'", sentence))
    return re.sub(r"\d[\d.e+]*", "N", sentence)[:100]


def run(
    originals: list[Original],
    count: int,
    seed: int,
    folder: Path,
    cpu_seconds: int = 4,
    change: Mutate = mutate,
    judge: Callable[[Original, Path, Quarantine], bool] = is_same,
) -> Counts:
    """Reads ``count`` mutants, of the originals in turn."""
    counts = Counts(judge)
    path = folder / "mutant.h5"
    with Quarantine(cpu_seconds) as process:
        for number in range(count):
            original = originals[number % len(originals)]
            counts.add(original, path, change(original, seed, number), number, process)
    return counts


def _reset_peak() -> int:
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _peak()


def _peak() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) << 10


def main() -> None:
    """Runs all parts and writes the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, default=10_000, help="mutants of sets of this project's format")
    parser.add_argument("--foreign", type=int, default=3_000, help="mutants of files in the papers' layout")
    parser.add_argument("--attributes", type=int, default=3_000, help="mutants of attributes, with right digests")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--name", default="fuzz", help="name of the record")
    options = parser.parse_args()
    parts = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sets, foreign = make_sets(folder, options.seed), make_foreign(folder, options.seed)
        asked: tuple[tuple[str, list[Original], int, dict[str, Any]], ...] = (
            ("sets", sets, options.sets, {}),
            ("foreign", foreign, options.foreign, {}),
            ("attributes", sets, options.attributes, {"change": mutate_attributes, "judge": is_describable}),
        )
        for part, originals, count, how in asked:
            began = time.monotonic()
            counts = run(originals, count, options.seed, folder, **how)
            parts[part] = {"seconds": round(time.monotonic() - began, 1), **counts.report()}
    told = {
        part: {key: value for key, value in report.items() if isinstance(value, int | float)}
        for part, report in parts.items()
    }
    print(json.dumps(told, indent=1))
    record = {
        "command": shlex.join(["python", *sys.argv]),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine(),
        "packages": {"h5py": h5py.__version__, "hdf5": h5py.version.hdf5_version, "numpy": np.__version__},
        "seed": options.seed,
        **parts,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{options.name}.json"
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(path)


if __name__ == "__main__":
    main()
