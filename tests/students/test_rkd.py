"""Relational distillation against a golden value, explicit loops and its invariances."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from data.errors import ConfigError
from students.methods import Batch, Features, fitting_methods, make_method
from students.methods.rkd import relations, rkd_losses


def golden() -> tuple[Tensor, Tensor]:
    """Student and teacher logits whose losses are known to ten digits."""
    i = torch.arange(4, dtype=torch.float64)[:, None]
    j = torch.arange(5, dtype=torch.float64)[None, :]
    return 2 * torch.cos(0.5 + 0.9 * i - 0.4 * j) + 1.5, 3 * torch.sin(1 + 1.3 * i + 0.7 * j) + 2


class FakeTeacher:
    """A teacher whose features are the pixels, and that remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Tensor] = []

    def __call__(self, images: Tensor) -> Tensor:
        raise AssertionError("only features are needed")

    differentiable = __call__

    def features(self, images: Tensor) -> Features:
        self.asked.append(images)
        return Features(images.flatten(1))

    def pruned(self, amount: float) -> FakeTeacher:
        raise AssertionError("only features are needed")


def test_golden_value() -> None:
    distance, angle = rkd_losses(*golden())
    assert (25 * distance + 50 * angle).item() == pytest.approx(1.8696127782, abs=1e-9)


def test_relations_equal_loops() -> None:
    rows = golden()[0].tolist()
    distances, cosines = relations(golden()[0])
    length = [[math.dist(a, b) for b in rows] for a in rows]
    mean = sum(map(sum, length)) / 12
    for i, a in enumerate(rows):
        for j, b in enumerate(rows):
            assert distances[i, j].item() == pytest.approx(length[i][j] / mean, abs=1e-12)
            for k, c in enumerate(rows):
                product = sum((x - y) * (x - z) for x, y, z in zip(a, b, c, strict=True))
                expected = product / (length[i][j] * length[i][k]) if i not in (j, k) else 0.0
                assert cosines[i, j, k].item() == pytest.approx(expected, abs=1e-12)


def test_it_is_blind_to_similarity_transforms_of_either_side() -> None:
    student, teacher = golden()
    rng = torch.Generator().manual_seed(0)
    rotation = torch.linalg.qr(torch.randn(5, 5, generator=rng, dtype=torch.float64))[0]
    expected = rkd_losses(student, teacher)
    for pair in ((3.5 * student @ rotation - 2.0, teacher), (student, 0.1 * teacher @ rotation + 7.0)):
        torch.testing.assert_close(rkd_losses(*pair), expected, atol=1e-12, rtol=0)
    for part in rkd_losses(2.0 * teacher @ rotation + 1.0, teacher):
        assert part.item() == pytest.approx(0.0, abs=1e-25)


def test_dimensions_may_differ() -> None:
    student, teacher = golden()
    padded = torch.cat([teacher, torch.zeros(4, 3, dtype=torch.float64)], dim=1)
    torch.testing.assert_close(rkd_losses(student, padded), rkd_losses(student, teacher), atol=1e-14, rtol=0)


def test_gradients_agree_with_finite_differences() -> None:
    student, teacher = golden()
    assert torch.autograd.gradcheck(lambda rows: rkd_losses(rows, teacher), student.requires_grad_(True))


def degenerate() -> dict[str, Tensor]:
    """Batches in which some or all rows coincide, where the root of a squared distance has no gradient."""
    student, _ = golden()
    twice = student.clone()
    twice[3] = twice[0]
    return {"one row": student[:1], "equal rows": student[:1].expand(4, 5).clone(), "a repeated row": twice}


@pytest.mark.parametrize("case", list(degenerate()))
@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_equal_rows_have_finite_gradients(case: str, kind: torch.dtype) -> None:
    rows = degenerate()[case].to(kind).requires_grad_(True)
    for teacher in (golden()[1][: len(rows)].to(kind), rows.detach()):
        distance, angle = rkd_losses(rows, teacher)
        (gradient,) = torch.autograd.grad(distance + angle, rows)
        assert torch.isfinite(distance + angle)
        assert torch.isfinite(gradient).all()
    # The last teacher was the student itself.
    assert (distance + angle).item() == 0
    assert gradient.abs().max() == 0


def test_the_gradient_passes_between_the_other_rows_where_one_is_repeated() -> None:
    rows = degenerate()["a repeated row"].requires_grad_(True)
    (gradient,) = torch.autograd.grad(sum(rkd_losses(rows, golden()[1])), rows)
    assert (gradient.abs().sum(dim=1) > 1e-4).all()


def test_no_gradient_comes_from_where_two_rows_are_equal_or_reaches_the_teacher() -> None:
    rows = degenerate()["a repeated row"].requires_grad_(True)
    distances, cosines = relations(rows)
    for item in (distances[0, 3], cosines[0, 3].sum(), cosines[3, 1, 0]):
        assert torch.autograd.grad(item, rows, retain_graph=True)[0].abs().max() == 0
    teacher = golden()[1].requires_grad_(True)
    torch.autograd.backward(sum(rkd_losses(rows, teacher)))
    assert teacher.grad is None
    assert rows.grad is not None


def test_features_are_those_of_the_images_seen() -> None:
    student, teacher = golden()
    own = student.clone().requires_grad_(True)
    outputs = torch.zeros(4, 1, dtype=torch.float64)
    asked = FakeTeacher()
    images = teacher[:, :, None, None]
    batch = Batch(torch.ones(4, dtype=torch.float64), images=images, student_features=Features(own), live_teacher=asked)
    method = make_method("rkd", {"distance_weight": 2, "angle_weight": 3})
    parts = method(batch, outputs, 0.0)
    distance, angle = rkd_losses(student, teacher)
    assert list(parts) == ["mse", "distance", "angle"]
    assert parts["mse"].item() == 1.0
    torch.testing.assert_close(parts["distance"].detach(), 2 * distance)
    torch.testing.assert_close(parts["angle"].detach(), 3 * angle)
    assert len(asked.asked) == 1
    assert asked.asked[0] is images
    assert torch.autograd.grad(parts["angle"], own)[0].abs().sum() > 0


def test_outputs_take_the_place_of_features() -> None:
    student, teacher = golden()
    labels = torch.tensor([0, 2, 4, 1])
    parts = make_method("rkd", {"on": "outputs"})(Batch(labels, teacher), student, 0.0)
    assert parts["ce"].item() == pytest.approx(1.5627947425, abs=1e-9)
    assert (parts["distance"] + parts["angle"]).item() == pytest.approx(1.8696127782, abs=1e-9)


def test_what_it_needs_and_serves_follows_from_where_it_compares() -> None:
    pooled, outputs = make_method("rkd"), make_method("rkd", {"on": "outputs"})
    assert pooled.needs == {"labels", "student_features", "teacher_features"}
    assert outputs.needs == {"labels", "teacher_outputs"}
    assert pooled.tasks - outputs.tasks == {"scalar", "class+scalar"}
    assert "rkd" in fitting_methods("scalar")


@pytest.mark.parametrize("options", [{"distance_weight": -1}, {"angle_weight": -1}, {"on": "maps"}])
def test_options_out_of_range_are_refused(options: dict[str, float | str]) -> None:
    with pytest.raises(ConfigError, match=f"'{next(iter(options))}' of method 'rkd' must be"):
        make_method("rkd", options)
