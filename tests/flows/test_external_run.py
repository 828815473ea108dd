"""A run whose generator is a function of the user's: a renderer in the place of a GAN."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from data.reading import open_set
from flows.cli import main

PROGRAM = """
import numpy as np

def make(label_space, image_shape, spread=40):
    patterns = np.random.default_rng(0).integers(0, 200, (label_space.classes, *image_shape))
    def draw(seeds, labels):
        noise = [np.random.default_rng(int(seed)).integers(0, spread, image_shape) for seed in seeds]
        return (patterns[labels] + np.array(noise).reshape(-1, *image_shape)).astype(np.uint8)
    return draw
"""


@pytest.fixture
def program(tmp_path, monkeypatch):
    path = tmp_path / "renderer_of_run.py"
    path.write_text(PROGRAM)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield path
    sys.modules.pop("renderer_of_run", None)


def run(capsys, *words):
    status = main([str(word) for word in words])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_a_function_stands_for_the_generator_through_the_whole_chain(tiny, capsys, tmp_path, program):
    config = tiny()
    document = yaml.safe_load(config.read_text())
    # In the place of the tiny GAN's own settings, which are not those of a function.
    document["generator"] = {"kind": "external", "factory": "renderer_of_run:make", "options": {"spread": 30}}
    config.write_text(yaml.safe_dump(document))
    store = tmp_path / "store"
    words = ["run", config, "--store", store, "--direct", "--json", "--set", "distill.seeds=[0]"]
    status, out, err = run(capsys, *words)
    assert status == 0, err
    stages = {stage["stage"]: stage for stage in json.loads(out)["stages"]}
    candidates = open_set(Path(stages["candidates"]["path"]) / "candidates.h5")
    assert len(candidates) == 120
    patterns = np.random.default_rng(0).integers(0, 200, (10, 1, 8, 8))
    noise = np.asarray(candidates.columns["images"]) - patterns[np.asarray(candidates.columns["labels"])]
    assert noise.min() >= 0
    assert noise.max() < 30
    folder = Path(stages["generator"]["path"])
    assert (folder / "samples.png").is_file()
    assert not list(folder.glob("*.safetensors"))
    assert {stage["state"] for stage in json.loads(run(capsys, *words)[1])["stages"]} == {"cached"}
    program.write_text(PROGRAM + "\n# changed\n")
    status, out, _ = run(capsys, "stages", config, "--store", store, "--json")
    states = {row["stage"]: row for row in json.loads(out)["stages"]}
    assert states["teacher"]["state"] == "cached"
    assert states["generator"]["state"] != "cached"
    assert "source_sha256" in states["generator"]["why"]
