"""Compares generators by their fidelity to the test images, all in the features of one network.

    python benchmarks/fidelity.py configs/digits.yaml --name digits --made first=FOLDER,FOLDER,FOLDER
        --train now --train "wide:generator.options.width=64;generator.steps=2000" --training-seeds 0,1,2

writes ``benchmarks/results/fidelity_<name>.json``. ``--made`` gives generator artifacts that are there; ``--train``
trains the configuration, with changes, once a training seed. Prepared images, feature network and teacher are those of
the configuration's own seed, made if they are absent, or the artifacts that ``--real``, ``--features`` and
``--teacher`` name. Each generator makes one image for every test image at its label, once a sampling seed.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from record import RESULTS, machine

from data.compute import Compute, pick_compute
from data.errors import ConfigError, DataError, StillhouseError
from data.labels import LabelSpace
from data.random import derive_seed, row_seeds
from data.reading import open_set
from data.splitting import TEST, TRAIN
from data.store import Store
from filters.features import load_extractor, pooled_features
from flows.execute import Runner, Selection
from flows.loading import load_config
from flows.plan import make_plan
from generators.card import load_card
from generators.fidelity.assessment import Observed, assess, assess_held_out, headline, observe, sentences
from generators.fidelity.extraction import Extract, own_extract
from generators.fidelity.inception import inception_extract
from generators.fidelity.memorisation import audit_memorisation
from generators.sampling import load_generator
from students.evaluation import predict
from students.model import load_model

PACKAGES = ("torch", "torch-fidelity", "numpy", "scipy")
Numbers = dict[str, float | None]


@dataclass(frozen=True)
class Reference:
    """What every generator is compared with.

    Args:
        space: of the labels.
        test: the test images, as the networks see them.
        training: the training images.
        training_rows: row numbers of the source that generators may have been trained on.
        observe: asks the networks about images of given labels.
    """

    space: LabelSpace
    test: Observed
    training: Observed
    training_rows: npt.NDArray[np.int64]
    observe: Callable[[npt.NDArray[np.uint8], npt.NDArray[Any]], Observed]


def main() -> None:
    """Measures, prints the table and writes the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    parser.add_argument("--name", required=True, help="of the record")
    parser.add_argument("--made", action="append", default=[], metavar="NAME=FOLDER[,FOLDER]...")
    parser.add_argument("--train", action="append", default=[], metavar="NAME[:KEY=VALUE[;KEY=VALUE]...]")
    parser.add_argument("--training-seeds", default="0,1,2", help="of --train")
    parser.add_argument("--sampling-seeds", default="0,1,2")
    parser.add_argument("--real", type=Path, help="a prepare artifact")
    parser.add_argument("--features", type=Path, help="a features artifact")
    parser.add_argument("--teacher", type=Path, help="a teacher artifact")
    parser.add_argument("--inception-weights", type=Path, help="compare in Inception's features instead")
    parser.add_argument("--windows", type=int, default=10, help="label windows of the sliding FID")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--store", type=Path, default=Path("store"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    try:
        path = compare(options)
    except StillhouseError as error:
        sys.exit(f"error: {error}")
    print(path)


