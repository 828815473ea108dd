"""Training of a student, or of a teacher: one loop for every method, task and mixture of data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from data.batches import random_shift_flip
from data.checkpoint import Stateful
from data.compute import Compute
from data.errors import ConfigError
from data.labels import LabelSpace
from data.random import derive_seed
from data.workspace import Workspace
from students.evaluation import figures, headlines, predict, score, selection_metric
from students.methods import Method, fitting_methods, make_method
from students.model import ImageModel, build_model, label_statistics, parameter_count, pixel_statistics, save_model
from students.schedule import learning_rate_at
from students.selection import Selection
from students.training_data import DeviceBatches, Rows, TrainingData, check_rows

Optimizer = Literal["sgd", "adamw"]


def train_student(
    train: TrainingData,
    validation: tuple[npt.NDArray[np.uint8], npt.NDArray[Any]],
    label_space: LabelSpace,
    *,
    network: str = "resnet",
    options: Mapping[str, Any] | None = None,
    method: str = "ce",
    method_options: Mapping[str, Any] | None = None,
    steps: int,
    batch_size: int = 64,
    real_fraction: float = 0.5,
    optimizer: Optimizer = "sgd",
    learning_rate: float = 0.05,
    momentum: float = 0.9,
    nesterov: bool = True,
    weight_decay: float = 5e-4,
    warmup_steps: int = 0,
    shift_pixels: int = 0,
    flip: bool = False,
    validate_every: int = 200,
    select: Literal["best", "last"] = "best",
    log_every: int = 50,
    seed: int,
    initial_seed: int,
    compute: Compute,
    workspace: Workspace,
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
        method: name of a registered method; "ce", "mse" or "joint" for a teacher.
        method_options: options of the method.
        steps: optimiser steps, at least 1.
        batch_size: rows a batch.
        real_fraction: share of real rows in a batch where there are synthetic ones.
        optimizer: "sgd" with momentum, or "adamw" with betas 0.9 and 0.999.
        learning_rate: the highest, after the warm-up; a cosine takes it towards 0.
        momentum: of SGD.
        nesterov: whether SGD looks ahead.
        weight_decay: decay of all parameters (coupled for SGD, decoupled for AdamW).
        warmup_steps: steps of linear warm-up.
        shift_pixels: largest random shift of training images.
        flip: whether training images are mirrored at random.
        validate_every: steps between validations; there is always one after the last step.
        select: whether the weights best on validation (of equals the later) or the last are kept.
        log_every: steps between log rows.
        seed: order of rows and augmentation.
        initial_seed: initial weights.
        compute: where and in what precision.
        workspace: the folder, checkpoints and log.

    Returns:
        ``validation``: what ``students.evaluation.score`` gives for the kept weights; for class+scalar also its two
        figures, ``validation_accuracy`` and ``validation_mae``; ``selected_step``: training steps they had done;
        ``steps``; ``parameters``: their number.

    Raises:
        ConfigError: for options that do not fit.
        DataError: for rows that do not fit.
        StageError: if the loss becomes non-finite.
    """
    loss_of = make_method(method, method_options)
    _check(loss_of, method, label_space, steps, warmup_steps, validate_every)
    image_shape = train.real.images.shape[1:]
    check_rows(Rows(*validation), image_shape, label_space, "validation rows", teacher_outputs=False)
    model = _initial_model(train.real, label_space, network, options, initial_seed)
    compute.place(model)
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
    )
    descent = _optimizer(model, optimizer, learning_rate, momentum, nesterov, weight_decay)
    selection = Selection(selection_metric(label_space), best=select == "best")

    state: dict[str, Stateful] = {"model": model, "optimizer": descent, "selection": selection}
    for step in workspace.steps("training", steps, state, log_every=log_every):
        rng = compute.generator(derive_seed(seed, "augment", step))
        rate = learning_rate_at(step, steps=steps, peak=learning_rate, warmup_steps=warmup_steps)
        for group in descent.param_groups:
            group["lr"] = rate
        images, batch = batches.at(step)
        model.train()
        with compute.autocast():
            outputs = model(compute.images(random_shift_flip(images, shift_pixels, flip, rng)))
        parts = loss_of(batch, model.standardised(outputs), step / steps)
        loss = torch.stack(list(parts.values())).sum()
        descent.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        descent.step()

        numbers: dict[str, float] = {}
        if workspace.should_log(step):
            numbers = {"loss": loss.item(), **{key: part.item() for key, part in parts.items()}, "learning_rate": rate}
        if (step + 1) % validate_every == 0 or step + 1 == steps:
            numbers["validation"] = score(_outputs(model, validation[0], compute), validation[1], label_space)[1]
            selection.offer(model, numbers["validation"], step + 1)
        if numbers:
            workspace.log(step, **numbers)

    selection.restore(model)
    save_model(workspace.folder, model)
    return {
        "validation": float(selection.value or 0.0),
        **_validation_figures(model, validation, label_space, compute),
        "selected_step": float(selection.steps_done),
        "steps": float(steps),
        "parameters": float(parameter_count(model)),
    }


def _check(
    method: Method, name: str, label_space: LabelSpace, steps: int, warmup_steps: int, validate_every: int
) -> None:
    if label_space.kind not in method.tasks:
        raise ConfigError(
            f"method '{name}' must be one for {label_space.kind} labels, got one for "
            f"{' and '.join(sorted(method.tasks))} labels; try {' or '.join(fitting_methods(label_space.kind))}."
        )
    if not 0 <= warmup_steps < steps:
        raise ConfigError(f"warmup_steps must be at least 0 and below steps, got {warmup_steps} of {steps} steps.")
    if validate_every < 1:
        raise ConfigError(f"validate_every must be at least 1, got {validate_every}; try 200.")


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


def _optimizer(
    model: ImageModel, name: Optimizer, learning_rate: float, momentum: float, nesterov: bool, weight_decay: float
) -> torch.optim.Optimizer:
    if name == "sgd":
        return torch.optim.SGD(
            model.parameters(),
            lr=learning_rate,
            momentum=momentum,
            nesterov=nesterov and momentum > 0.0,
            weight_decay=weight_decay,
        )
    if name == "adamw":
        return torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=weight_decay)
    raise ConfigError(f"optimizer must be 'sgd' or 'adamw', got '{name}'.")


def _outputs(model: ImageModel, images: npt.NDArray[np.uint8], compute: Compute) -> npt.NDArray[np.float32]:
    return predict(model, images, compute, batch_size=min(512, len(images)))


def _validation_figures(
    model: ImageModel,
    validation: tuple[npt.NDArray[np.uint8], npt.NDArray[Any]],
    label_space: LabelSpace,
    compute: Compute,
) -> dict[str, float]:
    """The figures that the one number of the selection was made from; none where it is the figure itself."""
    if selection_metric(label_space) != "error":
        return {}
    images, labels = validation
    found = headlines(figures(_outputs(model, images, compute), labels, label_space))
    return {f"validation_{figure.metric}": figure.value for figure in found}
