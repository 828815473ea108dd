"""Teachers that are torch networks: from elsewhere made into an ordinary image model, and asked for many images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from data.checkpoint import load_weights
from data.compute import Compute
from data.errors import ConfigError, DataError, StageError, StillhouseError
from data.factories import in_one_line
from students.evaluation import predict
from students.model import WEIGHTS, ImageModel
from students.teachers.interface import LEAST_PROBABILITY, Interface

if TYPE_CHECKING:
    from data.labels import LabelSpace


class NetworkAnswers:
    """An image model that is asked for answers; a ``Teacher``.

    Args:
        model: on the device of ``compute``.
        compute: where and in what precision.
        block_rows: images a forward pass.
    """

    def __init__(self, model: ImageModel, compute: Compute, block_rows: int) -> None:
        self.model = model
        self._compute = compute
        self._block_rows = block_rows

    @property
    def label_space(self) -> LabelSpace:
        """What its outputs mean."""
        return self.model.label_space

    def answer(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Outputs for uint8 images (n, C, H, W), float32 (n, K).

        Raises:
            StageError: if they are not finite.
        """
        outputs = predict(self.model, images, self._compute, self._block_rows)
        check_finite(outputs, f"teacher {self.model.card.get('network', 'network')}")
        return outputs


class Adapted(nn.Module):
    """A network of which some outputs are used, and whose probabilities become logits.

    Args:
        network: normalised images (B, C, H, W) to (B, R).
        columns: which of its outputs are used, in order.
        classes: how many of these are probabilities; 0 where it gives logits.
        outputs: number R of its outputs.
    """

    columns: Tensor

    def __init__(self, network: nn.Module, columns: tuple[int, ...], classes: int, outputs: int) -> None:
        super().__init__()
        self.network = network
        self.classes = classes
        self.outputs = outputs
        self.register_buffer("columns", torch.tensor(columns))

    def forward(self, images: Tensor) -> Tensor:
        """Maps images to (B, K)."""
        outputs: Tensor = self.network(images)
        outputs = outputs.float()[:, self.columns]
        if not self.classes:
            return outputs
        logits = outputs[:, : self.classes].clamp(LEAST_PROBABILITY, 1.0).log()
        return torch.cat([logits, outputs[:, self.classes :]], dim=1)


def imported_model(network: nn.Module, interface: Interface, card: Mapping[str, Any], who: str) -> ImageModel:
    """A network from elsewhere as an image model: pixels, columns and units inside.

    Args:
        network: normalised images to (B, R), its weights loaded.
        interface: what it takes and gives.
        card: keys ``network`` and ``options``.
        who: the network, for messages.

    Raises:
        ConfigError: if it does not take the images, or gives other outputs than are wanted.
    """
    network = network.eval()
    count = _outputs_of(network, interface, who)
    columns = interface.picked(count, who)
    space = interface.label_space
    if interface.outputs is not None or interface.gives == "probabilities":
        network = Adapted(network, columns, space.classes if interface.gives == "probabilities" else 0, count)
    described: dict[str, Any] = {
        **card,
        "image_shape": list(interface.image_shape),
        "label_space": space.to_dict(),
    }
    if interface.resizes:
        described["preprocessing"] = interface.preprocessing().to_dict()
    return ImageModel(network, described, *interface.pixels(), *interface.scales()).eval()


def check_finite(outputs: npt.NDArray[np.float32], who: str) -> None:
    """Checks outputs (n, K) of a teacher.

    Raises:
        StageError: if some are NaN or infinite.
    """
    faulty = int((~np.isfinite(outputs)).any(axis=1).sum())
    if faulty:
        raise StageError(
            f"{who} must give finite outputs, got NaN or infinite ones for {faulty} of {len(outputs)} images; check "
            "its weights, and try compute.precision fp32."
        )


def check_network(model: ImageModel, interface: Interface, images: npt.NDArray[np.uint8], who: str) -> None:
    """Checks weights, and what a few images give; nothing of the answers is kept.

    Args:
        model: from ``imported_model``, on the CPU.
        interface: what it takes and gives.
        images: uint8 (n, C, H, W), real ones: empty images may give outputs in 0..1 where others do not.
        who: the network, for messages.

    Raises:
        DataError: if a weight is not finite.
        StageError: if an output is not finite, or is no probability where it has to be.
    """
    for name, weight in model.network.named_parameters():
        if not torch.isfinite(weight).all():
            raise DataError(f"{who} must have finite weights, got NaN or infinite ones in '{name}'; save it anew.")
    given: list[Tensor] = []
    inside = model.network.network if isinstance(model.network, Adapted) else model.network
    handle = inside.register_forward_hook(lambda _, inputs, outputs: given.append(outputs))
    try:
        with torch.inference_mode():
            model(torch.from_numpy(images))
    finally:
        handle.remove()
    outputs = given[-1].float().numpy()
    check_finite(outputs, who)
    if isinstance(model.network, Adapted):
        interface.to_answers(outputs, who)


def reopened(network: nn.Module, interface: Interface, folder: Path, who: str, compute: Compute) -> ImageModel:
    """An imported network with the weights that its artifact holds, on the device, in evaluation mode.

    Args:
        network: of the right shapes; its weights are replaced.
        interface: what it takes and gives.
        folder: of the artifact.
        who: the network, for messages.
        compute: where.

    Raises:
        DataError: if the weights do not fit it.
    """
    model = imported_model(network, interface, {"network": who, "options": {}}, who)
    load_weights(folder / WEIGHTS, model)
    compute.place(model)
    return model.eval()


def _outputs_of(network: nn.Module, interface: Interface, who: str) -> int:
    """Number of outputs R, found by two empty images.

    Raises:
        ConfigError: if the network does not take them, or does not give two rows.
    """
    probe = torch.zeros(2, *interface.input_shape)
    try:
        with torch.inference_mode():
            outputs = network(probe)
    except StillhouseError:
        raise
    except Exception as error:
        raise ConfigError(
            f"{who} must take images of shape {interface.input_shape}, got {in_one_line(error)}; see "
            "teacher.input_size and teacher.input_channels."
        ) from error
    if not isinstance(outputs, Tensor) or outputs.ndim != 2 or len(outputs) != 2:
        got = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise StageError(f"{who} must give a tensor (B, K) for images (B, C, H, W), got {got} for B = 2.")
    return outputs.shape[1]
