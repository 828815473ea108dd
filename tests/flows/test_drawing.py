"""Drawing by rejection: independent of rounds and shards, and distributed as the ratio says."""

import numpy as np
import pytest
from scipy import stats

import flows.drawing
from data.errors import StageError
from data.random import normal_from_seeds, uniform_from_seeds
from flows.drawing import Rules, _next_round, _ranges, burn_in_calibration, draw_labels


def sample(labels, seeds):
    """An "image" of one pixel, uniform on 0..255 whatever the label."""
    return (uniform_from_seeds(seeds, 1) * 256).astype(np.uint8)[:, :, None, None]


def ratio(images, labels):
    """Density ratio 2x / 255 for even labels, 3 (x / 255)^2 for odd ones."""
    x = images[:, 0, 0, 0] / 255.0
    return np.where(labels % 2 == 0, 2 * x, 3 * x**2).astype(np.float32)


def draw(labels, numbers=None, rate=ratio, make=sample, per_label=50, chunk=0, calibration=None, **changes):
    labels = np.asarray(labels)
    numbers = np.arange(len(labels)) if numbers is None else np.asarray(numbers)
    return draw_labels(
        labels,
        numbers,
        make,
        rate,
        Rules(**{"burn_in": 200, "bound_quantile": 1.0, **changes}),
        per_label=per_label,
        seed=3,
        describe=lambda label: f"label {label}",
        chunk=chunk,
        calibration=calibration,
    )


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


def test_rounds_fill_blocks_and_never_exceed_what_labels_may_draw():
    rng = np.random.default_rng(4)
    for _ in range(200):
        count = rng.integers(1, 30)
        drawn = rng.integers(0, 500, count)
        found = np.minimum(rng.integers(0, 120, count), drawn)
        wanted = _next_round(found, drawn, 100, 520, None)
        assert (wanted[found >= 100] == 0).all()
        assert (wanted[found < 100] > 0).all()
        assert (drawn + wanted <= 520).all()
        if (found < 100).any():
            assert _next_round(found, drawn, 100, 5000, None).sum() % 256 == 0


RULES = {
    "quantile": {"burn_in": 30},
    "running maximum": {"bound": "running_maximum", "burn_in": 10},
    "resample": {"max_draws": 2, "burn_in": 10},
    "none": {"max_draws": 2, "burn_in": 10, "fallback": "none"},
}


@pytest.mark.parametrize("rules", RULES)
def test_result_does_not_depend_on_rounds_or_on_who_shares_the_shard(monkeypatch, rules):
    together = draw([4, 7, 9], **RULES[rules])
    monkeypatch.setattr(flows.drawing, "_MOST_DRAWS_A_ROUND", 7)
    monkeypatch.setattr(flows.drawing, "_BLOCK_ROWS", 1)
    small_rounds = draw([4, 7, 9], **RULES[rules])
    alone = draw([7], numbers=[1], **RULES[rules])
    for name in ("labels", "seeds", "ratios", "accepted", "images", "examples", "example_images", "bounds", "outcomes"):
        assert np.array_equal(getattr(together, name), getattr(small_rounds, name))
    assert alone.outcomes == together.outcomes[1:2]
    assert alone.bounds == together.bounds[1]
    assert (small_rounds.rounds > together.rounds).all()
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
    assert draws.outcomes == ["not subsampled"] * 2


def test_running_maximum_equals_a_loop():
    draws = draw([4, 7], bound="running_maximum", burn_in=20, per_label=400)
    for group, label in enumerate((4, 7)):
        mine = np.flatnonzero(draws.groups == group)
        weights = ratio(sample(draws.labels[mine], draws.seeds[mine]), draws.labels[mine]).astype(np.float64)
        scale = 1 / weights[:20].mean()
        bound, accepted = scale * weights[:20].max(), 0
        uniforms = uniform_from_seeds(draws.seeds[mine], 1, stream=1)[:, 0]
        first_bound = bound
        for row, weight, uniform in zip(mine, weights * scale, uniforms, strict=True):
            bound = max(bound, weight)
            assert draws.accepted[row] == (uniform <= weight / bound)
            accepted += draws.accepted[row]
        assert accepted == 400
        assert draws.labels[mine[0]] == label
        assert draws.bounds[group] == pytest.approx(bound)
        assert bound > first_bound


