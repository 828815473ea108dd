"""Training of a student, or of a teacher: one loop for every method, task and mixture of data."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import partial, reduce
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from data.checkpoint import Stateful
from data.compute import Compute
from data.errors import ConfigError, StageError
from data.labels import LabelSpace
from data.random import derive_seed
from data.workspace import Workspace
from students.augmentation import Augmentation
from students.averaging import WeightAverage
from students.cost import multiply_adds
from students.evaluation import figures, headlines, predict, score, selection_metric
from students.image_memory import Memory
from students.live import NetworkTeacher
from students.methods import LIVE_NEEDS, Method, check_fits, fitting_methods, group_sizes, make_method, recentring_of
from students.model import ImageModel, build_model, label_statistics, parameter_count, pixel_statistics, save_model
from students.nonfinite import FiniteGuard
from students.objective import Objective, Trained, make_auxiliary
from students.optimisation import Descent, Optimizer
from students.recentring import Recentred, output_bias
from students.rows import Images, part_weights
from students.schedule import Schedule, check_milestones, learning_rate_at
from students.selection import Selection
from students.team import ALONE, Team
from students.training_data import DeviceBatches, Rows, TrainingData, check_rows, error_statistics


def train_student(
    train: TrainingData,
    validation: tuple[Images, npt.NDArray[Any]],
    label_space: LabelSpace,
    *,
    network: str = "resnet",
    options: Mapping[str, Any] | None = None,
    method: str = "ce",
    method_options: Mapping[str, Any] | None = None,
    teacher: ImageModel | None = None,
    steps: int,
    batch_size: int = 64,
    order: Literal["rows", "blocks"] = "rows",
    real_fraction: float = 0.5,
    synthetic_weight: float = 1.0,
    optimizer: Optimizer = "sgd",
    learning_rate: float = 0.05,
    momentum: float = 0.9,
    nesterov: bool = True,
    weight_decay: float = 5e-4,
    schedule: Schedule = "cosine",
    milestones: Sequence[float] = (0.625, 0.75, 0.875),
    warmup_steps: int = 0,
    label_smoothing: float = 0.0,
    ema_decay: float = 0.0,
    clip_norm: float = 0.0,
    shift_pixels: int = 0,
    flip: bool = False,
    cutout_pixels: int = 0,
    validate_every: int = 200,
    patience: int = 0,
    select: Literal["best", "last"] = "best",
    log_every: int = 50,
    seed: int,
    initial_seed: int,
    compute: Compute,
    image_memory: Memory = "auto",
    workspace: Workspace,
    team: Team = ALONE,
) -> dict[str, float]:
    """Trains a model and writes ``model.safetensors``, ``model.json`` and ``training.jsonl`` into the workspace.

    Every method and mixture of data takes the same number of steps on batches of the same size, and starts from
    weights that depend on ``initial_seed``, ``network`` and ``options`` alone.

    Args:
        train: what to learn from.
        validation: images uint8 (V, C, H, W) and their labels, V rows, for selection only.
        label_space: what labels mean.
        network: name of a registered network.
        options: options of the network.
        method: name of a registered method, or several joined by "+"; "ce", "mse" or "joint" for a teacher.
        method_options: options of the method.
        teacher: for methods that ask it in every step; on the device of ``compute``.
        steps: optimiser steps, at least 1.
        batch_size: images a batch.
        order: whether rows are shuffled one by one, or in runs of consecutive ones.
        real_fraction: share of real rows in a batch where there are synthetic ones.
        synthetic_weight: weight of a synthetic row's loss beside a real one's.
        optimizer: "sgd" with momentum, or "adamw" with betas 0.9 and 0.999.
        learning_rate: the highest, after the warm-up.
        momentum: of SGD.
        nesterov: whether SGD looks ahead.
        weight_decay: decay of all parameters (coupled for SGD, decoupled for AdamW).
        schedule: how the learning rate falls after the warm-up; see ``learning_rate_at``.
        milestones: of schedule "step": shares of the steps.
        warmup_steps: steps of linear warm-up.
        label_smoothing: share of a hard class label that is spread over all classes.
        ema_decay: decay of the averaged weights that are validated and kept; 0 for the weights themselves.
        clip_norm: largest norm of the gradient; 0 for no limit.
        shift_pixels: largest random shift of training images.
        flip: whether training images are mirrored at random.
        cutout_pixels: side of a square hole in every training image; 0 for none.
        validate_every: steps between validations; there is always one after the last step.
        patience: validations in a row without a better one after which training stops early; 0 for never.
        select: whether the weights best on validation (of equals the later) or the last are kept.
        log_every: steps between log rows.
        seed: order of rows, augmentation and all other randomness of the steps.
        initial_seed: initial weights.
        compute: where and in what precision.
        image_memory: whether training images lie on the device, or every batch is read from where they are ("mapped");
            "auto" takes the device where half of its free memory holds them. What comes out is the same.
        workspace: the folder, checkpoints and log.
        team: the processes that train together; see ``students.data_parallel``.

    Returns:
        ``validation``: what ``students.evaluation.score`` gives for the kept weights; for class+scalar also its two
        figures, ``validation_accuracy`` and ``validation_mae``; ``selected_step``: training steps they had done;
        ``steps``: steps done; ``stopped_early``: 1 if they are fewer than asked for, else 0; ``parameters``: their
        number; ``multiply_adds``: of a forward pass of one image.

    Raises:
        ConfigError: for options that do not fit.
        DataError: for rows that do not fit.
        StageError: if the loss, see ``students.nonfinite``, or outputs for validation images become non-finite.
    """
    loss_of = make_method(method, method_options)
    _check(loss_of, method, label_space, teacher, steps, warmup_steps, milestones, validate_every, synthetic_weight)
    channels, height, width = train.real.images.shape[1:]
    image_shape = (channels, height, width)
    check_fits(loss_of, method, label_space.classes, image_shape[0])
    check_rows(Rows(*validation), image_shape, label_space, "validation rows", teacher_outputs=False)
    model = _initial_model(train.real, label_space, network, options, initial_seed)
    compute.place(model)
    rule = recentring_of(loss_of)
    if rule is not None:
        output_bias(model.network, label_space.outputs, network)
    batches = DeviceBatches(
        train,
        label_space,
        batch_size=batch_size,
        real_fraction=real_fraction,
        seed=seed,
        label_mean=model.label_mean,
        label_std=model.label_std,
        teacher_outputs="teacher_outputs" in loss_of.needs,
        compute=compute,
        groups=group_sizes(loss_of),
        augmentation=Augmentation(shift_pixels, flip, cutout_pixels),
        fill=model.pixel_mean,
        label_smoothing=label_smoothing,
        order=order,
        image_memory=image_memory,
        team=team,
    )
    recentred = None
    if rule is not None and team.leads:
        recentred = Recentred(rule, train, batches, part_weights(batches.shares, synthetic_weight), compute)
    auxiliary = make_auxiliary(loss_of, model, teacher, image_shape, derive_seed(initial_seed, "auxiliary"))
    trained = Trained(model, auxiliary).to(compute.device).train()
    objective = Objective(
        loss_of,
        team.wrap(trained),
        auxiliary,
        kind=label_space.kind,
        compute=compute,
        shares=batches.shares,
        synthetic_weight=synthetic_weight,
        teacher=NetworkTeacher(teacher, compute, model.label_mean, model.label_std) if teacher else None,
        errors=(
            error_statistics(train.real, label_space, model.label_std.cpu().numpy())
            if "teacher_errors" in loss_of.needs
            else None
        ),
    )
    rate_at = partial(
        learning_rate_at,
        steps=steps,
        peak=learning_rate,
        warmup_steps=warmup_steps,
        schedule=schedule,
        milestones=milestones,
    )
    descent = Descent(
        list(trained.parameters()),
        rate_at,
        optimizer=optimizer,
        momentum=momentum,
        nesterov=nesterov,
        weight_decay=weight_decay,
        clip_norm=clip_norm,
        compute=compute,
    )
    average = WeightAverage(model, ema_decay)
    selection = Selection(selection_metric(label_space), best=select == "best", patience=patience)
    guard = FiniteGuard(workspace, batches.rows_at, rate_at)

    state: dict[str, Stateful] = {
        "guard": guard,
        "trained": trained,
        "descent": descent,
        "average": average,
        "selection": selection,
    }
    for step in workspace.steps("training", steps, state, log_every=log_every, stop=lambda done: selection.enough):
        compute.seed_networks(derive_seed(seed, "network", step, *team.own_seed))
        rng = compute.generator(derive_seed(seed, "method", step, *team.own_seed))
        images, batch = batches.at(step)
        parts = objective(images, batch, step / steps, rng)
        descent.step(reduce(operator.add, parts.values()), step)
        average.update(step + 1)
        parts = team.mean(parts)
        guard.saw(step, parts)

        numbers: dict[str, float] = {}
        validates = (step + 1) % validate_every == 0 or step + 1 == steps
        if validates or workspace.should_log(step):
            guard.check()
        if workspace.should_log(step):
            numbers = {name: part.item() for name, part in parts.items()}
            numbers = {"loss": sum(numbers.values()), **numbers, "learning_rate": rate_at(step)}
        if validates and team.leads:
            with recentred.while_validated(average.model) if recentred else nullcontext():
                numbers["validation"] = _validated(average.model, validation, compute, step + 1)["validation"]
            selection.offer(average.model, numbers["validation"], step + 1)
        if validates and patience:
            selection.enough = team.told(selection.exhausted(), compute.device)
        if numbers:
            workspace.log(step, **numbers)

    if not team.leads:
        return {}
    selection.restore(model)
    if recentred is not None:
        recentred.apply(model)
    save_model(workspace.folder, model)
    return {
        **_validated(model, validation, compute, selection.steps_done),
        "selected_step": float(selection.steps_done),
        "steps": float(selection.validated_at),
        "stopped_early": float(selection.validated_at < steps),
        "parameters": float(parameter_count(model)),
        "multiply_adds": float(multiply_adds(model, image_shape)),
    }


def _check(
    method: Method,
    name: str,
    label_space: LabelSpace,
    teacher: ImageModel | None,
    steps: int,
    warmup_steps: int,
    milestones: Sequence[float],
    validate_every: int,
    synthetic_weight: float,
) -> None:
    if label_space.kind not in method.tasks:
        raise ConfigError(
            f"method '{name}' must be one for {label_space.kind} labels, got one for "
            f"{' and '.join(sorted(method.tasks))} labels; try {' or '.join(fitting_methods(label_space.kind))}."
        )
    if LIVE_NEEDS & method.needs and teacher is None:
        raise ConfigError(
            f"method '{name}' must have a teacher that it can ask in every step, got none; "
            f"try a teacher whose network is here."
        )
    if not 0 <= warmup_steps < steps:
        raise ConfigError(f"warmup_steps must be at least 0 and below steps, got {warmup_steps} of {steps} steps.")
    check_milestones(milestones)
    if validate_every < 1:
        raise ConfigError(f"validate_every must be at least 1, got {validate_every}; try 200.")
    if not synthetic_weight > 0.0:
        raise ConfigError(f"synthetic_weight must be above 0, got {synthetic_weight}; try 1.")


def _initial_model(
    real: Rows, label_space: LabelSpace, network: str, options: Mapping[str, Any] | None, initial_seed: int
) -> ImageModel:
    pixel_mean, pixel_std = pixel_statistics(real.images)
    label_mean, label_std = label_statistics(real.labels, label_space)
    channels, height, width = real.images.shape[1:]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(initial_seed, "initial"))
        return build_model(
            network, options, (channels, height, width), label_space, pixel_mean, pixel_std, label_mean, label_std
        )


def _validated(
    model: ImageModel, validation: tuple[Images, npt.NDArray[Any]], compute: Compute, steps_done: int
) -> dict[str, float]:
    """The number that selection goes by, and the figures that it was made from where it is none itself.

    Raises:
        StageError: if outputs are not finite. The loss before a step does not tell what its gradient made of
            the weights.
    """
    images, labels = validation
    outputs = predict(model, images, compute, batch_size=min(512, len(images)))
    if not np.isfinite(outputs).all():
        raise StageError(
            f"training: outputs for validation images must be finite, got others after {steps_done} steps, so the "
            "gradient or the weights have overflowed; try a lower learning rate, a clip_norm or precision fp32."
        )
    metric, value = score(outputs, labels, model.label_space)
    found = {"validation": value}
    if metric == "error":
        shown = headlines(figures(outputs, labels, model.label_space))
        found |= {f"validation_{figure.metric}": figure.value for figure in shown}
    return found
