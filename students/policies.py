"""Augmentation policies on whole batches: AutoAugment and RandAugment of torchvision, with our randomness."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from data.errors import ConfigError

#: Policies that AutoAugment found, named after the data set they were found on.
POLICIES = ("cifar10", "imagenet", "svhn")


def autoaugment(images: Tensor, rng: torch.Generator, policy: str = "cifar10") -> Tensor:
    """One of the 25 sub-policies of AutoAugment on the whole batch.

    Source: Cubuk et al. (2019, arXiv 1805.09501). Differs from the paper in: the sub-policy, its magnitudes and signs
    are drawn once for the batch and not for each image, as R2KD does.

    Args:
        images: grey levels 0..255, (B, C, H, W) with 1 or 3 channels, floating point; rounded to whole grey levels.
        rng: source of randomness; one draw of it seeds the policy, which on a GPU waits for the device once.
        policy: "cifar10", "imagenet" or "svhn".

    Returns:
        Images of the same shape and type; what is moved in from outside is black.

    Raises:
        ConfigError: for an unknown policy or another number of channels.
    """
    if policy not in POLICIES:
        raise ConfigError(f"policy of AutoAugment must be one of {', '.join(POLICIES)}, got '{policy}'.")
    return _applied(_autoaugment(policy), images, rng, "AutoAugment")


def randaugment(images: Tensor, rng: torch.Generator, *, operations: int = 2, magnitude: int = 10) -> Tensor:
    """RandAugment on the whole batch.

    Source: Cubuk et al. (2020, arXiv 1909.13719). Differs from the paper in: operations and signs are drawn once for
    the batch and not for each image.

    Args:
        images: grey levels 0..255, (B, C, H, W) with 1 or 3 channels, floating point; rounded to whole grey levels.
        rng: source of randomness; one draw of it seeds the policy, which on a GPU waits for the device once.
        operations: number of operations, one after the other.
        magnitude: strength, 0 to 30.

    Returns:
        Images of the same shape and type; what is moved in from outside is black.

    Raises:
        ConfigError: for another number of channels.
    """
    return _applied(_randaugment(operations, magnitude), images, rng, "RandAugment")


# torchvision is imported late: it takes a second, and methods without a policy do not need it.
@cache
def _autoaugment(policy: str) -> Callable[[Tensor], Tensor]:
    from torchvision.transforms.autoaugment import AutoAugmentPolicy
    from torchvision.transforms.v2 import AutoAugment

    transform: Any = AutoAugment(AutoAugmentPolicy(policy))
    return transform  # type: ignore[no-any-return]


@cache
def _randaugment(operations: int, magnitude: int) -> Callable[[Tensor], Tensor]:
    from torchvision.transforms.v2 import RandAugment

    transform: Any = RandAugment(operations, magnitude)
    return transform  # type: ignore[no-any-return]


def _applied(transform: Callable[[Tensor], Tensor], images: Tensor, rng: torch.Generator, name: str) -> Tensor:
    if images.shape[1] not in (1, 3):
        raise ConfigError(
            f"{name} must have images of 1 or 3 channels, got {images.shape[1]}; try cutmix in its place."
        )
    levels = images.detach().round().clamp(0, 255).to(torch.uint8).contiguous()
    seed = int(torch.randint(0, 2**62, (), generator=rng, device=rng.device))
    # The transforms draw from the global generator of the CPU alone, which is put back as it was.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        changed = transform(levels)
    return changed.to(images.dtype)
