from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from students.methods import Batch, LiveTeacher, make_method
from students.methods.input_gradients import gradient_distances, input_gradients

ROWS = 5


class Teacher:
    def __init__(self, network: nn.Module) -> None:
        self.network = network.requires_grad_(False)

    def differentiable(self, images: Tensor) -> Tensor:
        return self.network(images / 255)


def smooth(outputs: int, seed: int) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(1, 3, 3), nn.Softplus(), nn.Flatten(), nn.Linear(48, outputs)).double()


def example(kind: str) -> tuple[Batch, Tensor, nn.Sequential, nn.Sequential]:
    width = {"class": 3, "scalar": 1, "vector": 2}[kind]
    student, network = smooth(width, 1), smooth(width, 2)
    rng = torch.Generator().manual_seed(3)
    images = 255 * torch.rand(ROWS, 1, 6, 6, generator=rng, dtype=torch.float64)
    answers = network(images / 255).detach()
    # The teacher is wrong about the first two rows.
    labels = answers.argmax(1) if kind == "class" else torch.randn(ROWS, width, generator=rng).double()
    if kind == "class":
        labels[:2] = (labels[:2] + 1) % 3
    live: LiveTeacher = Teacher(network)  # type: ignore[assignment]
    batch = Batch(
        labels[:, 0] if kind == "scalar" else labels,
        images=images,
        student=lambda x: student(x / 255),
        live_teacher=live,
        kind=kind,
    )
    return batch, student(images / 255).detach() + 0.1, student, network


def total(batch: Batch, outputs: Tensor, **options: Any) -> Tensor:
    return torch.stack(list(make_method("input_gradients", options)(batch, outputs, 0.0).values())).sum()


def test_gradients_of_a_linear_softmax_in_closed_form() -> None:
    weights = torch.randn(4, 36, dtype=torch.float64)
    images = 255 * torch.rand(ROWS, 1, 6, 6, dtype=torch.float64)
    labels = torch.tensor([0, 1, 2, 3, 0])
    outputs, gradients = input_gradients(lambda x: (x / 255).flatten(1) @ weights.T, images, labels, create_graph=False)
    residual = outputs.softmax(1) - torch.nn.functional.one_hot(labels, 4)
    assert gradients.shape == (1, ROWS, 1, 6, 6)
    torch.testing.assert_close(gradients[0].flatten(1), residual @ weights)
    # Without labels they are those of the outputs: the weights themselves.
    _, rows = input_gradients(lambda x: (x / 255).flatten(1) @ weights.T, images, None, create_graph=False)
    torch.testing.assert_close(rows.flatten(2), weights[:, None].expand(4, ROWS, 36))


def one_image(network: nn.Module, image: Tensor, label: Tensor) -> Tensor:
    pixels = (image[None] / 255).requires_grad_(True)
    return torch.autograd.grad(cross_entropy(network(pixels), label[None]), pixels, create_graph=True)[0]


@pytest.mark.parametrize("only_right", [True, False])
def test_classes_against_a_loop_over_images(only_right: bool) -> None:
    batch, outputs, student, network = example("class")
    found = make_method(
        "input_gradients",
        {"only_right": only_right, "label_weight": 0.3, "teacher_weight": 0.6, "gradient_weight": 2.0},
    )(batch, outputs, 0.0)
    counted = range(2 if only_right else 0, ROWS)
    distance, divergence = [], []
    for row in counted:
        image, label = batch.seen()[row], batch.labels[row]
        distance.append((one_image(student, image, label) - one_image(network, image, label)).norm())
        p, q = network(image[None] / 255).log_softmax(1), outputs[row : row + 1].log_softmax(1)
        divergence.append((p.exp() * (p - q)).sum())
    torch.testing.assert_close(found["label"], 0.3 * cross_entropy(outputs, batch.labels))
    torch.testing.assert_close(found["teacher"], 0.6 * torch.stack(divergence).mean())
    torch.testing.assert_close(found["gradient"], 2 * torch.stack(distance).mean())


@pytest.mark.parametrize("kind", ["scalar", "vector"])
def test_numbers_match_the_jacobian(kind: str) -> None:
    batch, outputs, student, network = example(kind)
    found = make_method("input_gradients")(batch, outputs, 0.0)
    distances = []
    for image in batch.seen() / 255:
        jacobians = [
            torch.autograd.functional.jacobian(lambda x, net=net: net(x[None])[0], image) for net in (student, network)
        ]
        distances.append((jacobians[0] - jacobians[1]).flatten(1).norm(dim=1).mean())
    torch.testing.assert_close(found["gradient"].detach(), torch.stack(distances).mean())
    torch.testing.assert_close(found["label"], 0.5 * mse_loss(outputs, batch.labels.reshape(outputs.shape)))
    torch.testing.assert_close(found["teacher"], 0.5 * mse_loss(outputs, network(batch.seen() / 255)))


