"""Derived seeds, label spaces, batches and whole-batch image operations."""

import numpy as np
import pytest
import torch
from scipy import stats

from data.batches import Batches, random_shift_flip, to_bytes, to_unit
from data.compute import pick_compute
from data.errors import ConfigError, DataError
from data.labels import LabelSpace
from data.pictures import image_grid
from data.random import (
    ACCEPTANCE,
    LATENTS,
    RANDOM_SHARE,
    RESAMPLING,
    VICINITY,
    derive_seed,
    normal_from_seeds,
    row_seeds,
    uniform_from_seeds,
)


def test_no_two_uses_of_a_seed_share_their_numbers():
    seeds = row_seeds(0, np.arange(4000))
    streams = (LATENTS, ACCEPTANCE, VICINITY, RESAMPLING, RANDOM_SHARE)
    columns = np.stack([uniform_from_seeds(seeds, 1, stream)[:, 0] for stream in streams])
    apart = np.corrcoef(columns) - np.eye(len(streams))
    assert np.abs(apart).max() < 4 / np.sqrt(len(seeds))


def test_derived_seeds_differ_and_stay():
    assert derive_seed(0, "generator", 1) == derive_seed(0, "generator", 1)
    assert len({derive_seed(0, "a", step) for step in range(1000)}) == 1000
    assert 0 <= derive_seed("x") < 2**63


def test_row_numbers_do_not_depend_on_the_batch():
    seeds = row_seeds(42, np.arange(100))
    whole = normal_from_seeds(seeds, 7)
    assert np.array_equal(whole[30:40], normal_from_seeds(seeds[30:40], 7))
    assert np.array_equal(whole[::-1], normal_from_seeds(seeds[::-1], 7))
    assert len(set(seeds.tolist())) == 100


def test_row_numbers_have_their_distributions():
    seeds = row_seeds(7, np.arange(20_000))
    uniform, normal = uniform_from_seeds(seeds, 3), normal_from_seeds(seeds, 5)
    assert uniform.min() > 0
    assert uniform.max() < 1
    for column in range(3):
        assert stats.kstest(uniform[:, column], "uniform").pvalue > 1e-3
    for column in range(5):
        assert stats.kstest(normal[:, column], "norm").pvalue > 1e-3
    assert np.abs(np.corrcoef(normal.T) - np.eye(5)).max() < 0.03
    other = uniform_from_seeds(seeds, 1, stream=1)[:, 0]
    assert abs(np.corrcoef(uniform[:, 0], other)[0, 1]) < 0.03


def test_label_space_maps_and_describes():
    space = LabelSpace("scalar", name="angle", unit="degree", minimum=-80, maximum=80)
    labels = np.array([-80.0, 0.0, 80.0])
    assert np.allclose(space.normalise(labels), [0, 0.5, 1])
    assert (space.outputs, space.classes, space.describe(37.5)) == (1, 0, "37.5 degree")
    classes = LabelSpace("class", ("a", "b"))
    assert (classes.outputs, classes.describe(1), classes.dtype) == (2, "b", np.dtype("<i8"))
    for item in (space, classes):
        assert LabelSpace.from_dict(item.to_dict()) == item


@pytest.mark.parametrize(
    "fields",
    [{"kind": "vector"}, {"kind": "class", "names": ("one",)}, {"kind": "scalar", "minimum": 1.0, "maximum": 1.0}],
)
def test_label_space_refuses_nonsense(fields):
    with pytest.raises(DataError, match="label space"):
        LabelSpace(**fields)


def test_label_space_checks_labels_and_descriptions():
    with pytest.raises(DataError, match=r"here: class labels must lie in 0\.\.1, got 0\.\.2"):
        LabelSpace("class", ("a", "b")).check(np.array([0, 2]), "here")
    with pytest.raises(DataError, match="1 that are not"):
        LabelSpace("scalar").check(np.array([0.0, np.nan]), "here")
    with pytest.raises(DataError, match="unknown or missing field"):
        LabelSpace.from_dict({"kind": "scalar", "colour": 1})


def test_batches_are_permutations_whatever_the_batch_size():
    batches = Batches(10, 4, seed=3)
    flat = np.concatenate([batches.at(step) for step in range(5)])
    assert sorted(flat[:10]) == sorted(flat[10:]) == list(range(10))
    assert np.array_equal(Batches(10, 4, seed=3).at(3), flat[12:16])
    wide = Batches(3, 8, seed=3).at(0)
    assert wide.shape == (8,)
    assert sorted(wide[:3]) == [0, 1, 2]
    with pytest.raises(ValueError, match="at least 1"):
        Batches(0, 4, seed=3)


def test_bytes_and_unit_are_inverse():
    images = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert torch.equal(to_bytes(to_unit(images)), images)
    assert to_bytes(torch.tensor([-9.0, 9.0])).tolist() == [0, 255]


def test_random_shift_matches_an_explicit_loop():
    images = torch.randint(0, 255, (6, 2, 5, 5), dtype=torch.uint8)
    shifted = random_shift_flip(images, 2, True, torch.Generator().manual_seed(1))
    for image, result in zip(images, shifted, strict=True):
        padded = torch.nn.functional.pad(image, (2, 2, 2, 2))
        crops = [padded[:, i : i + 5, j : j + 5] for i in range(5) for j in range(5)]
        assert any(torch.equal(result, crop) or torch.equal(result, crop.flip(2)) for crop in crops)
    assert not torch.equal(shifted, images)
    same = random_shift_flip(images, 0, False, torch.Generator().manual_seed(1))
    assert torch.equal(same, images)


def test_pick_compute_refuses_what_is_not_there():
    assert pick_compute("cpu", "fp32").autocast_dtype is None
    assert pick_compute("cpu", "bf16").autocast_dtype is torch.bfloat16
    with pytest.raises(ConfigError, match=r"compute\.device must be"):
        pick_compute("toaster")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="no CUDA device"):
            pick_compute("cuda")


def test_image_grid_places_every_image():
    images = np.stack([np.full((1, 8, 8), value, np.uint8) for value in (10, 20, 30)])
    pixels = np.asarray(image_grid(images, columns=2))
    assert pixels.shape == (67, 67, 3)
    assert (pixels[1, 1], pixels[1, 34], pixels[34, 1], pixels[34, 34]) == pytest.approx((10, 20, 30, 255)) or [
        int(pixels[y, x, 0]) for y, x in ((1, 1), (1, 34), (34, 1), (34, 34))
    ] == [10, 20, 30, 255]
