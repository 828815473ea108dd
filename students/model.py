"""A network with everything that belongs to it: pixel normalisation inside, outputs in the label's own unit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from data.checkpoint import load_weights, save_weights
from data.compute import Compute
from data.errors import ConfigError, DataError
from data.factories import check_trusted
from data.files import write_json
from data.labels import LabelSpace
from data.reading import Selected, release_pages
from students.methods import Features
from students.networks import ImageShape, make_network
from students.preprocessing import Preprocessing

WEIGHTS = "model.safetensors"
CARD = "model.json"

#: Spread below which pixels or labels count as constant, so that nothing is divided by zero.
SMALLEST_SPREAD = 1e-6


class ImageModel(nn.Module):
    """uint8 images in, logits and predictions out; a teacher or a student.

    Args:
        network: maps normalised float images (B, C, H, W) to (B, K).
        card: everything needed to build the same model again, JSON-ready.
        pixel_mean: mean of each channel, in grey levels 0..255, (C,).
        pixel_std: standard deviation of each channel, in grey levels, (C,).
        label_mean: mean of the training labels in their own units, 0 for classes: one number for all outputs, or
            one an output, (K,).
        label_std: standard deviation of the training labels in their own units, 1 for classes; of the same shape.

    Where the card has a "preprocessing", images are brought to the size and channels that the network takes first;
    mean and standard deviation of pixels are those of its channels.
    """

    pixel_mean: Tensor
    pixel_std: Tensor
    label_mean: Tensor
    label_std: Tensor

    def __init__(
        self,
        network: nn.Module,
        card: Mapping[str, Any],
        pixel_mean: npt.ArrayLike,
        pixel_std: npt.ArrayLike,
        label_mean: npt.ArrayLike = 0.0,
        label_std: npt.ArrayLike = 1.0,
    ) -> None:
        super().__init__()
        self.network = network
        self.card = dict(card)
        self.preprocess: nn.Module = nn.Identity()
        if self.card.get("preprocessing"):
            preprocessing = Preprocessing.from_dict(self.card["preprocessing"])
            channels, height, width = self.card["image_shape"]
            self.preprocess = preprocessing.module((channels, height, width))
        self.register_buffer("pixel_mean", torch.tensor(np.asarray(pixel_mean, np.float32)))
        self.register_buffer("pixel_std", torch.tensor(_spread(pixel_std)))
        self.register_buffer("label_mean", torch.tensor(np.asarray(label_mean, np.float32)))
        self.register_buffer("label_std", torch.tensor(_spread(label_std)))

    @property
    def label_space(self) -> LabelSpace:
        """What the outputs mean."""
        return LabelSpace.from_dict(self.card["label_space"])

    def forward(self, images: Tensor) -> Tensor:
        """Maps images to float32 (B, K): logits, then predictions in the labels' own units.

        Args:
            images: (B, C, H, W), uint8, or floating point grey levels 0..255, through which gradients flow.
        """
        return self.standard_outputs(images) * self.label_std + self.label_mean

    def standard_outputs(self, images: Tensor) -> Tensor:
        """What ``standardised`` makes of the outputs for images, straight from the network."""
        mean, std = self.pixel_mean[:, None, None], self.pixel_std[:, None, None]
        if images.is_floating_point() or not isinstance(self.preprocess, nn.Identity):
            normalised = (self.preprocess(images.float()) - mean) / std
        else:
            # Bytes were just copied into floats, which nobody else holds: no need for two copies more.
            normalised = images.float().sub_(mean).div_(std)
        outputs: Tensor = self.network(normalised)
        return outputs.float()

    @property
    def feature_size(self) -> int:
        """Numbers F in a feature.

        Raises:
            ConfigError: if the network has no linear layer.
        """
        return self._last_linear().in_features

    def features(self, images: Tensor) -> Tensor:
        """Penultimate features: what the last linear layer reads.

        Args:
            images: uint8 (B, C, H, W).

        Returns:
            float32 (B, F); a network that applies the layer at several places of an image is averaged over them.

        Raises:
            ConfigError: if the network has no linear layer.
        """
        read: list[Tensor] = []
        handle = self._last_linear().register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
        try:
            self(images)
        finally:
            handle.remove()
        return _pooled(read[-1])

    def with_features(self, images: Tensor) -> tuple[Tensor, Features]:
        """Outputs and features of one forward pass, with gradients where they are on.

        Feature maps are found by watching every layer: what a layer gives counts if it has the image's proportions,
        and the last one of each resolution is kept, those of 1x1 left out. Networks that work on tokens have none.

        Args:
            images: as ``forward`` takes them.

        Returns:
            The outputs (B, K), and the features in float32.

        Raises:
            ConfigError: if the network has no linear layer.
        """
        read: list[Tensor] = []
        maps: dict[tuple[int, int], Tensor] = {}
        height, width = self.input_shape(images)

        def watch(layer: nn.Module, inputs: tuple[Any, ...], given: Any) -> None:
            del layer, inputs
            if not isinstance(given, Tensor) or given.ndim != 4 or given.shape[2] * given.shape[3] == 1:
                return
            rows, columns = given.shape[2:]
            if rows <= height and columns <= width and 0.7 <= (rows * width) / (columns * height) <= 1.43:
                maps[rows, columns] = given

        handles = [layer.register_forward_hook(watch) for layer in self.network.modules()]
        handles.append(self._last_linear().register_forward_pre_hook(lambda _, inputs: read.append(inputs[0])))
        try:
            outputs: Tensor = self(images)
        finally:
            for handle in handles:
                handle.remove()
        ordered = sorted(maps.items(), key=lambda item: -item[0][0] * item[0][1])
        return outputs, Features(_pooled(read[-1]), tuple(found.float() for _, found in ordered))

    def input_shape(self, images: Tensor) -> tuple[int, int]:
        """Height and width at which the network sees images (B, C, H, W)."""
        channels, height, width = images.shape[1:]
        if not self.card.get("preprocessing"):
            return height, width
        return Preprocessing.from_dict(self.card["preprocessing"]).input_shape((channels, height, width))[1:]

    def _last_linear(self) -> nn.Linear:
        return last_linear(self.network, self.card.get("network", type(self.network).__name__))

    def standardised(self, outputs: Tensor) -> Tensor:
        """Outputs (B, K) with their predictions in standard deviations from the mean label; logits stay the same."""
        return (outputs - self.label_mean) / self.label_std


def last_linear(network: nn.Module, name: str) -> nn.Linear:
    """The last linear layer of a network, in the order in which its layers were made; what it reads are features.

    Raises:
        ConfigError: if the network, called ``name``, has none.
    """
    linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise ConfigError(
            f"a network must have a linear layer to give features, got '{name}' without one; try another network, a "
            "method that compares outputs alone, such as 'kd', or, for the density ratio, ratio.features 'classifier'."
        )
    return linear[-1]


def _pooled(features: Tensor) -> Tensor:
    features = features.float()
    return features if features.ndim == 2 else features.flatten(1, -2).mean(dim=1)


def _spread(std: npt.ArrayLike) -> npt.NDArray[np.float32]:
    return np.maximum(np.asarray(std, np.float32), np.float32(SMALLEST_SPREAD))


def build_model(
    network: str,
    options: Mapping[str, Any] | None,
    image_shape: ImageShape,
    label_space: LabelSpace,
    pixel_mean: npt.ArrayLike,
    pixel_std: npt.ArrayLike,
    label_mean: npt.ArrayLike = 0.0,
    label_std: npt.ArrayLike = 1.0,
    preprocessing: Preprocessing | None = None,
) -> ImageModel:
    """A new model; its weights come from torch's global generator.

    Args:
        network: name of a registered network.
        options: options of that network.
        image_shape: channels, height and width.
        label_space: decides the number of outputs.
        pixel_mean: (C,) in grey levels 0..255.
        pixel_std: (C,) in grey levels.
        label_mean: () or (K,), in the labels' own units; see ``label_statistics``.
        label_std: of the same shape, in the labels' own units.
        preprocessing: what the network wants of images where it is not what they are; pixel statistics are then those
            of the channels that it takes.

    Raises:
        ConfigError: for an unknown network or option, or images that cannot be brought to what the network takes.
    """
    card: dict[str, Any] = {
        "network": network,
        "options": dict(options or {}),
        "image_shape": list(image_shape),
        "label_space": label_space.to_dict(),
    }
    if preprocessing is not None:
        card["preprocessing"] = preprocessing.to_dict()
        image_shape = preprocessing.input_shape(image_shape)
    module = make_network(network, options, image_shape, label_space.outputs)
    return ImageModel(module, card, pixel_mean, pixel_std, label_mean, label_std)


def pixel_statistics(
    images: npt.NDArray[np.uint8] | Selected, rows_a_block: int = 4096
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean and standard deviation of each channel, in grey levels, read block by block so that memory stays flat.

    Args:
        images: uint8 (N, C, H, W), N at least 1; may be a memory map, or rows of one.
        rows_a_block: images read at a time.

    Returns:
        Two float64 arrays (C,).
    """
    total = np.zeros(images.shape[1])
    squares = np.zeros(images.shape[1])
    for start in range(0, len(images), rows_a_block):
        block = images[start : start + rows_a_block].astype(np.float64)
        total += block.sum(axis=(0, 2, 3))
        squares += np.square(block).sum(axis=(0, 2, 3))
        release_pages(images)
    count = images.shape[0] * images.shape[2] * images.shape[3]
    mean = total / count
    return mean, np.sqrt(np.maximum(squares / count - mean**2, 0.0))


