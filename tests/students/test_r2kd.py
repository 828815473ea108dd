"""R2KD against the golden values of its formulas, explicit loops and the release's composition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from data.errors import ConfigError
from students.methods import Batch, LiveTeacher, check_fits, make_method
from students.methods.r2kd import RobustnessReinforced, rank_loss, value_distances, value_loss
from students.mixing import cutmix, cutmix_pick, cutout, mixup
from students.policies import autoaugment
from students.pruning import pruned_copy

ROW, COLUMN = torch.arange(4.0, dtype=torch.float64)[:, None], torch.arange(5.0, dtype=torch.float64)[None]
TEACHER = 3 * torch.sin(1 + 1.3 * ROW + 0.7 * COLUMN) + 2
STUDENT = 2 * torch.cos(0.5 + 0.9 * ROW - 0.4 * COLUMN) + 1.5


class Teacher:
    """A teacher over any network; counts what it was asked."""

    def __init__(self, network: nn.Module) -> None:
        self.network, self.asked, self.copies = network.eval(), 0, dict[float, Teacher]()

    def __call__(self, images: Tensor) -> Tensor:
        self.asked += len(images)
        with torch.no_grad():
            return self.network(images / 255)

    def pruned(self, amount: float) -> Teacher:
        if amount not in self.copies:
            self.copies[amount] = Teacher(pruned_copy(self.network, amount))
        return self.copies[amount]


def networks(outputs: int) -> tuple[nn.Sequential, nn.Sequential]:
    torch.manual_seed(3)
    teacher, student = (
        nn.Sequential(nn.Conv2d(3, 6, 3), nn.Softplus(), nn.Flatten(), nn.Linear(216, outputs)).double()
        for _ in range(2)
    )
    return teacher, student


def example(kind: str = "class", rows: int = 5) -> tuple[Batch, Tensor, nn.Module, Teacher]:
    outputs = {"class": 4, "scalar": 1, "vector": 3}[kind]
    network, student = networks(outputs)
    rng = torch.Generator().manual_seed(rows)
    images = torch.randint(0, 256, (rows, 3, 8, 8), generator=rng).double()
    labels = torch.arange(rows) % 4 if kind == "class" else torch.randn(rows, outputs, generator=rng).double()
    teacher = Teacher(network)
    live: LiveTeacher = teacher  # type: ignore[assignment]
    batch = Batch(
        labels[:, 0] if kind == "scalar" else labels,
        teacher_outputs=network(images / 255).detach(),
        images=images,
        student=lambda other: student(other / 255),
        live_teacher=live,
        rng=torch.Generator().manual_seed(7),
        kind=kind,
    )
    return batch, student(images / 255), student, teacher


def parts(batch: Batch, outputs: Tensor, **options: Any) -> dict[str, Tensor]:
    return make_method("r2kd", options)(batch, outputs, 0.5)


def test_golden_values() -> None:
    rows, columns = value_distances((STUDENT / 4).softmax(1), (TEACHER / 4).softmax(1))
    assert float(rows) == pytest.approx(0.0756484597, abs=5e-11)
    assert float(columns) == pytest.approx(0.0551852347, abs=5e-11)
    assert 2 * float(value_loss(STUDENT, TEACHER, 4.0)) == pytest.approx(4.1866782211, abs=2e-6)
    assert float(rank_loss(STUDENT, TEACHER)) == pytest.approx(0.7, abs=1e-7)
    # DIST with T = 4, without its outer factor of 2.
    assert float(value_loss(STUDENT, TEACHER, 4.0, centered=True)) == pytest.approx(18.3573531804, abs=2e-4)


def test_values_are_cosines_of_rows_and_of_columns() -> None:
    student, teacher = STUDENT.softmax(1).numpy(), TEACHER.softmax(1).numpy()
    for centered in (False, True):
        distances = []
        for a, b in ((student, teacher), (student.T, teacher.T)):
            pairs = [(x - x.mean(), y - y.mean()) if centered else (x, y) for x, y in zip(a, b, strict=True)]
            distances.append(1 - np.mean([x @ y / (np.linalg.norm(x) * np.linalg.norm(y) + 1e-8) for x, y in pairs]))
        found = value_distances(torch.tensor(student), torch.tensor(teacher), centered)
        np.testing.assert_allclose([float(item) for item in found], distances, rtol=1e-12)


def test_invariances() -> None:
    probabilities, teacher = STUDENT.softmax(1), TEACHER.softmax(1)
    plain = value_distances(probabilities, teacher)
    torch.testing.assert_close(value_distances(3 * probabilities, teacher), plain, rtol=1e-6, atol=1e-7)
    assert abs(float(value_distances(probabilities + 0.1, teacher)[0] - plain[0])) > 1e-3
    centered = value_distances(probabilities, teacher, True)
    torch.testing.assert_close(value_distances(3 * probabilities + 0.1, teacher, True), centered, rtol=1e-5, atol=1e-6)
    shifted = STUDENT + torch.randn(4, 1, dtype=torch.float64)
    torch.testing.assert_close(value_loss(shifted, TEACHER, 4.0), value_loss(STUDENT, TEACHER, 4.0))
    torch.testing.assert_close(rank_loss(STUDENT.exp(), TEACHER), rank_loss(STUDENT, TEACHER))
    assert float(value_loss(TEACHER, TEACHER, 4.0)) == pytest.approx(0.0, abs=1e-5)
    assert float(rank_loss(TEACHER, TEACHER, 0.5)) == pytest.approx(0.0, abs=1e-7)


def test_hard_ranks_give_no_gradient_and_soft_ones_do() -> None:
    student = STUDENT.clone().requires_grad_(True)
    assert not rank_loss(student, TEACHER).requires_grad
    soft = rank_loss(student, TEACHER, 0.5)
    (gradient,) = torch.autograd.grad(soft, student)
    assert float(gradient.abs().sum()) > 1e-3
    assert torch.autograd.gradcheck(lambda x: rank_loss(x, TEACHER, 0.5), student)
    assert torch.autograd.gradcheck(lambda x: value_loss(x, TEACHER, 4.0), student)
    # Not the golden student, two of whose logits are equal but for their last digit.
    other = torch.randn(4, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = np.mean([1 - stats.spearmanr(a, b).statistic for a, b in zip(other, TEACHER, strict=True)])
    assert float(rank_loss(other, TEACHER)) == pytest.approx(expected, abs=1e-7)
    assert float(rank_loss(other, TEACHER, 1e-4)) == pytest.approx(expected, abs=1e-6)


def test_soft_ranks_train_a_student_towards_the_order_of_its_teacher() -> None:
    student = STUDENT.clone().requires_grad_(True)
    descent = torch.optim.SGD([student], lr=2.0)
    for _ in range(100):
        descent.zero_grad()
        torch.autograd.backward(rank_loss(student, TEACHER, 0.5))
        descent.step()
    assert float(rank_loss(student, TEACHER)) < 0.05


def test_needs_follow_the_options() -> None:
    def needs(**options: Any) -> frozenset[str]:
        return make_method("r2kd", options).needs

    assert needs() == {"labels", "student", "live_teacher", "teacher_weights"}
    assert needs(prune=0.0) == needs(blend=1.0) == {"labels", "student", "live_teacher"}
    assert needs(augment="none") == {"labels", "student", "live_teacher", "teacher_weights"}
    assert needs(augment="none", prune=0.0) == needs(augment="none", blend=1.0) == {"labels", "teacher_outputs"}
    assert make_method("r2kd", {"augment": "cutmixpick"}).tasks == {"class"}


def test_the_loss_of_the_release() -> None:
    batch, outputs, student, teacher = example()
    found = parts(batch, outputs)
    weak = pruned_copy(teacher.network, 0.1)
    mixed = cutmix(batch.seen(), torch.Generator().manual_seed(7), deranged=False).images
    expected = {"label": torch.nn.functional.cross_entropy(outputs, batch.labels)}
    for suffix, images in (("", batch.seen()), ("_augmented", mixed)):
        answers = 0.7 * teacher.network(images / 255) + 0.3 * weak(images / 255)
        logits = student(images / 255)
        p, q = (logits / 4).softmax(1), (answers / 4).softmax(1)
        rows = 1 - torch.nn.functional.cosine_similarity(p, q, dim=1).mean()
        columns = 1 - torch.nn.functional.cosine_similarity(p, q, dim=0).mean()
        expected[f"value{suffix}"] = 2 * 16 * (rows + columns)
        ranks = [stats.spearmanr(a, b).statistic for a, b in zip(p.detach(), q.detach(), strict=True)]
        expected[f"rank{suffix}"] = torch.tensor(2 * (1 - np.mean(ranks)))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-6, atol=1e-5, msg=name)
    assert teacher.asked == 10
    assert teacher.copies[0.1].asked == 10


def test_blending_identities() -> None:
    def losses(**options: Any) -> dict[str, float]:
        batch, outputs, _, _ = example()
        return {name: float(part.detach()) for name, part in parts(batch, outputs, **options).items()}

    # Nothing pruned, or nothing of the pruned one blended in: the teacher itself.
    whole = losses(prune=0.0)
    assert losses(blend=1.0) == whole
    assert losses(prune=1e-9, blend=0.3) == pytest.approx(whole)
    assert losses(prune=0.5, blend=0.3)["value"] != pytest.approx(whole["value"], rel=1e-3)
    # The cached answers are those to the same images.
    cached = losses(prune=0.0, augment="none")
    assert cached == {name: pytest.approx(whole[name]) for name in ("label", "value", "rank")}
    assert set(losses(rank="none")) == {"label", "value", "value_augmented"}


@pytest.mark.parametrize("augment", ["mixup", "cutmix", "cutout", "autoaugment", "cutmixpick"])
def test_the_second_view_is_what_the_option_says(augment: str) -> None:
    batch, outputs, student, teacher = example()
    found = parts(batch, outputs, augment=augment, prune=0.0, rank="soft", cutout_pixels=4)
    x, rng = batch.seen(), torch.Generator().manual_seed(7)

    def ask(images: Tensor) -> Tensor:
        return teacher.network(images / 255)

    further = {
        "mixup": lambda: mixup(x, rng, alpha=0.2, deranged=False).images,
        "cutmix": lambda: cutmix(x, rng, deranged=False).images,
        "cutout": lambda: cutout(x, rng, side=4, fill=x.mean((0, 2, 3))),
        "autoaugment": lambda: autoaugment(x, rng),
        "cutmixpick": lambda: cutmix_pick(x, rng, ask, runs=2, deranged=False)[0],
    }[augment]()
    expected = 2 * value_loss(student(further / 255), ask(further), 4.0)
    torch.testing.assert_close(found["value_augmented"], expected)
    torch.testing.assert_close(found["rank_augmented"], 2 * rank_loss(student(further / 255), ask(further), 0.5))
    assert teacher.asked == (15 if augment == "cutmixpick" else 10)


def test_picking_by_the_student_asks_the_teacher_only_for_what_is_picked() -> None:
    batch, outputs, student, teacher = example()
    found = parts(batch, outputs, augment="cutmixpick", pick_by="student", prune=0.0)
    rng = torch.Generator().manual_seed(7)
    images, logits = cutmix_pick(batch.seen(), rng, lambda x: student(x / 255), runs=2, deranged=False)
    torch.testing.assert_close(found["value_augmented"], 2 * value_loss(logits, teacher.network(images / 255), 4.0))
    assert teacher.asked == 10


@pytest.mark.parametrize("kind", ["scalar", "vector"])
@pytest.mark.parametrize("rank", ["hard", "soft"])
def test_regression_compares_columns_of_raw_outputs(kind: str, rank: str) -> None:
    batch, outputs, _, teacher = example(kind, 7)
    parts_with_graph = parts(batch, outputs, augment="none", rank=rank, rank_scale=0.01, centered=True)
    found = {name: part.detach() for name, part in parts_with_graph.items()}
    answers = 0.7 * teacher.network(batch.seen() / 255) + 0.3 * pruned_copy(teacher.network, 0.1)(batch.seen() / 255)
    a, b = outputs.detach().numpy(), answers.detach().numpy()
    pearson = np.mean([stats.pearsonr(a[:, axis], b[:, axis]).statistic for axis in range(a.shape[1])])
    spearman = np.mean([stats.spearmanr(a[:, axis], b[:, axis]).statistic for axis in range(a.shape[1])])
    assert float(found["value"]) == pytest.approx(2 * (1 - pearson), abs=1e-4)
    assert float(found["rank"]) == pytest.approx(2 * (1 - spearman), abs=0.3 if rank == "soft" else 1e-6)
    labels = batch.labels.reshape(a.shape)
    torch.testing.assert_close(found["label"], (outputs - labels).square().mean())
    assert parts_with_graph["rank"].requires_grad == (rank == "soft")


def test_a_student_that_predicts_the_opposite_is_far_away() -> None:
    answers = torch.tensor([[1.0], [-1.0], [0.5]])
    assert float(value_distances(-answers, answers)[1]) == pytest.approx(2.0)


@pytest.mark.parametrize("kind", ["class", "scalar"])
@pytest.mark.parametrize("rank", ["hard", "soft"])
@pytest.mark.parametrize("centered", [False, True])
def test_one_image_and_absent_classes_stay_finite(kind: str, rank: str, centered: bool) -> None:
    batch, outputs, student, _ = example(kind, 1)
    found = parts(batch, outputs, rank=rank, centered=centered)
    torch.autograd.backward(torch.stack(list(found.values())).sum())
    assert all(torch.isfinite(part) for part in found.values())
    assert all(torch.isfinite(weight.grad).all() for weight in student.parameters())


def test_gradients_agree_with_finite_differences() -> None:
    batch, outputs, _, _ = example()
    method = make_method("r2kd", {"rank": "soft", "augment": "mixup", "mixup_alpha": 1.0})
    shift = torch.zeros(5, 4, dtype=torch.float64, requires_grad=True)

    def total(x: Tensor) -> Tensor:
        again = Batch(**{**vars(batch), "rng": torch.Generator().manual_seed(1)})
        again = Batch(**{**vars(again), "student": lambda images: batch.ask_student(images) + x})
        return torch.stack(list(method(again, outputs.detach() + x, 0.0).values())).sum()

    assert torch.autograd.gradcheck(total, shift)


@pytest.mark.parametrize(
    "options",
    [
        {"rank": "middle"}, {"augment": "rotate"}, {"policy": "mnist"}, {"prune": 1.0}, {"prune": -0.1},
        {"blend": 1.5}, {"temperature": 0.0}, {"rank_scale": 0.0}, {"value_weight": -1.0}, {"cutout_pixels": 0},
        {"pick_runs": 0}, {"pick_by": "label"}, {"mixup_alpha": 0.0}, {"cutmix_alpha": 0.0},
    ],
)  # fmt: skip
def test_options_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"option '{next(iter(options))}' of method 'r2kd'"):
        make_method("r2kd", options)


def test_options_are_those_of_the_release_by_default() -> None:
    method = RobustnessReinforced()
    assert (method.temperature, method.value_weight, method.rank_weight, method.label_weight) == (4, 2, 2, 1)
    assert (method.prune, method.blend, method.rank, method.augment) == (0.1, 0.7, "hard", "cutmix")


def test_two_classes_have_no_centred_rows() -> None:
    assert torch.isfinite(value_loss(STUDENT[:, :2], TEACHER[:, :2], 4.0))
    with pytest.raises(ConfigError, match="fewer than 3 classes, got 2; try centered false"):
        value_loss(STUDENT[:, :2], TEACHER[:, :2], 4.0, centered=True)
    centred = RobustnessReinforced(centered=True)
    with pytest.raises(ConfigError, match="method 'r2kd' must have at least 3 classes, got 2; try centered false"):
        check_fits(centred, "r2kd", 2, 3)
    # Numbers have no classes.
    check_fits(centred, "r2kd", 0, 3)
    check_fits(RobustnessReinforced(), "r2kd", 2, 5)