def test_chunks_of_a_label_share_its_calibration_and_no_draw():
    whole = draw([7], numbers=[5])
    label, rules = np.array([7]), Rules(burn_in=200, bound_quantile=1.0)
    calibration = burn_in_calibration(label, 5, sample, ratio, rules, seed=3)
    for name in ("scale", "bound", "usable", "effective_share", "acceptance"):
        assert np.array_equal(getattr(calibration, name), getattr(whole.calibration, name))
    chunks = [draw([7], numbers=[5], chunk=chunk, calibration=calibration) for chunk in (1, 2)]
    assert np.unique(np.concatenate([one.seeds for one in (whole, *chunks)])).size == sum(
        len(one.seeds) for one in (whole, *chunks)
    )
    for one in chunks:
        assert len(one.images) == 50
        assert not len(one.examples)
        assert one.example_images.shape == (0, 1, 1, 1)
        weights = ratio(sample(one.labels, one.seeds), one.labels)
        np.testing.assert_allclose(one.ratios, weights * calibration.scale)
        chances = weights * calibration.scale / calibration.bound
        assert np.array_equal(one.accepted, uniform_from_seeds(one.seeds, 1, stream=1)[:, 0] <= chances)
    with pytest.raises(ValueError, match="calibration must be that of the burn-in for chunk 1, got none"):
        draw([7], chunk=1)


def test_a_running_maximum_starts_every_chunk_from_the_burn_in():
    label, rules = np.array([7]), Rules(burn_in=20, bound="running_maximum")
    calibration = burn_in_calibration(label, 0, sample, ratio, rules, seed=3)
    one = draw([7], chunk=3, calibration=calibration, burn_in=20, bound="running_maximum")
    bounds = np.maximum(np.maximum.accumulate(one.ratios.astype(np.float64)), calibration.bound)
    uniforms = uniform_from_seeds(one.seeds, 1, stream=1)[:, 0]
    assert np.array_equal(one.accepted, uniforms <= one.ratios / bounds)
    assert bounds[-1] == pytest.approx(one.bounds[0])


def zero(images, labels):
    return np.zeros(len(images), np.float32)


@pytest.mark.parametrize("fallback", ["resample", "none"])
def test_zero_ratio_is_not_subsampled(fallback):
    draws = draw([4], rate=zero, fallback=fallback)
    assert draws.accepted.all()
    assert len(draws.images) == 50
    assert not draws.calibration.usable[0]
    assert draws.outcomes == ["not subsampled"]


def test_zero_ratio_is_an_error_where_asked_for():
    with pytest.raises(StageError, match="the density ratio of label 4 is zero in its whole burn-in"):
        draw([7, 4], rate=lambda images, labels: ratio(images, labels) * (labels == 7), fallback="error")


def rare(images, labels):
    """One pixel value in 64 carries all the weight of odd labels."""
    return np.where(labels % 2 == 0, 1.0, images[:, 0, 0, 0] % 64 == 0).astype(np.float32) * 1e6


def test_labels_that_spend_their_draws_are_named_or_filled_up():
    with pytest.raises(StageError, match=r"candidates: label 5 has \d+ of 500 images accepted after 1500 draws"):
        draw([4, 5], rate=rare, per_label=500, max_draws=3, fallback="error")
    resampled = draw([4, 5], rate=rare, per_label=500, max_draws=3)
    raw = draw([4, 5], rate=rare, per_label=500, max_draws=3, fallback="none")
    assert resampled.outcomes == ["rejection", "resampled"]
    assert raw.outcomes == ["rejection", "not subsampled"]
    for draws in (resampled, raw):
        assert np.bincount(draws.groups).tolist() == [500, 1500]
        assert np.bincount(draws.groups[draws.accepted]).tolist() == [500, 500]
        assert np.array_equal(draws.images, sample(draws.labels[draws.accepted], draws.seeds[draws.accepted]))
        assert np.array_equal(draws.example_images, sample(draws.labels[draws.examples], draws.seeds[draws.examples]))
        assert np.array_equal(draws.seeds, resampled.seeds)
    assert np.flatnonzero(raw.accepted[500:]).tolist() == list(range(500))
    # Every draw with a weight is taken first.
    assert resampled.accepted[resampled.ratios > 0].all()
    assert (resampled.ratios[500:] > 0).sum() < 500


