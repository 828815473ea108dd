"""The network of the conditional density ratio psi(h | y)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from data.errors import ConfigError
from data.labels import LabelSpace

#: Groups of every group normalisation, as in the paper; widths are multiples of it.
GROUPS = 8

#: A group of one unit would be normalised to a constant, and one of two units to its sign.
SMALLEST_WIDTH = 4 * GROUPS

#: Least spread of a feature, as a share of the root mean square spread of all.
SMALLEST_SPREAD = 0.1

#: Half waves over the label's range of the sinusoids of a continuous label. Faster ones follow the noise of few labels:
#: on two known Gaussians with 4,000 rows the correlation with the true ratio fell from 0.94 to 0.91 with 16 and 32.
WAVES = (1.0, 2.0, 4.0, 8.0)


class ClassVector(nn.Module):
    """A learnt vector of K numbers for each of K classes, as in the paper.

    Args:
        classes: K.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.size = classes
        self.table = nn.Embedding(classes, classes)

    def forward(self, labels: Tensor) -> Tensor:
        """Maps class numbers int64 (B,) to (B, K)."""
        vectors: Tensor = self.table(labels)
        return vectors


class ContinuousVector(nn.Module):
    """Fixed sinusoids of each value of a label and the value itself.

    The paper takes a learnt vector from the generator instead, and has scalar labels only.

    Args:
        dimensions: values L of a label.
    """

    waves: Tensor

    def __init__(self, dimensions: int = 1) -> None:
        super().__init__()
        self.dimensions = dimensions
        self.size = dimensions * (1 + 2 * len(WAVES))
        self.register_buffer("waves", torch.pi * torch.tensor(WAVES))

    def forward(self, labels: Tensor) -> Tensor:
        """Maps labels in [0, 1], float32 (B,) or (B, L), to (B, 9 L), the vectors of the axes one after another."""
        values = labels.reshape(len(labels), self.dimensions, 1)
        angles = values * self.waves
        return torch.cat([values, angles.sin(), angles.cos()], dim=2).flatten(1)


class ClassContinuousVector(nn.Module):
    """The class's learnt vector, then the sinusoids of the value.

    Args:
        classes: number of classes K.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.class_vector = ClassVector(classes)
        self.value_vector = ContinuousVector()
        self.size = self.class_vector.size + self.value_vector.size

    def forward(self, labels: Tensor) -> Tensor:
        """Maps classes with a value in [0, 1], float32 (B, 2), to (B, K + 9)."""
        return torch.cat([self.class_vector(labels[:, 0].long()), self.value_vector(labels[:, 1])], dim=1)


def make_label_vector(label_space: LabelSpace) -> ClassVector | ContinuousVector | ClassContinuousVector:
    """What turns conditions into vectors; its attribute ``size`` is their length."""
    if label_space.kind == "class":
        return ClassVector(label_space.classes)
    if label_space.kind == "class+scalar":
        return ClassContinuousVector(label_space.classes)
    return ContinuousVector(len(label_space.dimensions))


class RatioNetwork(nn.Module):
    """psi(h | y): a perceptron on the label's vector and the image's feature, with a result of at least 0.

    Source: cDR-RS (Ding et al. 2023), its MLP5. Differs from the paper in: the widths are options with small defaults
    (the paper: 2048-1024-512-256-128 with dropout 0.5); the last bias starts at 1, so that the ReLU starts alive;
    features are standardised, without which those that vary little next to the label's vector are hardly read.

    Args:
        feature_size: numbers in a feature.
        label_space: decides how a label becomes a vector.
        widths: widths of the hidden layers, multiples of 8 from 32 up, at least one.
        dropout: probability of dropping a hidden unit.
        activation: what keeps the result at or above 0: "relu" (the paper) or "softplus".

    Raises:
        ConfigError: for widths, a dropout or an activation that does not fit.
    """

    centre: Tensor
    spread: Tensor

    def __init__(
        self,
        feature_size: int,
        label_space: LabelSpace,
        widths: Sequence[int] = (256, 128, 64),
        dropout: float = 0.5,
        activation: Literal["relu", "softplus"] = "relu",
    ) -> None:
        super().__init__()
        if not widths or any(width < SMALLEST_WIDTH or width % GROUPS for width in widths):
            raise ConfigError(
                f"ratio widths must be multiples of {GROUPS} from {SMALLEST_WIDTH} up, got {list(widths)}; "
                f"try [256, 128, 64]."
            )
        if not 0.0 <= dropout < 1.0:
            raise ConfigError(f"ratio dropout must be in [0, 1), got {dropout}; try 0.5.")
        if activation not in ("relu", "softplus"):
            raise ConfigError(f"ratio activation must be 'relu' or 'softplus', got '{activation}'.")
        self.label_vector = make_label_vector(label_space)
        self.register_buffer("centre", torch.zeros(feature_size))
        self.register_buffer("spread", torch.ones(feature_size))
        layers: list[nn.Module] = []
        previous = self.label_vector.size + feature_size
        for width in widths:
            layers += [nn.Linear(previous, width), nn.GroupNorm(GROUPS, width), nn.ReLU(), nn.Dropout(dropout)]
            previous = width
        last = nn.Linear(previous, 1)
        nn.init.ones_(last.bias)
        self.body = nn.Sequential(*layers, last, nn.ReLU() if activation == "relu" else nn.Softplus())

    @torch.no_grad()
    def standardise_like(self, features: Tensor) -> None:
        """From now on features count in standard deviations from the mean of these, float32 (n, F).

        A feature that varies less than a tenth of the root mean square deviation of all counts in that unit instead,
        lest one that is constant here be blown up elsewhere.
        """
        deviations = features.std(dim=0, correction=0)
        floor = SMALLEST_SPREAD * deviations.square().mean().sqrt()
        self.centre.copy_(features.mean(dim=0))
        self.spread.copy_(torch.where(floor > 0, deviations.maximum(floor), torch.ones_like(deviations)))

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """The ratios, (B,).

        Args:
            features: float32 (B, F).
            labels: conditions: class numbers int64 (B,), or float32 with values in [0, 1], (B,), (B, L) or (B, 2).
        """
        standardised = (features - self.centre) / self.spread
        ratios: Tensor = self.body(torch.cat([self.label_vector(labels), standardised], dim=1))
        return ratios[:, 0]
