"""Times sampling with rejection against what generator and feature network alone reach on the same batches.

    OMP_NUM_THREADS=1 python benchmarks/sampling.py [--store STORE]

writes ``benchmarks/results/sampling.json``: images a second of

- networks: generator and feature network alone, from latents that are there already, on the batches that sampling
  gives them (128 for the generator, 256 for the features);
- networks_256: the same on batches of 256 for both;
- drawing: ``draw_labels`` with the density ratio, for the draws that count, those of a stage ``candidates``;
- shards: the whole work of a shard, with the teacher's answers and the files of the shard.

They take turns, so that a noisy machine hits them alike; figures are medians over the turns, and so are the shares of
the networks alone that drawing reaches. All are told by the clock, and by the time that the processor gave to this
program, which others that run beside it do not lengthen. The trained networks are those of ``configs/digits.yaml``,
made in the store if they are not there; the others are an SNGAN for 3 x 32 x 32 pixels, with the default extractor and
ratio, and random weights.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shlex
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from random_networks import context_of, write_networks
from record import RESULTS, machine

from data.batches import to_bytes
from data.compute import Compute
from data.store import Artifact, Store
from flows.config import Config
from flows.drawing import draw_labels
from flows.execute import Runner, Selection, StageContext, run_directly
from flows.loading import load_config
from flows.plan import make_plan
from flows.ratio_features import feature_network
from flows.stages import candidates
from flows.stages.common import RealSet, compute_of
from generators.card import load_card, load_network
from generators.sampling import BLOCK_ROWS

#: Rows that the ratio and its features work on at a time.
BATCH = 256


def trained_inputs(config: Config, store: Store) -> dict[str, Artifact]:
    """The inputs of stage ``candidates``, made if they are not there."""
    plan = make_plan(config)
    wanted = next(node for node in plan if node.stage == "candidates")
    runner = Runner(config, store, Selection())
    list(run_directly(runner, plan[: plan.index(wanted)]))
    found = {name: store.find(node.stage, node.request.fingerprint) for name, node in wanted.inputs.items()}
    return {name: artifact for name, artifact in found.items() if artifact is not None}


def networks_alone(context: StageContext, compute: Compute, images: int, generator_batch: int) -> Callable[[], int]:
    """Generator and feature network, as fast as they go on whole batches, for at least so many images."""
    folder = context.inputs["generator"].folder
    card = load_card(folder)
    generator = compute.place(load_network(folder, card)).eval()
    extractor = feature_network(context, context.inputs["ratio"].folder, compute)
    latents = torch.randn(generator_batch, card.latent_size, device=compute.device)
    labels = card.label_space.conditions(np.arange(generator_batch) % card.label_space.classes)
    conditions = torch.from_numpy(labels).to(compute.device)
    batches = -(-images // BATCH)

    def work() -> int:
        with torch.inference_mode(), compute.autocast():
            for _ in range(batches):
                made = [to_bytes(generator(latents, conditions)) for _ in range(BATCH // generator_batch)]
                extractor.features(compute.images(torch.cat(made))).cpu()
        return batches * BATCH

    return work


def drawing(context: StageContext, compute: Compute) -> Callable[[], int]:
    """The draws of one shard, by the functions of the stage."""
    sample, ratio = candidates._sample(context, compute), candidates._ratio(context, compute)
    options = context.config.candidates
    space = RealSet.of(context.inputs["real"]).label_space
    labels = np.arange(space.classes, dtype=space.dtype)
    rules = candidates._rules(context)

    def work() -> int:
        draws = draw_labels(
            labels, np.arange(len(labels)), sample, ratio, rules, per_label=options.per_label, seed=0, describe=str
        )
        return len(draws.groups)

    return work


def shards(config: Config, inputs: dict[str, Artifact], root: Path) -> Callable[[], int]:
    """The whole stage, in an empty folder each time."""

    def work() -> int:
        with tempfile.TemporaryDirectory(dir=root) as folder:
            metrics = candidates.run(context_of(config, inputs, Path(folder)))
        return int(metrics["drawn"])

    return work


def measure(works: dict[str, Callable[[], int]], repeats: int) -> dict[str, Any]:
    """Images a second of works that take turns, after one turn that does not count."""
    figures: dict[str, Any] = {}
    clocks = {"": time.perf_counter, "_by_processor_time": time.process_time}
    rates: dict[tuple[str, str], list[float]] = {(name, clock): [] for name in works for clock in clocks}
    for repeat in range(repeats + 1):
        for name, work in works.items():
            starts = {clock: read() for clock, read in clocks.items()}
            images = work()
            for clock, read in clocks.items():
                if repeat:
                    rates[name, clock].append(images / (read() - starts[clock]))
    for clock in clocks:
        for name in works:
            figures[f"{name}_images_per_second{clock}"] = round(statistics.median(rates[name, clock]), 1)
        for alone in ("networks", "networks_256"):
            pairs = zip(rates["drawing", clock], rates[alone, clock], strict=True)
            shares = [ours / theirs for ours, theirs in pairs]
            figures[f"drawing_share_of_{alone}{clock}"] = round(statistics.median(shares), 3)
            figures[f"drawing_share_of_{alone}{clock}_range"] = [round(min(shares), 3), round(max(shares), 3)]
    return figures


def main() -> None:
    """Measures, prints and writes the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", type=Path, default=Path("store"))
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--generator-width", type=int, default=24, help="of the SNGAN for 3 x 32 x 32 pixels")
    options = parser.parse_args()
    figures: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        path = Path(__file__).resolve().parents[1] / "configs" / "digits.yaml"
        digits = load_config(path, ["candidates.per_label=500"])
        widths: dict[str, Any] = {
            "generator_width": options.generator_width,
            "feature_width": 16,
            "ratio_widths": (256, 128, 64),
            "teacher_channels": 16,
        }
        random = write_networks(root / "random", **widths)
        wide = Config.model_validate({"compute": {"threads": 1}, "candidates": {"per_label": 400}})
        for name, config, inputs in (
            ("digits, 1 x 8 x 8, trained", digits, trained_inputs(digits, Store(options.store))),
            ("SNGAN, 3 x 32 x 32, random", wide, random),
        ):
            context = context_of(config, inputs, root / f"context {len(figures)}")
            compute = compute_of(config)
            draw = drawing(context, compute)
            draws = draw()
            works = {
                "networks": networks_alone(context, compute, draws, BLOCK_ROWS),
                "networks_256": networks_alone(context, compute, draws, BATCH),
                "drawing": draw,
                "shards": shards(config, inputs, root),
            }
            told = {"networks": name, "draws": draws, "acceptance": round(config.candidates.per_label * 10 / draws, 3)}
            figures.append({**told, **measure(works, options.repeats)})
            print(json.dumps(figures[-1]), flush=True)
    record = {
        "command": shlex.join(["python", "benchmarks/sampling.py", "--repeats", str(options.repeats)]),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine(),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "load_average": [round(load, 1) for load in os.getloadavg()],
        "packages": {"python": platform.python_version(), "numpy": np.__version__, "torch": torch.__version__},
        "settings": {
            "batches": [BLOCK_ROWS, BATCH],
            "repeats": options.repeats,
            "generator_width": options.generator_width,
        },
        "figures": figures,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / "sampling.json"
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(path)


if __name__ == "__main__":
    main()