def gaussian(labels, seeds):
    """An image of the four bytes of a float32 from N(0, 1), whatever the label."""
    values = np.ascontiguousarray(normal_from_seeds(seeds, 1))
    return values.view(np.uint8).reshape(-1, 4, 1, 1)


def decoded(images):
    return np.ascontiguousarray(images).reshape(-1, 4).view(np.float32)[:, 0].astype(np.float64)


def gaussian_ratio(means):
    """N(m, 1) to N(0, 1) up to a factor, with a mean for each label."""

    def rate(images, labels):
        mean = np.asarray(means)[labels]
        return (3.0 * np.exp(mean * decoded(images) - mean**2 / 2)).astype(np.float32)

    return rate


def target_cdf(mean, bound):
    """Distribution function of min(w, M) p_g, by the trapezium rule, and its total E[min(w, M)]."""
    grid = np.linspace(-8, 8, 20_001)
    density = np.minimum(np.exp(mean * grid - mean**2 / 2), bound) * stats.norm.pdf(grid)
    total = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(grid))])
    return lambda values: np.interp(values, grid, total / total[-1]), total[-1]


def bound_of(draws, group):
    """M in units of the true ratio, of which the calibrated one is a multiple."""
    return draws.calibration.bound[group] / draws.calibration.scale[group] / 3.0


GAUSSIAN_RULES = {
    "exact": ((0.5, -0.8), {"bound_quantile": 1.0}),
    "clipped": ((0.5, -0.8), {"bound_quantile": 0.7}),
    "running maximum": ((0.5, -0.8), {"bound": "running_maximum"}),
    "resampled": ((1.2, -1.2), {"bound_quantile": 1.0, "max_draws": 20}),
    "resampled, running maximum": ((1.2, -1.2), {"bound": "running_maximum", "max_draws": 20}),
}


@pytest.mark.parametrize("rules", GAUSSIAN_RULES)
def test_accepted_gaussians_follow_the_target_of_their_label(rules):
    means, options = GAUSSIAN_RULES[rules]
    draws = draw([0, 1], rate=gaussian_ratio(means), make=gaussian, per_label=3000, burn_in=4000, **options)
    assert set(draws.outcomes) == {"resampled" if rules.startswith("resampled") else "rejection"}
    everything = decoded(gaussian(draws.labels, draws.seeds))
    assert np.array_equal(decoded(draws.images), everything[draws.accepted])
    for group, mean in enumerate(means):
        mine = draws.groups == group
        assert (mine & draws.accepted).sum() == 3000
        target = target_cdf(mean, bound_of(draws, group))[0] if "bound_quantile" in options else stats.norm(mean, 1).cdf
        assert stats.kstest(everything[mine & draws.accepted], target).pvalue > 0.01
        assert stats.kstest(everything[mine][:3000], target).pvalue < 1e-9
        if rules == "clipped":
            assert stats.kstest(everything[mine & draws.accepted], stats.norm(mean, 1).cdf).pvalue < 1e-6


@pytest.mark.parametrize("quantile", [0.7, 0.95, 1.0])
def test_acceptance_is_binomial_with_the_mean_of_the_clipped_ratio(quantile):
    means = (0.5, -0.8)
    draws = draw(
        [0, 1], rate=gaussian_ratio(means), make=gaussian, per_label=8000, bound_quantile=quantile, burn_in=1000
    )
    for group, mean in enumerate(means):
        # The burn-in chose the bound, and the last draw is accepted by definition.
        after = draws.accepted[draws.groups == group][1000:8000]
        bound = bound_of(draws, group)
        share = target_cdf(mean, bound)[1] / bound
        assert stats.binomtest(int(after.sum()), len(after), share).pvalue > 0.01
        assert stats.binomtest(int(after.sum()), len(after), 1.25 * share).pvalue < 1e-3
