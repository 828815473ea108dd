"""Mixes: pairs, shares and boxes as their distributions say, files that hold them, and the choice by entropy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from data.errors import ConfigError, DataError
from data.labels import LabelSpace
from data.reading import ImageSet, open_set
from data.recipes.mixes import (
    Mixes,
    mixes_of_rows,
    pick_mixes,
    read_mixes,
    sample_mixes,
    sample_shares,
    write_mixes,
)
from data.writing import write_set

CLASSES = LabelSpace("class", names=("cat", "dog", "bird"))


def pairs(mixes: Mixes) -> list[tuple[int, int]]:
    return [(min(pair), max(pair)) for pair in zip(mixes.first.tolist(), mixes.second.tolist(), strict=True)]


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_pairs_are_distinct_while_there_are_enough(kind: Any) -> None:
    every = list(combinations(range(9), 2))
    assert sorted(pairs(sample_mixes(9, kind, 1.0, 36, 8, 0))) == every
    # Then each comes as often as any other, give or take one.
    counts = Counter(pairs(sample_mixes(9, kind, 1.0, 100, 8, 0)))
    assert set(counts) == set(every)
    assert Counter(counts.values()) == {2: 8, 3: 28}
    many = sample_mixes(50_000, kind, 1.0, 200_000, 8, 0)
    assert len(set(pairs(many))) == 200_000
    assert (many.first != many.second).all()
    assert (many.first.dtype, many.second.dtype, many.coefficient.dtype) == (np.int64, np.int64, np.float32)


def test_every_ordered_pair_is_as_likely_as_any_other() -> None:
    seen = Counter()
    for seed in range(400):
        mixes = sample_mixes(5, "mixup", 1.0, 4, 8, seed)
        seen.update(zip(mixes.first.tolist(), mixes.second.tolist(), strict=True))
    observed = [seen[a, b] for a in range(5) for b in range(5) if a != b]
    assert sum(observed) == 1600
    assert stats.chisquare(observed).pvalue > 1e-3


def test_rows_may_be_named_and_the_seed_decides() -> None:
    rows = np.array([3, 8, 20, 41])
    named, numbered = (sample_mixes(which, "cutmix", 1.0, 6, (8, 4), 5) for which in (rows, 4))
    np.testing.assert_array_equal(named.first, rows[numbered.first])
    np.testing.assert_array_equal(named.second, rows[numbered.second])
    np.testing.assert_array_equal(named.box, numbered.box)
    assert not np.array_equal(named.box, sample_mixes(4, "cutmix", 1.0, 6, (8, 4), 6).box)


@pytest.mark.parametrize("alpha", [0.05, 0.2, 1.0, 4.0])
def test_shares_follow_the_beta_distribution(alpha: float) -> None:
    shares = sample_shares(alpha, 40_000, np.random.default_rng(0))
    # The distribution is symmetric; near 0 float64 tells shares apart that near 1 are all 1.
    lower = shares[shares < 0.5]
    assert stats.kstest(lower, lambda share: 2 * stats.beta(alpha, alpha).cdf(share)).pvalue > 1e-3
    assert stats.binomtest(len(lower), 40_000).pvalue > 1e-3
    if alpha >= 0.2:
        assert stats.kstest(shares, stats.beta(alpha, alpha).cdf).pvalue > 1e-3
    mixes = sample_mixes(1000, "mixup", alpha, 40_000, 8, 1)
    # Rounded to 16 bits; between the ends, where the distribution function is steep for a small alpha.
    for bound in (0.01, 0.1, 0.3, 0.5, 0.9):
        expected = stats.beta(alpha, alpha).cdf(bound)
        error = 4.5 * np.sqrt(expected * (1 - expected) / 40_000)
        assert abs(np.mean(mixes.coefficient <= bound) - expected) < error
    steps = mixes.coefficient.astype(np.float64) * 65536
    np.testing.assert_array_equal(steps, np.rint(steps))


@pytest.mark.parametrize("alpha", [1e-6, 1e-300, 5e-324, 1e6, 1e300])
def test_extreme_alphas_give_shares_all_the_same(alpha: float) -> None:
    shares = sample_shares(alpha, 2000, np.random.default_rng(0))
    assert ((shares >= 0) & (shares <= 1)).all()
    if alpha < 1:
        # Beta(a, a) tends to a fair coin.
        assert set(np.round(shares, 3)) == {0.0, 1.0}
        assert abs(shares.mean() - 0.5) < 0.06
    else:
        np.testing.assert_allclose(shares, 0.5, atol=5e-3)


def box_of(share: float, centre: tuple[int, int], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """One box, pixel by pixel from its definition."""
    inside = []
    for length, middle in zip(size, centre, strict=True):
        half = int(np.sqrt(1.0 - share) * length) // 2
        inside.append([pixel for pixel in range(length) if middle - half <= pixel < middle + half])
    return (
        inside[0][0] if inside[0] else centre[0], inside[1][0] if inside[1] else centre[1],
        len(inside[0]), len(inside[1]),
    )  # fmt: skip


@pytest.mark.parametrize("size", [(8, 8), (9, 5)])
def test_boxes_are_as_large_as_their_definition_says_and_their_centres_uniform(size: tuple[int, int]) -> None:
    mixes = sample_mixes(3000, "cutmix", 1.0, 60_000, size, 2)
    height, width = size
    # All shares between two steps give boxes of one size: sum over a fine grid of shares and all centres.
    expected: Counter[tuple[int, ...]] = Counter()
    grid = (np.arange(2000) + 0.5) / 2000
    for share, often in Counter(
        tuple(int(np.sqrt(1.0 - share) * length) // 2 for length in size) for share in grid
    ).items():
        sample = next(s for s in grid if tuple(int(np.sqrt(1.0 - s) * length) // 2 for length in size) == share)
        for row in range(height):
            for column in range(width):
                expected[box_of(sample, (row, column), size)] += often
    total = sum(expected.values())
    seen = Counter(map(tuple, mixes.box.tolist()))
    assert set(seen) <= set(expected)
    names = [box for box in expected if expected[box] / total * len(mixes) >= 8]
    rest = [len(mixes) - sum(seen[box] for box in names), total - sum(expected[box] for box in names)]
    observed = np.array([*(seen[box] for box in names), rest[0]], np.float64)
    share_of = np.array([*(expected[box] for box in names), rest[1]], np.float64) / total
    keep = share_of > 0
    # The grid of shares is fine, not exact: a tenth of a percent.
    assert stats.chisquare(observed[keep], share_of[keep] * len(mixes)).pvalue > 1e-4
    area = sum(box[2] * box[3] * often for box, often in expected.items()) / total
    assert mixes.box[:, 2:].prod(axis=1).mean() == pytest.approx(area, rel=0.02)
    np.testing.assert_allclose(mixes.coefficient, 1 - mixes.box[:, 2:].prod(axis=1) / (height * width), atol=1e-7)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((5, "cutout", 1.0, 3), "kind of mixes must be 'mixup' or 'cutmix', got 'cutout'"),
        ((1, "mixup", 1.0, 3), "got 3 of 1"),
        ((5, "mixup", 1.0, 0), "got 0 of 5"),
        ((5, "mixup", 0.0, 3), "alpha of mixes must be a finite number above 0, got 0.0"),
        ((5, "mixup", float("nan"), 3), "got nan"),
    ],
)
def test_what_cannot_be_is_refused(arguments: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        sample_mixes(*arguments, 8, 0)


def test_the_most_uncertain_are_picked() -> None:
    pool = replace(
        sample_mixes(20, "cutmix", 1.0, 9, 8, 0), teacher_outputs=np.arange(27, dtype=np.float32).reshape(9, 3)
    )
    logits = np.random.default_rng(0).normal(size=(9, 4)) * 3
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    probabilities[2] = [1.0, 0.0, 0.0, 0.0]
    entropy = [-sum(p * np.log(p) for p in row if p > 0) for row in probabilities]
    kept = sorted(sorted(range(9), key=lambda row: -entropy[row])[:4])
    found = pick_mixes(pool, probabilities, 2)
    np.testing.assert_array_equal(found.first, pool.first[kept])
    np.testing.assert_array_equal(found.box, pool.box[kept])
    np.testing.assert_array_equal(found.teacher_outputs, np.arange(27).reshape(9, 3)[kept])
    assert len(pick_mixes(pool, probabilities, 1)) == 9
    assert stats.entropy(probabilities[kept], axis=1).min() >= np.sort(stats.entropy(probabilities, axis=1))[5]
    for wrong, message in (
        (probabilities[:8], r"must have shape \(9, classes\)"),
        (probabilities[:, :1], "at least 2 classes"),
        (logits, "at least 0 and add up to 1"),
    ):
        with pytest.raises(ConfigError, match=message):
            pick_mixes(pool, wrong)
    with pytest.raises(ConfigError, match=r"pick must lie in 1..9, the number of mixes drawn, got 10"):
        pick_mixes(pool, probabilities, 10)


@pytest.fixture
def images(tmp_path: Path, make_columns: Callable[..., Any]) -> ImageSet:
    columns = make_columns(CLASSES, 30, "images", "labels", "source_row")
    columns["split"] = (np.arange(30) % 3).astype(np.uint8)
    write_set(tmp_path / "real.h5", columns, kind="real", label_space=CLASSES, provenance={}, license="CC0-1.0")
    return open_set(tmp_path / "real.h5")


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
@pytest.mark.parametrize("outputs", [True, False])
def test_a_file_gives_back_the_mixes(images: ImageSet, tmp_path: Path, kind: Any, outputs: bool) -> None:
    rows = np.flatnonzero(np.asarray(images.columns["split"]) == 0)
    mixes = sample_mixes(rows, kind, 1.0, 40, (3, 4), 0)
    if outputs:
        mixes = replace(mixes, teacher_outputs=np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32))
    digest = write_mixes(tmp_path / "mixes.h5", images, mixes, facts={"alpha": 1.0, "seed": 0})
    found = read_mixes(tmp_path / "mixes.h5")
    assert (found.kind, found.of, found.content_sha256) == (kind, images.content_sha256, digest)
    for name in ("first", "second", "coefficient", "box", "teacher_outputs"):
        np.testing.assert_array_equal(getattr(found, name), getattr(mixes, name))
    assert open_set(tmp_path / "mixes.h5").provenance == {
        "of": images.content_sha256, "kind": kind, "alpha": 1.0, "seed": 0
    }  # fmt: skip
    places = mixes_of_rows(found, images, rows, "recipe")
    np.testing.assert_array_equal(rows[places.first], found.first)
    np.testing.assert_array_equal(rows[places.second], found.second)
    with pytest.raises(DataError, match="recipe must mix training rows alone"):
        mixes_of_rows(found, images, rows + 1, "recipe")
    with pytest.raises(DataError, match=r"recipe must be of the set .* got one of 0123"):
        mixes_of_rows(replace(found, of="0123"), images, rows, "recipe")


def test_mixes_that_do_not_fit_are_refused(images: ImageSet, tmp_path: Path) -> None:
    path = tmp_path / "mixes.h5"
    mixes = sample_mixes(30, "cutmix", 1.0, 10, (3, 4), 0)
    for changes, message in (
        ({"first": mixes.first + 30}, r"must be of rows 0..29, got row"),
        ({"box": mixes.box + np.array([0, 0, 0, 5])}, r"box of mix 0 must lie in images of 3x4 pixels, got \["),
        ({"box": mixes.box + np.array([0, 2**62, 0, 2**62])}, "box of mix 0 must lie in images"),
        ({"box": mixes.box * 0, "coefficient": mixes.coefficient * 0 + 0.5}, "coefficient of mix 0 must be the share"),
    ):
        with pytest.raises(DataError, match=message):
            write_mixes(path, images, replace(mixes, **changes))
    with pytest.raises(DataError, match="must hold mixes, got a set of kind 'real'"):
        read_mixes(images.path)
    write_mixes(path, images, replace(mixes, second=mixes.first))
    with pytest.raises(DataError, match="every mix must be of two different rows"):
        read_mixes(path)
    with pytest.raises(DataError, match=r"coefficient rows 0..9: values must be at most 1"):
        write_mixes(path, images, replace(sample_mixes(30, "mixup", 1.0, 10, 4, 0), coefficient=np.full(10, 2, "<f4")))
    box = np.zeros((10, 5), np.int64)
    columns = {"first": mixes.first, "second": mixes.second, "coefficient": mixes.coefficient, "box": box}
    with pytest.raises(DataError, match=r"box must be int64 \(N, 4\), got int64 \(10, 5\)"):
        write_set(path, columns, kind="mixes", label_space=CLASSES, provenance={}, license="CC0-1.0")


def test_rows_that_come_twice_are_refused() -> None:
    with pytest.raises(ConfigError, match="rows to mix must be distinct"):
        sample_mixes(np.array([4, 7, 4]), "mixup", 1.0, 5, 8, 0)
