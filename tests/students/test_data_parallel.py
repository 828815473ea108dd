"""Two processes train what one trains, go on after a kill, and hand their faults on."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from data.compute import Compute
from data.errors import ConfigError, StageError
from data.factories import trust_factory
from data.labels import LabelSpace
from data.workspace import Workspace, read_log
from students.data_parallel import train_in_processes
from students.model import build_model
from students.training_data import Rows, TrainingData

SPACE = LabelSpace("class", ("a", "b", "c"))
PLAIN = "plain_network"
SOURCE = '''
from torch import nn

def plain(image_shape, outputs):
    """No BatchNorm, whose statistics would be those of half a batch."""
    channels, height, width = image_shape
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * height * width, 16), nn.GELU(), nn.Linear(16, outputs))
'''


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A network of one's own, in a file that every process finds."""
    (tmp_path / f"{PLAIN}.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    trust_factory(f"{PLAIN}:plain")
    return {"network": "factory", "options": {"factory": f"{PLAIN}:plain"}}


def rows(count: int, seed: int) -> Rows:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 1, 8, 8)).astype(np.uint8)
    return Rows(images, rng.integers(0, 3, count), rng.normal(size=(count, 3)).astype(np.float32))


def train(processes: int, workspace: Workspace, **changes: Any) -> dict[str, float]:
    held = rows(10, 2)
    settings: dict[str, Any] = {
        "method": "kd", "steps": 3, "batch_size": 16, "learning_rate": 0.05, "log_every": 1, "seed": 1,
        "initial_seed": 2, "compute": Compute(torch.device("cpu")), "synthetic_weight": 0.5, "real_fraction": 0.25,
        "ema_decay": 0.5, "clip_norm": 1.0,
    }  # fmt: skip
    return train_in_processes(
        processes,
        TrainingData(rows(20, 0), rows(30, 1)),
        (held.images, held.labels),
        SPACE,
        workspace=workspace,
        **{**settings, **changes},
    )


def test_two_processes_train_what_one_trains_and_go_on_after_a_kill(network: dict[str, Any], tmp_path: Path) -> None:
    alone = train(1, Workspace(tmp_path / "one"), **network)
    told: list[int] = []
    killed = tmp_path / "killed"

    def stop(task: str, done: int, total: int, numbers: Any) -> None:
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(2, Workspace(killed, checkpoint_seconds=0.0, progress=stop), **network)
    assert not (killed / "model.safetensors").exists()
    workspace = Workspace(killed, checkpoint_seconds=0.0, progress=lambda task, done, *rest: told.append(done))
    together = train(2, workspace, **network)
    assert told[-1] == 3
    assert together == pytest.approx(alone, rel=1e-5)
    expected, found = (load_file(folder / "model.safetensors") for folder in (tmp_path / "one", killed))
    for name, weight in expected.items():
        torch.testing.assert_close(found[name], weight, atol=1e-5, rtol=1e-5)
    for mine, theirs in zip(
        read_log(killed / "training.jsonl"), read_log(tmp_path / "one/training.jsonl"), strict=True
    ):
        assert mine == pytest.approx(theirs, rel=1e-4)


def test_networks_and_passes_of_a_method_are_shared_too(network: dict[str, Any], tmp_path: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        teacher = build_model("convnet", {"channels": 4}, (1, 8, 8), SPACE, [128.0], [74.0])
    # A temperature that is learnt beside the student, and a second pass that is differentiated twice.
    settings: dict[str, Any] = {
        "method": "ctkd+input_gradients", "teacher": teacher, **network,
        "method_options": {"ctkd.warmup": 0.1, "ctkd.ce_weight": 1.0, "input_gradients.only_right": False},
    }  # fmt: skip
    for processes in (1, 2):
        train(processes, Workspace(tmp_path / str(processes)), **settings)
    expected, found = (load_file(tmp_path / str(processes) / "model.safetensors") for processes in (1, 2))
    for name, weight in expected.items():
        torch.testing.assert_close(found[name], weight, atol=1e-5, rtol=1e-5)


def test_a_fault_of_a_process_is_the_fault_of_all(network: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(StageError, match="became non-finite at step"):
        train(2, Workspace(tmp_path / "work"), **network, learning_rate=1e30, clip_norm=0.0)
    assert (tmp_path / "work" / "nonfinite.json").exists()


def test_an_unforeseen_fault_is_told_in_its_own_words(network: dict[str, Any], tmp_path: Path) -> None:
    fault = """
class Faulty(nn.Linear):
    def forward(self, images):
        if self.training:
            raise LookupError("nothing of the kind\\nmore")
        return super().forward(images)
"""
    (tmp_path / f"{PLAIN}.py").write_text(SOURCE.replace("nn.Linear(16", "Faulty(16") + fault)
    words = r"training process [01] of 2 met an unforeseen LookupError: nothing of the kind\."
    with pytest.raises(StageError, match=words):
        train(2, Workspace(tmp_path / "work"), **network)


def test_more_processes_than_gpus_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"compute\.processes must be at most 0 GPUs, got 2"):
        train(2, Workspace(tmp_path), compute=Compute(torch.device("cuda")))


def test_a_process_that_dies_ends_the_others(network: dict[str, Any], tmp_path: Path) -> None:
    def kill_a_child() -> None:
        for _ in range(600):
            children = [int(path.name) for path in Path("/proc").glob("[0-9]*") if parent_of(path) == os.getpid()]
            spawned = [child for child in children if b"spawn_main" in command_of(child)]
            if len(spawned) == 2:
                os.kill(spawned[1], signal.SIGKILL)
                return
            time.sleep(0.05)

    killer = threading.Thread(target=kill_a_child)
    killer.start()
    with pytest.raises(StageError, match="every training process must end with exit code 0"):
        train(2, Workspace(tmp_path / "work"), **network, steps=10**6)
    killer.join()


def parent_of(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return -1


def command_of(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""
