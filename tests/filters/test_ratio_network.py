"""The ratio's network: label vectors, range, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from data.errors import ConfigError
from data.labels import LabelSpace
from filters.ratio_network import RatioNetwork, ScalarVector

CLASSES = LabelSpace("class", ("a", "b", "c"))
SCALAR = LabelSpace("scalar", maximum=90.0)


def test_scalar_vectors_are_the_sinusoids_of_the_label() -> None:
    labels = torch.tensor([0.0, 0.25, 1.0])
    waves = [1.0, 2.0, 4.0, 8.0]
    vectors = ScalarVector()(labels)
    for row, label in enumerate(labels.tolist()):
        expected = [label, *(np.sin(np.pi * w * label) for w in waves), *(np.cos(np.pi * w * label) for w in waves)]
        np.testing.assert_allclose(vectors[row].numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("activation", ["relu", "softplus"])
@pytest.mark.parametrize("space", [CLASSES, SCALAR])
def test_ratios_are_never_negative_and_depend_on_the_label(space: LabelSpace, activation: Any) -> None:
    torch.manual_seed(0)
    network = RatioNetwork(5, space, (32, 32), 0.5, activation).eval()
    features = 10 * torch.randn(200, 5)
    first = torch.zeros(200, dtype=torch.int64) if space is CLASSES else torch.zeros(200)
    one, other = network(features, first), network(features, first + 1)
    assert one.shape == (200,)
    assert (one >= 0).all()
    assert not torch.allclose(one, other)
    assert network(features[:1], first[:1]).shape == (1,)
    assert (one > 0).float().mean() > 0.5  # the last layer starts alive


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"widths": (36,)}, r"multiples of 8 from 32 up, got \[36\]"),
        ({"widths": (64, 8)}, "multiples of 8 from 32 up"),
        ({"widths": ()}, "multiples of 8"),
        ({"dropout": 1.0}, "dropout"),
        ({"activation": "tanh"}, "'relu' or 'softplus', got 'tanh'"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RatioNetwork(4, CLASSES, **changes)