def label_statistics(labels: npt.NDArray[Any], label_space: LabelSpace) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Mean and standard deviation of what each output predicts; 0 and 1 for logits.

    Args:
        labels: a column of the label space, at least one row.
        label_space: what labels mean.

    Returns:
        Two arrays in the labels' own units, of the shape () for a class or a scalar and (K,) otherwise.
    """
    if label_space.kind == "class":
        return np.array(0.0), np.array(1.0)
    if label_space.kind == "scalar":
        return np.asarray(np.mean(labels)), np.asarray(np.std(labels))
    values, logits = label_space.continuous_part(labels), label_space.classes
    return np.r_[np.zeros(logits), values.mean(axis=0)], np.r_[np.ones(logits), values.std(axis=0)]


def parameter_count(module: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(parameter.numel() for parameter in module.parameters())


def save_model(folder: Path, model: ImageModel) -> None:
    """Writes ``model.safetensors`` and ``model.json`` into ``folder``, durably."""
    save_weights(folder / WEIGHTS, model)
    write_json(folder / CARD, model.card)


def load_model(folder: Path, compute: Compute) -> ImageModel:
    """Reads what ``save_model`` wrote, onto the device, in evaluation mode.

    Raises:
        DataError: if the files are missing, damaged or do not fit each other.
        ConfigError: if the card names a factory that is not trusted, see ``data.factories``.
    """
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"model card {folder / CARD} must be readable, got {type(error).__name__} ({error}); train the model again."
        ) from error
    model = model_of_card(card, f"model card {folder / CARD}")
    load_weights(folder / WEIGHTS, model)
    compute.place(model)
    return model.eval()


def model_of_card(card: Any, where: str) -> ImageModel:
    """A model as its card describes it; weights and statistics are still to be loaded.

    Args:
        card: what ``ImageModel.card`` holds, perhaps damaged.
        where: where it is from, for messages.

    Raises:
        DataError: if it is no such card.
        ConfigError: if it names a factory that is not trusted, see ``data.factories``.
    """
    try:
        label_space = LabelSpace.from_dict(card["label_space"])
        channels, height, width = (int(size) for size in card["image_shape"])
        name, options = str(card["network"]), dict(card["options"])
        preprocessing = Preprocessing.from_dict(card["preprocessing"]) if card.get("preprocessing") else None
        input_shape = (preprocessing or Preprocessing()).input_shape((channels, height, width))
    except (KeyError, TypeError, ValueError, AttributeError, ConfigError) as error:
        raise DataError(
            f"{where} must be readable, got {type(error).__name__} ({error}); train the model again."
        ) from error
    if name == "factory":
        check_trusted(str(options.get("factory", "")), where)
    image_shape = (channels, height, width)
    blank = np.ones(input_shape[0])
    scale = np.ones(() if label_space.kind in ("class", "scalar") else label_space.outputs)
    model = build_model(name, options, image_shape, label_space, blank, blank, scale, scale, preprocessing)
    model.card = dict(card)
    return model
