"""Methods that look at more images than the student saw: mixed, further augmented, in two views."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from scipy import special
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div, mse_loss

from data.errors import ConfigError
from students.methods import Batch, LiveTeacher, learns_labels, make_method
from students.methods.mlld import multi_level_losses, strong_view
from students.mixing import cutmix, cutmix_pick, cutout, mixup
from students.policies import randaugment

ROWS = 6


class Teacher:
    """A live teacher that counts the images it was asked for."""

    def __init__(self, network: nn.Module) -> None:
        self.network, self.asked = network, 0

    def __call__(self, images: Tensor) -> Tensor:
        self.asked += len(images)
        with torch.no_grad():
            return self.network(images / 255)


def example(kind: str) -> tuple[Batch, Tensor, nn.Module, Teacher]:
    torch.manual_seed(5)
    width = {"class": 4, "scalar": 1, "vector": 3}[kind]
    student, network = (
        nn.Sequential(nn.Conv2d(3, 6, 3), nn.Softplus(), nn.Flatten(), nn.Linear(216, width)).double() for _ in range(2)
    )
    images = torch.randint(0, 256, (ROWS, 3, 8, 8)).double()
    labels = torch.arange(ROWS) % 4 if kind == "class" else torch.randn(ROWS, width).double()
    teacher = Teacher(network)
    live: LiveTeacher = teacher  # type: ignore[assignment]
    batch = Batch(
        labels[:, 0] if kind == "scalar" else labels,
        # Not what the live teacher says, so that the two are told apart.
        teacher_outputs=torch.randn(ROWS, width).double(),
        images=images,
        student=lambda other: student(other / 255),
        live_teacher=live,
        rng=step(),
        kind=kind,
    )
    return batch, student(images / 255).detach() + 0.5, student, teacher


def step() -> torch.Generator:
    return torch.Generator().manual_seed(11)


def losses(name: str, batch: Batch, outputs: Tensor, **options: Any) -> dict[str, Tensor]:
    method = make_method(name, options)
    hidden = {"teacher_outputs", "live_teacher"} - method.needs
    return method(replace(batch, rng=step(), **dict.fromkeys(hidden)), outputs, 0.5)


def kd(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    p, q = (student / temperature).log_softmax(1), (teacher / temperature).softmax(1)
    return temperature**2 * kl_div(p, q, reduction="batchmean")


# ---- mixup_kd


@pytest.mark.parametrize("loss", ["ce", "kl", "mse"])
@pytest.mark.parametrize("mix", ["mixup", "cutmix"])
@pytest.mark.parametrize("live", [False, True])
def test_mixup_kd_of_classes(loss: str, mix: str, live: bool) -> None:
    batch, outputs, student, teacher = example("class")
    found = losses(
        "mixup_kd", batch, outputs, loss=loss, mix=mix, live=live, label_weight=0.5, teacher_weight=2.0,
        clean_weight=0.25, alpha=0.8,
    )  # fmt: skip
    mixed = {"mixup": mixup, "cutmix": cutmix}[mix](batch.seen(), step(), alpha=0.8)
    share, answers = float(mixed.coefficient), teacher.network(mixed.images / 255)
    label = target = torch.zeros((), dtype=torch.float64)
    for row in range(ROWS):
        logits = student(mixed.images[row : row + 1] / 255)
        ends = [(share, row), (1 - share, int(mixed.partner[row]))]
        for weight, end in ends:
            label = label + weight * cross_entropy(logits, batch.labels[end : end + 1]) / ROWS
        for weight, end in [(1.0, row)] if live else ends:
            answer = (answers if live else batch.teacher())[end : end + 1]
            distance = {
                "ce": cross_entropy(logits, answer.softmax(1)),
                "kl": kd(logits, answer, 4.0),
                "mse": mse_loss(logits, answer),
            }[loss]
            target = target + weight * distance / ROWS
    torch.testing.assert_close(found["label"], 0.5 * label + 0.25 * cross_entropy(outputs, batch.labels))
    torch.testing.assert_close(found["teacher"], 2 * target)
    assert teacher.asked == (ROWS if live else 0)


@pytest.mark.parametrize("kind", ["scalar", "vector"])
@pytest.mark.parametrize("live", [False, True])
def test_mixup_kd_of_numbers_is_regression_on_mixed_targets(kind: str, live: bool) -> None:
    batch, outputs, student, teacher = example(kind)
    found = losses("mixup_kd", batch, outputs, live=live)
    mixed = mixup(batch.seen(), step())
    predictions, share = student(mixed.images / 255), mixed.coefficient
    labels = batch.labels.reshape(outputs.shape)

    def onto(targets: Tensor) -> Tensor:
        other = targets[mixed.partner]
        # The mean of two squared errors is that to the mean target, plus the spread of the two.
        spread = share * (1 - share) * (targets - other).square().mean()
        return mse_loss(predictions, share * targets + (1 - share) * other) + spread

    torch.testing.assert_close(found["label"], onto(labels))
    wanted = mse_loss(predictions, teacher.network(mixed.images / 255)) if live else onto(batch.teacher())
    torch.testing.assert_close(found["teacher"], wanted)


def test_mixup_kd_with_coefficient_one_is_the_plain_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("students.mixing.beta", lambda alpha, rng: torch.tensor(1.0, dtype=torch.float64))
    batch, outputs, student, _ = example("class")
    found = losses("mixup_kd", batch, outputs, loss="kl")
    torch.testing.assert_close(found["label"], cross_entropy(student(batch.seen() / 255), batch.labels))
    torch.testing.assert_close(found["teacher"], kd(student(batch.seen() / 255), batch.teacher(), 4.0))


def test_soft_labels_are_mixed_like_classes() -> None:
    batch, outputs, _, _ = example("class")
    soft = replace(batch, labels=torch.nn.functional.one_hot(batch.labels, 4).double())
    torch.testing.assert_close(losses("mixup_kd", soft, outputs)["label"], losses("mixup_kd", batch, outputs)["label"])


# ---- augmented_kd


@pytest.mark.parametrize("cached", [False, True])
def test_augmented_kd_of_classes(cached: bool) -> None:
    batch, outputs, student, teacher = example("class")
    found = losses("augmented_kd", batch, outputs, cached=cached, temperature=3.0, label_weight=0.2)
    further = cutmix(batch.seen(), step()).images
    answers = batch.teacher() if cached else teacher.network(batch.seen() / 255)
    torch.testing.assert_close(found["label"], 0.2 * cross_entropy(outputs, batch.labels))
    torch.testing.assert_close(found["teacher"], 0.9 * kd(outputs, answers, 3.0))
    target = kd(student(further / 255), teacher.network(further / 255), 3.0)
    torch.testing.assert_close(found["teacher_augmented"], 0.9 * target)
    assert teacher.asked == (ROWS if cached else 2 * ROWS)


@pytest.mark.parametrize("by", ["teacher", "student"])
def test_augmented_kd_picks_the_uncertain(by: str) -> None:
    batch, outputs, student, teacher = example("class")
    found = losses("augmented_kd", batch, outputs, augment="cutmixpick", pick_by=by, pick_runs=3)
    network = teacher.network if by == "teacher" else student
    images, _ = cutmix_pick(batch.seen(), step(), lambda x: network(x / 255), runs=3)
    target = kd(student(images / 255), teacher.network(images / 255), 4.0)
    torch.testing.assert_close(found["teacher_augmented"], 0.9 * target)
    # On x, and on the pool of three runs, whose answers are used again, or on what was picked.
    assert teacher.asked == ROWS + (3 * ROWS if by == "teacher" else ROWS)


@pytest.mark.parametrize("augment", ["mixup", "cutmix", "cutout", "autoaugment"])
def test_augmented_kd_of_numbers(augment: str) -> None:
    batch, outputs, _, teacher = example("vector")
    seen: list[Tensor] = []

    def student(images: Tensor) -> Tensor:
        seen.append(images)
        return teacher.network(images / 255) + 1.0

    found = losses("augmented_kd", replace(batch, student=student), outputs, augment=augment)
    torch.testing.assert_close(found["label"], 0.1 * mse_loss(outputs, batch.labels))
    torch.testing.assert_close(found["teacher"], 0.9 * mse_loss(outputs, teacher.network(batch.seen() / 255)))
    # The student is off by 1 on whatever images the two are shown.
    torch.testing.assert_close(found["teacher_augmented"], torch.tensor(0.9, dtype=torch.float64))
    assert not torch.equal(seen[0], batch.seen())


def test_numbers_have_no_entropy() -> None:
    assert make_method("augmented_kd").tasks == {"class", "scalar", "vector"}
    assert make_method("augmented_kd", {"augment": "cutmixpick"}).tasks == {"class"}


# ---- mlld


def levels(masks: str, rows: int = 7, temperatures: tuple[float, ...] = (4.0, 3.0, 5.0, 2.0, 6.0)) -> None:
    rng = torch.Generator().manual_seed(rows)
    weak_s, weak_t, strong_s, strong_t = (3 * torch.randn(rows, 5, generator=rng).double() for _ in range(4))
    found = multi_level_losses((weak_s, weak_t), (strong_s, strong_t), temperatures, masks)

    confidence = special.softmax(weak_t.numpy(), 1).max(1)
    of_class = special.softmax(weak_t.numpy(), 1).sum(0)
    rank_row, rank_class = sorted(confidence)[(rows - 1) // 2], sorted(of_class)[2]
    expected = {"kd": 0.0, "batch": 0.0, "class": 0.0}
    for number, temperature in enumerate(temperatures):
        p, q = (special.softmax(item.numpy() / temperature, 1) for item in (weak_t, weak_s))
        p2, q2 = (special.softmax(item.numpy() / temperature, 1) for item in (strong_t, strong_s))
        weak = [temperature**2 * special.rel_entr(p[i], q[i]).sum() for i in range(rows)]
        strong = [temperature**2 * special.rel_entr(p2[i], q2[i]).sum() for i in range(rows)]
        gram = [sum((p[i] @ p[j] - q[i] @ q[j]) ** 2 for j in range(rows)) / rows for i in range(rows)]
        classes = [sum((p[:, c] @ p[:, d] - q[:, c] @ q[:, d]) ** 2 for d in range(5)) / 5 for c in range(5)]
        keep_row = [value <= rank_row for value in confidence]
        keep_class = [value <= rank_class for value in of_class]
        if masks == "released":
            keep_row, keep_class = [sum(keep_row) / rows] * rows, [sum(keep_class) / 5] * 5
            strong = weak if number >= 3 else strong
        expected["kd"] += sum(k * x for k, x in zip(keep_row, weak, strict=True)) / rows + sum(strong) / rows
        expected["batch"] += sum(k * x for k, x in zip(keep_row, gram, strict=True))
        expected["class"] += sum(k * x for k, x in zip(keep_class, classes, strict=True))
    assert {name: float(part) for name, part in found.items()} == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("masks", ["intended", "released"])
@pytest.mark.parametrize("rows", [1, 6, 7])
def test_levels_against_loops(masks: str, rows: int) -> None:
    levels(masks, rows)


def test_the_mask_of_the_release_is_about_a_half() -> None:
    rng = torch.Generator().manual_seed(2)
    weak = (torch.randn(8, 6, generator=rng).double(), 2 * torch.randn(8, 6, generator=rng).double())
    found = multi_level_losses(weak, weak, (4.0,), "released")
    p, q = ((item / 4).softmax(1) for item in weak)
    torch.testing.assert_close(found["kd"], 1.5 * kd(*weak, 4.0))
    torch.testing.assert_close(found["batch"], 0.5 * (q @ q.T - p @ p.T).square().sum() / 8)
    torch.testing.assert_close(found["class"], 0.5 * (q.T @ q - p.T @ p).square().sum() / 6)


@pytest.mark.parametrize("masks", ["intended", "released"])
def test_a_student_that_is_its_teacher_has_no_loss(masks: str) -> None:
    logits = torch.randn(6, 4).double()
    found = multi_level_losses((logits, logits), (logits.flip(0), logits.flip(0)), (4.0, 2.0), masks)
    assert all(abs(float(part)) < 1e-12 for part in found.values())


@pytest.mark.parametrize("cached", [False, True])
def test_mlld_shows_both_views_to_both(cached: bool) -> None:
    batch, outputs, student, teacher = example("class")
    found = losses("mlld", batch, outputs, cached=cached, temperatures="2, 5", label_weight=0.3, teacher_weight=0.7)
    strong = strong_view(batch.seen(), step(), 2, 10, 0.5)
    assert not torch.equal(strong, batch.seen())
    weak = batch.teacher() if cached else teacher.network(batch.seen() / 255)
    strong_logits = student(strong / 255)
    expected = multi_level_losses(
        (outputs, weak), (strong_logits, teacher.network(strong / 255)), (2.0, 5.0), "intended"
    )
    assert found.keys() == {"ce", *expected}
    for name, part in expected.items():
        torch.testing.assert_close(found[name], 0.7 * part)
    both = cross_entropy(outputs, batch.labels) + cross_entropy(strong_logits, batch.labels)
    torch.testing.assert_close(found["ce"], 0.3 * both)
    assert teacher.asked == (ROWS if cached else 2 * ROWS)


def test_the_strong_view_is_randaugment_with_holes() -> None:
    images = torch.full((64, 1, 12, 20), 100.0)
    images[:, :, 3:7, 4:9] = 200.0
    assert torch.equal(strong_view(images, step(), 0, 10, 0.0), images)
    holes = (strong_view(images, step(), 0, 10, 0.5) != images).flatten(1).sum(1)
    assert holes.max() <= 36
    assert len(holes.unique()) > 10
    rng = step()
    sides = (6 * torch.rand(64, generator=rng)).round().long()
    changed = randaugment(images, rng, operations=2, magnitude=10)
    expected = cutout(changed, rng, side=sides, fill=images.mean())
    torch.testing.assert_close(strong_view(images, step(), 2, 10, 0.5), expected)


@pytest.mark.parametrize("temperatures", ["", "4;3", "4,0", "4,-1", "nan", "4,inf", "4,,3"])
def test_temperatures_are_checked(temperatures: str) -> None:
    with pytest.raises(ConfigError, match="option 'temperatures' of method 'mlld'"):
        make_method("mlld", {"temperatures": temperatures})


# ---- all of them


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mixup_kd", {"mix": "rotate"}), ("mixup_kd", {"alpha": 0.0}), ("mixup_kd", {"loss": "l1"}),
        ("mixup_kd", {"temperature": 0.0}), ("mixup_kd", {"clean_weight": -1.0}),
        ("augmented_kd", {"augment": "none"}), ("augmented_kd", {"label_weight": -0.1}),
        ("augmented_kd", {"temperature": -1.0}), ("augmented_kd", {"pick_by": "chance"}),
        ("mlld", {"masks": "none"}), ("mlld", {"magnitude": 31}), ("mlld", {"operations": -1}),
        ("mlld", {"cutout_share": 1.5}), ("mlld", {"teacher_weight": -1.0}),
    ],
)  # fmt: skip
def test_options_out_of_range(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"option '{next(iter(options))}' of method '{name}'"):
        make_method(name, options)


@pytest.mark.parametrize("name", ["mixup_kd", "augmented_kd", "mlld"])
def test_needs_follow_where_the_teacher_answers(name: str) -> None:
    live, cached = ({"live": True}, {}) if name == "mixup_kd" else ({}, {"cached": True})
    assert make_method(name, live).needs == {"labels", "student", "live_teacher"}
    also = set() if name == "mixup_kd" else {"live_teacher"}
    assert make_method(name, cached).needs == {"labels", "student", "teacher_outputs"} | also


def test_labels_of_clean_images_are_labels() -> None:
    assert [
        learns_labels(make_method("mixup_kd", {"label_weight": label, "clean_weight": clean}))
        for label, clean in ((1.0, 0.0), (0.0, 0.5), (0.0, 0.0))
    ] == [True, True, False]
