"""From a batch to the parts of the loss: the forward pass, and what else a method may ask for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from data.compute import Compute
from students.methods import (
    LIVE_NEEDS,
    Batch,
    ErrorStatistics,
    Features,
    LiveTeacher,
    Method,
    Sizes,
    auxiliary_of,
)
from students.model import ImageModel
from students.rows import part_weights

#: Needs of a method that hands on images.
_OF_IMAGES = frozenset({"student"}) | LIVE_NEEDS


class Trained(nn.Module):
    """All that learns: the model, and the network that a method trains beside it.

    Args:
        model: the student.
        auxiliary: the method's own network; None where it has none.
    """

    def __init__(self, model: ImageModel, auxiliary: nn.Module | None) -> None:
        super().__init__()
        self.model = model
        self.auxiliary = auxiliary

    def forward(self, images: Tensor, features: bool = False) -> tuple[Tensor, Features | None]:
        """Standardised outputs and, where they are wanted, the features of the same forward pass."""
        if not features:
            return self.model.standard_outputs(images), None
        outputs, found = self.model.with_features(images)
        return self.model.standardised(outputs), found


class Objective:
    """The parts of a method's loss for a batch.

    Without a weight of its own for synthetic rows the method sees the whole batch. With one it sees the real rows and
    the synthetic rows one after the other, after one forward pass for both, and its parts are averaged: a real row
    counts 1 and a synthetic one ``synthetic_weight``. Passes that the method asks for itself are then done for each
    part, so that random numbers and statistics of normalisation are those of a part.

    Args:
        method: what is minimised.
        network: a ``Trained``, perhaps wrapped.
        auxiliary: the method's own network.
        kind: kind of the label space.
        compute: precision of the forward pass; losses are float32.
        shares: rows of each part in a batch, the real ones first.
        synthetic_weight: above 0.
        teacher: asked in every step, by methods that need it.
        errors: the teacher's, for methods that need them.
    """

    def __init__(
        self,
        method: Method,
        network: Callable[..., tuple[Tensor, Features | None]],
        auxiliary: nn.Module | None,
        *,
        kind: str,
        compute: Compute,
        shares: Sequence[int],
        synthetic_weight: float = 1.0,
        teacher: LiveTeacher | None = None,
        errors: ErrorStatistics | None = None,
    ) -> None:
        self._method, self._network, self._auxiliary = method, network, auxiliary
        self._kind, self._compute = kind, compute
        self._teacher, self._errors = teacher, errors
        self._wants_features = "student_features" in method.needs
        self._wants_images = bool(_OF_IMAGES & method.needs)
        self._pieces = _pieces(shares, synthetic_weight)
        # Gradients by pixels are those of an unscaled loss, and would underflow in half precision.
        self._asked_in = replace(compute, autocast_dtype=None) if "input_gradients" in method.needs else compute

    def __call__(self, images: Tensor, batch: Batch, progress: float, rng: torch.Generator) -> dict[str, Tensor]:
        """The weighted parts of the loss, whose sum is minimised.

        Args:
            images: (B, C, H, W), grey levels, augmented.
            batch: labels and the teacher's cached outputs.
            progress: share of the training steps already done, in [0, 1).
            rng: randomness of this step, on the device.
        """
        images = self._compute.images(images)
        if self._wants_images:
            images = images.float()
        outputs, features = self._forward(images, self._wants_features)
        batch = replace(
            batch,
            images=images if self._wants_images else None,
            student=self._ask if "student" in self._method.needs else None,
            student_features=features,
            live_teacher=self._teacher,
            errors=self._errors,
            auxiliary=self._auxiliary,
            rng=rng,
            kind=self._kind,
        )
        if len(self._pieces) == 1:
            return self._method(batch, outputs, progress)
        total: dict[str, Tensor] = {}
        for piece, weight in self._pieces:
            for name, part in self._method(_rows_of(batch, piece), outputs[piece], progress).items():
                total[name] = weight * part + total.get(name, 0.0)
        return total

    def _forward(self, images: Tensor, features: bool = False) -> tuple[Tensor, Features | None]:
        with self._compute.autocast():
            return self._network(self._compute.images(images), features)

    def _ask(self, images: Tensor) -> Tensor:
        with self._asked_in.autocast():
            return self._network(self._compute.images(images), False)[0]


def make_auxiliary(
    method: Method, model: ImageModel, teacher: ImageModel | None, image_shape: Sequence[int], seed: int
) -> nn.Module | None:
    """The network that a method trains beside the student; its weights depend on ``seed`` and its own sizes alone.

    Args:
        method: decides whether there is one, and which features it is made for.
        model: the student; its mode and weights stay as they are.
        teacher: its network, for methods that need its features.
        image_shape: channels, height and width.
        seed: makes its weights.
    """
    sizes = Sizes(
        model.label_space.outputs,
        student=_features_of_one(model, image_shape) if "student_features" in method.needs else None,
        teacher=_features_of_one(teacher, image_shape) if teacher and "teacher_features" in method.needs else None,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return auxiliary_of(method, sizes)


@torch.no_grad()
def _features_of_one(model: ImageModel, image_shape: Sequence[int]) -> Features:
    modes = {module: module.training for module in model.modules()}
    model.eval()
    found = model.with_features(torch.zeros((1, *image_shape), device=model.pixel_mean.device))[1]
    for module, training in modes.items():
        module.training = training
    return found


def _pieces(shares: Sequence[int], synthetic_weight: float) -> list[tuple[slice, float]]:
    """Rows that the method sees together, with the factor of their mean."""
    if len(shares) == 1 or synthetic_weight == 1.0:
        return [(slice(None), 1.0)]
    rows = (slice(0, shares[0]), slice(shares[0], sum(shares)))
    return list(zip(rows, part_weights(shares, synthetic_weight), strict=True))


def _rows_of(batch: Batch, rows: slice) -> Batch:
    """Some rows of a batch."""

    def cut(column: Tensor | None) -> Tensor | None:
        return None if column is None else column[rows]

    features = batch.student_features
    if features is not None:
        features = Features(features.pooled[rows], tuple(level[rows] for level in features.maps))
    return replace(
        batch,
        labels=batch.labels[rows],
        teacher_outputs=cut(batch.teacher_outputs),
        values=cut(batch.values),
        images=cut(batch.images),
        student_features=features,
    )
