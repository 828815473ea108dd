"""Mixes applied to whole batches on the device: grey levels stay uint8, labels become what the mixed images show."""

from __future__ import annotations

import torch
from torch import Tensor

from data.errors import ConfigError

#: Shares of mixup are multiples of 1 / 65536: 8 bits of a grey level times 16 of a share fit float32's 24, so that
#: blends are exact and have the same bytes on every device, however the operations are fused.
SHARE_STEPS = 65536


def mix_images(first: Tensor, second: Tensor, coefficient: Tensor, box: Tensor, kind: str) -> Tensor:
    """Mixes two batches of images, row by row.

    Sources: mixup, Zhang, Cisse, Dauphin and Lopez-Paz (2018, arXiv 1710.09412); CutMix, Yun et al. (2019, arXiv
    1905.04899). Differ in: each row has its own coefficient and box; mixup rounds the share to 1 / 65536 and the grey
    level half to even.

    Args:
        first: uint8 (B, C, H, W).
        second: as ``first``, on the same device.
        coefficient: share of the first image, float32 (B,) in [0, 1]; not read by CutMix.
        box: int64 (B, 4): top, left, height and width of what is pasted from the second image; not read by mixup.
        kind: "mixup" or "cutmix".

    Returns:
        uint8 (B, C, H, W).

    Raises:
        ConfigError: for another kind.
    """
    if kind == "mixup":
        share = (coefficient.float() * SHARE_STEPS).round_().div_(SHARE_STEPS).reshape(-1, 1, 1, 1)
        mixed = second.float().lerp_(first.float(), share).round_()
        # On processors floats become bytes many times faster by way of int16.
        return mixed.to(torch.int16).to(torch.uint8)
    if kind == "cutmix":
        # By bits, several times as fast as a choice pixel by pixel.
        pasted = first.bitwise_xor(second).bitwise_and_(_inside(box, first.shape[2], first.shape[3]))
        return pasted.bitwise_xor_(first)
    raise ConfigError(f"kind of mixes must be 'mixup' or 'cutmix', got '{kind}'.")


def mix_targets(first: Tensor, second: Tensor, coefficient: Tensor, classes: int = 0) -> Tensor:
    """Mixes the labels of two batches as their images are mixed.

    Labels of a class together with values are mixed in two calls, one for each part.

    Args:
        first: classes int64 (B,), class probabilities (B, C), or values of any scale, (B,) or (B, L).
        second: as ``first``.
        coefficient: share of the first, float32 (B,); of CutMix the true share of its pixels.
        classes: number of classes C, where labels are classes.

    Returns:
        float32: probabilities (B, C) for classes, else of the shape of ``first``.

    Raises:
        ConfigError: for whole numbers without a number of classes.
    """
    if not first.is_floating_point():
        if classes < 1:
            raise ConfigError(f"classes must be their number where labels are classes, got {classes}.")
        mixed = torch.zeros(len(first), classes, device=first.device)
        share = coefficient.float()[:, None]
        mixed.scatter_add_(1, first.long()[:, None], share)
        return mixed.scatter_add_(1, second.long()[:, None], 1.0 - share)
    share = coefficient.float().reshape(-1, *(1,) * (first.ndim - 1))
    return torch.lerp(second.float(), first.float(), share)


def _inside(box: Tensor, height: int, width: int) -> Tensor:
    """Pixels in the boxes, all bits of which are set, uint8 (B, 1, H, W); those outside are 0."""
    top, left, tall, wide = box.unbind(1)
    along = []
    for start, length, pixels in ((top, tall, height), (left, wide, width)):
        pixel = torch.arange(pixels, device=box.device)
        inside = (pixel >= start[:, None]) & (pixel < (start + length)[:, None])
        along.append(inside.to(torch.uint8).neg_())
    rows, columns = along
    return (rows[:, :, None] & columns[:, None, :])[:, None]
