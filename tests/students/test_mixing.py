import math
from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from students import mixing
from students.mixing import Mixed, beta, cutmix, cutmix_pick, cutout, mixup, partners
from students.policies import POLICIES, autoaugment, randaugment

Mix = Callable[..., Mixed]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(rows: int = 6, channels: int = 3, height: int = 12, width: int = 10) -> Tensor:
    return torch.randint(0, 256, (rows, channels, height, width), generator=generator(99)).float()


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_coefficients_follow_beta(alpha: float) -> None:
    rng = generator(1)
    draws = np.array([float(beta(alpha, rng)) for _ in range(4000)])
    assert stats.kstest(draws, "beta", args=(alpha, alpha)).pvalue > 0.01
    assert stats.kstest(draws, "beta", args=(alpha * 2, alpha)).pvalue < 1e-6


def test_coefficients_of_a_tiny_alpha_are_nearly_all_0_or_1() -> None:
    rng = generator(4)
    draws = np.array([float(beta(1e-3, rng)) for _ in range(4000)])
    assert np.isfinite(draws).all()
    # P(0.01 < B < 0.99) is about 0.0046; ratios of gamma draws that underflowed would be 0 / 0.
    inside = stats.beta(1e-3, 1e-3).cdf([0.01, 0.99])
    assert stats.binomtest(int(((draws > 0.01) & (draws < 0.99)).sum()), 4000, inside[1] - inside[0]).pvalue > 0.01
    assert stats.binomtest(int((draws > 0.5).sum()), 4000, 0.5).pvalue > 0.01
    # The smaller half over three hundred powers of ten, where float64 still has numbers.
    small = draws[(draws > 1e-300) & (draws < 0.5)]
    low, middle = stats.beta(1e-3, 1e-3).cdf([1e-300, 0.5])
    found = stats.kstest(small, lambda x: (stats.beta(1e-3, 1e-3).cdf(x) - low) / (middle - low))
    assert len(small) > 500
    assert found.pvalue > 0.01


def test_a_derangement_is_uniform_among_the_cycles() -> None:
    rng = generator(2)
    counts: dict[tuple[int, ...], int] = {}
    for _ in range(6000):
        found = tuple(partners(4, rng).tolist())
        counts[found] = counts.get(found, 0) + 1

    def is_cycle(order: tuple[int, ...]) -> bool:
        place, length = order[0], 1
        while place != 0:
            place, length = order[place], length + 1
        return length == len(order)

    assert set(counts) == {order for order in permutations(range(4)) if is_cycle(order)}
    assert stats.chisquare(list(counts.values())).pvalue > 0.01


@pytest.mark.parametrize("rows", [2, 3, 64, 257])
def test_a_derangement_has_no_fixed_point(rows: int) -> None:
    rng = generator(3)
    for _ in range(20):
        found = partners(rows, rng)
        assert sorted(found.tolist()) == list(range(rows))
        assert not (found == torch.arange(rows)).any()


def test_a_plain_permutation_has_fixed_points_and_a_single_row_is_its_own_partner() -> None:
    rng = generator(4)
    plain = torch.stack([partners(5, rng, deranged=False) for _ in range(200)])
    assert (plain == torch.arange(5)).any()
    assert torch.equal(plain.sort(dim=1).values, torch.arange(5).expand(200, 5))
    assert partners(1, rng).tolist() == [0]


def test_mixup_is_the_convex_combination() -> None:
    x = images()
    mixed = mixup(x, generator(5), alpha=0.7)
    share = float(mixed.coefficient)
    assert 0 < share < 1
    for row in range(len(x)):
        torch.testing.assert_close(mixed.images[row], share * x[row] + (1 - share) * x[mixed.partner[row]])


@pytest.mark.parametrize("mix", [mixup, cutmix])
@pytest.mark.parametrize("alone", [False, True])
def test_coefficient_one_changes_nothing(mix: Mix, alone: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixing, "beta", lambda alpha, rng: torch.tensor(1.0, dtype=torch.float64))
    x = images(1 if alone else 6)
    mixed = mix(x, generator(6))
    assert torch.equal(mixed.images, x)
    assert mixed.coefficient == 1


def test_a_single_image_is_mixed_with_itself() -> None:
    x = images(1)
    torch.testing.assert_close(mixup(x, generator(7)).images, x)
    assert torch.equal(cutmix(x, generator(7)).images, x)


