"""Models for use elsewhere: one file of weights and card, an ONNX file, or a torch.export program."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from data.errors import ConfigError, DataError
from data.files import replace_durably
from students.model import ImageModel, model_of_card
from students.programs import write_onnx, write_program

#: Key of the description in the header of a safetensors file, in the properties of an ONNX file, and, with ".json",
#: name of the extra file in a torch.export program.
KEY = "stillhouse_model"


def export_model(model: ImageModel, path: Path, format: str, about: Mapping[str, Any]) -> None:
    """Writes a model as one file, with what it is inside.

    All three hold ``{"card": ..., "about": ...}`` as JSON under ``KEY``. A safetensors file holds weights and buffers
    beside it. The two programs take images uint8 (N, C, H, W) by the name "images", of any N from 1 up, and give
    "outputs", float32 (N, K): logits, then predictions in the labels' own units; and, where labels have classes,
    "probabilities", float32 (N, classes). Programs are compared with the model before they count as written.

    Args:
        model: on the CPU; in evaluation mode afterwards.
        path: the file to write, replacing what is there.
        format: "safetensors", "onnx" or "torch-export".
        about: what else is known of the model, JSON-ready.

    Raises:
        ConfigError: if the format is unknown, or a package is missing for it.
        DataError: if the file cannot be written.
        StageError: if the network cannot be traced, or the program's outputs are not the model's; no file is left.
    """
    writers: dict[str, Callable[[Path, ImageModel, str], None]] = {
        "safetensors": _write_weights,
        "onnx": write_onnx,
        "torch-export": write_program,
    }
    if format not in writers:
        raise ConfigError(f"format must be one of {', '.join(writers)}, got '{format}'.")
    described = json.dumps({"card": model.card, "about": dict(about)}, sort_keys=True)
    temporary = path.with_name(path.name + ".tmp")
    try:
        writers[format](temporary, model.eval().requires_grad_(False), described)
        replace_durably(temporary, path)
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path} cannot be written ({error}); make room or choose another folder.") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def open_exported(path: Path) -> tuple[ImageModel, dict[str, Any]]:
    """Opens what ``export_model`` wrote as "safetensors".

    Returns:
        The model, on the CPU in evaluation mode, without gradients; and what else is known of it.

    Raises:
        DataError: if it is no such file, or damaged.
        ConfigError: if its network is a factory that is not trusted, see ``data.factories``.
    """
    try:
        with safe_open(path, framework="pt") as file:
            described = json.loads((file.metadata() or {})[KEY])
            names = list(file.keys())
            _check_sizes(described["card"], {name: tuple(file.get_slice(name).get_shape()) for name in names}, path)
            model = model_of_card(described["card"], f"model card of {path}")
            model.load_state_dict({name: file.get_tensor(name) for name in names})
            about = dict(described["about"])
    except (ConfigError, DataError):
        raise
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        first = f"{type(error).__name__}: {error}".splitlines()[0]
        raise DataError(f"{path} must be a model exported as safetensors ({first}); export it again.") from error
    return model.eval().requires_grad_(False), about


def _check_sizes(card: Any, shapes: Mapping[str, tuple[int, ...]], path: Path) -> None:
    """Compares tensors with those of the network that a card asks for, before memory for it is taken.

    Raises:
        DataError: if they are of other shapes, as in a file whose card asks for far more than it holds.
    """
    if isinstance(card, Mapping) and card.get("network") == "factory":
        # Code of the user's own, which runs once and need not run without memory.
        return
    try:
        with torch.device("meta"):
            wanted = model_of_card(card, f"model card of {path}").state_dict()
    except RuntimeError:
        # A network that computes with values while it is made; it is made as usual then.
        return
    others = sorted(name for name, tensor in wanted.items() if shapes.get(name) != tuple(tensor.shape))
    if others:
        raise DataError(
            f"{path} must hold the tensors of the network in its card, got others or none for {', '.join(others[:4])}; "
            "export it again."
        )


def _write_weights(path: Path, model: ImageModel, described: str) -> None:
    tensors = {key: value.detach().cpu().contiguous().clone() for key, value in model.state_dict().items()}
    save_file(tensors, path, metadata={KEY: described, "format": "pt"})
