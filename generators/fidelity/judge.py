"""The judge of a generator that is still training: how far it is from validation images, and how diverse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from data.errors import DataError
from data.labels import LabelSpace
from data.random import Seeds, derive_seed, row_seeds
from generators.fidelity.kernels import FeatureScale, joint_distance, label_kernel, relative_spread

#: Labels in their own units (n, ...) and seeds uint64 (n,) to images uint8 (n, C, H, W).
Sample = Callable[[npt.NDArray[Any], Seeds], npt.NDArray[np.uint8]]
#: Images uint8 (n, C, H, W) to features float32 (n, F).
Features = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]]
#: Step and sampler to named numbers; "distance" (lower is better) decides which snapshot is kept.
Judge = Callable[[int, Sample], dict[str, float]]


def make_judge(
    real_images: npt.NDArray[np.uint8],
    real_labels: npt.NDArray[Any],
    label_space: LabelSpace,
    features: Features,
    *,
    images: int,
    seed: int,
) -> Judge:
    """A function that compares what a generator makes at the labels of real images with these images.

    "distance" is the joint kernel distance (``joint_distance``): it falls when images look real and also when they
    fit their labels. "diversity" is the spread within like labels, relative to that of the real images
    (``relative_spread``). Labels and seeds are the same in every call, so that what differs between two calls is the
    generator alone.

    Args:
        real_images: uint8 (N, C, H, W) that the generator does not train on.
        real_labels: their labels, a column of ``label_space``.
        label_space: what labels mean.
        features: maps images to features; the same for all that is compared.
        images: real images that are compared at most, and as many generated ones; a random part where there are more.
        seed: chooses the real images, and makes the seeds of the generated ones.

    Returns:
        The judge. "diversity" is absent where the real images of like label do not differ at all.

    Raises:
        DataError: if no two of the real images have a like label.
    """
    rows = np.sort(np.random.default_rng(derive_seed(seed, "rows")).permutation(len(real_images))[:images])
    labels = real_labels[rows]
    weights = label_kernel(labels, label_space)
    if not weights.sum() > np.trace(weights):
        raise DataError(
            f"a judge must have at least 2 validation images of like label, got {len(rows)} images and none; "
            f"try a larger prepare.validation_images, or generator.snapshots 0 to keep the last weights unjudged."
        )
    real_features = features(real_images[rows])
    scale = FeatureScale.of(real_features)
    real = scale(real_features)
    seeds = row_seeds(derive_seed(seed, "latents"), np.arange(len(rows)))

    def judge(step: int, sample: Sample) -> dict[str, float]:
        del step
        generated = scale(features(sample(labels, seeds)))
        numbers = {"distance": joint_distance(generated, real, weights)}
        diversity = relative_spread(generated, real, weights)
        return numbers if diversity is None else numbers | {"diversity": diversity}

    return judge