def test_cutmix_pastes_one_box_whose_area_is_the_coefficient() -> None:
    # Pixels tell whose they are: all of image i have the grey level i.
    x = torch.arange(6.0)[:, None, None, None].expand(6, 3, 12, 10)
    sizes = set()
    for seed in range(200):
        mixed = cutmix(x, generator(seed))
        foreign = mixed.images != x
        assert torch.equal(mixed.images, torch.where(foreign[:1], x[mixed.partner], x))
        assert not (mixed.partner == torch.arange(6)).any()
        rows, columns = foreign[0, 0].any(1), foreign[0, 0].any(0)
        assert torch.equal(foreign[0, 0], rows[:, None] & columns[None])
        for line in (rows, columns):
            assert len(line.nonzero()) == 0 or int(line.nonzero().max() - line.nonzero().min()) + 1 == int(line.sum())
        assert float(mixed.coefficient) == pytest.approx(1 - float(foreign[0, 0].float().mean()), abs=1e-6)
        sizes.add(int(foreign[0, 0].sum()))
    assert 0 in sizes
    assert len(sizes) > 20


def test_boxes_of_cutmix_have_the_side_and_place_of_the_release(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixing, "beta", lambda alpha, rng: torch.tensor(0.64, dtype=torch.float64))
    x, rng = images(4, 1, 20, 10), generator(8)
    state = rng.get_state()
    found = cutmix(x, rng).images
    rng.set_state(state)
    top, left = (int(torch.randint(0, length, (1,), generator=rng)) for length in (20, 10))
    partner = partners(4, rng)
    expected = x.clone()
    half_height, half_width = int(20 * math.sqrt(0.36)) // 2, int(10 * math.sqrt(0.36)) // 2
    assert (half_height, half_width) == (6, 3)
    for row in range(4):
        for i in range(max(0, top - half_height), min(20, top + half_height)):
            for j in range(max(0, left - half_width), min(10, left + half_width)):
                expected[row, :, i, j] = x[int(partner[row]), :, i, j]
    assert torch.equal(found, expected)


def test_centres_of_boxes_are_uniform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixing, "beta", lambda alpha, rng: torch.tensor(0.96, dtype=torch.float64))
    x, rng = torch.stack([torch.zeros(1, 10, 10), torch.ones(1, 10, 10)]), generator(9)
    # The box is 2x2 pixels, from centre - 1 to centre, so that each pixel's lower right one counts the centres.
    counts = np.zeros((10, 10))
    for _ in range(3000):
        rows, columns = (cutmix(x, rng).images[0, 0] == 1).nonzero(as_tuple=True)
        counts[int(rows.max()), int(columns.max())] += 1
    assert stats.chisquare(counts.ravel()).pvalue > 0.01


@pytest.mark.parametrize("side", [3, 4])
def test_cutout_has_one_hole_for_all(side: int) -> None:
    x, fill = torch.full((5, 3, 12, 10), 200.0), torch.tensor([1.0, 2.0, 3.0])
    whole = False
    for seed in range(60):
        found = cutout(x, generator(seed), side=side, fill=fill)
        hole = found[0, 0] == 1.0
        assert torch.equal(found, torch.where(hole, fill[:, None, None], x))
        assert 1 <= int(hole.any(1).sum()) <= side
        assert 1 <= int(hole.any(0).sum()) <= side
        whole |= int(hole.sum()) == side**2
    assert whole


def test_cutout_has_a_hole_of_its_own_in_each_image() -> None:
    sides = torch.tensor([0, 1, 4, 4, 4, 7])
    found = cutout(torch.ones(6, 2, 12, 10), generator(1), side=sides, fill=0.0)
    counts = (found[:, 0] == 0).sum(dim=(1, 2))
    assert counts[0] == 0
    assert counts[1] == 1
    assert (counts <= sides**2).all()
    assert len({tuple(image.flatten().tolist()) for image in found[2:5]}) > 1


