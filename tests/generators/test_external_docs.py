"""The code of docs/generators/external.md runs: the renderer as it stands, the diffusion model on a stand-in."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from data.errors import StageError
from data.labels import LabelSpace
from data.sources.chairs import render
from generators.external import check_external, load_external

DOCUMENT = Path(__file__).parents[2] / "docs" / "generators" / "external.md"


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """The document's Python programs as modules."""
    found = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    names = [f"program_of_docs_{number}" for number in range(len(found))]
    for name, text in zip(names, found, strict=True):
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield names
    for name in names:
        sys.modules.pop(name, None)


def test_the_renderer_of_the_document_draws_chairs(programs):
    space = LabelSpace("scalar", name="yaw angle", unit="degree", maximum=90)
    sampler = load_external(f"{programs[0]}:make", {"types": 2}, space, (3, 32, 32))
    images = sampler.sample(np.array([10, 80], np.float32), np.array([4, 2**63 + 1], np.uint64))
    assert np.array_equal(images[0], render(0, 10, 32, types=2))
    assert np.array_equal(images[1], render(1, 80, 32, types=2))
    assert check_external(sampler, 0)["checked_rows"] == 4


class Pipeline:
    """Answers like a diffusers pipeline: noise of each generator, the class as brightness."""

    shared = False

    @classmethod
    def from_pretrained(cls, model):
        assert model
        return cls()

    def to(self, device):
        return self

    def set_progress_bar_config(self, disable):
        assert disable

    def __call__(self, class_labels, generator, num_inference_steps, output_type):
        assert output_type == "np"
        rows = [torch.rand(16, 16, 3, generator=generator[0] if self.shared else noise) for noise in generator]
        levels = torch.tensor(class_labels).float()[:, None, None, None] / 1000
        return SimpleNamespace(images=((torch.stack(rows) + levels) / 2).numpy())


@pytest.mark.parametrize("channels", [1, 3])
def test_the_diffusion_model_of_the_document_answers_classes(programs, monkeypatch, channels):
    diffusers = ModuleType("diffusers")
    diffusers.DiTPipeline = Pipeline
    monkeypatch.setitem(sys.modules, "diffusers", diffusers)
    space = LabelSpace("class", names=("cat", "dog"))
    options = {"imagenet_ids": "1,999", "steps": 2, "block_rows": 4}
    sampler = load_external(f"{programs[1]}:make", options, space, (channels, 8, 8))
    images = sampler.sample(np.array([0, 1, 1]), np.arange(3, dtype=np.uint64))
    assert images.shape == (3, channels, 8, 8)
    assert images[0].mean() + 60 < images[1].mean()
    monkeypatch.setattr(Pipeline, "shared", True)
    with pytest.raises(StageError, match="from its own seed"):
        load_external(f"{programs[1]}:make", options, space, (channels, 8, 8)).sample(
            np.array([0, 1, 1]), np.arange(3, dtype=np.uint64)
        )
    with pytest.raises(StageError, match="imagenet_ids must name 2 classes, got 1"):
        load_external(f"{programs[1]}:make", {"imagenet_ids": "1"}, space, (channels, 8, 8))


def test_the_document_has_these_programs(programs):
    assert len(programs) == 2
