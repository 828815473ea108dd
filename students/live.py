"""A teacher that is asked in every training step."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from data.compute import Compute
from students.methods import Features
from students.model import ImageModel


class NetworkTeacher:
    """A frozen network as a ``students.methods.LiveTeacher``, its answers standardised like the student's labels.

    Args:
        model: an image model of the student's label space, on the device of ``compute``; it is frozen and put into
            evaluation mode, so that its BatchNorm keeps the statistics that its answers were cached with.
        compute: precision of its forward passes.
        label_mean: the student's, () or (K,).
        label_std: the student's, of the same shape.
    """

    def __init__(self, model: ImageModel, compute: Compute, label_mean: Tensor, label_std: Tensor) -> None:
        self._model = model.requires_grad_(False).eval()
        self._compute = compute
        self._mean, self._std = label_mean, label_std
        self._pruned: dict[float, NetworkTeacher] = {}

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Outputs (B, K) for grey levels (B, C, H, W) in 0..255, without gradients."""
        return self._outputs(images)

    def differentiable(self, images: Tensor) -> Tensor:
        """The same with a graph back to the images; in float32, as gradients by pixels underflow in half precision."""
        with torch.enable_grad():
            return self._outputs(images, replace(self._compute, autocast_dtype=None))

    @torch.no_grad()
    def features(self, images: Tensor) -> Features:
        """Features for images, without gradients."""
        with self._compute.autocast():
            return self._model.with_features(self._compute.images(images))[1]

    def pruned(self, amount: float) -> NetworkTeacher:
        """A copy whose smallest weights are 0: this share of each convolution and linear layer; made once."""
        from students.pruning import pruned_copy

        if amount not in self._pruned:
            copied = cast(ImageModel, pruned_copy(self._model, amount))
            self._pruned[amount] = NetworkTeacher(copied, self._compute, self._mean, self._std)
        return self._pruned[amount]

    def _outputs(self, images: Tensor, compute: Compute | None = None) -> Tensor:
        with (compute or self._compute).autocast():
            outputs = self._model(self._compute.images(images))
        standardised: Tensor = (outputs.float() - self._mean) / self._std
        return standardised
