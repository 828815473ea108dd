"""The generated images that a density ratio is trained on, made once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data.files import replace_durably
from data.random import Seeds, derive_seed, row_seeds
from data.workspace import Workspace
from filters.vicinity import Vicinity

#: Makes images, uint8 (n, C, H, W), of labels (n, ...) from seeds (n,).
Sample = Callable[[npt.NDArray[Any], Seeds], npt.NDArray[np.uint8]]
#: Images uint8 (n, C, H, W) to logits, then normalised values, float32 (n, K).
Predict = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]]

#: Attempts at an image whose predicted label lies in the vicinity, as in the paper's training.
MOST_ATTEMPTS = 200


def make_pool(
    labels: npt.NDArray[Any],
    sample: Sample,
    *,
    rounds: int,
    vicinity: Vicinity | None = None,
    predict: Predict | None = None,
    seed: int,
    workspace: Workspace,
) -> list[Path]:
    """Makes ``rounds`` fakes for each real row's label, one shard a round, and goes on at the first missing shard.

    With a vicinity, a fake is made at a label within it, and again from another seed while its predicted label lies
    outside, at most 200 times. Source: cDR-RS (Ding et al. 2023, arXiv 2103.11166).

    Args:
        labels: labels of the real rows, (N, ...).
        sample: makes images of labels from seeds.
        rounds: number of shards, at least 1.
        vicinity: of labels with values; None makes every fake at the label itself.
        predict: predicts labels of images; needed with a vicinity.
        seed: makes the fakes' seeds.
        workspace: holds the shards.

    Returns:
        Paths of the shards, for ``read_pool``, each with a fake for every real row.

    Raises:
        ValueError: if there is a vicinity and no way to predict labels.
    """
    if vicinity is not None and predict is None:
        raise ValueError("predict must be there with a vicinity, got none.")
    for number, path in workspace.shards("fakes", rounds, suffix=".npz"):
        rows = np.arange(number * len(labels), (number + 1) * len(labels))
        if vicinity is None or predict is None:
            images, inside = sample(labels, row_seeds(seed, rows)), np.ones(len(labels), np.bool_)
        else:
            images, inside = _made_within(labels, rows, sample, vicinity, predict, seed)
        temporary = path.with_name(path.name + ".tmp")
        with temporary.open("wb") as file:
            np.savez(file, images=images, inside=inside)
        replace_durably(temporary, path)
    return workspace.shard_paths("fakes", rounds, suffix=".npz")


def read_pool(path: Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """Images uint8 (N, C, H, W) of a shard, in the order of the real rows, and which stand for their label, (N,)."""
    with np.load(path) as shard:
        return shard["images"], shard["inside"]


def _made_within(
    labels: npt.NDArray[Any],
    rows: npt.NDArray[np.int64],
    sample: Sample,
    vicinity: Vicinity,
    predict: Predict,
    seed: int,
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """Fakes whose predicted labels lie in the vicinity of labels; the last attempt where none does."""
    missing = np.arange(len(labels))
    images: npt.NDArray[np.uint8] | None = None
    for attempt in range(MOST_ATTEMPTS):
        base = seed if attempt == 0 else derive_seed(seed, "attempt", attempt)
        seeds = row_seeds(base, rows[missing])
        made = sample(vicinity.jitter(labels[missing], seeds), seeds)
        if images is None:
            images = np.empty((len(labels), *made.shape[1:]), np.uint8)
        images[missing] = made
        missing = missing[~vicinity.holds(predict(made), labels[missing])]
        if not len(missing):
            break
    assert images is not None
    inside = np.ones(len(labels), np.bool_)
    inside[missing] = False
    return images, inside
