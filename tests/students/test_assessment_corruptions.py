"""Corruptions against loops and closed forms, and that a row's noise belongs to the row."""

import colorsys
import math

import numpy as np
import pytest
from scipy import stats

from data.random import derive_seed, row_seeds, uniform_from_seeds
from students.assessment.corruptions import CONSTANTS, SEVERITIES, corrupt

ROWS = np.arange(6)


def pictures(channels: int, side: int = 8, count: int = 6) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, channels, side, side), dtype=np.uint8)


def flat(level: int, count: int = 40, side: int = 16) -> np.ndarray:
    return np.full((count, 1, side, side), level, np.uint8)


@pytest.mark.parametrize("corruption", CONSTANTS)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_row_has_the_same_bytes_in_any_batch(corruption, channels):
    images = pictures(channels)
    whole = corrupt(images, corruption, 4, seed=7, rows=ROWS)
    assert (whole.dtype, whole.shape) == (np.uint8, images.shape)
    assert (whole != images).any()
    some = [4, 1]
    np.testing.assert_array_equal(corrupt(images[some], corruption, 4, seed=7, rows=ROWS[some]), whole[some])
    np.testing.assert_array_equal(images, pictures(channels))


@pytest.mark.parametrize("corruption", ["gaussian_noise", "shot_noise", "impulse_noise"])
def test_noise_depends_on_seed_row_and_severity(corruption):
    images = flat(128, 2)
    first, second = corrupt(images, corruption, 5, seed=7, rows=ROWS[:2])
    assert (first != second).any()
    assert (corrupt(images, corruption, 5, seed=8, rows=ROWS[:2])[0] != first).any()
    assert (corrupt(images, corruption, 4, seed=7, rows=ROWS[:2])[0] != first).any()


@pytest.mark.parametrize("corruption", CONSTANTS)
def test_severities_grow(corruption):
    images = pictures(3, 16)
    changes = [
        np.abs(corrupt(images, corruption, severity, seed=0, rows=ROWS).astype(int) - images).mean()
        for severity in SEVERITIES
    ]
    assert changes == sorted(changes)
    assert changes[0] > 0


def test_gaussian_noise_has_its_deviation():
    noise = corrupt(flat(128), "gaussian_noise", 5, seed=0, rows=np.arange(40)).astype(float) - 128
    # Rounding adds a variance of 1/12; the error of a deviation of n numbers is about sigma / sqrt(2 n).
    wanted = math.hypot(0.10 * 255, math.sqrt(1 / 12))
    assert abs(noise.mean()) < 4 * wanted / math.sqrt(noise.size)
    assert abs(noise.std() - wanted) < 4 * wanted / math.sqrt(2 * noise.size)


@pytest.mark.parametrize("level", [3, 60, 128])
def test_shot_noise_is_poisson(level):
    photons = CONSTANTS["shot_noise"][4]
    found = corrupt(flat(level), "shot_noise", 5, seed=0, rows=np.arange(40)).ravel()
    counts = np.arange(int(photons) + 1)
    seen = np.array([np.sum(found == np.rint(min(count / photons, 1) * 255)) for count in counts])
    assert seen.sum() == found.size
    expected = stats.poisson.pmf(counts, level / 255 * photons)
    expected[-1] += stats.poisson.sf(counts[-1], level / 255 * photons)
    common = expected * found.size > 5
    table = [np.append(values[common], values[~common].sum()) for values in (seen, expected * found.size)]
    assert stats.chisquare(table[0], table[1] * table[0].sum() / table[1].sum()).pvalue > 1e-3


