"""Weights from a file, whoever wrote it: safetensors, or a state that torch reads without running code."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from data.errors import DataError
from data.files import check_regular

#: Keys under which training scripts keep the state, the most telling first.
_WRAPPERS = ("state_dict", "model_state_dict", "model_state", "state", "model", "net", "network", "student", "teacher")
#: What parallel training, compilation and Lightning put before every name.
_PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.", "backbone.")
#: What an image model of this package keeps beside its network.
_STATISTICS = ("pixel_mean", "pixel_std", "label_mean", "label_std")
_OF_NETWORK = "network."
_NAMED = 4


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name, on the CPU, taken out of what training scripts wrap them in.

    Args:
        path: ``.safetensors``, or what ``torch.save`` wrote; no pickled code is run.

    Raises:
        DataError: if it is neither, or holds no tensors.
    """
    if not path.is_file():
        check_regular(path)
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        if path.suffix == ".safetensors":
            raise DataError(f"weights {path} must be a safetensors file, got: {error}; fetch it again.") from error
    try:
        with warnings.catch_warnings():
            # It warns of files that another library pickled; they are read or refused all the same.
            warnings.simplefilter("ignore")
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise DataError(
            f"weights {path} must hold tensors alone, as objects of other kinds could run code when they are loaded; "
            "save the network's state_dict(), best as safetensors."
        ) from error
    except Exception as error:
        # Torch's readers meet damage with whatever error comes up: IndexError, AssertionError, struct.error and more.
        raise DataError(
            f"weights {path} must be safetensors or a file of torch.save, got something else ({type(error).__name__})."
        ) from error
    return _unwrapped(state, path)


def image_model_parts(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Weights and statistics of an ``ImageModel``, as its artifact and its export hold them.

    Args:
        tensors: from ``read_weights``.

    Returns:
        The network's tensors under their own names, and ``pixel_mean``, ``pixel_std``, ``label_mean`` and
        ``label_std``; all tensors as they are and no statistics where they are of something else.
    """
    statistics = {name: tensors[name] for name in _STATISTICS if name in tensors}
    inside = {
        name.removeprefix(_OF_NETWORK): tensor for name, tensor in tensors.items() if name.startswith(_OF_NETWORK)
    }
    if len(statistics) < len(_STATISTICS) or len(inside) + len(statistics) != len(tensors):
        return dict(tensors), {}
    return inside, statistics


def load_into(network: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Loads weights whose names may have a prefix that the network's have not.

    Args:
        network: takes them.
        tensors: from ``read_weights``.
        where: their file, for messages.

    Raises:
        DataError: naming what is missing, left over, or of another shape.
    """
    wanted = network.state_dict()
    found = _named_alike(tensors, wanted)
    # Counters of batches that BatchNorm saw are in no older file, and decide nothing in evaluation.
    missing = [name for name in wanted if name not in found and not name.endswith("num_batches_tracked")]
    surplus = [name for name in found if name not in wanted]
    shapes = [
        f"{name} ({_shape(found[name])} in the file, {_shape(tensor)} in the network)"
        for name, tensor in wanted.items()
        if name in found and found[name].shape != tensor.shape
    ]
    faults = [
        f"{what} {_some(names)}"
        for what, names in (("missing", missing), ("unknown", surplus), ("of another shape", shapes))
        if names
    ]
    if faults:
        raise DataError(
            f"weights {where} must fit the network, but some are {'; '.join(faults)}; check teacher.network and "
            "teacher.options."
        )
    network.load_state_dict({**wanted, **found})


def outputs_in(tensors: Mapping[str, Tensor], network: nn.Module, outputs: int) -> int:
    """Number of outputs of the network that weights are of.

    Args:
        tensors: from ``read_weights``.
        network: the same network with ``outputs`` outputs.
        outputs: their number; it is also what is returned where the weights do not tell another.
    """
    wanted = network.state_dict()
    found = _named_alike(tensors, wanted)
    told = {len(found[name]) for name in grown_with_outputs(found, wanted, outputs)}
    return told.pop() if len(told) == 1 else outputs


def grown_with_outputs(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], outputs: int) -> list[str]:
    """Names of the tensors that have a row an output, and not as many rows as they should.

    Args:
        found: tensors of a network with another number of outputs.
        wanted: those of the same network with ``outputs`` outputs.
        outputs: that number.
    """
    return [
        name
        for name, tensor in wanted.items()
        if name in found
        and tensor.ndim
        and len(tensor) == outputs != len(found[name])
        and tensor.shape[1:] == found[name].shape[1:]
    ]


def _unwrapped(state: Any, path: Path) -> dict[str, Tensor]:
    while isinstance(state, Mapping):
        if state and all(isinstance(item, Tensor) for item in state.values()):
            return {str(name): tensor for name, tensor in state.items()}
        inner = next((state[key] for key in _WRAPPERS if isinstance(state.get(key), Mapping)), None)
        if inner is None:
            tensors = {str(name): item for name, item in state.items() if isinstance(item, Tensor)}
            if tensors:
                return tensors
            break
        state = inner
    keys = ", ".join(list(map(str, state))[:_NAMED]) if isinstance(state, Mapping) else type(state).__name__
    raise DataError(f"weights {path} must hold a state_dict, alone or under one of {', '.join(_WRAPPERS)}; got {keys}.")


def _named_alike(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under the names, with prefixes taken off, that fit the network best."""
    return max(_renamed(dict(tensors)), key=lambda found: len(found.keys() & wanted.keys()))


def _renamed(tensors: dict[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    yield tensors
    for prefix in _PREFIXES:
        inside = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        if inside and len(inside) == len(tensors):
            yield from _renamed(inside)


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
