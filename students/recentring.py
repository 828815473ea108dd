"""Moving a student's outputs by a constant, for methods that are blind to one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from data.compute import Compute
from data.errors import ConfigError, DataError
from students.evaluation import predict
from students.methods import Recentring
from students.mixed_images import MixedImages, images_of
from students.model import ImageModel
from students.rows import Images
from students.training_data import DeviceBatches, TrainingData

#: Rows of each part by which outputs are re-centred for a validation, evenly spaced.
ROWS_TO_VALIDATE = 1024


class Recentred:
    """Re-centres a student as its method asks: after training, and for a while whenever it is validated.

    The shift is of three means over training rows, see ``students.methods.recentring_of``. Parts count as in the
    loss, whatever the numbers of their rows.

    Args:
        rule: the method's.
        data: the training rows.
        batches: made of them, for the labels and teacher outputs that the loss compares with.
        weights: of the parts, see ``students.rows.part_weights``.
        compute: where.

    Raises:
        DataError: if rows have no teacher outputs.
    """

    def __init__(
        self, rule: Recentring, data: TrainingData, batches: DeviceBatches, weights: Sequence[float], compute: Compute
    ) -> None:
        self._rule, self._weights, self._compute = rule, list(weights), compute
        self._images: list[Images | MixedImages] = []
        self._some: list[npt.NDArray[np.int64]] = []
        self._targets: list[tuple[Tensor, Tensor]] = []
        for part, rows in enumerate(data.parts):
            labels, teacher = batches.targets(part)
            if teacher is None:
                raise DataError("training rows must have teacher outputs where outputs are re-centred, got none.")
            count = len(rows)
            self._images.append(images_of(rows))
            self._some.append(np.linspace(0, count - 1, min(count, ROWS_TO_VALIDATE)).astype(np.int64))
            self._targets.append((labels, teacher))

    @torch.no_grad()
    def apply(self, model: ImageModel, rows: Sequence[npt.NDArray[np.int64]] | None = None) -> None:
        """Adds the shift to the bias of the last linear layer, in place.

        Args:
            model: the student; in evaluation mode its outputs are then those that the method wants.
            rows: of each part, by which means are taken; all by default.
        """
        means = [torch.zeros(model.label_space.outputs, dtype=torch.float64, device=model.label_mean.device)] * 3
        parts = zip(self._weights, self._images, self._targets, strict=True)
        for part, (weight, images, (labels, teacher)) in enumerate(parts):
            if rows is not None:
                images = images[rows[part]]
                chosen = torch.from_numpy(rows[part]).to(labels.device)
                labels, teacher = labels[chosen], teacher[chosen]
            outputs = predict(model, images, self._compute, batch_size=min(512, len(images)))
            student = model.standardised(torch.from_numpy(outputs.mean(axis=0, dtype=np.float64)).to(labels.device))
            found = (teacher.double().mean(dim=0), student, labels.double().mean(dim=0))
            means = [mean + weight * own for mean, own in zip(means, found, strict=True)]
        space = model.label_space
        bias = output_bias(model.network, space.outputs, str(model.card.get("network", type(model.network).__name__)))
        bias.add_(self._rule(*(mean.float() for mean in means)))

    @contextmanager
    def while_validated(self, model: ImageModel) -> Iterator[None]:
        """The model is re-centred by some of the rows inside, and outside exactly what it was."""
        space = model.label_space
        bias = output_bias(model.network, space.outputs, str(model.card.get("network", "")))
        before = bias.detach().clone()
        self.apply(model, self._some)
        try:
            yield
        finally:
            with torch.no_grad():
                bias.copy_(before)


def output_bias(network: nn.Module, outputs: int, name: str) -> nn.Parameter:
    """The bias by which all outputs of a network can be moved.

    Args:
        network: the student's.
        outputs: number of outputs K.
        name: of the network.

    Raises:
        ConfigError: if the last linear layer does not give the outputs, or has no bias.
    """
    linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
    if not linear or linear[-1].bias is None or linear[-1].out_features != outputs:
        raise ConfigError(
            f"a network whose outputs are re-centred must end in a linear layer with a bias, got '{name}'; "
            "try recenter_bias false and anchor_weight 0.1."
        )
    return linear[-1].bias
