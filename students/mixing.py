"""Images made from the images of a batch: mixup, CutMix, cutout and CutMixPick, on the whole batch at once.

Everything works on grey levels of floating point and is a pure function of the images and the generator. Nothing is
copied to the host, so that no step waits for the device.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Mixed:
    """Images that have each been mixed with a partner from the same batch.

    Args:
        images: (B, C, H, W), of the type of the images they were made from.
        partner: int64 (B,), the row that each image was mixed with.
        coefficient: share of an image's own pixels, one for the batch, a scalar in [0, 1] of the images' type.
    """

    images: Tensor
    partner: Tensor
    coefficient: Tensor


def beta(alpha: float, rng: torch.Generator) -> Tensor:
    """One draw from Beta(alpha, alpha), from two gamma draws; float64, a scalar on the device of ``rng``.

    In log space, because gamma draws of a small shape underflow: log G(a) = log G(a + 1) + log(U) / a.
    """
    shape = torch.full((2,), alpha + 1.0, dtype=torch.float64, device=rng.device)
    own, other = torch._standard_gamma(shape, generator=rng).log().unbind()
    # Of (0, 1], so that no logarithm is infinite.
    own_power, other_power = (1.0 - torch.rand(2, dtype=torch.float64, generator=rng, device=rng.device)).log().unbind()
    return ((own - other) + (own_power - other_power) / alpha).sigmoid()


def partners(rows: int, rng: torch.Generator, *, deranged: bool = True) -> Tensor:
    """A random permutation of the rows of a batch.

    Args:
        rows: B.
        rng: source of randomness.
        deranged: whether no row may be its own partner: the permutation is then one cycle through all rows, uniform
            among the (B - 1)! that exist (those of Sattolo, 1986), so that each other row is as likely as the next.
            A single row stays its own partner.

    Returns:
        int64 (B,) on the device of ``rng``.
    """
    order = torch.randperm(rows, generator=rng, device=rng.device)
    return torch.empty_like(order).scatter_(0, order, order.roll(-1)) if deranged else order


def mixup(images: Tensor, rng: torch.Generator, *, alpha: float = 1.0, deranged: bool = True) -> Mixed:
    """Convex combinations of images, with one coefficient for the batch.

    Source: Zhang, Cisse, Dauphin and Lopez-Paz (2018, arXiv 1710.09412).

    Args:
        images: (B, C, H, W), floating point, on the device of ``rng``.
        rng: source of randomness.
        alpha: the coefficient follows Beta(alpha, alpha); above 0.
        deranged: whether no image may be mixed with itself; see ``partners``.

    Returns:
        The mixed images.
    """
    coefficient = beta(alpha, rng).to(images.dtype)
    partner = partners(len(images), rng, deranged=deranged)
    return Mixed(coefficient * images + (1.0 - coefficient) * images[partner], partner, coefficient)


def cutmix(images: Tensor, rng: torch.Generator, *, alpha: float = 1.0, deranged: bool = True) -> Mixed:
    """A box of each image is replaced by the same box of its partner; one box for the batch.

    Source: Yun et al. (2019, arXiv 1905.04899). The box has sqrt(1 - l) of the image's sides, l from
    Beta(alpha, alpha), in whole pixels to either side of a uniform centre; what falls outside the image is cut off.

    Args:
        images: (B, C, H, W), floating point, on the device of ``rng``.
        rng: source of randomness.
        alpha: of the Beta distribution; above 0.
        deranged: whether no image may be mixed with itself; see ``partners``.

    Returns:
        The mixed images; the coefficient is 1 less the true area of the box.
    """
    height, width = images.shape[2:]
    side = (1.0 - beta(alpha, rng)).sqrt()
    half_height, half_width = ((side * length).long() // 2 for length in (height, width))
    inside = _boxes(height, width, half_height[None], half_width[None], rng)
    partner = partners(len(images), rng, deranged=deranged)
    coefficient = 1.0 - inside.to(images.dtype).mean()
    return Mixed(torch.where(inside, images[partner], images), partner, coefficient)


def cutout(images: Tensor, rng: torch.Generator, *, side: int | Tensor, fill: Tensor | float) -> Tensor:
    """A square of each image is filled in; its centre is uniform, and what falls outside the image is cut off.

    Source: DeVries and Taylor (2017, arXiv 1708.04552), who fill with the mean pixel, 0 after normalisation.

    Args:
        images: (B, C, H, W), on the device of ``rng``.
        rng: source of randomness.
        side: of the square, in pixels: a number for one hole in the same place of all images, or int64 (B,) for
            a hole of its own in each.
        fill: grey level, one number or one a channel, (C,).

    Returns:
        Images of the same shape and type.
    """
    sides = torch.as_tensor(side, device=rng.device).reshape(-1)
    height, width = images.shape[2:]
    inside = _boxes(height, width, sides // 2, sides // 2, rng, odd=sides % 2)
    level = torch.as_tensor(fill, dtype=images.dtype, device=images.device).reshape(-1, 1, 1)
    return torch.where(inside, level, images)


def cutmix_pick(
    images: Tensor,
    rng: torch.Generator,
    ask: Callable[[Tensor], Tensor],
    *,
    runs: int = 2,
    alpha: float = 1.0,
    deranged: bool = True,
) -> tuple[Tensor, Tensor]:
    """Several runs of CutMix, of whose images the most uncertain are picked, as many as the batch has.

    Source: Wang et al. (2022, arXiv 2012.02909), CutMixPick: those of the highest entropy - sum_c p_c log p_c at
    temperature 1.

    Args:
        images: (B, C, H, W), floating point, on the device of ``rng``.
        rng: source of randomness.
        ask: logits (B, K) of a batch of mixed images, from teacher or student; called once a run.
        runs: number of runs, at least 1; with 1 run this is CutMix in another order.
        alpha: of the Beta distribution of CutMix.
        deranged: whether no image may be mixed with itself.

    Returns:
        The picked images (B, C, H, W) and what ``ask`` said of them (B, K), the most uncertain first.
    """
    pool = [cutmix(images, rng, alpha=alpha, deranged=deranged).images for _ in range(runs)]
    logits = torch.cat([ask(mixed) for mixed in pool])
    log_probabilities = logits.detach().float().log_softmax(dim=1)
    entropy = -(log_probabilities.exp() * log_probabilities).sum(dim=1)
    picked = entropy.topk(len(images)).indices
    return torch.cat(pool)[picked], logits[picked]


def _boxes(
    height: int, width: int, half_height: Tensor, half_width: Tensor, rng: torch.Generator, odd: Tensor | int = 0
) -> Tensor:
    """Which pixels lie in boxes around uniform centres, bool (n, 1, H, W), for n half sides in pixels."""
    along: list[Tensor] = []
    for length, half in ((height, half_height), (width, half_width)):
        centre = torch.randint(0, length, half.shape, generator=rng, device=rng.device)
        pixel = torch.arange(length, device=rng.device)
        along.append((pixel >= (centre - half)[:, None]) & (pixel < (centre + half + odd)[:, None]))
    rows, columns = along
    return (rows[:, :, None] & columns[:, None, :])[:, None]
