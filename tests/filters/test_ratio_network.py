"""The ratio's network: label vectors, range, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from data.errors import ConfigError
from data.labels import Axis, LabelSpace
from filters.ratio_network import ContinuousVector, RatioNetwork, make_label_vector

CLASSES = LabelSpace("class", ("a", "b", "c"))
SCALAR = LabelSpace("scalar", maximum=90.0)
VECTOR = LabelSpace("vector", axes=(Axis("yaw"), Axis("tilt")))
BOTH = LabelSpace("class+scalar", ("a", "b", "c"))


def sinusoids(label: float) -> list[float]:
    waves = [1.0, 2.0, 4.0, 8.0]
    return [label, *(np.sin(np.pi * w * label) for w in waves), *(np.cos(np.pi * w * label) for w in waves)]


def test_scalar_vectors_are_the_sinusoids_of_the_label() -> None:
    labels = torch.tensor([0.0, 0.25, 1.0])
    vectors = ContinuousVector()(labels)
    for row, label in enumerate(labels.tolist()):
        np.testing.assert_allclose(vectors[row].numpy(), sinusoids(label), atol=1e-5)


def test_vectors_have_the_sinusoids_of_each_axis() -> None:
    labels = torch.tensor([[0.0, 0.25], [1.0, 0.7], [0.3, 0.3]])
    found = make_label_vector(VECTOR)
    assert found.size == 18
    for row, label in enumerate(labels.tolist()):
        expected = sinusoids(label[0]) + sinusoids(label[1])
        np.testing.assert_allclose(found(labels)[row].numpy(), expected, atol=1e-5)


def test_a_class_with_a_scalar_has_a_row_of_the_table_and_sinusoids() -> None:
    found = make_label_vector(BOTH)
    assert found.size == 3 + 9
    vectors = found(torch.tensor([[2.0, 0.25], [0.0, 0.9]]))
    for row, (label, value) in enumerate([(2, 0.25), (0, 0.9)]):
        expected = [*found.class_vector.table.weight[label].tolist(), *sinusoids(value)]
        np.testing.assert_allclose(vectors[row].detach().numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("activation", ["relu", "softplus"])
@pytest.mark.parametrize("space", [CLASSES, SCALAR, VECTOR, BOTH], ids=lambda space: space.kind)
def test_ratios_are_never_negative_and_depend_on_the_label(space: LabelSpace, activation: Any) -> None:
    torch.manual_seed(0)
    network = RatioNetwork(5, space, (32, 32), 0.5, activation).eval()
    features = 10 * torch.randn(200, 5)
    first = torch.zeros(200, *space.label_shape, dtype=torch.int64 if space is CLASSES else torch.float32)
    one = network(features, first)
    assert one.shape == (200,)
    assert (one >= 0).all()
    steps = torch.eye(2) if space.label_shape else torch.ones(1, dtype=first.dtype)
    for step in steps:
        assert not torch.allclose(one, network(features, first + step))
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
