"""Groups of labels that hold about as many rows each."""

from __future__ import annotations

import numpy as np

from data.labels import Axis, LabelSpace
from filters.label_groups import label_groups

VECTOR = LabelSpace("vector", axes=(Axis("across", maximum=10.0), Axis("up", minimum=-1.0)))
BOTH = LabelSpace("class+scalar", ("a", "b", "c"), maximum=10.0)


def test_classes_are_their_own_groups() -> None:
    labels = np.array([2, 0, 2, 1])
    groups, count = label_groups(labels, LabelSpace("class", ("a", "b", "c", "d")))
    assert groups.tolist() == labels.tolist()
    assert count == 4


def test_scalars_fall_into_bins_of_equal_counts_in_their_order() -> None:
    labels = np.random.default_rng(0).lognormal(size=1000).astype(np.float32)
    groups, count = label_groups(labels, LabelSpace("scalar", maximum=100.0), bins=8)
    assert count == 8
    assert np.bincount(groups, minlength=8).tolist() == [125] * 8
    assert (np.diff(groups[np.argsort(labels)]) >= 0).all()


def test_equal_values_share_a_bin() -> None:
    labels = np.repeat(np.float32([1, 2, 3]), [90, 5, 5])
    groups, _ = label_groups(labels, LabelSpace("scalar", maximum=3.0))
    assert all(len(set(groups[labels == value])) == 1 for value in (1, 2, 3))
    assert label_groups(labels[:1], LabelSpace("scalar", maximum=3.0))[0].shape == (1,)


def test_vectors_fall_into_cells_and_a_class_with_a_value_into_its_bins() -> None:
    values = np.random.default_rng(1).uniform(size=(400, 2)).astype(np.float32)
    groups, count = label_groups(values, VECTOR)
    assert count == 9
    thirds = [np.searchsorted(np.quantile(column.astype(float), [1 / 3, 2 / 3]), column, side="right")
              for column in values.T]  # fmt: skip
    assert groups.tolist() == (3 * thirds[0] + thirds[1]).tolist()
    labels = BOTH.join(np.arange(400) % 3, values[:, :1])
    groups, count = label_groups(labels, BOTH)
    assert count == 30
    assert (groups // 10 == np.arange(400) % 3).all()
    assert set(groups) == set(range(30))
