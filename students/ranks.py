"""Correlations and ranks of tensors, differentiable where the mathematics allows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from students.methods import at_least_float32

if TYPE_CHECKING:
    from torch import Tensor

#: Added to the product of two norms, as the releases of DIST and R2KD do: a constant vector correlates with nothing.
EPSILON = 1e-8


def cosine(a: Tensor, b: Tensor, dim: int) -> Tensor:
    """Cosine of the angle between vectors, <a, b> / (|a| |b| + 1e-8).

    Args:
        a: any shape; half precisions are computed in float32.
        b: of the shape of ``a``.
        dim: along which the vectors lie.

    Returns:
        ``a`` without ``dim``, in [-1, 1]; 0 for a vector of zeros.
    """
    a, b = at_least_float32(a), at_least_float32(b)
    lengths: Tensor = a.norm(dim=dim) * b.norm(dim=dim)
    return (a * b).sum(dim) / (lengths + EPSILON)


def pearson(a: Tensor, b: Tensor, dim: int) -> Tensor:
    """Pearson correlation: the cosine of the vectors less their means.

    Args:
        a: any shape; half precisions are computed in float32.
        b: of the shape of ``a``.
        dim: along which the vectors lie.

    Returns:
        ``a`` without ``dim``, in [-1, 1]; 0 for a constant vector.
    """
    a, b = at_least_float32(a), at_least_float32(b)
    return cosine(a - a.mean(dim, keepdim=True), b - b.mean(dim, keepdim=True), dim)


def hard_ranks(x: Tensor) -> Tensor:
    """Ranks 1 .. C of the last axis, ties at their mean; constants, so that no gradient flows.

    Args:
        x: (..., C).

    Returns:
        Ranks of the shape of ``x``, in float32 or wider.
    """
    import torch

    x = at_least_float32(x.detach()).contiguous()
    ordered = x.sort(dim=-1).values
    below, below_or_equal = torch.searchsorted(ordered, x), torch.searchsorted(ordered, x, right=True)
    return (below + below_or_equal + 1).to(x.dtype) / 2


def soft_ranks(x: Tensor, scale: float | Tensor) -> Tensor:
    """Differentiable ranks of the last axis: 0.5 + sum_j sigmoid((x_i - x_j) / scale).

    They add up to C (C + 1) / 2 like hard ranks, and tend to these as the scale goes to 0.

    Args:
        x: (..., C); memory grows with C squared.
        scale: difference, in the unit of ``x``, over which two ranks blend into each other, above 0; a number, or a
            tensor that broadcasts against (..., 1, 1).

    Returns:
        Ranks of the shape of ``x``, in float32 or wider.
    """
    x = at_least_float32(x)
    return 0.5 + ((x[..., :, None] - x[..., None, :]) / scale).sigmoid().sum(dim=-1)


def spearman_distance(a: Tensor, b: Tensor, scale: float | Tensor | None = None) -> Tensor:
    """One less the Spearman correlation of each row, mean over rows.

    Args:
        a: (B, C).
        b: (B, C).
        scale: of soft ranks; None for hard ranks, which give no gradient.

    Returns:
        A scalar in [0, 2].
    """
    if scale is None:
        return (1.0 - pearson(hard_ranks(a), hard_ranks(b), -1)).mean()
    return (1.0 - pearson(soft_ranks(a, scale), soft_ranks(b, scale), -1)).mean()