def test_cutmix_pick_keeps_the_most_uncertain_of_all_runs() -> None:
    x, seen = images(5), []
    projection = torch.randn(360, 4, generator=generator(10)) / 500

    def ask(mixed: Tensor) -> Tensor:
        seen.append(mixed)
        return mixed.flatten(1) @ projection

    picked, logits = cutmix_pick(x, generator(11), ask, runs=3)
    assert [len(part) for part in seen] == [5, 5, 5]
    rng = generator(11)
    pool = torch.cat([cutmix(x, rng).images for _ in range(3)])
    assert torch.equal(pool, torch.cat(seen))
    entropies = [stats.entropy(row) for row in ask(pool).double().softmax(dim=1).numpy()]
    best = sorted(range(15), key=lambda row: -entropies[row])[:5]
    assert torch.equal(picked, pool[best])
    torch.testing.assert_close(logits, ask(pool[best]))


def test_one_run_of_cutmix_pick_is_cutmix() -> None:
    x = images(5)
    picked, _ = cutmix_pick(x, generator(12), lambda mixed: mixed.mean(dim=(2, 3)), runs=1)
    mixed = cutmix(x, generator(12)).images
    assert {row.numpy().tobytes() for row in picked} == {row.numpy().tobytes() for row in mixed}


FUNCTIONS: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    "mixup": lambda x, rng: mixup(x, rng, alpha=0.2).images,
    "cutmix": lambda x, rng: cutmix(x, rng, deranged=False).images,
    "cutout": lambda x, rng: cutout(x, rng, side=5, fill=0.0),
    "pick": lambda x, rng: cutmix_pick(x, rng, lambda mixed: mixed.mean(dim=(2, 3)))[0],
    "randaugment": lambda x, rng: randaugment(x, rng),
    **{policy: lambda x, rng, policy=policy: autoaugment(x, rng, policy) for policy in POLICIES},
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_all_are_pure_functions_of_the_generator(name: str, channels: int) -> None:
    change, x = FUNCTIONS[name], images(6, channels)
    before = x.clone()
    torch.manual_seed(5)
    state = torch.get_rng_state()
    results = []
    for seed in range(12):
        first = change(x, generator(seed))
        torch.rand(3)
        assert torch.equal(first, change(x, generator(seed)))
        torch.set_rng_state(state)
        change(x, generator(seed))
        assert torch.equal(torch.get_rng_state(), state), "the global generator was used"
        rng = generator(seed)
        change(x, rng)
        assert not torch.equal(rng.get_state(), generator(seed).get_state())
        results.append(first)
        assert first.shape == x.shape
        assert first.dtype == x.dtype
        assert first.min() >= 0
        assert first.max() <= 255
    assert torch.equal(x, before)
    assert len({result.numpy().tobytes() for result in results}) > 3


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_memory_format_changes_nothing(name: str) -> None:
    x = images()
    there = FUNCTIONS[name](x.contiguous(memory_format=torch.channels_last), generator(3))
    assert torch.equal(there, FUNCTIONS[name](x, generator(3)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
@pytest.mark.parametrize("mix", [mixup, cutmix])
def test_the_type_stays(mix: Mix, dtype: torch.dtype) -> None:
    mixed = mix(images().to(dtype), generator(4))
    assert mixed.images.dtype == mixed.coefficient.dtype == dtype
    torch.testing.assert_close(mixed.images.float(), mix(images(), generator(4)).images, rtol=2e-3, atol=0.3)


def test_autoaugment_is_that_of_torchvision() -> None:
    from torchvision.transforms.autoaugment import AutoAugmentPolicy
    from torchvision.transforms.v2 import AutoAugment

    x = images()
    for seed in range(10):
        found = autoaugment(x, generator(seed), "svhn")
        torch.manual_seed(int(torch.randint(0, 2**62, (), generator=generator(seed))))
        assert torch.equal(found, AutoAugment(AutoAugmentPolicy.SVHN)(x.to(torch.uint8)).float())


def test_policies_name_what_they_cannot_take() -> None:
    from data.errors import ConfigError

    with pytest.raises(ConfigError, match="1 or 3 channels, got 4"):
        autoaugment(images(2, 4), generator())
    with pytest.raises(ConfigError, match="cifar10, imagenet, svhn, got 'mnist'"):
        autoaugment(images(), generator(), "mnist")


@pytest.mark.gpu
@pytest.mark.parametrize("name", FUNCTIONS)
def test_all_run_on_a_gpu_with_its_own_generator(name: str) -> None:
    x = images().cuda()
    first, second = (FUNCTIONS[name](x, torch.Generator("cuda").manual_seed(3)) for _ in range(2))
    assert first.device == x.device
    assert first.shape == x.shape
    assert torch.equal(first, second)
