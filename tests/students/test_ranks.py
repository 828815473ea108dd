"""Correlations and ranks against NumPy, SciPy, loops and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from students.ranks import cosine, hard_ranks, pearson, soft_ranks, spearman_distance


def pair(rows: int = 6, columns: int = 7) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(rows * columns)
    first, second = torch.randn(2, rows, columns, generator=rng, dtype=torch.float64)
    return first, first + second


def test_pearson_is_that_of_numpy_by_rows_and_by_columns() -> None:
    a, b = pair()
    rows = [np.corrcoef(a[i], b[i])[0, 1] for i in range(6)]
    columns = [np.corrcoef(a[:, j], b[:, j])[0, 1] for j in range(7)]
    assert pearson(a, b, 1).tolist() == pytest.approx(rows, abs=1e-8)
    assert pearson(a, b, 0).tolist() == pytest.approx(columns, abs=1e-8)


def test_cosine_equals_a_loop_and_pearson_is_its_centred_form() -> None:
    a, b = pair()
    for i in range(6):
        dot = sum(x * y for x, y in zip(a[i].tolist(), b[i].tolist(), strict=True))
        lengths = math.sqrt(sum(x * x for x in a[i].tolist())) * math.sqrt(sum(y * y for y in b[i].tolist()))
        assert cosine(a, b, 1)[i].item() == pytest.approx(dot / lengths, abs=1e-8)
    centred = [item - item.mean(dim=1, keepdim=True) for item in (a, b)]
    torch.testing.assert_close(pearson(a, b, 1), cosine(centred[0], centred[1], 1), atol=1e-15, rtol=0)
    assert (pearson(a, b, 1) - cosine(a, b, 1)).abs().max() > 1e-3


def test_pearson_sees_no_positive_affine_map_and_turns_with_the_sign() -> None:
    a, b = pair()
    torch.testing.assert_close(pearson(3 * a + 2, 0.5 * b - 1, 1), pearson(a, b, 1), atol=1e-8, rtol=0)
    torch.testing.assert_close(pearson(-a, b, 1), -pearson(a, b, 1), atol=1e-15, rtol=0)


def test_constant_vectors_correlate_with_nothing_and_send_finite_gradients() -> None:
    constant = torch.full((3, 4), 2.0, requires_grad=True)
    loss = pearson(constant, pair(3, 4)[0].float(), 1)
    assert loss.tolist() == [0.0, 0.0, 0.0]
    torch.autograd.backward(loss.sum())
    assert constant.grad is not None
    assert torch.isfinite(constant.grad).all()


def test_half_precision_is_computed_in_float32() -> None:
    a, b = (item.half() for item in pair())
    assert pearson(a, b, 1).dtype == hard_ranks(a).dtype == soft_ranks(a, 0.5).dtype == torch.float32
    # 1e-5 squared is no half number.
    assert pearson(a * 1e-5, b, 1).tolist() == pytest.approx(pearson((a * 1e-5).double(), b, 1).tolist(), abs=1e-2)


def test_hard_ranks_are_those_of_scipy_with_ties_and_carry_no_gradient() -> None:
    a, _ = pair()
    tied = (2 * a).round()
    assert any(len(set(row)) < len(row) for row in tied.tolist())
    for x in (a, tied):
        np.testing.assert_array_equal(hard_ranks(x).numpy(), stats.rankdata(x.numpy(), axis=1))
    assert not hard_ranks(a.requires_grad_(True)).requires_grad


def test_hard_spearman_is_that_of_scipy_and_its_closed_form() -> None:
    a, b = pair()
    expected = [1 - stats.spearmanr(a[i], b[i]).statistic for i in range(6)]
    assert spearman_distance(a, b).item() == pytest.approx(np.mean(expected), abs=1e-9)
    squares = (hard_ranks(a) - hard_ranks(b)).square().sum(dim=1)
    assert spearman_distance(a, b).item() == pytest.approx((6 * squares / (7 * (49 - 1))).mean().item(), abs=1e-9)
    torch.testing.assert_close(spearman_distance(a.exp(), b**3), spearman_distance(a, b))


def test_soft_ranks_equal_a_loop_and_add_up_like_hard_ones() -> None:
    a, _ = pair()
    found = soft_ranks(a, 0.7)
    for i in range(6):
        for j in range(7):
            others = sum(1 / (1 + math.exp(-(a[i, j] - a[i, k]).item() / 0.7)) for k in range(7))
            assert found[i, j].item() == pytest.approx(0.5 + others, abs=1e-12)
    torch.testing.assert_close(found.sum(dim=1), torch.full((6,), 28.0, dtype=torch.float64))


def test_soft_ranks_become_hard_ones_as_the_scale_vanishes() -> None:
    a, b = pair()
    gaps = [(soft_ranks(a, scale) - hard_ranks(a)).abs().max().item() for scale in (1.0, 0.1, 1e-3, 1e-5)]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] == 0.0
    assert spearman_distance(a, b, 1e-5).item() == pytest.approx(spearman_distance(a, b).item(), abs=1e-12)
    one_a_row = torch.full((6, 1, 1), 0.3, dtype=torch.float64)
    assert torch.equal(soft_ranks(a, one_a_row), soft_ranks(a, 0.3))


def test_soft_spearman_has_a_gradient_that_is_right() -> None:
    a, b = pair(3, 4)
    assert torch.autograd.gradcheck(lambda x: spearman_distance(x, b, 0.5), a.requires_grad_(True))
