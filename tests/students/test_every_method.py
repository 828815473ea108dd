"""One battery over every registered method: gradients, precision, edge batches, training and resume."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, one_hot, softplus

from data.compute import Compute
from data.labels import Axis, LabelSpace
from data.workspace import Workspace
from students.combination import LABEL_PARTS
from students.methods import (
    LIVE_NEEDS,
    NEEDS,
    Batch,
    ErrorStatistics,
    Features,
    Method,
    Sizes,
    auxiliary_of,
    group_sizes,
    learns_labels,
    make_method,
    methods,
)
from students.model import ImageModel, build_model
from students.training import train_student
from students.training_data import Rows, TrainingData

COMPUTE = Compute(torch.device("cpu"))

#: Options other than the defaults, so that every weight is exercised. A new method adds one line; another setting of
#: one that is there adds a line with a word behind its name.
SETTINGS: dict[str, dict[str, Any]] = {
    # From labels alone, or from cached outputs row by row.
    "ce": {},
    "mse": {},
    "joint": {"scalar_weight": 1.5},
    "imitation": {"label_weight": 0.4},
    "joint_kd": {"alpha": 0.5, "temperature": 3.0, "label_weight": 0.4, "scalar_weight": 1.5},
    "kd": {"alpha": 0.5, "temperature": 3.0},
    "dkd": {"alpha": 1.5, "beta": 2.0, "temperature": 3.0, "warmup": 0.9},
    "dtkd": {"reference": 3.0, "alpha": 2.0, "beta": 0.5, "warmup": 0.9},
    "dtkd centred": {"center": True},
    "dtkd decoupled": {"decoupled": True, "non_target_weight": 2.0, "beta": 0.5},
    "lskd": {"temperature": 3.0, "teacher_weight": 2.0, "ce_weight": 0.5},
    "lskd on dkd": {"base": "dkd", "alpha": 0.5, "beta": 2.0, "warmup": 0.9},
    "ctkd": {"low": 2.0, "span": 5.0, "teacher_weight": 0.5, "ce_weight": 0.5, "warmup": 0.9},
    "nkd": {"gamma": 2.0, "temperature": 2.0},
    "cckd": {"temperature": 2.0},
    "cckd target": {"form": "target", "temperature": 2.0},
    "correlation": {"temperature": 3.0, "teacher_weight": 1.5, "rank_scale": 0.7},
    # From cached outputs, a batch at a time.
    "dist": {"beta": 1.5, "gamma": 0.5, "temperature": 3.0},
    "cswt": {"low": 1.5, "high": 5.0, "temperature": 3.0, "fixed_weight": 0.5},
    "ckd": {"positive": 2, "label_weight": 0.5, "anchor_weight": 0.3},
    "ckd kl": {"distance": "kl", "temperature": 3.0, "label_weight": 0.5},
    "ckd all": {"pairing": "all_in_batch", "recenter_bias": True},
    # Regression.
    "teacher_bounded": {"bound_weight": 0.7, "margin": 0.3},
    "upper_bound": {"label_weight": 0.4},
    "attentive_imitation": {"label_weight": 0.4},
    "outlier_rejection": {"threshold": 0.5},
    "pairwise_difference": {"anchor_weight": 0.6},
    "gaussian_kl": {"label_weight": 0.4},
    "gaussian_kl given": {"teacher_std": 0.3},
    # With the student's or the teacher's own forward passes.
    "hint": {"hint_weight": 2.0},
    "hint pooled": {"on": "pooled", "hint_weight": 2.0},
    "rkd": {"distance_weight": 3.0, "angle_weight": 5.0},
    "rkd outputs": {"on": "outputs", "distance_weight": 3.0, "angle_weight": 5.0},
    "r2kd": {"temperature": 3.0, "label_weight": 0.5, "rank": "soft", "prune": 0.3, "blend": 0.6},
    "r2kd cached": {"augment": "none", "prune": 0.0, "centered": True},
    "r2kd picked": {"augment": "cutmixpick", "pick_by": "student", "value_weight": 1.0, "rank_weight": 0.5},
    "mlld": {"temperatures": "2,5", "label_weight": 0.3},
    "mlld released": {"masks": "released", "cached": True},
    "mixup_kd": {"loss": "kl", "temperature": 3.0, "clean_weight": 0.5, "teacher_weight": 0.7},
    "mixup_kd live": {"mix": "cutmix", "live": True, "clean_weight": 0.5, "label_weight": 0.4},
    "augmented_kd": {"label_weight": 0.3, "teacher_weight": 0.6, "temperature": 3.0},
    "augmented_kd picked": {"augment": "cutmixpick", "cached": True},
    "augmented_kd policy": {"augment": "autoaugment"},
    "input_gradients": {"gradient_weight": 0.1, "label_weight": 0.4, "temperature": 2.0, "only_right": False},
    "input_gradients right": {"gradient_weight": 0.1},
    # Several at once.
    "dtkd+ckd": {"dtkd.alpha": 2.0, "ckd.weight": 0.5},
    "imitation+ckd": {"ckd.pairing": "all_in_batch", "imitation.weight": 0.7},
    "ctkd+hint": {"hint.hint_weight": 0.1},
}

#: Those whose loss is not the mean of the losses of rows (of comparisons, where rows come in groups); an explicit loop
#: is in their own test.
COUPLED = {
    "dist", "cswt", "ckd all", "imitation+ckd", "pairwise_difference", "rkd", "rkd outputs", "hint", "ctkd+hint",
    "r2kd", "r2kd cached", "r2kd picked", "mlld", "mlld released", "mixup_kd", "mixup_kd live", "augmented_kd",
    "augmented_kd picked", "augmented_kd policy", "input_gradients right",
}  # fmt: skip

#: Options under which what a method holds constant does not depend on the student, for finite differences.
WITHOUT_CONSTANTS: dict[str, dict[str, Any]] = {"cswt": {"low": 3.0, "high": 3.0}}

SPACES = {
    "class": LabelSpace("class", ("a", "b", "c", "d")),
    "scalar": LabelSpace("scalar", maximum=90.0),
    "vector": LabelSpace("vector", axes=(Axis("yaw", "degree", 0.0, 90.0), Axis("tilt", "radian", -1.0, 1.0))),
    "class+scalar": LabelSpace("class+scalar", ("a", "b", "c", "d"), maximum=90.0),
}


def name_of(key: str) -> str:
    return key.split(" ")[0]


def make(key: str) -> Method:
    return make_method(name_of(key), SETTINGS[key])


CASES = [(key, task) for key in SETTINGS for task in sorted(make(key).tasks)]
every_case = pytest.mark.parametrize(("key", "task"), CASES)


def test_the_table_covers_the_registry() -> None:
    assert methods.names() == sorted({name_of(key) for key in SETTINGS if "+" not in key})
    assert {needed for key in SETTINGS for needed in make(key).needs} == set(NEEDS)
    assert len(CASES) >= 75
    assert set(SETTINGS) >= COUPLED | set(WITHOUT_CONSTANTS)


class Smooth:
    """A small network that is smooth to all orders, with feature maps of two resolutions.

    Args:
        outputs: number of outputs K.
        widths: channels of the two maps.
        seed: makes the weights, float64.
    """

    def __init__(self, outputs: int, widths: tuple[int, int], seed: int) -> None:
        rng = torch.Generator().manual_seed(seed)
        shapes = ((widths[0], 3), (widths[1], widths[0]), (outputs, widths[1]))
        self.weights = [torch.randn(*shape, generator=rng, dtype=torch.float64) for shape in shapes]

    def __call__(self, images: Tensor) -> tuple[Tensor, Features]:
        first, second, last = (weight.to(images) for weight in self.weights)
        large = softplus(torch.einsum("oc,bchw->bohw", first, images / 64 - 1))
        small = softplus(torch.einsum("oc,bchw->bohw", second, avg_pool2d(large, 2).tanh()))
        pooled = small.square().mean(dim=(2, 3))
        return pooled @ last.T, Features(pooled, (large, small))


class Teacher:
    """A live teacher over a small network, which counts how often it was asked."""

    def __init__(self, network: Smooth) -> None:
        self.network = network

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        return self.network(images)[0]

    def differentiable(self, images: Tensor) -> Tensor:
        return self.network(images)[0]

    @torch.no_grad()
    def features(self, images: Tensor) -> Features:
        return self.network(images)[1]

    @torch.no_grad()
    def pruned(self, amount: float) -> Teacher:
        copy = deepcopy(self.network)
        for weight in copy.weights:
            weight[weight.abs() <= weight.abs().quantile(amount)] = 0.0
        return Teacher(copy)


def example(method: Method, task: str, rows: int, dtype: torch.dtype = torch.float64) -> tuple[Batch, Tensor]:
    """A batch with all that a method needs, and outputs of the student; at least ``rows`` rows, in whole comparisons.

    Outputs, labels, teacher outputs and features are of ``dtype``, images float32 or of a wider one.
    """
    groups = group_sizes(method)
    rows = rows if groups is None else -(-rows // sum(groups)) * sum(groups)
    rng = torch.Generator().manual_seed(rows)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=rng, dtype=torch.float64)

    width = SPACES[task].outputs
    outputs, teacher = 2 * normal(rows, width), 2 * normal(rows, width)
    continuous = normal(rows) if task == "scalar" else normal(rows, len(SPACES[task].dimensions))
    labels = torch.arange(rows) % 3 if task.startswith("class") else continuous.to(dtype)
    images = 255 * torch.rand(rows, 3, 8, 8, generator=rng, dtype=torch.float64)
    batch = Batch(
        labels,
        teacher.to(dtype),
        continuous.to(dtype) if task == "class+scalar" else None,
        groups=groups,
        images=images.to(torch.float64 if dtype == torch.float64 else torch.float32),
        live_teacher=Teacher(Smooth(width, (3, 4), 1)),
        errors=ErrorStatistics(minimum=0.01, maximum=9.0, mean=1.5, std=1.0),
        kind=task,
    )
    student = Smooth(width, (2, 3), 2)
    sizes = Sizes(width, *(network(images[:1])[1] for network in (student, Smooth(width, (3, 4), 1))))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        auxiliary = auxiliary_of(method, sizes)
    if auxiliary is not None and dtype == torch.float64:
        auxiliary = auxiliary.double()
    return with_student(replace(batch, auxiliary=auxiliary), student, dtype), outputs.to(dtype)


def with_student(batch: Batch, student: Smooth, dtype: torch.dtype) -> Batch:
    """The batch with a student behind it, whose features and outputs are of ``dtype``."""
    found = student(batch.seen())[1]
    return replace(
        batch,
        student=lambda images: student(images)[0].to(dtype),
        student_features=Features(found.pooled.to(dtype), tuple(item.to(dtype) for item in found.maps)),
    )


def changed(batch: Batch, change: Callable[[Tensor], Tensor]) -> Batch:
    """The batch with a function applied to each of its columns."""
    features = batch.features()
    return replace(
        batch,
        labels=change(batch.labels),
        teacher_outputs=change(batch.teacher()),
        values=None if batch.values is None else change(batch.values),
        images=change(batch.seen()),
        student_features=Features(change(features.pooled), tuple(change(item) for item in features.maps)),
    )


def given(method: Method, batch: Batch) -> Batch:
    """The batch with what the method needs, and nothing more, and the randomness of one step."""
    needs = method.needs
    needs_images = needs & ({"student"} | LIVE_NEEDS)
    return replace(
        batch,
        teacher_outputs=batch.teacher_outputs if "teacher_outputs" in needs else None,
        images=batch.images if needs_images else None,
        student=batch.student if "student" in needs else None,
        student_features=batch.student_features if "student_features" in needs else None,
        live_teacher=batch.live_teacher if needs & LIVE_NEEDS else None,
        errors=batch.errors if "teacher_errors" in needs else None,
        rng=torch.Generator().manual_seed(7),
    )


def total(method: Method, batch: Batch, outputs: Tensor) -> Tensor:
    return torch.stack(list(method(given(method, batch), outputs, 0.5).values())).sum()


@every_case
def test_card(key: str, task: str) -> None:
    method = make(key)
    assert {"labels"} <= method.needs <= set(NEEDS)
    assert task in SPACES
    assert make(key) == method
    if "+" not in key:
        assert "needs: " in (type(method).__doc__ or "")
        assert "Tasks:" in (type(method).__doc__ or "")
        # "<method>.weight" is the factor of a whole method among others.
        assert "weight" not in {field.name for field in fields(methods.get(name_of(key)))}


@every_case
def test_labels_are_learnt_where_the_method_says_so(key: str, task: str) -> None:
    method = make(key)
    batch, outputs = example(method, task, 6)
    outputs.requires_grad_(True)
    parts = method(given(method, batch), outputs, 0.5)
    own = {name: part for name, part in parts.items() if name.rpartition(".")[2] in LABEL_PARTS}
    assert learns_labels(method) == any(part.item() != 0.0 for part in own.values())
    if "+" not in key:
        # What needs labels alone has nothing else, and all others have something else.
        assert (set(parts) == set(own)) == (method.needs == {"labels"})


@every_case
def test_labels_without_weight_are_not_learnt(key: str, task: str) -> None:
    options = {field.name for field in fields(methods.get(name_of(key)))} if "+" not in key else set()
    without = {name: 0.0 for name in ("ce_weight", "label_weight", "gamma", "clean_weight", "anchor_weight")}
    if name_of(key) in ("pairwise_difference", "nkd"):
        without = {"ce_weight": 0.0} if name_of(key) == "nkd" else {}
    without |= {"alpha": 1.0} if name_of(key) in ("kd", "joint_kd") else {}
    chosen = {**SETTINGS[key], **{name: value for name, value in without.items() if name in options}}
    method = make_method(name_of(key), chosen)
    batch, outputs = example(method, task, 6)
    parts = method(given(method, batch), outputs, 0.5)
    weighed = [part.item() for name, part in parts.items() if name.rpartition(".")[2] in LABEL_PARTS]
    assert learns_labels(method) == any(part != 0.0 for part in weighed)


@every_case
def test_gradients_agree_with_finite_differences(key: str, task: str) -> None:
    method = make_method(name_of(key), {**SETTINGS[key], **WITHOUT_CONSTANTS.get(key, {})})
    batch, outputs = example(method, task, 5)
    student = Smooth(outputs.shape[1], (2, 3), 2)
    inputs = [outputs]
    if method.needs & {"student", "student_features"}:
        inputs += student.weights

    def loss(x: Tensor, *weights: Tensor) -> Tensor:
        if weights:
            student.weights = list(weights)
        return total(method, with_student(batch, student, torch.float64), x)

    assert torch.autograd.gradcheck(loss, [item.requires_grad_(True) for item in inputs])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@every_case
def test_half_precision_stays_finite_and_close(key: str, task: str, dtype: torch.dtype) -> None:
    method = make(key)
    batch, outputs = example(method, task, 6, dtype)
    wide_batch = changed(batch, lambda column: column.double() if column.is_floating_point() else column)
    wide_batch = replace(
        wide_batch,
        images=batch.images,
        student=lambda images: batch.ask_student(images).double(),
        auxiliary=None if batch.auxiliary is None else deepcopy(batch.auxiliary).double(),
    )
    half = total(method, batch, outputs)
    assert half.dtype == torch.float32
    wide = total(method, wide_batch, outputs.double())
    torch.testing.assert_close(half.double(), wide.double(), rtol=2e-2, atol=1e-3)
    extreme = (outputs * 1000).clamp(-30000, 30000).requires_grad_(True)
    loss = total(method, batch, extreme)
    assert torch.isfinite(loss)
    torch.autograd.backward(loss)
    assert extreme.grad is None or torch.isfinite(extreme.grad).all()


@every_case
def test_no_gradient_reaches_the_teacher(key: str, task: str) -> None:
    method = make(key)
    batch, outputs = example(method, task, 4)
    teacher = batch.teacher().requires_grad_(True)
    network = Smooth(outputs.shape[1], (3, 4), 1)
    for weight in network.weights:
        weight.requires_grad_(True)
    outputs.requires_grad_(True)
    torch.autograd.backward(total(method, replace(batch, live_teacher=Teacher(network)), outputs))
    assert teacher.grad is None
    assert all(weight.grad is None for weight in network.weights)
    assert outputs.grad is not None
    assert outputs.grad.abs().sum() > 0


@pytest.mark.parametrize(("key", "task"), [case for case in CASES if case[0] not in COUPLED])
def test_a_batch_is_the_mean_of_its_rows(key: str, task: str) -> None:
    method = make(key)
    batch, outputs = example(method, task, 5)
    size = sum(group_sizes(method) or (1,))
    losses = []
    for start in range(0, len(outputs), size):
        rows = slice(start, start + size)
        losses.append(total(method, changed(batch, lambda column, rows=rows: column[rows]), outputs[rows]))
    assert len(losses) >= 2
    torch.testing.assert_close(total(method, batch, outputs), torch.stack(losses).mean())


@every_case
def test_one_row_or_comparison_and_one_class_are_enough(key: str, task: str) -> None:
    method = make(key)
    for rows in (1, 6):
        batch, outputs = example(method, task, rows)
        batch = replace(batch, labels=torch.zeros_like(batch.labels))
        outputs.requires_grad_(True)
        loss = total(method, batch, outputs)
        assert torch.isfinite(loss)
        if loss.requires_grad:
            torch.autograd.backward(loss)
            assert outputs.grad is None or torch.isfinite(outputs.grad).all()


@every_case
def test_a_student_that_is_its_teacher_and_constant_outputs_stay_finite(key: str, task: str) -> None:
    method = make(key)
    batch, outputs = example(method, task, 4)
    for special in (batch.teacher().clone(), torch.zeros_like(outputs)):
        for teacher in (batch.teacher(), torch.zeros_like(outputs)):
            logits = special.clone().requires_grad_(True)
            loss = total(method, replace(batch, teacher_outputs=teacher), logits)
            assert torch.isfinite(loss)
            torch.autograd.backward(loss)
            assert logits.grad is None or torch.isfinite(logits.grad).all()


@pytest.mark.parametrize(("key", "task"), [case for case in CASES if case[1].startswith("class")])
def test_one_hot_probabilities_are_labels(key: str, task: str) -> None:
    method = make(key)
    batch, outputs = example(method, task, 5)
    soft = replace(batch, labels=one_hot(batch.labels, 4).double())
    torch.testing.assert_close(total(method, soft, outputs), total(method, batch, outputs))


@pytest.mark.gpu
@every_case
def test_the_loss_on_a_gpu_is_that_of_the_cpu(key: str, task: str) -> None:
    method = make(key)
    batch, outputs = example(method, task, 6, torch.float32)
    there = replace(
        changed(batch, lambda column: column.cuda()),
        auxiliary=None if batch.auxiliary is None else deepcopy(batch.auxiliary).cuda(),
    )
    rng = torch.Generator("cuda").manual_seed(7)
    parts = method(replace(given(method, there), rng=rng), outputs.cuda(), 0.5)
    assert all(part.is_cuda and torch.isfinite(part) for part in parts.values())
    # The two devices draw different random numbers.
    if "student" not in method.needs:
        found = torch.stack(list(parts.values())).sum().cpu()
        torch.testing.assert_close(found, total(method, batch, outputs), rtol=1e-4, atol=1e-5)


class Interrupting(Workspace):
    """A workspace whose loop is killed before one of its steps."""

    stop_at = 5

    def steps(self, name: str, total: int, state: Mapping[str, Any], **options: Any) -> Iterator[int]:
        for step in super().steps(name, total, state, **options):
            if step == self.stop_at:
                raise KeyboardInterrupt
            yield step


def teacher_model(space: LabelSpace) -> ImageModel:
    """An untrained teacher of other widths than the student."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return build_model("convnet", {"channels": 6}, (3, 8, 8), space, [100.0] * 3, [50.0] * 3)


