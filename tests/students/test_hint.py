"""FitNets hints against explicit loops, a fit in closed form, and their refusals."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from data.errors import ConfigError
from students.label_loss import label_loss
from students.methods import Batch, Features, Method, Sizes, auxiliary_of, make_method
from students.methods.hint import hint_loss, pooled_to_smaller
from students.methods.joint import Joint

ROWS = 7


class FixedTeacher:
    """A teacher with the same features for all images of one size."""

    def __init__(self, features: Features) -> None:
        self.known = features
        self.asked: list[Tensor] = []

    def __call__(self, images: Tensor) -> Tensor:
        raise AssertionError("only features are needed")

    differentiable = __call__

    def features(self, images: Tensor) -> Features:
        self.asked.append(images)
        return self.known

    def pruned(self, amount: float) -> FixedTeacher:
        raise AssertionError("only features are needed")


def features(channels: int, sides: tuple[int, ...], seed: int) -> Features:
    rng = torch.Generator().manual_seed(seed)
    maps = tuple(torch.randn(ROWS, channels, side, side, generator=rng, dtype=torch.float64) for side in sides)
    return Features(torch.randn(ROWS, channels + 1, generator=rng, dtype=torch.float64), maps)


def one_image(found: Features) -> Features:
    return Features(found.pooled[:1], tuple(item[:1] for item in found.maps))


def test_maps_of_one_size_stay_and_others_are_averaged() -> None:
    wide, narrow = features(2, (8,), 0).maps[0], features(2, (4,), 1).maps[0]
    for pair in ((wide, narrow), (narrow, wide)):
        averaged = dict(zip(("first", "second"), pooled_to_smaller(*pair), strict=True))
        big = averaged["first" if pair[0] is wide else "second"]
        for row in range(4):
            for column in range(4):
                window = wide[:, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
                torch.testing.assert_close(big[:, :, row, column], window.mean(dim=(2, 3)))
        assert torch.equal(averaged["second" if pair[0] is wide else "first"], narrow)
    assert all(item is wide for item in pooled_to_smaller(wide, wide))


def test_each_side_takes_its_own_minimum() -> None:
    first, second = pooled_to_smaller(torch.zeros(1, 1, 6, 2), torch.zeros(1, 3, 3, 4))
    assert first.shape == (1, 1, 3, 2)
    assert second.shape == (1, 3, 3, 2)


def test_hints_equal_a_loop() -> None:
    student, teacher = features(2, (4,), 2).maps[0], features(3, (4,), 3).maps[0]
    regressor = nn.Conv2d(2, 3, 1).double()
    total = 0.0
    for image in range(ROWS):
        for row in range(4):
            for column in range(4):
                predicted = regressor.weight[:, :, 0, 0] @ student[image, :, row, column] + regressor.bias
                total += (predicted - teacher[image, :, row, column]).square().sum().item()
    loss = hint_loss(student, teacher.requires_grad_(True), regressor)
    assert loss.item() == pytest.approx(total / (ROWS * 3 * 16), abs=1e-12)
    torch.autograd.backward(loss)
    assert teacher.grad is None


@pytest.mark.parametrize(
    ("on", "layer", "shape"),
    [("maps", -2, (3, 2, 1, 1)), ("maps", 0, (3, 2, 1, 1)), ("pooled", -2, (4, 3))],
)
def test_the_regressor_can_be_the_least_squares_fit(on: str, layer: int, shape: tuple[int, ...]) -> None:
    """With the weights that torch's solver finds, the loss is the solver's residual and flat in the weights."""
    student, known = features(2, (8, 4, 2), 4), features(3, (8, 2, 2), 5)
    teacher = FixedTeacher(known)
    method = make_method("hint", {"on": on, "layer": layer, "hint_weight": 7})
    regressor = auxiliary_of(method, Sizes(1, one_image(student), one_image(known)))
    assert regressor is not None
    regressor.double()
    assert next(iter(regressor.parameters())).shape == shape
    assert not list(regressor.buffers())

    own = student.pooled if on == "pooled" else student.maps[layer]
    pair = (own, known.pooled if on == "pooled" else known.maps[layer])
    inputs, targets = (
        item.movedim(1, -1).reshape(-1, item.shape[1])
        for item in (pair if on == "pooled" else pooled_to_smaller(*pair))
    )
    inputs = torch.cat([inputs, torch.ones(len(inputs), 1, dtype=torch.float64)], dim=1)
    solution = torch.linalg.lstsq(inputs, targets).solution
    best = inputs @ solution
    with torch.no_grad():
        if isinstance(regressor, nn.Linear):
            regressor.weight.copy_(solution[:-1].T)
            regressor.bias.copy_(solution[-1])
        else:
            convolution, normalisation = regressor.children()
            convolution.weight.copy_(solution[:-1].T[:, :, None, None])
            normalisation.weight.copy_((best.var(dim=0, unbiased=False) + normalisation.eps).sqrt())
            normalisation.bias.copy_(best.mean(dim=0))

    own.requires_grad_(True)
    images = torch.zeros(ROWS, 1, 8, 8)
    labels = torch.ones(ROWS, dtype=torch.float64)
    batch = Batch(labels, images=images, student_features=student, live_teacher=teacher, auxiliary=regressor)
    parts = method(batch, torch.zeros(ROWS, 1, dtype=torch.float64), 0.0)
    assert parts["mse"].item() == 1.0
    assert parts["hint"].item() == pytest.approx(7 * (best - targets).square().mean().item(), abs=1e-12)
    assert all(item is images for item in teacher.asked)
    torch.autograd.backward(parts["hint"])
    for parameter in regressor.parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().max() < 1e-10
    # The student's features can still come closer.
    assert own.grad is not None
    assert own.grad.abs().max() > 1e-3


def test_descent_at_the_rate_of_the_protocol_is_stable() -> None:
    """The regressor normalises: on these maps descent on a bare convolution diverges."""
    student, known = features(32, (8, 4), 9), features(32, (8, 4), 10)
    student = Features(student.pooled, tuple(3.0 * level.relu() for level in student.maps))
    known = Features(known.pooled, tuple(level.relu() for level in known.maps))
    method = make_method("hint")
    regressor = auxiliary_of(method, Sizes(1, one_image(student), one_image(known)))
    assert regressor is not None
    regressor.double()
    batch = Batch(
        torch.ones(ROWS, dtype=torch.float64),
        images=torch.zeros(ROWS, 1, 8, 8),
        student_features=student,
        live_teacher=FixedTeacher(known),
    )
    bare = nn.Conv2d(32, 32, 1).double()
    first, last = descended(method, batch, regressor)
    assert last < 0.5 * first
    first, last = descended(method, batch, bare)
    assert not last < 1e6 * first


def descended(method: Method, batch: Batch, regressor: nn.Module) -> tuple[float, float]:
    """The hint's part before and after 60 steps of descent on the regressor alone."""
    descent = torch.optim.SGD(regressor.parameters(), lr=0.05, momentum=0.9)
    losses = []
    for _ in range(60):
        loss = method(replace(batch, auxiliary=regressor), torch.ones(ROWS, 1, dtype=torch.float64), 0.0)["hint"]
        losses.append(loss.item())
        descent.zero_grad()
        torch.autograd.backward(loss)
        descent.step()
    return losses[0], losses[-1]


