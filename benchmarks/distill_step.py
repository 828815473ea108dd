"""Times a step of training with cached teacher outputs against a bare PyTorch step of the same student.

    OMP_NUM_THREADS=1 python benchmarks/distill_step.py [--device cuda] [--blocks 24]

writes ``benchmarks/results/distill_step_<device>.json``: milliseconds a step, medians over blocks of steps, of

- distilled: ``train_student`` with method kd, as a stage runs it: its batches, its schedule, its guard against losses
  that are not finite, its log and its progress;
- bare: the student's network, cross entropy, backward and ``torch.optim.SGD`` with Nesterov momentum and weight decay,
  written out and fused, on batches that lie on the device already, normalised, as float32.

- bare_kd: the same with the loss of kd as a textbook writes it, and the teacher's outputs beside the labels.

They take turns within one run, a block of steps each, so that a noisy machine hits them alike; ``ratio`` is the median
over blocks of distilled over bare, ``ratio_kd`` that over bare_kd: the rest is what the loss itself costs. All are told
by the clock, and by the time that the processor gave to this program, which others that run beside it do not lengthen.
With ``augmented`` all shift and mirror their images, which for the bare steps then lie there as bytes and are
normalised after that. Validations and checkpoints lie outside the blocks.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional
from record import machine, write_record

from data.batches import random_shift_flip
from data.compute import Compute, pick_compute
from data.labels import LabelSpace
from data.workspace import Workspace
from students.model import build_model
from students.training import train_student
from students.training_data import Rows, TrainingData

BATCH = 64
ROWS = 1024
SPACE = LabelSpace("class", tuple("0123456789"))
RATE = 0.01

#: Name of a student: its network, options, the shape of its images, and steps of a block on a CPU.
STUDENTS: dict[str, tuple[str, dict[str, Any], tuple[int, int, int], int]] = {
    "convnet-8, 1x8x8": ("convnet", {"channels": 8}, (1, 8, 8), 100),
    "resnet8-16, 3x32x32": ("resnet", {"depth": 8, "width": 16}, (3, 32, 32), 6),
    "resnet20-16, 3x32x32": ("resnet", {"depth": 20, "width": 16}, (3, 32, 32), 3),
}


#: Seconds by the clock, and those that the processor gave to this program.
Clocks = tuple[float, float]


class Turns(Workspace):
    """A workspace whose steps are timed in blocks, and which gives the bare steps their turn between them."""

    def __init__(
        self, folder: Path, others: Mapping[str, Callable[[int], None]], steps_a_block: int, compute: Compute
    ) -> None:
        super().__init__(folder, checkpoint_seconds=1e9)
        self.others, self.steps_a_block, self.compute = others, steps_a_block, compute
        self.blocks: dict[str, list[Clocks]] = {name: [] for name in ("distilled", *others)}

    def now(self) -> Clocks:
        """The clocks, once the device has nothing left to do."""
        if self.compute.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter(), time.process_time()

    def note(self, name: str, started: Clocks) -> None:
        """Takes down a block that has just ended."""
        seconds, processor = (
            (end - start) / self.steps_a_block for end, start in zip(self.now(), started, strict=True)
        )
        self.blocks[name].append((seconds, processor))

    def steps(self, name: str, total: int, state: Mapping[str, Any], **options: Any) -> Iterator[int]:
        """The steps of the loop, with a block of bare steps after each block."""
        started = self.now()
        for step in super().steps(name, total, state, **options):
            if step and step % self.steps_a_block == 0:
                self.note("distilled", started)
                for other, take in self.others.items():
                    started = self.now()
                    for number in range(self.steps_a_block):
                        take(number)
                    self.note(other, started)
                started = self.now()
            yield step


def bare_step(name: str, rows: Rows, augmented: bool, with_kd: bool, compute: Compute) -> Callable[[int], None]:
    """The step that a researcher would write in a notebook, on batches that are there already.

    Its optimiser is fused, like that of the training, although a plain ``torch.optim.SGD`` is not and takes longer.
    """
    network, options, shape, _ = STUDENTS[name]
    mean, std = (np.full(shape[0], value) for value in (127.0, 74.0))
    model = compute.place(build_model(network, options, shape, SPACE, mean, std)).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.9, nesterov=True, weight_decay=5e-4, fused=True)
    images = torch.from_numpy(rows.images).to(compute.device)
    labels = torch.from_numpy(rows.labels).to(compute.device)
    answers = torch.from_numpy(np.asarray(rows.teacher_outputs)).to(compute.device)
    cut = [slice(start, start + BATCH) for start in range(0, ROWS, BATCH)]
    prepared = [compute.images(images[part] if augmented else (images[part].float() - 127.0) / 74.0) for part in cut]
    batches = [(seen, labels[part].clone(), answers[part].clone()) for seen, part in zip(prepared, cut, strict=True)]
    rng = compute.generator(0)
    forward: Any = model if augmented else model.network

    def step(number: int) -> None:
        seen, target, teacher = batches[number % len(batches)]
        if augmented:
            seen = compute.images(random_shift_flip(seen, shape[1] // 8, True, rng))
        optimizer.zero_grad(set_to_none=True)
        with compute.autocast():
            logits = forward(seen)
        loss = functional.cross_entropy(logits.float(), target)
        if with_kd:
            soft, wanted = ((item.float() / 4.0).log_softmax(dim=1) for item in (logits, teacher))
            divergence = functional.kl_div(soft, wanted, log_target=True, reduction="batchmean")
            loss = 0.1 * loss + 0.9 * 16.0 * divergence
        loss.backward()
        optimizer.step()

    return step


def measure(name: str, augmented: bool, compute: Compute, blocks: int) -> dict[str, Any]:
    """All steps of one student, by turns."""
    network, options, shape, steps_a_block = STUDENTS[name]
    if compute.device.type == "cuda":
        steps_a_block = 100
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (ROWS, *shape)).astype(np.uint8)
    rows = Rows(images, rng.integers(0, 10, ROWS), rng.normal(size=(ROWS, 10)).astype(np.float32))
    steps = (blocks + 2) * steps_a_block + 1
    with tempfile.TemporaryDirectory() as folder:
        others = {
            key: bare_step(name, rows, augmented, with_kd, compute)
            for key, with_kd in (("bare", False), ("bare_kd", True))
        }
        turns = Turns(Path(folder), others, steps_a_block, compute)
        train_student(
            TrainingData(rows),
            (images[:10], rows.labels[:10]),
            SPACE,
            network=network,
            options=options,
            method="kd",
            steps=steps,
            batch_size=BATCH,
            learning_rate=RATE,
            shift_pixels=shape[1] // 8 if augmented else 0,
            flip=augmented,
            validate_every=steps,
            seed=0,
            initial_seed=0,
            compute=compute,
            workspace=turns,
        )
    # The first two blocks warm caches up, and on a GPU choose kernels.
    blocks_of = {key: np.array(values[2:]) for key, values in turns.blocks.items()}
    found: dict[str, Any] = {"steps_a_block": steps_a_block}
    for place, clock in enumerate(("clock", "processor")):
        seconds = {key: values[:, place] for key, values in blocks_of.items()}
        ratios = {key: seconds["distilled"] / seconds[key] for key in others}
        found[clock] = {
            **{f"{key}_ms": round(1e3 * float(np.median(values)), 4) for key, values in seconds.items()},
            "ratio": round(float(np.median(ratios["bare"])), 4),
            "ratio_quartiles": [round(float(item), 4) for item in np.quantile(ratios["bare"], (0.25, 0.75))],
            "ratio_kd": round(float(np.median(ratios["bare_kd"])), 4),
        }
    return found


def main() -> None:
    """Measures every student, then writes the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--blocks", type=int, default=24)
    parser.add_argument("--students", nargs="*", default=list(STUDENTS))
    options = parser.parse_args()
    compute = pick_compute(options.device, options.precision)
    found: dict[str, dict[str, Any]] = {}
    for name in options.students:
        found[name] = {
            kind: measure(name, augmented, compute, options.blocks)
            for kind, augmented in (("plain", False), ("augmented", True))
        }
        print(name, found[name], file=sys.stderr)
    words = "; ".join(f"{name}: {item['plain']['clock']['ratio']:.3f}" for name, item in found.items())
    write_record(
        f"distill_step_{compute.device.type}",
        {
            "command": shlex.join(["python", *sys.argv]),
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "machine": machine() | {"threads": torch.get_num_threads(), "load": os.getloadavg()},
            "packages": {"python": platform.python_version(), "torch": torch.__version__},
            "batch_size": BATCH,
            "precision": options.precision,
            "blocks": options.blocks,
            "students": found,
            "sentence": f"A distillation step over a bare one: {words}",
        },
    )


if __name__ == "__main__":
    main()
