"""A teacher from a file of weights: a registered network, and what somebody trained it to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from data.errors import DataError
from students.model import ImageModel
from students.networks import make_network
from students.teachers.interface import Interface
from students.teachers.network import imported_model
from students.teachers.weights import grown_with_outputs, image_model_parts, load_into, outputs_in, read_weights


def checkpoint_model(path: Path, network: str, options: Mapping[str, Any], interface: Interface) -> ImageModel:
    """A registered network with the weights of a file, as an image model.

    Args:
        path: of the weights, see ``read_weights``.
        network: its name.
        options: its options.
        interface: what it takes and gives.

    Raises:
        DataError: if the file cannot be read or does not fit the network.
        ConfigError: if the network cannot be made, or does not fit the images.
        StageError: if it gives other outputs than are wanted.
    """
    return named_model(network, options, read_weights(path), interface, str(path))


def named_model(
    network: str, options: Mapping[str, Any], tensors: Mapping[str, Tensor], interface: Interface, where: str
) -> ImageModel:
    """A registered network with given weights, as an image model.

    Weights of an image model of this package bring their statistics: those of its labels are applied before
    ``interface.values`` are, those of its pixels where the interface has none of its own.

    Args:
        network: its name.
        options: its options.
        tensors: the weights by name.
        interface: what it takes and gives.
        where: what the weights are, for messages.

    Raises:
        DataError: if the weights do not fit the network.
        ConfigError: if the network cannot be made, or does not fit the images.
        StageError: if it gives other outputs than are wanted.
    """
    wanted, who = interface.label_space.outputs, f"teacher {where}"
    tensors, statistics = image_model_parts(tensors)
    small = _made(network, options, interface, wanted)
    count = outputs_in(tensors, small, wanted)
    columns = interface.picked(count, who)
    whole = small if count == wanted else _made(network, options, interface, count)
    load_into(whole, tensors, where)
    card = {"network": network, "options": dict(options)}
    if interface.outputs is not None and interface.gives == "logits":
        narrowed = _narrowed(whole.eval(), small if whole is not small else None, columns, interface)
        if narrowed is not None:
            model = imported_model(narrowed, interface.narrowed(), card, who)
            return _with_statistics(model, statistics, interface, columns, where)
    return _with_statistics(imported_model(whole, interface, card, who), statistics, interface, columns, where)


def checkpoint_network(network: str, options: Mapping[str, Any], interface: Interface, outputs: int) -> nn.Module:
    """The same network without the file, for weights that an artifact holds; ``outputs`` is the number of its own."""
    return _made(network, options, interface, outputs)


def _with_statistics(
    model: ImageModel, statistics: Mapping[str, Tensor], interface: Interface, columns: tuple[int, ...], where: str
) -> ImageModel:
    """The model with the pixels and labels that the weights were trained with, as far as these are known."""
    if not statistics:
        return model
    if (interface.mean, interface.std) == ((0.0,), (1.0,)):
        for name in ("pixel_mean", "pixel_std"):
            _copied(getattr(model, name), statistics[name], name, where)
    mean, std = (statistics[name] for name in ("label_mean", "label_std"))
    if mean.shape != std.shape or mean.ndim > 1 or (mean.ndim and len(mean) <= max(columns)):
        raise DataError(
            f"weights {where} must have label_mean and label_std of every output, got shapes {tuple(mean.shape)} and "
            f"{tuple(std.shape)}."
        )
    if mean.ndim:
        # A model of one output has them without an axis.
        places = list(columns) if model.label_mean.ndim else columns[0]
        mean, std = mean[places], std[places]
    low, span = model.label_mean.clone(), model.label_std.clone()
    _copied(model.label_mean, (span * mean + low).expand_as(low), "label_mean", where)
    _copied(model.label_std, (span * std).expand_as(span), "label_std", where)
    return model


def _copied(buffer: Tensor, found: Tensor, name: str, where: str) -> None:
    if found.shape != buffer.shape:
        raise DataError(
            f"weights {where} must have {name} of shape {tuple(buffer.shape)}, got {tuple(found.shape)}; check "
            "teacher.input_channels."
        )
    buffer.copy_(found)


def _made(network: str, options: Mapping[str, Any], interface: Interface, outputs: int) -> nn.Module:
    return make_network(network, options, interface.input_shape, outputs)


def _narrowed(
    whole: nn.Module, small: nn.Module | None, columns: tuple[int, ...], interface: Interface
) -> nn.Module | None:
    """The same network with the wanted outputs alone, rows of its last layer; None where that is not all of its end.

    It is an ordinary network of its kind, which features, export and pruning know how to treat.
    """
    if small is None:
        return None
    state, wanted = whole.state_dict(), small.state_dict()
    for name in grown_with_outputs(state, wanted, len(columns)):
        state[name] = state[name][list(columns)]
    if any(tensor.shape != wanted[name].shape for name, tensor in state.items()):
        return None
    small.load_state_dict(state)
    small.eval()
    probe = torch.linspace(-1.0, 1.0, 2 * _size(interface)).reshape(2, *interface.input_shape)
    with torch.inference_mode():
        same = torch.allclose(small(probe), whole(probe)[:, list(columns)], rtol=1e-4, atol=1e-5)
    return small if same else None


def _size(interface: Interface) -> int:
    channels, height, width = interface.input_shape
    return channels * height * width
