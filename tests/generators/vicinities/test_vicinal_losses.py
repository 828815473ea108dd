"""The vicinal losses as the discriminator's step computes them, against loops over the images of a batch."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from data.labels import Axis, LabelSpace
from generators.losses import hinge_discriminator_loss, non_saturating_discriminator_loss
from generators.vicinities import Form, make_vicinity
from generators.vicinities.forms import FORMS

SPACES = {
    "scalar": LabelSpace("scalar", minimum=-4, maximum=4),
    "class+scalar": LabelSpace("class+scalar", names=("a", "b"), minimum=-4, maximum=4),
    "vector": LabelSpace("vector", axes=(Axis("x", minimum=-4, maximum=4), Axis("y", minimum=-4, maximum=4))),
}


def hinge(score: float, real: bool) -> float:
    return max(0.0, 1.0 - score if real else 1.0 + score)


def non_saturating(score: float, real: bool) -> float:
    probability = 1 / (1 + math.exp(-score))
    return -math.log(probability if real else 1 - probability)


@pytest.mark.parametrize(
    ("loss", "term"),
    [(hinge_discriminator_loss, hinge), (non_saturating_discriminator_loss, non_saturating)],
)
@pytest.mark.parametrize("images", [None, 5])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", SPACES)
def test_the_loss_of_a_batch_equals_the_explicit_sum(
    kind: str, form: Form, images: int | None, loss: Callable[..., torch.Tensor], term: Callable[[float, bool], float]
) -> None:
    rng = np.random.default_rng(0)
    labels = rng.uniform(-4, 4, (40, 1 if kind == "scalar" else 2))
    if kind == "class+scalar":
        labels[:, 0] = rng.integers(2, size=40)
    conditions = SPACES[kind].conditions(labels[:, 0] if kind == "scalar" else labels)
    drawn = make_vicinity(conditions, SPACES[kind], form=form, images=images).draw(24, rng)
    scores = rng.normal(0, 2, (2, 24)).astype(np.float32)

    total = 0.0
    for i in range(24):
        for real, label in ((True, conditions[drawn.rows[i]]), (False, drawn.fake_labels[i])):
            weight = 1.0
            if form != "hard":
                values, targets = np.atleast_1d(label).tolist(), np.atleast_1d(drawn.targets[i]).tolist()
                kappas = np.atleast_1d(drawn.kappas[i]).tolist()
                if kind == "class+scalar":
                    values, targets = values[1:], targets[1:]
                for value, target, kappa in zip(values, targets, kappas, strict=True):
                    weight *= math.exp(-((value - target) ** 2) / kappa**2)
            # Weights are not divided by their sum.
            total += weight * term(float(scores[0 if real else 1, i]), real) / 24

    put = [
        None if weights is None else torch.from_numpy(weights) for weights in (drawn.real_weights, drawn.fake_weights)
    ]
    assert loss(*torch.from_numpy(scores), *put).item() == pytest.approx(total, rel=1e-4)
