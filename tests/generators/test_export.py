"""Every family, for every kind of label that it serves, leaves as one file and comes back with the same images."""

from __future__ import annotations

import dataclasses
import warnings

import pytest
import torch

from data.errors import ConfigError, DataError, StageError
from data.labels import Axis, LabelSpace
from generators.card import describe_network, load_card, load_network, save_generator
from generators.export import example_inputs, export_generator, open_exported
from generators.networks import build_network, networks

SPACES = {
    "class": LabelSpace("class", names=("a", "b", "c")),
    "scalar": LabelSpace("scalar", name="yaw", minimum=-10, maximum=90),
    "vector": LabelSpace("vector", axes=(Axis("yaw", "degree", 0, 90), Axis("tilt", "degree", -20, 20))),
    "class+scalar": LabelSpace("class+scalar", names=("x", "y"), name="yaw", maximum=90),
}
#: Small values of options by name; a family takes those that it has.
SMALL = {"width": 8, "latent_size": 16, "embedding_size": 32, "shared_size": 8, "depth": 1}
SHAPE = (3, 8, 8)


def kinds_of(name):
    return sorted(networks.get(name).label_kinds)


EVERY = [(name, kind) for name in networks.names() for kind in kinds_of(name)]
#: Tracing takes a second: one kind of label a family.
TRACED = [(name, kinds_of(name)[-1]) for name in networks.names()]


def save(folder, name, kind):
    torch.manual_seed(0)
    fields = {field.name for field in dataclasses.fields(networks.get(name))}
    family = build_network(name, {key: value for key, value in SMALL.items() if key in fields})
    generator = family.generator(SHAPE, SPACES[kind])
    for parameter in generator.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    save_generator(folder, describe_network(name, family, SHAPE, SPACES[kind], {}), generator)
    return load_network(folder, load_card(folder))


def test_the_sweep_sees_every_family_and_kind_of_label():
    assert len(networks.names()) >= 7
    assert {kind for _, kind in EVERY} == set(SPACES)


@pytest.mark.parametrize(("name", "kind"), EVERY)
def test_safetensors_hold_weights_and_card(tmp_path, name, kind):
    network = save(tmp_path, name, kind)
    path = tmp_path / "exported.safetensors"
    export_generator(tmp_path, path, "safetensors")
    card, rebuilt = open_exported(path)
    assert card == load_card(tmp_path)
    assert not rebuilt.training
    inputs = example_inputs(card, 5)
    with torch.inference_mode():
        assert torch.equal(rebuilt(*inputs), network(*inputs))
        assert network(*inputs).std() > 1e-3


@pytest.mark.parametrize(("name", "kind"), TRACED)
def test_programs_give_the_same_images_for_any_number_of_rows(tmp_path, name, kind):
    network = save(tmp_path, name, kind)
    path = tmp_path / "exported.pt2"
    export_generator(tmp_path, path, "torch-export")
    program = torch.export.load(path).module()
    for count in (1, 3, 6):
        inputs = example_inputs(load_card(tmp_path), count)
        with torch.inference_mode():
            assert torch.allclose(program(*inputs), network(*inputs), atol=1e-4)
    assert not list(tmp_path.glob("*.tmp"))


def test_a_warning_of_older_torch_is_no_fault(tmp_path, monkeypatch):
    load = torch.export.load

    def warns(file):
        warnings.warn("The given buffer is not writable, and PyTorch does not support it", UserWarning, stacklevel=1)
        return load(file)

    save(tmp_path, *TRACED[0])
    monkeypatch.setattr(torch.export, "load", warns)
    export_generator(tmp_path, tmp_path / "x.pt2", "torch-export")
    assert (tmp_path / "x.pt2").exists()


def test_what_cannot_be_exported_is_refused(tmp_path, monkeypatch):
    name, kind = TRACED[0]
    save(tmp_path, name, kind)
    with pytest.raises(ConfigError, match="format must be 'safetensors' or 'torch-export', got 'onnx'"):
        export_generator(tmp_path, tmp_path / "x", "onnx")
    for form in ("safetensors", "torch-export"):
        with pytest.raises(DataError, match="cannot be written"):
            export_generator(tmp_path, tmp_path / "absent" / "x", form)
    with pytest.raises(DataError, match="must be a generator exported as safetensors"):
        open_exported(tmp_path / "generator.safetensors")
    with pytest.raises(DataError, match="must be a generator exported as safetensors"):
        open_exported(tmp_path / "absent")
    monkeypatch.setattr("generators.export._MOST_DIFFERENCE", -1.0)
    with pytest.raises(StageError, match="within -1, got a difference of"):
        export_generator(tmp_path, tmp_path / "x.pt2", "torch-export")
    assert not (tmp_path / "x.pt2").exists()
