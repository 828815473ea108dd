"""The conditional density ratio p_real(x | y) / p_generated(x | y): training, and use on images."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from data.checkpoint import load_weights
from data.compute import Compute
from data.errors import DataError
from data.files import replace_durably, write_json
from data.labels import LabelSpace
from data.random import Seeds, derive_seed, row_seeds
from data.workspace import Workspace
from filters.features import Extractor, extract, load_extractor
from filters.label_loss import label_tensor
from filters.ratio_fitting import WEIGHTS, fit_ratio
from filters.ratio_network import RatioNetwork

CARD = "ratio.json"

#: Makes images, uint8 (n, C, H, W), of labels (n, ...) from seeds (n,).
Sample = Callable[[npt.NDArray[Any], Seeds], npt.NDArray[np.uint8]]


@dataclass(frozen=True)
class RatioModel:
    """A trained density ratio with its extractor.

    Args:
        extractor: in evaluation mode, on the device of ``compute``.
        network: in evaluation mode, on the device of ``compute``.
        label_space: what labels mean.
        compute: where and in what precision.
    """

    extractor: Extractor
    network: RatioNetwork
    label_space: LabelSpace
    compute: Compute

    def ratio(
        self, images: npt.NDArray[np.uint8], labels: npt.NDArray[Any], batch_size: int = 256
    ) -> npt.NDArray[np.float32]:
        """Density ratios of images under their labels; a row's value does not depend on its neighbours.

        Args:
            images: uint8 (n, C, H, W).
            labels: a column of the label space, in its own units, (n, ...).
            batch_size: images a block.

        Returns:
            float32 (n,), at least 0, not calibrated.
        """
        ratios = np.empty(len(images), np.float32)
        for start in range(0, len(images), batch_size):
            count = min(batch_size, len(images) - start)
            features = extract(self.extractor, images[start : start + count], self.compute, batch_size)
            padded_features = torch.zeros(batch_size, features.shape[1], device=self.compute.device)
            padded_features[:count] = features
            padded_labels = np.zeros((batch_size, *self.label_space.label_shape), self.label_space.dtype)
            padded_labels[:count] = labels[start : start + count]
            with torch.no_grad():
                answers = self.network(padded_features, label_tensor(padded_labels, self.label_space, self.compute))
            ratios[start : start + count] = answers[:count].cpu().numpy()
        return ratios


def train_ratio(
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[Any],
    label_space: LabelSpace,
    sample: Sample,
    extractor: Extractor,
    *,
    pool_rounds: int = 10,
    widths: Sequence[int] = (256, 128, 64),
    dropout: float = 0.5,
    activation: Literal["relu", "softplus"] = "relu",
    steps: int = 2000,
    batch_size: int = 256,
    learning_rate: float = 1e-4,
    weight_decay: float = 1e-4,
    penalty_weight: float = 0.01,
    log_every: int = 50,
    seed: int,
    compute: Compute,
    workspace: Workspace,
) -> dict[str, float]:
    """Makes a pool of fakes and trains the ratio on their features; writes what ``load_ratio`` reads.

    Source: cDR-RS (Ding et al. 2023). Differs from the paper in: fakes come from a pool made once, ``pool_rounds`` of
    them at each real row's label, not anew at every step.

    Args:
        images: real images, uint8 (N, C, H, W).
        labels: a column of the label space, in its own units, (N, ...).
        label_space: what labels mean.
        sample: makes fakes of labels from seeds.
        extractor: trained on the same label space, in evaluation mode, on the device of ``compute``.
        pool_rounds: fakes for each real row.
        widths: widths of the ratio's hidden layers, multiples of 8 from 32 up.
        dropout: probability of dropping a hidden unit.
        activation: "relu" (the paper) or "softplus".
        steps: steps of the ratio.
        batch_size: real rows, and as many fakes, in a batch of the ratio.
        learning_rate: highest learning rate of the ratio (Adam, betas 0.5 and 0.999).
        weight_decay: of the ratio.
        penalty_weight: lambda of the loss.
        log_every: steps between log rows.
        seed: of everything.
        compute: where and in what precision.
        workspace: the folder, checkpoints, shards and logs.

    Returns:
        ``ratio_fake_mean`` (1 for a perfect ratio) and ``ratio_real_mean``, over the pool and the real rows.

    Raises:
        StageError: if a loss becomes non-finite.
    """
    shards = make_pool(labels, sample, rounds=pool_rounds, seed=derive_seed(seed, "pool"), workspace=workspace)
    fakes = torch.stack([extract(extractor, np.load(path), compute) for path in shards])
    real = extract(extractor, images, compute)
    network = fit_ratio(
        real,
        labels,
        fakes,
        label_space,
        widths=widths,
        dropout=dropout,
        activation=activation,
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        penalty_weight=penalty_weight,
        log_every=log_every,
        seed=derive_seed(seed, "ratio"),
        compute=compute,
        workspace=workspace,
    )
    write_json(
        workspace.path(CARD),
        {
            "image_shape": list(images.shape[1:]),
            "label_space": label_space.to_dict(),
            "feature_size": extractor.feature_size,
            "widths": list(widths),
            "dropout": dropout,
            "activation": activation,
        },
    )
    all_labels = label_tensor(labels, label_space, compute)
    with torch.no_grad():
        fake_mean = torch.stack([network(features, all_labels).mean() for features in fakes]).mean()
        real_mean = network(real, all_labels).mean()
    return {"ratio_fake_mean": fake_mean.item(), "ratio_real_mean": real_mean.item()}


def make_pool(labels: npt.NDArray[Any], sample: Sample, *, rounds: int, seed: int, workspace: Workspace) -> list[Path]:
    """Makes ``rounds`` fakes at each real row's label, one shard a round, and goes on at the first missing shard.

    Args:
        labels: labels of the real rows, (N, ...).
        sample: makes images of labels from seeds.
        rounds: number of shards, at least 1.
        seed: makes the fakes' seeds.
        workspace: holds the shards.

    Returns:
        Paths of the shards, each a NumPy file with uint8 (N, C, H, W) in the order of the real rows.
    """
    for number, path in workspace.shards("fakes", rounds, suffix=".npy"):
        rows = np.arange(number * len(labels), (number + 1) * len(labels))
        temporary = path.with_name(path.name + ".tmp")
        with temporary.open("wb") as file:
            np.save(file, sample(labels, row_seeds(seed, rows)))
        replace_durably(temporary, path)
    return workspace.shard_paths("fakes", rounds, suffix=".npy")


def load_ratio(folder: Path, features_folder: Path, compute: Compute) -> RatioModel:
    """Reads what ``train_ratio`` wrote.

    Args:
        folder: of the ratio.
        features_folder: of the extractor that it was trained on.
        compute: where and in what precision.

    Raises:
        DataError: if the files are missing, damaged or do not fit each other.
    """
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        label_space = LabelSpace.from_dict(card["label_space"])
        size = card["feature_size"]
        network = RatioNetwork(size, label_space, card["widths"], card["dropout"], card["activation"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"ratio card {folder / CARD} must be readable, got {type(error).__name__} ({error}); train the ratio again."
        ) from error
    load_weights(folder / WEIGHTS, network)
    extractor = load_extractor(features_folder, compute)
    if extractor.feature_size != size:
        raise DataError(
            f"the features of {features_folder} must have {size} numbers for the ratio of {folder}, "
            f"got {extractor.feature_size}; train the ratio again."
        )
    compute.place(network)
    return RatioModel(extractor, network.eval().requires_grad_(False), label_space, compute)