@pytest.mark.parametrize("kind", ["class", "vector"])
def test_gradients_reach_the_student_through_the_gradients(kind: str) -> None:
    batch, outputs, student, _ = example(kind)
    bias_free = [weight for name, weight in student.named_parameters() if name != "3.bias"]

    def loss(*weights: Tensor) -> Tensor:
        names = [name for name, _ in student.named_parameters() if name != "3.bias"]

        def ask(images: Tensor) -> Tensor:
            changed = dict(zip(names, weights, strict=True))
            return torch.func.functional_call(student, changed, (images / 255,))

        return total(replace(batch, student=ask), outputs)

    assert torch.autograd.gradcheck(loss, tuple(weight.detach().requires_grad_(True) for weight in bias_free))


def test_second_derivatives_of_the_gradients() -> None:
    student = smooth(3, 1)
    images = torch.rand(2, 1, 6, 6, dtype=torch.float64)
    labels = torch.tensor([0, 2])
    weight = student[3].weight.detach().clone().requires_grad_(True)

    def gradients(weight: Tensor) -> Tensor:
        def ask(x: Tensor) -> Tensor:
            return torch.func.functional_call(student, {"3.weight": weight}, (x,))

        return input_gradients(ask, images, labels, create_graph=True)[1] / 255

    assert torch.autograd.gradcheck(gradients, weight)
    assert torch.autograd.gradgradcheck(gradients, weight)


def test_a_gradient_does_not_depend_on_the_rest_of_the_batch() -> None:
    batch, _, student, _ = example("class")

    def ask(images: Tensor) -> Tensor:
        return student(images / 255)

    whole = input_gradients(ask, batch.seen(), batch.labels, create_graph=False)[1]
    alone = input_gradients(ask, batch.seen()[1:2], batch.labels[1:2], create_graph=False)[1]
    torch.testing.assert_close(whole[:, 1:2], alone)


def test_a_student_that_is_its_teacher_has_no_distance_and_a_finite_gradient() -> None:
    batch, outputs, _, network = example("class")
    twin = smooth(3, 2)
    torch.testing.assert_close(twin[0].weight, network[0].weight)
    part = make_method("input_gradients")(replace(batch, student=lambda x: twin(x / 255)), outputs, 0.0)["gradient"]
    assert float(part.detach()) == pytest.approx(0.0, abs=1e-12)
    torch.autograd.backward(part)
    gradients = [weight.grad for weight in twin.parameters() if weight.grad is not None]
    assert gradients
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def test_a_teacher_that_is_always_wrong_is_not_followed() -> None:
    batch, outputs, _, network = example("class")
    wrong = replace(batch, labels=(network(batch.seen() / 255).argmax(1) + 1) % 3)
    found = make_method("input_gradients")(wrong, outputs, 0.0)
    assert float(found["teacher"]) == 0
    assert float(found["gradient"].detach()) == 0
    assert float(found["label"]) > 0


def test_real_networks_with_batch_normalisation_can_be_differentiated_twice() -> None:
    from students.networks import make_network

    torch.manual_seed(1)
    student = make_network("convnet", {"channels": 4}, (1, 8, 8), 3).train()
    teacher = make_network("convnet", {"channels": 6}, (1, 8, 8), 3).eval()
    live: LiveTeacher = Teacher(teacher)  # type: ignore[assignment]
    images = torch.randint(0, 256, (6, 1, 8, 8)).float()
    batch = Batch(
        torch.arange(6) % 3, images=images, student=lambda x: student(x / 255), live_teacher=live, kind="class"
    )
    torch.autograd.backward(total(batch, student(images / 255), only_right=False))
    assert all(torch.isfinite(weight.grad).all() for weight in student.parameters())
    assert all(weight.grad is None for weight in teacher.parameters())
    assert images.grad is None


def test_distances_are_euclidean() -> None:
    student, teacher = torch.zeros(2, 1, 1, 1, 2), torch.tensor([[3.0, 4.0], [0.0, 2.0]]).reshape(2, 1, 1, 1, 2)
    assert gradient_distances(student, teacher).tolist() == [3.5]