def compare(options: argparse.Namespace) -> Path:
    """Evaluates all generators and writes the record; returns its path."""
    torch.set_num_threads(options.threads)
    compute = pick_compute("cpu" if not torch.cuda.is_available() else "auto", "fp32")
    folders = {name: getattr(options, name) for name in ("real", "features", "teacher")}
    stages = {"real": "prepare", "features": "features", "teacher": "teacher"}
    missing = [name for name, folder in folders.items() if folder is None]
    if missing:
        made = made_stages(options, options.overrides, {stages[name] for name in missing})
        folders |= {name: made[stages[name]] for name in missing}
    extract, described = extractor(options, folders, compute)
    reference = look_at(folders, extract, compute)
    settings = {"windows": options.windows, "seed": derive_seed("fidelity benchmark")}
    sampling_seeds = [int(seed) for seed in options.sampling_seeds.split(",")]
    contenders: dict[str, dict[str, Any]] = {}
    for name, generators in all_generators(options).items():
        judged = []
        for folder in generators:
            judged.append(judge(folder, reference, sampling_seeds, settings, folders["real"], compute))
            print(f"{name} {folder.name[:12]}: {worded(judged[-1]['mean'])}", file=sys.stderr, flush=True)
        contenders[name] = {"generators": judged, "summary": summarise([made["mean"] for made in judged])}
    steps = {made["steps"] for part in contenders.values() for made in part["generators"]}
    record: dict[str, Any] = {
        "command": shlex.join(["python", "benchmarks/fidelity.py", *map(portable, sys.argv[1:])]),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine(),
        "threads": options.threads,
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "judges": {name: folder.name for name, folder in folders.items()},
        "extractor": described | {"dimensions": int(reference.test.features.shape[1])},
        "images": len(reference.test.labels),
        "equal_steps": len(steps) == 1,
        "sampling_seeds": sampling_seeds,
        "generators": contenders,
        "real": {
            "one half of the test images against the other": headline(
                assess_held_out(reference.test, reference.space, **settings)
            ),
            "training images against the test images": headline(
                assess(reference.training, reference.test, reference.space, **settings)
            ),
        },
    }
    options.results.mkdir(exist_ok=True)
    path: Path = options.results / f"fidelity_{options.name}.json"
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print_table(contenders, record["equal_steps"])
    return path


def made_stages(options: argparse.Namespace, overrides: Sequence[str], wanted: set[str]) -> dict[str, Path]:
    """Folders of the wanted stages of the configuration, made with all that they need if they are absent."""
    config = load_config(options.config, overrides)
    plan = make_plan(config)
    nodes = [node for node in plan if node.stage in wanted]
    found = {node.stage for node in nodes}
    if found != wanted:
        raise ConfigError(
            f"{options.config} must have the stages {', '.join(sorted(wanted))}, got none of "
            f"{', '.join(sorted(wanted - found))}; let a student train on real+synthetic data."
        )
    needed = list(nodes)
    for node in needed:
        needed += [parent for parent in node.inputs.values() if parent not in needed]
    runner = Runner(config, Store(options.store), Selection(), warn=lambda words: print(words, file=sys.stderr))
    keys = {node.key for node in needed}
    outcomes = [runner.cached(node) or runner.run(node) for node in plan if node.key in keys]
    return {outcome.node.stage: outcome.artifact.folder for outcome in outcomes}


def all_generators(options: argparse.Namespace) -> dict[str, list[Path]]:
    """The folders of every contender, by its name; those that are to be trained are trained here."""
    found: dict[str, list[Path]] = {}
    for text in options.made:
        name, _, folders = text.partition("=")
        found[name] = [Path(folder) for folder in folders.split(",") if folder]
    for text in options.train:
        name, _, changes = text.partition(":")
        overrides = [*options.overrides, *(change for change in changes.split(";") if change)]
        found[name] = [
            made_stages(options, [*overrides, f"seed={seed}"], {"generator"})["generator"]
            for seed in options.training_seeds.split(",")
        ]
    if not found or not all(found.values()):
        raise ConfigError("give generators to compare: --made NAME=FOLDER[,FOLDER]..., or --train NAME.")
    return found


def extractor(
    options: argparse.Namespace, folders: Mapping[str, Path], compute: Compute
) -> tuple[Extract, dict[str, Any]]:
    """The one network that gives features, scaled by the test images if it is the project's own."""
    if options.inception_weights is not None:
        return inception_extract(options.inception_weights, compute.device)
    network = load_extractor(folders["features"], compute)
    images = rows_of(folders["real"], TEST)[0]
    return own_extract(lambda rows: pooled_features(network, rows, compute), reference=images), {"name": "own"}