def test_labels_are_learnt_by_their_kind() -> None:
    rng = torch.Generator().manual_seed(6)
    outputs = torch.randn(ROWS, 3, generator=rng, dtype=torch.float64)
    values = torch.randn(ROWS, 1, generator=rng, dtype=torch.float64)
    classes = torch.arange(ROWS) % 2
    soft = torch.nn.functional.one_hot(classes, 3).double()
    hard = torch.nn.functional.cross_entropy(outputs, classes)
    torch.testing.assert_close(label_loss(Batch(classes), outputs), {"ce": hard})
    torch.testing.assert_close(label_loss(Batch(soft, kind="class"), outputs), {"ce": hard})
    square = (outputs - soft).square().mean()
    torch.testing.assert_close(label_loss(Batch(soft, kind="vector"), outputs), {"mse": square})
    torch.testing.assert_close(
        label_loss(Batch(values[:, 0]), outputs[:, :1])["mse"], (outputs[:, :1] - values).square().mean()
    )
    both = Batch(classes % 2, values=values, kind="class+scalar")
    torch.testing.assert_close(label_loss(both, outputs), Joint()(both, outputs, 0.0))


def test_a_layer_that_is_not_there_is_refused() -> None:
    method = make_method("hint", {"layer": 2})
    two, none = one_image(features(2, (8, 4), 7)), Features(torch.zeros(1, 2))
    three = one_image(features(2, (8, 4, 2), 8))
    with pytest.raises(ConfigError, match="one of the 2 feature maps of the teacher, got 2; try -1"):
        auxiliary_of(method, Sizes(1, three, two))
    with pytest.raises(ConfigError, match="one of the 0 feature maps of the student, got 2; try on: pooled"):
        auxiliary_of(method, Sizes(1, none, three))
    assert auxiliary_of(make_method("hint", {"on": "pooled"}), Sizes(1, none, none)) is not None
    with pytest.raises(ValueError, match="must have features of student and teacher"):
        auxiliary_of(method, Sizes(1, three))


@pytest.mark.parametrize("options", [{"hint_weight": 0}, {"on": "outputs"}, {"layer": 1.5}])
def test_options_out_of_range_are_refused(options: dict[str, float | str]) -> None:
    with pytest.raises(ConfigError, match=f"'{next(iter(options))}' of method 'hint' must be"):
        make_method("hint", options)