@every_case
def test_a_resumed_training_is_the_uninterrupted_one(key: str, task: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    space = SPACES[task]
    needs = make(key).needs

    def rows(count: int) -> Rows:
        number = np.arange(count) % 3
        values = np.repeat(number[:, None] * 30.0, len(space.dimensions), axis=1) if space.dimensions else None
        labels = space.join(number if space.has_classes else None, values)
        images = rng.integers(0, 200, (count, 3, 8, 8)).astype(np.uint8)
        return Rows(images, labels, rng.normal(size=(count, space.outputs)).astype(np.float32))

    data = TrainingData(rows(20), rows(30))
    validation = (data.real.images, data.real.labels)

    def train(workspace: Workspace) -> dict[str, float]:
        return train_student(
            data, validation, space, network="convnet", options={"channels": 4}, method=name_of(key),
            method_options=SETTINGS[key], teacher=teacher_model(space) if needs & LIVE_NEEDS else None, steps=7,
            batch_size=12, learning_rate=0.01, shift_pixels=1, flip=True, validate_every=2, log_every=2, seed=3,
            initial_seed=4, compute=COMPUTE, workspace=workspace,
        )  # fmt: skip

    straight = train(Workspace(tmp_path / "straight"))
    with pytest.raises(KeyboardInterrupt):
        train(Interrupting(tmp_path / "resumed", checkpoint_seconds=0.0))
    assert not (tmp_path / "resumed" / "model.json").exists()
    assert train(Workspace(tmp_path / "resumed")) == straight
    for file in ("model.safetensors", "model.json", "training.jsonl"):
        assert (tmp_path / "resumed" / file).read_bytes() == (tmp_path / "straight" / file).read_bytes(), file
