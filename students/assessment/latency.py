"""How long forward passes take, teacher and students by turns, so that what slows a machine slows all alike."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from data.compute import Compute
    from students.model import ImageModel

#: A timing lasts at least so long, as clocks and calls have a cost of their own; short passes are repeated within it.
_LEAST_SECONDS = 1e-3
_MOST_PASSES = 64
_WARM_UP = 3


def weight_bytes(model: torch.nn.Module) -> int:
    """Bytes of all weights and buffers, as a file of tensors holds them."""
    return sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())


def time_by_turns(
    models: Mapping[str, ImageModel], image_shape: tuple[int, int, int], compute: Compute, *, batch: int, repeats: int
) -> dict[str, list[float]]:
    """Seconds of a forward pass of each model, one a turn; a turn times every model once, in an order that rotates.

    Args:
        models: on the device of ``compute``, in evaluation mode, by name.
        image_shape: channels, height and width.
        compute: where and in what precision.
        batch: images a pass.
        repeats: number of turns.
    """
    # Random pixels: on some processors zeros are quicker than what networks see.
    noise = np.random.default_rng(0).integers(0, 256, (batch, *image_shape), dtype=np.uint8)
    images = compute.images(torch.from_numpy(noise))
    names = list(models)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    passes = {}
    with torch.inference_mode():
        for name in names:
            for _ in range(_WARM_UP):
                once = _timed(models[name], images, compute, 1)
            passes[name] = int(np.clip(np.ceil(_LEAST_SECONDS / once), 1, _MOST_PASSES))
        for turn in range(repeats):
            for place in range(len(names)):
                name = names[(place + turn) % len(names)]
                seconds[name].append(_timed(models[name], images, compute, passes[name]))
    return seconds


def _timed(model: ImageModel, images: torch.Tensor, compute: Compute, passes: int) -> float:
    _wait(compute)
    started = time.perf_counter()
    for _ in range(passes):
        with compute.autocast():
            model(images)
    _wait(compute)
    return (time.perf_counter() - started) / passes


def _wait(compute: Compute) -> None:
    if compute.device.type == "cuda":
        torch.cuda.synchronize(compute.device)


def spread(values: list[float]) -> dict[str, float]:
    """Median and quartiles."""
    low, middle, high = (float(value) for value in np.quantile(values, (0.25, 0.5, 0.75)))
    return {"median": middle, "low": low, "high": high}


def latency_summary(seconds: Mapping[str, list[float]], reference: str | None) -> dict[str, dict[str, Any]]:
    """Median and quartiles of each model's seconds, and how many times as quick as the reference it is.

    Args:
        seconds: from ``time_by_turns``.
        reference: the model that the others are compared with, turn by turn; None for no comparison.

    Returns:
        By name ``seconds`` and, where there is a reference, ``speedup``: the reference's seconds over the model's of
        the same turn. Each is a median with its quartiles ``low`` and ``high``.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, values in seconds.items():
        found[name] = {"seconds": spread(values)}
        if reference is not None:
            found[name]["speedup"] = spread(list(np.divide(seconds[reference], values)))
    return found
