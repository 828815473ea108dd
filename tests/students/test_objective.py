"""What a method is given, and how real and synthetic rows are weighed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from data.compute import Compute
from data.labels import LabelSpace
from students.live import NetworkTeacher
from students.methods import Batch, ErrorStatistics, Sizes, make_method
from students.methods.ce import CrossEntropy, cross_entropy
from students.model import ImageModel, build_model
from students.objective import Objective, Trained, make_auxiliary

CPU = Compute(torch.device("cpu"))
SCALAR = LabelSpace("scalar", maximum=90.0)
CLASSES = LabelSpace("class", ("a", "b", "c"))


def model(seed: int = 0, space: LabelSpace = CLASSES, scale: float = 1.0) -> ImageModel:
    torch.manual_seed(seed)
    mean = 0.0 if space.kind == "class" else 40.0
    return build_model("convnet", {"channels": 4}, (1, 8, 8), space, np.full(1, 90.0), np.full(1, 50.0), mean, scale)


@dataclass(frozen=True)
class Recording:
    """Keeps the batches that it is given."""

    needs: frozenset[str]
    tasks: frozenset[str] = frozenset({"class"})
    seen: list[tuple[Batch, torch.Tensor]] = field(default_factory=list)

    def __call__(self, batch: Batch, outputs: torch.Tensor, progress: float) -> dict[str, torch.Tensor]:
        self.seen.append((batch, outputs))
        return {"sum": outputs.sum()}


def objective(method: Any, trained: Trained, shares: tuple[int, ...] = (6,), **changes: Any) -> Objective:
    return Objective(method, trained, trained.auxiliary, kind="class", compute=CPU, shares=shares, **changes)


def images(count: int = 6) -> torch.Tensor:
    return torch.randint(0, 256, (count, 1, 8, 8), generator=torch.Generator().manual_seed(3)).to(torch.uint8)


RNG = torch.Generator()


def test_a_method_is_given_what_it_needs_and_nothing_else() -> None:
    own, other = model(0), NetworkTeacher(model(1), CPU, torch.zeros(()), torch.ones(()))
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    modest = Recording(frozenset({"labels"}))
    objective(modest, Trained(own, None))(images(), Batch(labels), 0.0, RNG)
    batch, outputs = modest.seen[0]
    assert (batch.images, batch.student, batch.student_features, batch.live_teacher) == (None,) * 4
    assert (batch.rng, batch.kind) == (RNG, "class")
    torch.testing.assert_close(outputs, own(images()))

    auxiliary, errors = nn.Linear(2, 2), ErrorStatistics(0.0, 1.0, 0.5, 0.1)
    greedy = Recording(frozenset({"labels", "student", "student_features", "live_teacher"}))
    trained = Trained(own.train(), auxiliary)
    objective(greedy, trained, teacher=other, errors=errors)(images(), Batch(labels), 0.0, RNG)
    batch, outputs = greedy.seen[0]
    assert torch.equal(batch.seen(), images().float())
    assert batch.seen().dtype == torch.float32
    assert batch.own_network() is auxiliary
    assert batch.error_statistics() is errors
    torch.testing.assert_close(batch.ask_student(batch.seen()), outputs)
    last = [module for module in own.modules() if isinstance(module, nn.Linear)][-1]
    torch.testing.assert_close(last(batch.features().pooled), outputs)
    outputs.sum().backward()
    assert batch.features().pooled.requires_grad


def test_outputs_are_standardised_for_the_method() -> None:
    own = model(0, SCALAR, scale=5.0)
    method = Recording(frozenset({"labels"}))
    objective(method, Trained(own, None))(images(), Batch(torch.zeros(6)), 0.0, RNG)
    torch.testing.assert_close(method.seen[0][1], (own(images()) - 40.0) / 5.0)


@pytest.mark.parametrize("weight", [0.25, 3.0])
def test_a_synthetic_row_counts_its_weight(weight: float) -> None:
    own = model().eval()
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    found = objective(CrossEntropy(), Trained(own, None), (2, 4), synthetic_weight=weight)(
        images(), Batch(labels), 0.0, RNG
    )
    outputs = own(images())
    each = [cross_entropy(outputs[row : row + 1], labels[row : row + 1]).item() for row in range(6)]
    rows = [1.0, 1.0] + [weight] * 4
    expected = sum(a * b for a, b in zip(rows, each, strict=True)) / sum(rows)
    assert found["ce"].item() == pytest.approx(expected, rel=1e-5)


def test_real_and_synthetic_rows_are_seen_apart_with_all_that_belongs_to_them() -> None:
    own = model().eval()
    method = Recording(frozenset({"labels", "student", "student_features"}))
    batch = Batch(torch.arange(6), torch.arange(6.0)[:, None], torch.arange(6.0)[:, None])
    whole = objective(method, Trained(own, None), (2, 4), synthetic_weight=0.5)
    parts = whole(images(), batch, 0.0, RNG)
    (real, first), (synthetic, second) = method.seen
    assert (real.labels.tolist(), synthetic.labels.tolist()) == ([0, 1], [2, 3, 4, 5])
    assert (real.teacher()[:, 0].tolist(), synthetic.teacher()[:, 0].tolist()) == ([0, 1], [2, 3, 4, 5])
    assert synthetic.both()[1][:, 0].tolist() == [2, 3, 4, 5]
    assert torch.equal(synthetic.seen(), images()[2:].float())
    assert [len(item.features().pooled) for item in (real, synthetic)] == [2, 4]
    torch.testing.assert_close(synthetic.features().maps[0], own.with_features(images())[1].maps[0][2:])
    torch.testing.assert_close(torch.cat([first, second]), own(images()))
    torch.testing.assert_close(parts["sum"], first.sum() * 2 / 4 + second.sum() * 2 / 4)


def test_one_pass_serves_both_parts_so_that_batchnorm_sees_the_whole_batch() -> None:
    own = model().train()
    method = Recording(frozenset({"labels"}))
    objective(method, Trained(own, None), (2, 4), synthetic_weight=0.5)(images(), Batch(torch.arange(6)), 0.0, RNG)
    assert int(next(module for module in own.modules() if isinstance(module, nn.BatchNorm2d)).num_batches_tracked) == 1
    torch.testing.assert_close(torch.cat([outputs for _, outputs in method.seen]), own(images()))


def test_an_auxiliary_network_is_made_for_the_sizes_that_are_asked_for() -> None:
    found: list[Sizes] = []

    @dataclass(frozen=True)
    class Making:
        needs: frozenset[str]
        tasks: frozenset[str] = frozenset({"class"})

        def auxiliary(self, sizes: Sizes) -> nn.Module:
            found.append(sizes)
            return nn.Linear(3, 3)

        def __call__(self, batch: Batch, outputs: torch.Tensor, progress: float) -> dict[str, torch.Tensor]:
            return {}

    own, other = model(0).train(), model(1)
    before = {name: item.clone() for name, item in own.state_dict().items()}
    plain = make_auxiliary(Making(frozenset()), own, other, (1, 8, 8), 7)
    torch.rand(3)
    full = make_auxiliary(Making(frozenset({"student_features", "teacher_features"})), own, other, (1, 8, 8), 7)
    assert (found[0].outputs, found[0].student, found[0].teacher) == (3, None, None)
    assert found[1].student is not None
    assert found[1].teacher is not None
    assert found[1].student.pooled.shape == (1, own.feature_size)
    assert isinstance(plain, nn.Linear)
    assert isinstance(full, nn.Linear)
    assert torch.equal(plain.weight, full.weight)
    assert own.training
    assert all(torch.equal(item, before[name]) for name, item in own.state_dict().items())
    assert make_auxiliary(CrossEntropy(), own, None, (1, 8, 8), 7) is None


def test_a_live_teacher_answers_in_the_students_standard_deviations_and_gets_no_gradient() -> None:
    network = model(1, SCALAR, scale=5.0).train()
    live = NetworkTeacher(network, CPU, torch.tensor(30.0), torch.tensor(2.0))
    grey = images().float().requires_grad_()
    answers = live(grey)
    assert not network.training
    torch.testing.assert_close(answers, (network(images()) - 30.0) / 2.0)
    assert not answers.requires_grad
    with torch.no_grad():
        differentiable = live.differentiable(grey)
    differentiable.sum().backward()
    assert grey.grad is not None
    assert float(grey.grad.abs().sum()) > 0
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not live.features(grey).pooled.requires_grad
    assert live.pruned(0.5) is live.pruned(0.5)
    assert live.pruned(0.5) is not live.pruned(0.4)
    torch.testing.assert_close(live.pruned(0.0)(grey), answers)
    assert not torch.equal(live.pruned(0.5)(grey), answers)


@dataclass(frozen=True)
class Asking:
    """Asks the student and the teacher again, and tells whether half precision was on in the networks."""

    needs: frozenset[str]
    tasks: frozenset[str] = frozenset({"class"})

    def __call__(self, batch: Batch, outputs: torch.Tensor, progress: float) -> dict[str, torch.Tensor]:
        batch.asked().differentiable(batch.seen())
        return {"sum": outputs.sum() + batch.ask_student(batch.seen()).sum()}


@pytest.mark.parametrize(("gradients", "expected"), [(False, [True, False, True]), (True, [True, False, False])])
def test_passes_that_are_differentiated_by_pixels_are_not_in_half_precision(
    gradients: bool, expected: list[bool]
) -> None:
    half = Compute(torch.device("cpu"), torch.bfloat16)
    found: list[bool] = []
    own, other = model(0), model(1)
    for network in (own, other):
        network.network.register_forward_pre_hook(lambda *_: found.append(torch.is_autocast_enabled("cpu")))
    needs = frozenset({"labels", "student", "live_teacher"} | ({"input_gradients"} if gradients else set()))
    Objective(
        Asking(needs), Trained(own, None), None, kind="class", compute=half, shares=(6,),
        teacher=NetworkTeacher(other, half, torch.zeros(()), torch.ones(())),
    )(images(), Batch(torch.arange(6) % 3), 0.0, RNG)  # fmt: skip
    assert found == expected


@pytest.mark.parametrize(("weight", "expected"), [(1.0, [6, 6]), (0.5, [6, 2, 4])])
def test_passes_of_the_method_itself_are_done_for_each_part(weight: float, expected: list[int]) -> None:
    own = model()
    found: list[int] = []
    own.network.register_forward_pre_hook(lambda _, inputs: found.append(len(inputs[0])))
    method = make_method("mixup_kd")
    whole = objective(method, Trained(own, None), (2, 4), synthetic_weight=weight)
    whole(images(), Batch(torch.arange(6) % 3, torch.zeros(6, 3)), 0.0, torch.Generator().manual_seed(1))
    assert found == expected
