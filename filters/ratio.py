"""The conditional density ratio p_real(x | y) / p_generated(x | y): training, and use on images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from data.checkpoint import load_weights
from data.compute import Compute
from data.errors import DataError
from data.files import write_json
from data.labels import LabelSpace
from data.random import derive_seed
from data.workspace import Workspace
from filters.features import FeatureNetwork, extract
from filters.label_loss import label_tensor
from filters.ratio_fitting import WEIGHTS, fit_ratio
from filters.ratio_loss import Penalty
from filters.ratio_network import RatioNetwork
from filters.ratio_pool import Predict, Sample, make_pool, read_pool
from filters.vicinity import Vicinity

CARD = "ratio.json"


@dataclass(frozen=True)
class RatioModel:
    """A trained density ratio with the network that gives its features.

    Args:
        extractor: in evaluation mode, on the device of ``compute``.
        network: in evaluation mode, on the device of ``compute``.
        label_space: what labels mean.
        compute: where and in what precision.
    """

    extractor: FeatureNetwork
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
            rows = slice(start, start + batch_size)
            features, block = extract(self.extractor, images[rows], self.compute, batch_size), labels[rows]
            count = len(block)
            if count < batch_size:
                features = functional.pad(features, (0, 0, 0, batch_size - count))
                block = np.concatenate([block, np.zeros((batch_size - count, *block.shape[1:]), block.dtype)])
            with torch.inference_mode():
                answers = self.network(features, label_tensor(block, self.label_space, self.compute))
            ratios[rows] = answers[:count].cpu().numpy()
        return ratios


def train_ratio(
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[Any],
    label_space: LabelSpace,
    sample: Sample,
    extractor: FeatureNetwork,
    *,
    vicinity: Vicinity | None = None,
    predict: Predict | None = None,
    pool_rounds: int = 10,
    widths: Sequence[int] = (256, 128, 64),
    dropout: float = 0.5,
    activation: Literal["relu", "softplus"] = "relu",
    steps: int = 2000,
    batch_size: int = 256,
    learning_rate: float = 5e-4,
    weight_decay: float = 1e-4,
    penalty_weight: float = 1.0,
    penalty: Penalty = "label",
    log_every: int = 50,
    seed: int,
    compute: Compute,
    workspace: Workspace,
) -> dict[str, float]:
    """Makes a pool of fakes and trains the ratio on their features; writes what ``load_ratio`` reads.

    Source: cDR-RS (Ding et al. 2023, arXiv 2103.11166). Differs from the paper in: fakes come from a pool made once,
    ``pool_rounds`` of them for each real row's label, not anew at every step; the penalty can be taken per label.

    Args:
        images: real images, uint8 (N, C, H, W).
        labels: a column of the label space, in its own units, (N, ...).
        label_space: what labels mean.
        sample: makes fakes of labels from seeds.
        extractor: gives the features; frozen, in evaluation mode, on the device of ``compute``.
        vicinity: of labels with values: fakes are made within it, and the ratio learns that they stand for its centre.
            None makes them at the labels themselves.
        predict: predicts labels of images; needed with a vicinity.
        pool_rounds: fakes for each real row.
        widths: widths of the ratio's hidden layers, multiples of 8 from 32 up.
        dropout: probability of dropping a hidden unit.
        activation: "relu" (the paper) or "softplus".
        steps: steps of the ratio.
        batch_size: real rows, and as many fakes, in a batch of the ratio.
        learning_rate: highest learning rate of the ratio (Adam, betas 0.5 and 0.999; the paper: 1e-4).
        weight_decay: of the ratio.
        penalty_weight: lambda of the loss (the paper: 0.01, which lets the ratio of few images die).
        penalty: whose mean ratio is pulled to 1: the whole "batch"'s (the paper), or that of each "label", by moving
            averages over classes, or over groups of near values.
        log_every: steps between log rows.
        seed: of everything.
        compute: where and in what precision.
        workspace: the folder, checkpoints, shards and logs.

    Returns:
        ``ratio_fake_mean`` (1 for a perfect ratio) and ``ratio_real_mean``, over the pool and the real rows; with a
        vicinity ``pool_inside``, the share of the pool that is predicted to lie within it.

    Raises:
        StageError: if a loss becomes non-finite, or no fake is predicted to lie in the vicinity of its label.
    """
    shards = make_pool(
        labels,
        sample,
        rounds=pool_rounds,
        vicinity=vicinity,
        predict=predict,
        seed=derive_seed(seed, "pool"),
        workspace=workspace,
    )
    parts = [read_pool(path) for path in shards]
    inside = torch.from_numpy(np.stack([mask for _, mask in parts])).to(compute.device)
    fakes = torch.stack([extract(extractor, made, compute) for made, _ in parts])
    real = extract(extractor, images, compute)
    network = fit_ratio(
        real,
        labels,
        fakes,
        label_space,
        inside=inside,
        widths=widths,
        dropout=dropout,
        activation=activation,
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        penalty_weight=penalty_weight,
        penalty=penalty,
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
        fake_mean = torch.stack([network(features, all_labels) for features in fakes])[inside].mean()
        real_mean = network(real, all_labels).mean()
    figures = {"ratio_fake_mean": fake_mean.item(), "ratio_real_mean": real_mean.item()}
    return figures if vicinity is None else figures | {"pool_inside": inside.float().mean().item()}


def load_ratio(folder: Path, extractor: FeatureNetwork, compute: Compute) -> RatioModel:
    """Reads what ``train_ratio`` wrote.

    Args:
        folder: of the ratio.
        extractor: gives the features that it was trained on; frozen, in evaluation mode, on the device.
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
    if extractor.feature_size != size:
        raise DataError(
            f"features must have {size} numbers for the ratio of {folder}, got {extractor.feature_size}; "
            f"train the ratio again."
        )
    compute.place(network)
    return RatioModel(extractor, network.eval().requires_grad_(False), label_space, compute)
