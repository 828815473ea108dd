"""The heads of a discriminator: features and a condition to everything that it says of an image."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from data.errors import ConfigError
from generators.conditions import ConcatMap, Condition, LabelInput
from generators.networks import Heads, Verdict
from generators.spectral import full_precision, spectral

#: Longest image embedding of ReACGAN; narrow networks have as many numbers as features, which is all they can tell.
_EMBEDDING_SIZE = 512
#: Longest row that stands for a class beside the features of the density ratio.
_CLASS_SIZE = 128


def check_heads(heads: Heads, inputs: LabelInput) -> None:
    """Raises ConfigError if a head does not fit the labels."""
    if heads.conditioning not in ("projection", "acgan", "reacgan"):
        raise ConfigError(f"conditioning must be projection, acgan or reacgan, got '{heads.conditioning}'.")
    if heads.conditioning != "projection" and not inputs.classes:
        raise ConfigError(
            f"conditioning '{heads.conditioning}' must have labels with classes, got continuous ones; try 'projection'."
        )
    if heads.label_regression and not inputs.dimensions:
        raise ConfigError(
            "the label-regression head must have labels with continuous values, got classes; "
            "try label_regression_weight 0."
        )


class Head(nn.Module):
    """Features of images and their conditions to a ``Verdict``; always in float32.

    The score is a linear map of the features, plus what ``heads`` ask for: with "projection" the inner product of
    features and label (Miyato & Koyama, 2018, arXiv 1802.05637). "acgan" (Odena et al., 2017, arXiv 1610.09585) and
    "reacgan" (Kang et al., 2021, arXiv 2111.01118) judge the class apart from the score; where a label has a value
    too, that value, and it alone, is projected. The other two heads are those of CcGAN-AVAR (Ding et al., 2025,
    arXiv 2508.01725). Differs from it: no ReLU on predicted labels, whose gradient would die at 0, and softplus in
    place of ReLU on the density ratio, so that it cannot be stuck at 0 for every image; it starts near 1.

    Args:
        features: number F of features.
        inputs: what the condition holds.
        heads: which heads there are.
        spectral_norm: whether the linear layers have spectral norm; the projection always has. The density ratio's
            never have, since a ratio may be steep, and those of unit vectors need none.

    Raises:
        ConfigError: if a head does not fit the labels.
    """

    def __init__(self, features: int, inputs: LabelInput, heads: Heads, *, spectral_norm: bool = True) -> None:
        super().__init__()
        check_heads(heads, inputs)

        def linear(inputs: int, outputs: int) -> nn.Module:
            layer = nn.Linear(inputs, outputs)
            return spectral(layer) if spectral_norm else layer

        self.score = linear(features, 1)
        self.values_only = heads.conditioning != "projection"
        projected = LabelInput(0, inputs.dimensions, inputs.embedding_size) if self.values_only else inputs
        self.projection: nn.Module | None = None
        if projected.classes or projected.dimensions:
            # Always with spectral norm: a plain table times thousands of features would drown the score.
            self.projection = projected.layer(features, spectral_norm=True)
        self.classifier = linear(features, inputs.classes) if heads.conditioning == "acgan" else None
        self.image_embedding: nn.Module | None = None
        self.proxies: nn.Embedding | None = None
        if heads.conditioning == "reacgan":
            size = min(_EMBEDDING_SIZE, features)
            self.image_embedding = nn.Linear(features, size, bias=False)
            self.proxies = nn.Embedding(inputs.classes, size)
        self.regression: nn.Module | None = None
        if heads.label_regression:
            self.regression = nn.Sequential(linear(features, 128), nn.ReLU(), linear(128, inputs.dimensions))
        self.ratio = RatioHead(features, inputs) if heads.density_ratio else None

    def forward(self, features: torch.Tensor, condition: Condition) -> Verdict:
        """Features (B, F), and what ``LabelInput.read`` gives for B labels, to a verdict."""
        with full_precision(features):
            features = features.float()
            scores = self.score(features)[:, 0]
            if self.projection is not None:
                told = condition[1] if self.values_only else condition
                scores = scores + (features * self.projection(told)).sum(dim=1)
            embeddings = proxies = None
            if self.image_embedding is not None and self.proxies is not None:
                embeddings = functional.normalize(self.image_embedding(features), dim=1)
                proxies = functional.normalize(self.proxies.weight, dim=1)
            return Verdict(
                scores=scores,
                class_logits=None if self.classifier is None else self.classifier(features),
                embeddings=embeddings,
                proxies=proxies,
                predicted_labels=None if self.regression is None else self.regression(features),
                ratios=None if self.ratio is None else self.ratio(features, condition),
            )


class RatioHead(nn.Module):
    """Features and a condition to p_real(x | y) / p_generated(x | y), at least 0.

    Source: Ding et al., 2025, arXiv 2508.01725: linear layers of 512, 256 and 1, group norm and ReLU between them.
    """

    def __init__(self, features: int, inputs: LabelInput) -> None:
        super().__init__()
        self.label = ConcatMap(inputs, min(inputs.classes, _CLASS_SIZE))
        last = nn.Linear(256, 1)
        # softplus of this is 1, the mean of a density ratio.
        nn.init.constant_(last.bias, math.log(math.e - 1.0))
        self.layers = nn.Sequential(
            *(nn.Linear(features + self.label.outputs, 512), nn.GroupNorm(8, 512), nn.ReLU()),
            *(nn.Linear(512, 256), nn.GroupNorm(8, 256), nn.ReLU()),
            last,
        )

    def forward(self, features: torch.Tensor, condition: Condition) -> torch.Tensor:
        """Features (B, F) and a condition of B rows to ratios (B,)."""
        raw = self.layers(torch.cat([self.label(condition), features], dim=1))[:, 0]
        return functional.softplus(raw)
