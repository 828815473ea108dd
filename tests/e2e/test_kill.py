"""kill -9 three times in the generator and three in the sampling: the rerun ends with the same bytes."""

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

EXPERIMENT = {
    "name": "killed",
    "compute": {"precision": "fp32", "checkpoint_seconds": 0.1},
    "source": {"kind": "digits"},
    "prepare": {"labels_per_class": 5, "validation_images": 30, "test_images": 100},
    "teacher": {"network": "convnet", "options": {"channels": 4}, "training": {"steps": 20, "warmup_steps": 1}},
    "generator": {"options": {"width": 8, "latent_size": 8}, "steps": 400, "batch_size": 16},
    "features": {"width": 4, "steps": 20},
    "fidelity": {"images": 60},
    "ratio": {"pool_rounds": 2, "widths": [32], "steps": 20},
    "candidates": {"per_label": 4096, "burn_in": 64},
    "assess": {"latency_batches": [1], "latency_repeats": 2},
    "distill": {
        "students": [{"name": "small", "network": "convnet", "options": {"channels": 2}}],
        "methods": [{"name": "kd"}],
        "data": ["real+synthetic"],
        "seeds": [0],
        "training": {"steps": 20, "warmup_steps": 1},
    },
}


def start(config, store):
    command = [sys.executable, "-m", "flows.cli", "run", str(config), "--store", str(store), "--direct", "--json"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(config, store):
    process = start(config, store)
    out, err = process.communicate(timeout=280)
    assert process.returncode == 0, err
    return json.loads(out)


def progress(store, stage):
    """What the unfinished stage has on disk: names and times of its checkpoints or shards."""
    files = (store / stage).glob("*.work/.state/*[!p]")
    return sorted((path.name, path.stat().st_mtime_ns) for path in files if path.suffix in (".h5", ".safetensors"))


def kill_during(stage, config, store, moment):
    """Starts a run and kills it a moment after the stage has made progress that it did not have before."""
    before = progress(store, stage)
    process = start(config, store)
    deadline = time.monotonic() + 240
    while progress(store, stage) == before:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.005)
    time.sleep(moment)
    process.kill()
    process.communicate()
    return bool(list((store / stage).glob("*.work")))


def digests(store, summary):
    """SHA-256 of every file of every artifact, but for the report and the latencies, which tell how long it took."""
    found = {}
    for stage in summary["stages"]:
        if stage["stage"] != "report":
            manifest = json.loads(Path(stage["path"], "manifest.json").read_text())
            found[stage["key"]] = {name: file for name, file in manifest["files"].items() if name != "latency.json"}
    return found


@pytest.mark.parametrize("seed", [0])
def test_killed_runs_end_with_the_bytes_of_the_uninterrupted_run(tmp_path, seed):
    config = tmp_path / "killed.yaml"
    config.write_text(yaml.safe_dump(EXPERIMENT))
    whole = finish(config, tmp_path / "whole")
    assert {stage["state"] for stage in whole["stages"]} == {"ran"}

    moments = random.Random(seed)
    store = tmp_path / "killed"
    for stage in ("generator", "candidates"):
        unfinished = [kill_during(stage, config, store, moments.uniform(0, 0.2)) for _ in range(3)]
        assert all(unfinished), f"{stage} was already done when the kill came"
    summary = finish(config, store)
    states = {stage["stage"]: stage["state"] for stage in summary["stages"]}
    assert states["candidates"] == "resumed"
    assert states["prepare"] == states["teacher"] == states["generator"] == "cached"
    assert digests(store, summary) == digests(tmp_path / "whole", whole)
    assert summary["results"] == whole["results"]
    assert not list(store.glob("*/*.work"))