@pytest.mark.parametrize("severity", SEVERITIES)
def test_shot_noise_is_the_inverse_of_the_distribution(severity):
    images = np.repeat(np.arange(256, dtype=np.uint8), 16).reshape(4, 1, 32, 32)
    found = corrupt(images, "shot_noise", severity, seed=3, rows=ROWS[:4])
    seeds = row_seeds(derive_seed(3, "shot_noise", severity), ROWS[:4])
    uniform = uniform_from_seeds(seeds, 1024).reshape(images.shape)
    photons = CONSTANTS["shot_noise"][severity - 1]
    wanted = np.rint(np.minimum(stats.poisson.ppf(uniform, images / 255 * photons) / photons, 1) * 255)
    np.testing.assert_array_equal(found, wanted)


def test_shot_noise_of_black_is_black_and_of_white_stays_bright():
    assert not corrupt(flat(0, 2), "shot_noise", 5, seed=0, rows=ROWS[:2]).any()
    white = corrupt(flat(255, 2), "shot_noise", 5, seed=0, rows=ROWS[:2])
    assert 220 < white.mean() < 255


def test_impulse_noise_is_black_and_white_in_equal_shares():
    found = corrupt(flat(128), "impulse_noise", 5, seed=0, rows=np.arange(40))
    assert set(np.unique(found)) == {0, 128, 255}
    for level in (0, 255):
        share = np.mean(found == level)
        assert abs(share - 0.035) < 4 * math.sqrt(0.035 * 0.965 / found.size)


@pytest.mark.parametrize(("side", "deviation"), [(8, 1.0), (32, 1.0), (64, 2.0)])
def test_blur_is_a_loop_over_a_gaussian(side, deviation):
    image = pictures(1, side, 1)
    radius = int(4 * deviation + 0.5)
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / deviation) ** 2)
    kernel /= kernel.sum()
    pixels = image[0, 0] / 255
    for _ in range(2):
        padded = np.pad(pixels, ((radius, radius), (0, 0)), mode="edge")
        pixels = sum(weight * padded[place : place + side] for place, weight in enumerate(kernel)).T
    found = corrupt(image, "blur", 5, seed=0, rows=ROWS[:1])[0, 0]
    assert np.abs(found - pixels * 255).max() < 0.501


def test_contrast_moves_every_channel_to_its_own_mean():
    image = pictures(3, 8, 2)
    found = corrupt(image, "contrast", 2, seed=0, rows=ROWS[:2])
    for row in range(2):
        for channel in range(3):
            pixels = image[row, channel] / 255
            wanted = (pixels - pixels.mean()) * 0.5 + pixels.mean()
            assert np.abs(found[row, channel] - wanted * 255).max() < 0.501


def test_brightness_raises_the_value_of_hsv():
    image = pictures(3, 4, 1)
    image[0, :, 0, 0] = 0
    found = corrupt(image, "brightness", 5, seed=0, rows=ROWS[:1])
    for row in range(4):
        for column in range(4):
            hue, saturation, value = colorsys.rgb_to_hsv(*(image[0, :, row, column] / 255))
            wanted = colorsys.hsv_to_rgb(hue, saturation, min(value + 0.3, 1))
            assert np.abs(found[0, :, row, column] - 255 * np.array(wanted)).max() < 0.501
    grey = pictures(1, 4, 1)
    wanted = np.minimum(grey / 255 + 0.3, 1) * 255
    assert np.abs(corrupt(grey, "brightness", 5, seed=0, rows=ROWS[:1]) - wanted).max() < 0.501


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"corruption": "fog"}, "got fog at 1"),
        ({"severity": 6}, "got contrast at 6"),
        ({"rows": ROWS[:2]}, "got 2 for 6 images"),
    ],
)
def test_wrong_arguments_are_named(change, words):
    arguments = {"corruption": "contrast", "severity": 1, "rows": ROWS, **change}
    with pytest.raises(ValueError, match=words):
        corrupt(pictures(1), arguments["corruption"], arguments["severity"], seed=0, rows=arguments["rows"])


def test_no_image_is_no_image():
    assert corrupt(pictures(1)[:0], "blur", 1, seed=0, rows=ROWS[:0]).shape == (0, 1, 8, 8)
