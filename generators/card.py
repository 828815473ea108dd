"""A generator on the disk: its averaged weights, and the card that says how to rebuild it."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from data.checkpoint import load_weights, save_weights
from data.errors import DataError
from data.files import write_json
from data.labels import LabelSpace
from generators.networks import GanNetwork, build_network

CARD_FILE = "generator.json"
WEIGHTS_FILE = "generator.safetensors"


@dataclass(frozen=True)
class GeneratorCard:
    """Everything that rebuilds a generator before its weights are loaded.

    Args:
        network: registered name.
        options: the network's options, complete with defaults.
        image_shape: (C, H, W).
        label_space: of the labels it was trained on.
        latent_size: length of a latent vector.
        training: the settings it was trained with; informative.
    """

    network: str
    options: dict[str, Any]
    image_shape: tuple[int, int, int]
    label_space: LabelSpace
    latent_size: int
    training: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {**dataclasses.asdict(self), "format": 1, "label_space": self.label_space.to_dict()}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> GeneratorCard:
        """Inverse of ``to_dict``.

        Raises:
            DataError: if it is not a card of this version.
        """
        value = dict(value)
        try:
            if value.pop("format") != 1:
                raise DataError("a generator's card must have format 1; make the generator again with this version.")
            value["image_shape"] = tuple(value["image_shape"])
            value["label_space"] = LabelSpace.from_dict(value["label_space"])
            return cls(**value)
        except (KeyError, TypeError) as error:
            raise DataError(f"a generator's card has an unknown or missing field: {error}.") from error

    def build(self) -> nn.Module:
        """The generator with fresh weights."""
        return build_network(self.network, self.options).generator(self.image_shape, self.label_space)


def describe_network(
    name: str, network: GanNetwork, image_shape: tuple[int, int, int], label_space: LabelSpace, training: dict[str, Any]
) -> GeneratorCard:
    """The card of a network with all its options."""
    options = dataclasses.asdict(network)  # type: ignore[call-overload]
    return GeneratorCard(name, options, image_shape, label_space, network.latent_size, training)


def save_generator(folder: Path, card: GeneratorCard, generator: nn.Module) -> None:
    """Writes weights and card into ``folder``, durably; the card last."""
    save_weights(folder / WEIGHTS_FILE, generator)
    write_json(folder / CARD_FILE, card.to_dict())


def load_card(folder: Path) -> GeneratorCard:
    """Reads the card in ``folder``.

    Raises:
        DataError: if it is missing or not readable.
    """
    path = folder / CARD_FILE
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); try the folder of a finished generator stage.") from error
    return GeneratorCard.from_dict(value)


def load_network(folder: Path, card: GeneratorCard) -> nn.Module:
    """The generator in ``folder`` on the CPU, in evaluation mode, without gradients.

    Raises:
        DataError: if the weights are missing, damaged or do not fit the card.
    """
    generator = card.build()
    load_weights(folder / WEIGHTS_FILE, generator)
    return generator.eval().requires_grad_(False)
