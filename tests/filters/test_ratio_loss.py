"""The conditional Softplus loss and its two penalties against loops, a known stationary point and differences."""

from __future__ import annotations

import math

import pytest
import torch

from filters.ratio_loss import GroupAverages, batch_penalty, csp_divergence, group_means, label_penalty


def csp_loss(fake: torch.Tensor, real: torch.Tensor, penalty_weight: float = 0.01) -> dict[str, torch.Tensor]:
    return {"divergence": csp_divergence(fake, real), "penalty": penalty_weight * batch_penalty(fake)}


def test_it_equals_a_loop() -> None:
    rng = torch.Generator().manual_seed(0)
    fake, real = torch.rand(2, 7, generator=rng, dtype=torch.float64) * 3

    def sigmoid(value: float) -> float:
        return 1 / (1 + math.exp(-value))

    expected = sum(sigmoid(v) * v - math.log1p(math.exp(v)) for v in fake.tolist()) / 7
    expected -= sum(sigmoid(v) for v in real.tolist()) / 7
    parts = csp_loss(fake, real, 0.05)
    assert parts["divergence"].item() == pytest.approx(expected, abs=1e-12)
    assert parts["penalty"].item() == pytest.approx(0.05 * (sum(fake.tolist()) / 7 - 1) ** 2, abs=1e-12)


def test_its_gradient_vanishes_at_the_true_ratio_and_nowhere_near() -> None:
    """On three cells with probabilities p_g and p_r the loss is a sum over cells; psi = p_r / p_g is its minimum."""
    generated = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    real = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)

    def loss(psi: torch.Tensor) -> torch.Tensor:
        # Cells repeated in proportion to their probability make batch means exact expectations.
        fake = psi.repeat_interleave((generated * 10).round().long())
        true = psi.repeat_interleave((real * 10).round().long())
        return torch.stack(list(csp_loss(fake, true).values())).sum()

    psi = (real / generated).requires_grad_(True)
    (gradient,) = torch.autograd.grad(loss(psi), psi)
    torch.testing.assert_close(gradient, torch.zeros(3).double(), atol=1e-12, rtol=0)
    least = loss(psi).item()
    for cell in range(3):
        for change in (-0.1, 0.1):
            moved = psi.detach().clone()
            moved[cell] += change
            assert loss(moved).item() > least


def test_gradients_agree_with_finite_differences() -> None:
    rng = torch.Generator().manual_seed(1)
    fake, real = (2 * torch.rand(2, 5, generator=rng, dtype=torch.float64)).unbind()
    fake, real = fake.clone().requires_grad_(True), real.clone().requires_grad_(True)
    assert torch.autograd.gradcheck(lambda f, r: torch.stack(list(csp_loss(f, r).values())).sum(), (fake, real))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_finite(dtype: torch.dtype) -> None:
    fake, real = torch.tensor([0.0, 3.0, 6e4], dtype=dtype), torch.tensor([0.0, 1.0, 6e4], dtype=dtype)
    parts = csp_loss(fake, real)
    assert all(torch.isfinite(part) and part.dtype == torch.float32 for part in parts.values())


def test_a_batch_of_one() -> None:
    parts = csp_loss(torch.tensor([1.0]), torch.tensor([1.0]))
    assert parts["penalty"].item() == 0.0


def rows(seed: int, count: int = 12, groups: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    fake = 3 * torch.rand(count, generator=rng, dtype=torch.float64)
    # The last group is never there.
    return fake, torch.randint(groups - 1, (count,), generator=rng)


def test_moving_averages_equal_a_loop() -> None:
    averages = GroupAverages(4, torch.device("cpu"), decay=0.75)
    expected, seen = [1.0] * 4, [0] * 4
    for batch in range(9):
        fake, groups = rows(batch, count=5)
        found = averages.update(fake, groups)
        for group in range(4):
            mine = [value for value, other in zip(fake.tolist(), groups.tolist(), strict=True) if other == group]
            if mine:
                seen[group] += 1
                share = max(0.25, 1 / seen[group])
                expected[group] = (1 - share) * expected[group] + share * sum(mine) / len(mine)
        assert found.tolist() == pytest.approx(expected, abs=1e-6)
    assert expected[3] == 1.0
    assert max(seen) > 4  # both kinds of average have been compared


def test_the_penalty_per_label_and_its_gradient_equal_a_loop() -> None:
    fake, groups = rows(1)
    averages = torch.tensor([0.4, 1.5, 2.0, 99.0])
    psi = fake.clone().requires_grad_(True)
    penalty = label_penalty(psi, groups, averages)
    members = groups.tolist()
    present = sorted(set(members))
    assert present == [0, 1, 2]
    assert penalty.item() == pytest.approx(sum((averages[g].item() - 1) ** 2 for g in present) / 3, abs=1e-6)
    (gradient,) = torch.autograd.grad(penalty, psi)
    for value, group in zip(gradient.tolist(), members, strict=True):
        assert value == pytest.approx(2 * (averages[group].item() - 1) / members.count(group) / 3, abs=1e-6)


def test_with_one_group_and_its_batch_mean_it_is_the_penalty_of_the_batch() -> None:
    fake, _ = rows(2)
    psi, other = fake.clone().requires_grad_(True), fake.clone().requires_grad_(True)
    groups = torch.zeros(len(fake), dtype=torch.int64)
    means, _ = group_means(fake, groups, 1)
    one, whole = label_penalty(psi, groups, means), batch_penalty(other)
    assert one.item() == pytest.approx(whole.item(), abs=1e-9)
    one.backward()
    whole.backward()
    torch.testing.assert_close(psi.grad, other.grad)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_penalty_per_label_stays_finite_in_half_precision(dtype: torch.dtype) -> None:
    fake = torch.full((300,), 6e4, dtype=dtype)
    groups = torch.zeros(300, dtype=torch.int64)
    averages = GroupAverages(2, torch.device("cpu"))
    penalty = label_penalty(fake, groups, averages.update(fake, groups))
    assert penalty.dtype == torch.float32
    assert torch.isfinite(penalty)


def test_averages_go_on_from_their_state() -> None:
    straight, first = GroupAverages(4, torch.device("cpu")), GroupAverages(4, torch.device("cpu"))
    for batch in range(3):
        straight.update(*rows(batch))
        first.update(*rows(batch))
    second = GroupAverages(4, torch.device("cpu"))
    second.load_state_dict({key: value.clone() for key, value in first.state_dict().items()})
    for batch in range(3, 6):
        assert torch.equal(straight.update(*rows(batch)), second.update(*rows(batch)))
