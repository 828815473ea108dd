"""torch-fidelity's figures against its own front door, against formulas, and in the order that is claimed."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch

from data.errors import DataError
from generators.fidelity import extraction
from generators.fidelity.extraction import Extracted, ImageDataset, own_extract, register_own_network
from generators.fidelity.figures import Measured, figure
from generators.fidelity.torch_fidelity_metrics import (
    frechet_distance,
    inception_score,
    kernel_distance,
    precision_recall,
)


def means(images):
    """Means of the quarters of an image: four features of an image of any channels."""
    halves = [part for rows in np.array_split(images, 2, axis=2) for part in np.array_split(rows, 2, axis=3)]
    return np.stack([half.mean(axis=(1, 2, 3)) for half in halves], axis=1).astype(np.float32) / 64


def logits(images):
    return np.stack([means(images)[:, 0], -means(images)[:, 1]], axis=1)


def some_images(count: int, seed: int, *, channels: int = 1, side: int = 6, low: int = 0):
    rng = np.random.default_rng(seed)
    return (rng.integers(low, 256, (count, channels, side, side)) * rng.uniform(0, 1, (count, 1, 1, 1))).astype(
        np.uint8
    )


@pytest.mark.parametrize(("channels", "side"), [(1, 8), (3, 7), (2, 12)])
def test_figures_equal_those_of_torch_fidelity_with_the_registered_network(channels, side):
    from torch_fidelity import calculate_metrics

    generated = some_images(60, 0, channels=channels, side=side, low=90)
    real = some_images(60, 1, channels=channels, side=side)
    theirs = calculate_metrics(
        input1=ImageDataset(generated),
        input2=ImageDataset(real),
        cuda=False,
        fid=True,
        kid=True,
        prc=True,
        isc=True,
        isc_splits=1,
        kid_subset_size=30,
        feature_extractor=register_own_network(),
        network=means,
        classifier=logits,
        save_cpu_ram=True,
        cache=False,
        verbose=False,
    )
    extract = own_extract(means, logits)
    one, other = extract(generated), extract(real)
    np.testing.assert_array_equal(one.features, means(generated))
    np.testing.assert_array_equal(one.logits, logits(generated))
    assert frechet_distance(one.features, other.features).value == pytest.approx(
        theirs["frechet_inception_distance"], rel=1e-4
    )
    precision, recall = precision_recall(one.features, other.features, seed=0)
    assert (precision.value, recall.value) == pytest.approx((theirs["precision"], theirs["recall"]))
    assert inception_score(one.logits, seed=0).value == pytest.approx(theirs["inception_score_mean"])
    # Subsets are chosen by other seeds.
    kid = kernel_distance(one.features, other.features, seed=0)
    error = theirs["kernel_inception_distance_std"] / np.sqrt(10)
    assert kid.value == pytest.approx(theirs["kernel_inception_distance_mean"], abs=error)


def test_frechet_distance_of_gaussians_is_the_formula():
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(500, 6)), rng.normal(0.5, 2, size=(400, 6)) @ rng.normal(size=(6, 6))
    first, second = np.cov(one.T), np.cov(other.T)
    root = scipy.linalg.sqrtm(first @ second).real
    expected = np.sum((one.mean(0) - other.mean(0)) ** 2) + np.trace(first + second - 2 * root)
    assert frechet_distance(one, other).value == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(one, one).value == pytest.approx(0, abs=1e-6)


def test_kernel_distance_is_zero_on_average_for_one_distribution_and_has_a_spread():
    rng = np.random.default_rng(0)
    values = [kernel_distance(*rng.normal(size=(2, 40, 3)), seed=0).value for _ in range(60)]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(60)
    measured = kernel_distance(rng.normal(size=(40, 3)), rng.normal(2, 1, size=(30, 3)), seed=0)
    assert measured.value > 5 * np.std(values)
    assert measured.std > 0


def test_real_and_generated_are_not_swapped():
    """Generated images are a narrow part of the real ones: all realistic, few of the real ones covered."""
    rng = np.random.default_rng(0)
    real = rng.uniform(-1, 1, (300, 2))
    narrow = rng.uniform(-0.2, 0.2, (300, 2))
    precision, recall = precision_recall(narrow, real, seed=0)
    assert precision.value > 0.9
    assert recall.value < 0.2
    precision, recall = precision_recall(real, narrow, seed=0)
    assert precision.value < 0.2
    assert recall.value > 0.9


def test_more_generated_than_real_images_are_compared_in_parts_of_equal_size():
    rng = np.random.default_rng(0)
    real, generated = rng.normal(size=(60, 2)), rng.normal(size=(300, 2))
    _, recall = precision_recall(generated, real, seed=0)
    alone = [precision_recall(part, real, seed=0)[1].value for part in np.array_split(generated, 5)]
    assert recall.value == pytest.approx(np.mean(alone), abs=0.03)
    assert recall.std > 0
    everything = precision_recall(generated[:60], real, seed=0)
    assert everything[1].std is None


def test_inception_score_of_sure_even_classes_is_their_number():
    sure = np.eye(4)[np.arange(1000) % 4] * 50
    assert inception_score(sure, seed=0).value == pytest.approx(4, rel=1e-2)
    unsure = np.zeros((1000, 4))
    assert inception_score(unsure, seed=0) == (pytest.approx(1), pytest.approx(0))


@pytest.mark.parametrize(
    ("measure", "words"),
    [
        (lambda g, r: frechet_distance(g[:7], r), ["at least 8", "4 dimensions", "7 generated", "fidelity.images"]),
        (lambda g, r: frechet_distance(g, r[:7]), ["at least 8", "7 real", "prepare.validation_images"]),
        (lambda g, r: kernel_distance(g, r[:19], 0), ["KID", "at least 20", "19 real", "prepare.validation_images"]),
        (lambda g, r: precision_recall(g[:3], r, 0)[0], ["at least 4", "3 generated", "fidelity.images"]),
        (lambda g, r: inception_score(g[:7], 0), ["at least 8", "got 7", "fidelity.images"]),
    ],
)
def test_few_images_are_refused_with_counts_and_the_fix(measure, words):
    generated, real = np.random.default_rng(0).normal(size=(2, 25, 4))
    recorded = figure(lambda: measure(generated, real))
    assert recorded["value"] is None
    for word in words:
        assert word in recorded["not_computed"]


def test_without_torch_fidelity_features_are_there_and_figures_say_what_to_install(monkeypatch):
    monkeypatch.setattr(extraction, "find_spec", lambda name: None)
    images = some_images(30, 0)
    extracted = own_extract(means, None)(images)
    np.testing.assert_array_equal(extracted.features, means(images))
    assert extracted.logits is None
    with pytest.raises(DataError, match="pip install torch-fidelity"):
        kernel_distance(extracted.features, extracted.features, 0)


def test_features_are_scaled_by_a_reference():
    reference, images = some_images(40, 0), some_images(7, 1, low=60)
    extract = own_extract(means, reference=reference)
    scaled = extract(reference).features
    assert scaled.mean(axis=0) == pytest.approx(0, abs=1e-6)
    assert np.mean(scaled**2) == pytest.approx(1)
    root = np.sqrt(np.mean((means(reference) - means(reference).mean(axis=0)) ** 2))
    np.testing.assert_allclose(
        extract(images).features, (means(images) - means(reference).mean(axis=0)) / root, rtol=1e-4, atol=1e-5
    )


def test_a_figure_that_is_not_finite_is_not_written():
    assert figure(lambda: Measured(float("nan")))["value"] is None


def test_extraction_leaves_read_only_images_and_the_network_alone():
    images = some_images(5, 0)
    images.flags.writeable = False
    network = torch.nn.Linear(36, 2)

    def function(rows):
        with torch.no_grad():
            return network(torch.from_numpy(rows.reshape(len(rows), -1)).float()).numpy()

    extracted = own_extract(function, None)(images)
    assert isinstance(extracted, Extracted)
    assert extracted.features.shape == (5, 2)
    assert network.weight.requires_grad
    assert network.training
