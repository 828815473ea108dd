"""Generators for use elsewhere: one safetensors file with the card in its header, or a torch.export program."""

from __future__ import annotations

import json
import warnings
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from data.errors import ConfigError, DataError, StageError
from data.files import replace_durably
from generators.card import GeneratorCard, load_card, load_network

CARD_KEY = "stillhouse_generator"

_BATCH = 4
_MOST_DIFFERENCE = 1e-4


def export_generator(folder: Path, path: Path, format: str) -> None:
    """Writes the generator in ``folder`` as one file.

    "safetensors" holds the weights, and the card as JSON in the header under ``stillhouse_generator``;
    ``open_exported`` reads it. "torch-export" holds a program of (latents (B, latent_size), conditions (B, ...)) with
    any B from 1 up, to float32 images in [-1, 1]; it needs torch alone: ``torch.export.load(path).module()``. It is
    loaded once more and compared with the generator before it counts as written.

    Args:
        folder: of a finished generator stage.
        path: the file to write, replacing what is there.
        format: one of the two.

    Raises:
        ConfigError: if the format is unknown.
        DataError: if the generator cannot be read, or the file cannot be written.
        StageError: if the network cannot be traced, or the program's images are not the generator's.
    """
    if format not in ("safetensors", "torch-export"):
        raise ConfigError(f"format must be 'safetensors' or 'torch-export', got '{format}'.")
    card = load_card(folder)
    network = load_network(folder, card)
    temporary = path.with_name(path.name + ".tmp")
    try:
        if format == "safetensors":
            tensors = {key: value.contiguous().clone() for key, value in network.state_dict().items()}
            save_file(tensors, temporary, metadata={CARD_KEY: json.dumps(card.to_dict(), sort_keys=True)})
        else:
            _write_program(temporary, network, card)
        replace_durably(temporary, path)
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path} cannot be written ({error}); make room or choose another folder.") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def open_exported(path: Path) -> tuple[GeneratorCard, nn.Module]:
    """Opens what ``export_generator`` wrote as "safetensors".

    Returns:
        The card, and the generator on the CPU in evaluation mode, without gradients.

    Raises:
        DataError: if it is no such file, or damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            card = GeneratorCard.from_dict(json.loads((file.metadata() or {})[CARD_KEY]))
            network = card.build()
            network.load_state_dict({key: file.get_tensor(key) for key in file.keys()})  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, ValueError, RuntimeError) as error:
        first = str(error).splitlines()[0]
        raise DataError(f"{path} must be a generator exported as safetensors ({first}); export it again.") from error
    return card, network.eval().requires_grad_(False)


def example_inputs(card: GeneratorCard, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents (count, latent_size) and conditions (count, ...) of the types that the generator takes."""
    space = card.label_space
    rng = torch.Generator().manual_seed(0)
    latents = torch.randn(count, card.latent_size, generator=rng)
    if space.kind == "class":
        return latents, torch.arange(count) % space.classes
    conditions = torch.rand(count, *space.label_shape, generator=rng)
    if space.kind == "class+scalar":
        conditions[:, 0] = torch.arange(count) % space.classes
    return latents, conditions


def _write_program(path: Path, network: nn.Module, card: GeneratorCard) -> None:
    batch = torch.export.Dim("batch", min=1)
    try:
        program = torch.export.export(network, example_inputs(card, _BATCH), dynamic_shapes=({0: batch}, {0: batch}))
    except (RuntimeError, ValueError, TypeError) as error:
        first = str(error).strip().partition("\n")[0]
        raise StageError(f"network '{card.network}' cannot be traced ({first}); export as safetensors.") from error
    with path.open("wb") as file:
        torch.export.save(program, file)
    with path.open("rb") as file, warnings.catch_warnings():
        # Torch 2.11 reads weights into memory that it does not write to.
        warnings.filterwarnings("ignore", "The given buffer is not writable", UserWarning)
        loaded = torch.export.load(file).module()
    # Other numbers of rows than the one that it was traced with.
    for count in (1, 7):
        inputs = example_inputs(card, count)
        with torch.inference_mode():
            difference = float((loaded(*inputs) - network(*inputs)).abs().max())
        if not difference <= _MOST_DIFFERENCE:
            raise StageError(
                f"the exported program must give the generator's images within {_MOST_DIFFERENCE:g}, got a difference "
                f"of {difference:g} with {count} rows; export as safetensors."
            )
