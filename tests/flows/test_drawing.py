"""Drawing by rejection: independent of rounds and shards, and distributed as the ratio says."""

import numpy as np
import pytest
from scipy import stats

import flows.drawing
from data.errors import StageError
from data.random import uniform_from_seeds
from flows.drawing import _ranges, draw_labels


def sample(labels, seeds):
    """An "image" of one pixel, uniform on 0..255 whatever the label."""
    return (uniform_from_seeds(seeds, 1) * 256).astype(np.uint8)[:, :, None, None]


def ratio(images, labels):
    """Density ratio 2x / 255 for even labels, 3 (x / 255)^2 for odd ones."""
    x = images[:, 0, 0, 0] / 255.0
    return np.where(labels % 2 == 0, 2 * x, 3 * x**2).astype(np.float32)


def draw(labels, numbers=None, rate=ratio, **changes):
    labels = np.asarray(labels)
    options = {
        "per_label": 50,
        "burn_in": 200,
        "bound_quantile": 1.0,
        "least_acceptance": 0.0,
        "max_draws": 50,
        "seed": 3,
    }
    numbers = np.arange(len(labels)) if numbers is None else np.asarray(numbers)
    return draw_labels(labels, numbers, sample, rate, **{**options, **changes}, describe=lambda label: f"label {label}")


def test_ranges_matches_a_loop():
    starts, lengths = np.array([5, 0, 7]), np.array([2, 0, 3])
    assert _ranges(starts, lengths).tolist() == [5, 6, 7, 8, 9]


def test_every_label_gets_its_images_in_order():
    draws = draw([4, 7, 9])
    assert np.bincount(draws.labels[draws.accepted]).tolist() == [0] * 4 + [50] + [0] * 2 + [50] + [0] + [50]
    assert (np.diff(draws.labels) >= 0).all()
    assert len(draws.images) == 150
    assert np.array_equal(draws.images, sample(draws.labels[draws.accepted], draws.seeds[draws.accepted]))
    assert np.array_equal(draws.example_images, sample(draws.labels[draws.examples], draws.seeds[draws.examples]))
    raw = ratio(sample(draws.labels, draws.seeds), draws.labels)
    scale = draws.calibration.scale[np.searchsorted([4, 7, 9], draws.labels)]
    assert np.allclose(draws.ratios, raw * scale)
    assert 0.9 < draws.ratios[draws.labels == 7][:200].mean() < 1.1
    # Of every label, the first 12 draws and the first 8 that were rejected.
    expected = []
    for label in (4, 7, 9):
        mine = np.flatnonzero(draws.labels == label)
        rejected = mine[~draws.accepted[mine]][:8]
        assert len(rejected) == 8
        expected += sorted({*mine[:12], *rejected})
    assert draws.examples.tolist() == expected
    # Every label ends with its last accepted draw.
    ends = np.flatnonzero(np.r_[np.diff(draws.labels) > 0, True])
    assert draws.accepted[ends].all()


def test_result_does_not_depend_on_rounds_or_on_who_shares_the_shard(monkeypatch):
    together = draw([4, 7, 9])
    monkeypatch.setattr(flows.drawing, "_MOST_DRAWS_A_ROUND", 7)
    small_rounds = draw([4, 7, 9])
    alone = draw([7], numbers=[1])
    for name in ("labels", "seeds", "ratios", "accepted", "images", "examples", "example_images"):
        assert np.array_equal(getattr(together, name), getattr(small_rounds, name))
    mine = together.labels == 7
    assert np.array_equal(alone.seeds, together.seeds[mine])
    assert np.array_equal(alone.accepted, together.accepted[mine])


def vector_ratio(images, labels):
    """The ratio of the even or the odd label, by the second number of each."""
    return ratio(images, labels[:, 1])


def test_labels_of_several_numbers_are_drawn_as_labels_of_one():
    """The label's number in the run makes the seeds, so that only the column of labels differs."""
    scalars = draw([4, 7, 9])
    labels = np.array([[0.5, 4], [0.25, 7], [-1, 9]], np.float32)
    vectors = draw(labels, rate=vector_ratio)
    for name in ("seeds", "ratios", "accepted", "images", "examples", "example_images"):
        assert np.array_equal(getattr(scalars, name), getattr(vectors, name))
    assert vectors.labels.dtype == np.float32
    assert np.array_equal(vectors.labels[:, 1], scalars.labels)
    for first, second in labels.tolist():
        assert (vectors.labels[scalars.labels == second, 0] == first).all()
    alone = draw(labels[1:2], numbers=[1], rate=vector_ratio)
    assert np.array_equal(alone.labels, vectors.labels[scalars.labels == 7])
    assert np.array_equal(alone.images, vectors.images[50:100])


def test_accepted_images_follow_the_target():
    draws = draw([0, 1], per_label=3000)
    values = draws.images[:, 0, 0, 0] / 255.0
    even = draws.labels[draws.accepted] == 0
    assert stats.kstest(values[even], lambda x: x**2).statistic < 0.03
    assert stats.kstest(values[~even], lambda x: x**3).statistic < 0.03
    assert stats.kstest(values[~even], lambda x: x**2).statistic > 0.1


def test_without_a_ratio_every_draw_is_accepted():
    draws = draw([4, 7], rate=None)
    assert draws.accepted.all()
    assert len(draws.images) == 100
    assert draws.calibration is None


def test_zero_ratio_is_not_subsampled():
    draws = draw([4], rate=lambda images, labels: np.zeros(len(images), np.float32))
    assert draws.accepted.all()
    assert not draws.calibration.usable[0]


def rare(images, labels):
    """One draw in a thousand carries all the weight."""
    return (uniform_from_seeds(images[:, 0, 0, 0].astype(np.uint64), 1)[:, 0] < 0.004).astype(np.float32) * 1e6


def test_hopeless_label_is_named():
    with pytest.raises(StageError, match=r"candidates: label 4 has \d+ of 500 images accepted after .* draws"):
        draw([4], rate=rare, per_label=500, max_draws=3)
    with pytest.raises(StageError, match=r"candidates: label \[2\. 5\.\] has \d+ of 500 images accepted"):
        draw(np.array([[2.0, 5.0]]), rate=rare, per_label=500, max_draws=3)
