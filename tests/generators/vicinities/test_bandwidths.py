"""Rules of thumb against explicit formulas and published numbers."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from data.labels import Axis, LabelSpace
from generators.vicinities import make_vicinity
from generators.vicinities.bandwidths import rule_of_thumb_kappa, rule_of_thumb_sigma

SCALAR = LabelSpace("scalar")
PAIR = LabelSpace("vector", axes=(Axis("a"), Axis("b")))


def deviation(values: list[float]) -> float:
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))


def largest_gap(values: list[float]) -> float:
    return max(b - a for a, b in pairwise(sorted(set(values))))


def test_rules_for_scalars_equal_the_explicit_formulas() -> None:
    labels = np.round(np.random.default_rng(0).random((60, 1)), 2)
    values = labels[:, 0].tolist()
    assert rule_of_thumb_sigma(labels)[0] == pytest.approx(1.06 * deviation(values) * 60 ** (-1 / 5))
    assert rule_of_thumb_kappa(labels, 3.0)[0] == pytest.approx(3.0 * largest_gap(values))


def test_rc49_has_the_published_bandwidths() -> None:
    # 450 odd tenths of a degree, 25 images each: sigma .0474 and kappa .00444 in the CcGAN code's logs.
    described = make_vicinity(np.repeat(np.arange(1, 900, 2) / 10 / 90, 25), SCALAR).describe()
    assert described["sigma_label"] == pytest.approx(0.0474, abs=1e-4)
    assert described["kappa"] == pytest.approx(0.00444, abs=1e-5)


def test_kappa_spans_unseen_labels_of_a_negative_range() -> None:
    space = LabelSpace("scalar", name="steering angle", unit="degree", minimum=-80.0, maximum=80.0)
    labels = space.conditions(np.array([-80.0, -79.0, -40.0, 0.0, 0.0, 80.0]))
    vicinity = make_vicinity(labels, space, multiplier=1.0)
    assert vicinity.describe()["kappa"] == pytest.approx(80 / 160)
    assert set(vicinity.draw(500, np.random.default_rng(1)).rows.tolist()) == set(range(6))


def test_sigma_of_vectors_is_silvermans_rule_in_each_dimension() -> None:
    rng = np.random.default_rng(1)
    labels = rng.random((70, 3)) * [1.0, 0.2, 3.0]
    factor = (4 / 5) ** (1 / 7) * 70 ** (-1 / 7)
    expected = [factor * deviation(column.tolist()) for column in labels.T]
    np.testing.assert_allclose(rule_of_thumb_sigma(labels), expected)


def test_kappa_of_a_full_grid_is_the_gap_of_each_dimension() -> None:
    first, second = np.meshgrid([0.0, 0.1, 0.3, 0.5, 1.0], np.linspace(0, 1, 21))
    labels = np.column_stack([first.ravel(), second.ravel()])
    np.testing.assert_allclose(rule_of_thumb_kappa(labels, 2.0), [2 * 0.5, 2 * 0.05])


def test_kappa_of_scattered_vectors_reaches_a_neighbour_of_every_label() -> None:
    labels = np.random.default_rng(2).random((80, 2))
    scales = [deviation(column.tolist()) for column in labels.T]
    farthest = max(
        min(
            max(abs(a - b) / scale for a, b, scale in zip(one, other, scales, strict=True))
            for j, other in enumerate(labels)
            if j != i
        )
        for i, one in enumerate(labels)
    )
    kappa = rule_of_thumb_kappa(labels, 1.5)
    np.testing.assert_allclose(kappa, [1.5 * farthest * scale for scale in scales])
    # The largest gaps alone would leave most labels alone in their vicinity.
    assert all(kappa[i] > 2 * 1.5 * largest_gap(labels[:, i].tolist()) for i in range(2))


def test_every_class_has_its_own_bandwidths_and_a_lone_label_those_of_all() -> None:
    space = LabelSpace("class+scalar", names=("many", "few", "one", "none"))
    many, few = np.linspace(0, 1, 41), np.array([0.0, 0.0, 0.2, 1.0])
    labels = np.concatenate(
        [np.column_stack([np.full(len(v), i), v]) for i, v in enumerate([many, few, np.full(5, 0.35)])]
    )
    described = make_vicinity(labels, space, multiplier=2.0).describe()
    everything = labels[:, 1].tolist()
    np.testing.assert_allclose(
        described["kappa"], [2 * 0.025, 2 * 0.8, 2 * largest_gap(everything), 2 * largest_gap(everything)]
    )
    of_all = 1.06 * deviation(everything) * 50**-0.2
    np.testing.assert_allclose(
        described["sigma_label"],
        [1.06 * deviation(many.tolist()) * 41**-0.2, 1.06 * deviation(few.tolist()) * 4**-0.2, of_all, of_all],
    )


def test_given_bandwidths_are_kept_one_for_all_or_one_each() -> None:
    labels = np.random.default_rng(3).random((30, 2)).astype(np.float32)
    one = make_vicinity(labels, PAIR, sigma=0.1, kappa=0.2).describe()
    assert one == {"sigma_label": [0.1, 0.1], "kappa": [0.2, 0.2]}
    each = make_vicinity(labels, PAIR, sigma=[0.1, 0.0], kappa=[0.2, 0.3]).describe()
    assert each == {"sigma_label": [0.1, 0.0], "kappa": [0.2, 0.3]}


def test_an_adaptive_vicinity_says_how_wide_it_usually_is() -> None:
    labels = (np.arange(1001) / 1000).astype(np.float32)
    described = make_vicinity(labels, SCALAR, form="hybrid", images=11).describe()
    assert set(described) == {"sigma_label", "vicinity_images", "median_kappa"}
    assert described["vicinity_images"] == 11
    # Five labels on each side and the label itself.
    assert described["median_kappa"] == pytest.approx(0.005, abs=1e-5)
