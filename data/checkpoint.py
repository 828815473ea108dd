"""Checkpoints: the state of networks and optimisers as one safetensors file, with no pickle.

Tensors are stored under their path in the nested state; everything else (step, learning rates, flags) is
JSON in the header of the same file, so that one rename commits a whole checkpoint.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from data.errors import DataError
from data.files import fsync_folder, replace_durably


class Stateful(Protocol):
    """Anything with a state: a network, an optimiser, an EMA."""

    def state_dict(self) -> dict[str, Any]:
        """The state, nested containers of tensors and plain values."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> Any:
        """Takes a state that ``state_dict`` gave."""
        ...


def _flatten(value: Any, path: str, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, torch.Tensor):
        tensors[path] = value.detach().cpu().contiguous().clone()
        return {"tensor": path}
    if isinstance(value, Mapping):
        return {"map": [[key, _flatten(item, f"{path}/{key}", tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return {"list": [_flatten(item, f"{path}/{i}", tensors) for i, item in enumerate(value)]}
    return {"value": value}


def _unflatten(value: dict[str, Any], tensors: Mapping[str, torch.Tensor]) -> Any:
    if "tensor" in value:
        return tensors[value["tensor"]]
    if "map" in value:
        return {key: _unflatten(item, tensors) for key, item in value["map"]}
    if "list" in value:
        return [_unflatten(item, tensors) for item in value["list"]]
    return value["value"]


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Writes a nested state (dicts, lists, tensors, plain values) durably: file, fsync, rename, fsync."""
    tensors: dict[str, torch.Tensor] = {}
    structure = _flatten(state, "", tensors)
    temporary = path.with_name(path.name + ".tmp")
    save_file(tensors, temporary, metadata={"state": json.dumps(structure)})
    replace_durably(temporary, path)
    fsync_folder(path.parent)


def load_state(path: Path) -> dict[str, Any]:
    """Reads what ``save_state`` wrote, on the CPU.

    Raises:
        DataError: if the file is not a readable checkpoint.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            structure = json.loads(file.metadata()["state"])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"checkpoint {path} cannot be read ({error}); delete it to start the stage anew.") from error
    state: dict[str, Any] = _unflatten(structure, tensors)
    return state


def save_weights(path: Path, module: torch.nn.Module) -> None:
    """Writes the weights and buffers of a network as plain safetensors, readable by any library."""
    tensors = {key: value.detach().cpu().contiguous().clone() for key, value in module.state_dict().items()}
    temporary = path.with_name(path.name + ".tmp")
    save_file(tensors, temporary)
    replace_durably(temporary, path)


def load_weights(path: Path, module: torch.nn.Module) -> None:
    """Loads what ``save_weights`` wrote into ``module``, on the CPU.

    Raises:
        DataError: if the file cannot be read or its tensors do not fit the network.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        module.load_state_dict(tensors)
    except (SafetensorError, OSError, RuntimeError) as error:
        first = str(error).splitlines()[0]
        raise DataError(f"weights {path} cannot be loaded into {type(module).__name__} ({first}).") from error
