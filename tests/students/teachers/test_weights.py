"""Weights of strangers: what wraps them is taken off, what does not fit is named, and no code in them runs."""

import pickle
import random
import struct

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from data.errors import DataError
from students.teachers.weights import load_into, outputs_in, read_weights


def network():
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 5))


def same(left, right):
    return all(torch.equal(left[name], right[name]) for name in right)


WRAPPERS = {
    "plain": lambda state: state,
    "state_dict": lambda state: {"state_dict": state, "epoch": 1},
    "lightning": lambda state: {"state_dict": {f"model.{name}": item for name, item in state.items()}, "lr": 0.1},
    "parallel": lambda state: {"model": {f"module.{name}": item for name, item in state.items()}},
    "compiled": lambda state: {f"_orig_mod.module.{name}": item for name, item in state.items()},
    "nested": lambda state: {"net": {"state_dict": state}},
    "beside": lambda state: {**state, "epoch": 7},
}


@pytest.mark.parametrize("wrapper", sorted(WRAPPERS))
def test_wrappers_are_taken_off(tmp_path, wrapper):
    torch.manual_seed(1)
    theirs, ours = network(), network()
    torch.save(WRAPPERS[wrapper](theirs.state_dict()), tmp_path / "w.pt")
    load_into(ours, read_weights(tmp_path / "w.pt"), "w.pt")
    assert same(ours.state_dict(), theirs.state_dict())


def test_safetensors_are_read_whatever_the_file_is_called(tmp_path):
    theirs, ours = network(), network()
    for name in ("w.safetensors", "w.bin"):
        save_file(theirs.state_dict(), tmp_path / name)
        load_into(ours, read_weights(tmp_path / name), name)
        assert same(ours.state_dict(), theirs.state_dict())


def test_old_files_without_counters_are_read():
    theirs, ours = network(), network()
    state = {name: item for name, item in theirs.state_dict().items() if "num_batches" not in name}
    load_into(ours, state, "old.pt")
    assert same(ours.state_dict(), state)


def test_what_does_not_fit_is_named():
    state = network().state_dict()
    state["extra.weight"] = state.pop("0.weight")
    state["3.weight"] = torch.zeros(7, 8)
    with pytest.raises(DataError) as raised:
        load_into(network(), state, "w.pt")
    message = str(raised.value)
    assert "missing 0.weight" in message
    assert "unknown extra.weight" in message
    assert "of another shape 3.weight (7x8 in the file, 5x8 in the network)" in message
    assert "\n" not in message


def test_the_number_of_outputs_is_that_of_the_file():
    state = network().state_dict()
    state["3.weight"], state["3.bias"] = torch.zeros(9, 8), torch.zeros(9)
    assert outputs_in(state, network(), 5) == 9
    assert outputs_in({f"module.{name}": item for name, item in state.items()}, network(), 5) == 9
    assert outputs_in({}, network(), 5) == 5
    assert outputs_in(state, nn.Sequential(nn.Conv2d(1, 1, 1)), 5) == 5


class Evil:
    def __reduce__(self):
        return (open, ("/tmp/never-made-by-a-weights-file", "w"))


def test_code_in_a_file_does_not_run(tmp_path):
    torch.save({"state_dict": network().state_dict(), "evil": Evil()}, tmp_path / "w.pt")
    with pytest.raises(DataError, match=r"must hold tensors alone.*save the network's state_dict"):
        read_weights(tmp_path / "w.pt")
    (tmp_path / "p.pt").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(DataError):
        read_weights(tmp_path / "p.pt")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("w.safetensors", b"nothing", "must be a safetensors file"),
        ("w.pt", b"", "must be safetensors or a file of torch.save"),
        ("w.pt", b"PK\x03\x04 broken", "must be safetensors or a file of torch.save"),
    ],
)
def test_other_files_are_refused(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=words):
        read_weights(tmp_path / name)


def test_a_file_without_tensors_is_refused(tmp_path):
    torch.save({"epoch": 1, "args": {"lr": 0.1}}, tmp_path / "w.pt")
    with pytest.raises(
        DataError, match=r"must hold a state_dict, alone or under one of state_dict, .*; got epoch, args"
    ):
        read_weights(tmp_path / "w.pt")
    with pytest.raises(DataError, match="cannot be found"):
        read_weights(tmp_path / "none.pt")


@pytest.mark.parametrize("old", [False, True])
def test_damaged_files_are_named_whatever_torch_makes_of_them(tmp_path, old):
    torch.save({"state_dict": network().state_dict()}, tmp_path / "w.pt", _use_new_zipfile_serialization=not old)
    whole, refused = (tmp_path / "w.pt").read_bytes(), 0
    rng = random.Random(0)
    for _ in range(150):
        damaged = bytearray(whole)
        for _ in range(rng.choice([1, 3, 20])):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        (tmp_path / "w.pt").write_bytes(damaged[: rng.randrange(len(damaged))] if rng.random() < 0.3 else damaged)
        # Some bytes are of no consequence, and what they are in is read.
        try:
            read_weights(tmp_path / "w.pt")
        except DataError:
            refused += 1
    assert refused > 20


@pytest.mark.parametrize("error", [IndexError(), AssertionError(), struct.error("x"), RecursionError()])
def test_errors_of_torchs_readers_are_one_sentence(tmp_path, monkeypatch, error):
    def fail(*args, **options):
        raise error

    (tmp_path / "w.pt").write_bytes(b"some bytes")
    monkeypatch.setattr(torch, "load", fail)
    with pytest.raises(DataError, match=rf"w\.pt must be safetensors or .* \({type(error).__name__}\)"):
        read_weights(tmp_path / "w.pt")
