"""Planted copies are found and named; distances are exact; limits and verdicts have the values that a hand gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import fisher_exact

from data.reading import Selected
from filters.audit.copies import find_copies, least_reach, more_than_control, within_reach
from filters.audit.equal_images import equal_images, image_digests
from filters.audit.nearest import nearest_images

CPU = torch.device("cpu")


def noise(count: int, seed: int, shape=(1, 6, 6)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def loop(images, references, skip_equal=False):
    """Nearest reference of each image, one pair at a time."""
    places, distances = [], []
    for image in images:
        squares = [float(((image.astype(float) - other) ** 2).mean()) for other in references]
        known = [s if s or not skip_equal else np.inf for s in squares]
        best = int(np.argmin(known)) if known and min(known) < np.inf else -1
        places.append(best)
        distances.append(np.sqrt(known[best]) if best >= 0 else np.inf)
    return np.array(places), np.array(distances)


@pytest.mark.parametrize("skip_equal", [False, True])
@pytest.mark.parametrize("block_bytes", [1, 4 * 36 * 5, 2**26])
def test_nearest_equals_the_loop_whatever_the_blocks(skip_equal, block_bytes):
    images, references = noise(13, 0), noise(17, 1)
    references[[3, 11]] = images[[2, 2]]
    references[12] = images[5]
    found = nearest_images(images, references, CPU, skip_equal=skip_equal, block_bytes=block_bytes)
    places, distances = loop(images, references, skip_equal)
    assert found.places.tolist() == places.tolist()
    np.testing.assert_allclose(found.distances, distances, rtol=1e-12)


def test_nearest_is_exact_at_the_largest_sums():
    # Black and white images of 3 x 64 x 64 differ in one pixel by one level: float32 sums would not see that.
    white = np.full((2, 3, 64, 64), 255, np.uint8)
    black = np.zeros((2, 3, 64, 64), np.uint8)
    white[1, 0, 0, 0] = 254
    black[1, 2, 63, 63] = 1
    found = nearest_images(white, np.concatenate([black, white[1:]]), CPU)
    assert found.places.tolist() == [2, 2]
    assert found.distances.tolist() == [np.sqrt(1 / (3 * 64 * 64)), 0.0]
    far = nearest_images(white, black, CPU)
    assert far.places.tolist() == [1, 1]
    assert far.distances[0] == pytest.approx(np.sqrt((255.0**2 * 12287 + 254.0**2) / 12288), rel=1e-12)


def test_without_references_nothing_is_near():
    found = nearest_images(noise(3, 0), noise(0, 1), CPU)
    assert found.places.tolist() == [-1] * 3
    assert np.isinf(found.distances).all()
    only_equal = nearest_images(noise(3, 0), noise(3, 0)[:1], CPU, skip_equal=True)
    assert only_equal.places.tolist() == [-1, 0, 0]
    with pytest.raises(ValueError, match="must have the references' shape"):
        nearest_images(noise(3, 0), noise(3, 0, (1, 5, 6)), CPU)


def test_equal_images_are_the_first_of_the_chosen_rows():
    real, made = noise(40, 0), noise(60, 1)
    made[[7, 50]] = real[[31, 4]]
    real[35] = real[31]
    digests, known = image_digests(made), image_digests(real)
    found = equal_images(made, real, digests, known, np.arange(40))
    assert {int(row): int(found[row]) for row in np.flatnonzero(found >= 0)} == {7: 31, 50: 4}
    found = equal_images(made, real, digests, known, np.arange(32, 40))
    assert {int(row): int(found[row]) for row in np.flatnonzero(found >= 0)} == {7: 35}


def test_equal_digests_of_different_bytes_are_no_copy():
    real, made = noise(3, 0), noise(3, 1)
    made[2] = real[1]
    found = equal_images(made, real, [b"same"] * 3, [b"same"] * 3, np.arange(3))
    assert found.tolist() == [-1, -1, 1]


def test_digests_of_selected_rows_are_those_of_the_rows():
    images = noise(2500, 0, (1, 2, 2))
    rows = np.arange(2400, 0, -2)
    every = image_digests(images)
    assert image_digests(Selected(images, rows)) == [every[row] for row in rows]
    assert len(set(every)) == len(np.unique(images.reshape(2500, -1), axis=0))


def test_least_reach_is_half_of_the_one_percent_quantile_of_what_is_finite():
    distances = np.arange(1.0, 102.0)
    assert least_reach(np.r_[distances, np.inf]) == pytest.approx(0.5 * 2.0)
    assert least_reach(np.array([np.inf])) == least_reach(np.zeros(0)) == 0.0


def test_near_is_nearer_than_half_of_the_separation_or_than_the_least_reach():
    distances = np.array([4.9, 5.0, 1.9, 2.0, 1.0, 0.0])
    separations = np.array([10.0, 10.0, 1.0, 1.0, np.inf, np.inf])
    assert within_reach(distances, separations, 2.0).tolist() == [True, False, True, False, True, True]
    assert within_reach(distances, separations, 0.0).tolist() == [True, False, False, False, False, True]


@pytest.mark.parametrize("table", [(12, 500, 1, 300), (50, 5000, 0, 300), (90, 5000, 0, 300), (3, 40, 3, 40)])
def test_more_than_the_control_is_fishers_exact_test(table):
    near, images, control_near, control = table
    p = fisher_exact([[near, images - near], [control_near, control - control_near]], "greater").pvalue
    assert more_than_control(*table) == (p < 0.01)
    assert more_than_control(*table, level=p * 1.0001)
    assert not more_than_control(*table, level=p * 0.9999)


def test_without_near_images_or_control_there_is_no_excess():
    assert not more_than_control(0, 100, 0, 100)
    assert not more_than_control(50, 100, 0, 0)


@pytest.fixture(scope="module")
def planted():
    """Rows 10 and 700 of 1000 copy real rows 5 and 6, row 20 is one level off row 7; row 220 repeats row 3."""
    real, made = noise(350, 0), noise(1000, 2)
    real[220] = real[3]
    made[10], made[700] = real[5], real[6]
    made[20] = np.where(real[7] < 255, real[7] + 1, 254)
    made[30] = made[31]
    parts = {"training": np.arange(200), "validation": np.arange(200, 350)}
    controls = {"training": parts["validation"][1:], "validation": parts["training"]}
    return find_copies(made, real, parts, np.arange(100), controls, CPU), made, real


def test_planted_copies_are_named_first_and_near_ones_next(planted):
    found, _, real = planted
    pairs = found.parts["training"].pairs(4)
    named = [(pair["synthetic_row"], pair["real_row"], pair["distance"], pair["kind"]) for pair in pairs]
    assert named[:3] == [(10, 5, 0.0, "exact"), (700, 6, 0.0, "exact"), (20, 7, 1.0, "near")]
    assert named[3][3] == ""
    others = np.delete(real[:200], 7, axis=0).astype(float)
    assert pairs[2]["separation"] == pytest.approx(np.sqrt(((others - real[7]) ** 2).mean(axis=(1, 2, 3))).min())
    assert found.parts["training"].pairs(1) == pairs[:1]
    assert len(found.parts["training"].pairs(500)) == 101


def test_pairs_of_other_parts_name_rows_of_the_whole_set(planted):
    found, made, real = planted
    for pair in found.parts["validation"].pairs(20):
        assert 200 <= pair["real_row"] < 350
        difference = made[pair["synthetic_row"]].astype(float) - real[pair["real_row"]]
        assert pair["distance"] == pytest.approx(np.sqrt((difference**2).mean()))


def test_counts_the_control_and_repeated_images(planted):
    found, _, _ = planted
    training = found.parts["training"]
    assert np.flatnonzero(training.exact >= 0).tolist() == [10, 700]
    assert training.synthetic.summary()["near"] == 2
    assert training.synthetic.summary()["share"] == 0.02
    # Of the 149 images of the control one, row 220, has the bytes of a training image.
    assert training.control.summary()["images"] == 149
    assert np.flatnonzero(training.control.near).tolist() == [19]
    assert not training.excess
    assert (training.repeated, found.parts["validation"].repeated) == (0, 1)
    assert found.distinct == 999
    distances = [part.summary()["median_distance"] for part in (training.synthetic, training.control)]
    assert distances[0] == pytest.approx(distances[1], rel=0.05)


def test_a_generator_that_copies_is_told_from_fresh_images_though_real_ones_are_dense():
    # A ramp whose brightness is the label: neighbours are a level apart, so fresh images are near by chance as well.
    rng = np.random.default_rng(0)

    def ramp(labels):
        pixels = np.linspace(0, 1, 64)[None, :] * labels[:, None]
        return np.rint(pixels).astype(np.uint8).reshape(-1, 1, 8, 8)

    real = ramp(rng.uniform(50, 250, 360))
    parts = {"training": np.arange(60), "validation": np.arange(60, 360)}
    controls = {"training": parts["validation"], "validation": parts["training"]}
    images = {"fresh": ramp(rng.uniform(50, 250, 400)), "copies": real[rng.integers(0, 60, 400)].copy()}
    images["copies"][:, 0, 0, 0] += rng.integers(1, 4, 400).astype(np.uint8)
    found = {
        name: find_copies(made, real, parts, np.arange(400), controls, CPU).parts["training"]
        for name, made in images.items()
    }
    share = found["fresh"].control.near.mean()
    assert 0.2 < share < 0.6
    assert found["fresh"].synthetic.near.mean() == pytest.approx(share, abs=0.12)
    assert not found["fresh"].excess
    assert found["copies"].excess
    assert (found["copies"].exact >= 0).sum() == 0


def test_an_accidental_twin_does_not_hide_a_copy():
    real = noise(300, 0)
    real[1] = np.where(real[0] < 255, real[0] + 1, 254)
    made = noise(50, 1)
    made[4] = np.where(real[0] > 2, real[0] - 2, 2)
    parts = {"training": np.arange(300)}
    found = find_copies(made, real, parts, np.arange(50), {"training": np.zeros(0, np.int64)}, CPU)
    pair = found.parts["training"].pairs(1)[0]
    assert (pair["synthetic_row"], pair["real_row"], pair["kind"]) == (4, 0, "near")
    assert pair["separation"] == 1.0
    assert found.parts["training"].least_reach > 20


def test_without_other_real_images_exact_copies_alone_are_near():
    real = np.repeat(noise(1, 0), 5, axis=0)
    made = np.concatenate([noise(2, 1), real[:1]])
    found = find_copies(made, real, {"training": np.arange(5)}, np.arange(3), {"training": np.arange(0)}, CPU)
    training = found.parts["training"]
    assert found.parts["training"].least_reach == 0.0
    assert training.synthetic.near.tolist() == [False, False, True]
    assert [pair["separation"] for pair in training.pairs(3)] == [None] * 3
    assert training.control.summary() == {"images": 0, "near": 0, "share": None, "median_distance": None}
    assert not training.excess
