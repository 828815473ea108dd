"""Files of a network that was fitted to the real images: its weights, and the card that builds it again."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from torch import nn

from data.checkpoint import load_weights, save_weights
from data.compute import Compute
from data.errors import DataError
from data.files import write_json
from data.labels import LabelSpace

ImageShape = tuple[int, int, int]
Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class FittedFiles:
    """Names of the two files, and the stage that makes them.

    Args:
        weights: name of the safetensors file.
        card: name of the JSON file: shape of the images, label space and width.
        stage: what is to be trained again where the files are damaged.
    """

    weights: str
    card: str
    stage: str

    def save(
        self, folder: Path, network: nn.Module, image_shape: ImageShape, label_space: LabelSpace, width: int
    ) -> None:
        """Writes both files into a folder."""
        save_weights(folder / self.weights, network)
        card = {"image_shape": list(image_shape), "label_space": label_space.to_dict(), "width": width}
        write_json(folder / self.card, card)

    def load(self, folder: Path, build: Callable[[ImageShape, int, int], Network], compute: Compute) -> Network:
        """Reads what ``save`` wrote: on the device, in evaluation mode, without gradients.

        Args:
            folder: of the files.
            build: makes the network from the shape of the images, the number of outputs and the width.
            compute: where and in what precision.

        Raises:
            DataError: if the files are missing, damaged or do not fit each other.
        """
        path = folder / self.card
        try:
            card = json.loads(path.read_text(encoding="utf-8"))
            channels, height, columns = card["image_shape"]
            outputs = LabelSpace.from_dict(card["label_space"]).outputs
            network = build((channels, height, columns), outputs, card["width"])
        except (OSError, ValueError, KeyError, TypeError, DataError) as error:
            raise DataError(
                f"card {path} must be readable, got {type(error).__name__} ({error}); train the {self.stage} again."
            ) from error
        load_weights(folder / self.weights, network)
        compute.place(network)
        return network.eval().requires_grad_(False)