def rows_of(folder: Path, part: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Images, labels and source rows of a part of a prepare artifact."""
    real = open_set(folder / "real.h5")
    rows = np.flatnonzero(real.columns["split"] == part)
    return real.take("images", rows), real.take("labels", rows), real.take("source_row", rows)


def look_at(folders: Mapping[str, Path], extract: Extract, compute: Compute) -> Reference:
    """Test and training images as the fixed networks see them."""
    teacher = load_model(folders["teacher"], compute)
    space = open_set(folders["real"] / "real.h5").label_space

    def asked(images: npt.NDArray[np.uint8], labels: npt.NDArray[Any]) -> Observed:
        return observe(images, labels, space, extract, lambda rows: predict(teacher, rows, compute))

    test, training = rows_of(folders["real"], TEST), rows_of(folders["real"], TRAIN)
    return Reference(space, asked(*test[:2]), asked(*training[:2]), np.sort(training[2]), asked)


def judge(
    folder: Path,
    reference: Reference,
    sampling_seeds: Sequence[int],
    settings: Mapping[str, Any],
    real: Path,
    compute: Compute,
) -> dict[str, Any]:
    """All figures of one generator, once a sampling seed, and their means."""
    manifest = check_same_split(folder, reference, real)
    sampler, test = load_generator(folder, compute), reference.test
    partners = np.arange(len(test.labels))
    runs: list[Numbers] = []
    notes: list[str] = []
    for seed in sampling_seeds:
        images = sampler.sample(test.labels, row_seeds(derive_seed(seed, "fidelity benchmark"), partners))
        seen = reference.observe(images, test.labels)
        found = assess(seen, test, reference.space, partners=partners, **settings)
        found["memorisation"] = audit_memorisation(seen.features, test.features, reference.training.features)
        runs.append(headline(found))
        notes += [note for note in sentences(found) if note not in notes]
    card = load_card(folder)
    return {
        "fingerprint": manifest["fingerprint"],
        "seed": manifest["seed"],
        "steps": manifest["config"]["generator"]["steps"],
        "network": card.network,
        "options": card.options,
        "generator": manifest["config"]["generator"],
        "seconds": manifest["seconds"],
        "metrics": manifest["metrics"],
        "mean": {name: summary["mean"] for name, summary in summarise(runs).items()},
        "runs": runs,
        "notes": notes,
    }


def check_same_split(folder: Path, reference: Reference, real: Path) -> dict[str, Any]:
    """The manifest of a generator; refuses one that may have been trained on images that it is judged by."""
    try:
        manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{folder} must be the folder of a finished generator ({error}).") from error
    trained_on = manifest["inputs"]["real"]
    if trained_on == real.name:
        return manifest
    # Another release gave the same rows another fingerprint.
    other = folder.resolve().parents[1] / "prepare" / trained_on
    if not (other / "real.h5").is_file():
        raise DataError(f"{folder} was trained on prepare artifact {trained_on[:12]}, which must lie in {other}.")
    if not np.array_equal(np.sort(rows_of(other, TRAIN)[2]), reference.training_rows):
        raise DataError(f"{folder} was trained on other rows than the training part of {real}; compare like with like.")
    return manifest


def portable(argument: str) -> str:
    """A command's argument without the folders of this machine: of a path, the last two names are left."""
    return re.sub(r"(?<![^=,])/(?:[^/,=\s]+/)*([^/,=\s]+/[^/,=\s]+)", r"\1", argument)


def summarise(runs: Sequence[Numbers]) -> dict[str, dict[str, Any]]:
    """Mean and sample standard deviation of every figure; None where some run has none."""
    summary: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(name for run in runs for name in run):
        values = [run.get(name) for run in runs]
        known = [value for value in values if value is not None]
        whole = len(known) == len(values)
        summary[name] = {
            "mean": float(np.mean(known)) if whole else None,
            "std": float(np.std(known, ddof=1)) if whole and len(known) > 1 else None,
            "values": values,
        }
    return summary


def worded(numbers: Numbers) -> str:
    """Numbers on one line."""
    return ", ".join(f"{name} {value:.4g}" for name, value in numbers.items() if value is not None)


def print_table(contenders: Mapping[str, Any], equal_steps: bool) -> None:
    """Mean ± standard deviation over training seeds of every figure and contender."""
    summaries = {name: part["summary"] for name, part in contenders.items()}
    print(f"{'':32}" + "".join(f"{name:>24}" for name in summaries))
    for figure in dict.fromkeys(key for summary in summaries.values() for key in summary):
        cells = []
        for summary in summaries.values():
            number = summary.get(figure, {"mean": None, "std": None})
            spread = "" if number["std"] is None else f" ± {number['std']:.3g}"
            cells.append("-" if number["mean"] is None else f"{number['mean']:.4g}{spread}")
        print(f"{figure:32}" + "".join(f"{cell:>24}" for cell in cells))
    if not equal_steps:
        print("Steps differ between generators: this is no comparison at equal cost.")


if __name__ == "__main__":
    main()
