"""What a student learns from: real rows, and synthetic rows as a fixed share of each batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from data.batches import Batches
from data.compute import Compute
from data.errors import ConfigError, DataError
from data.labels import LabelSpace
from data.random import derive_seed
from students.methods import Batch


@dataclass(frozen=True)
class Rows:
    """Images with their labels and, where a method needs them, the teacher's outputs.

    Args:
        images: uint8 (N, C, H, W); may be a memory map.
        labels: a column of the label space, N rows.
        teacher_outputs: float32 (N, K) of the clean images, logits and then predictions in the labels' own units.
        soft_labels: whether the teacher's probabilities (softmax of its logits) stand in for the classes of the
            labels, in every method.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[Any]
    teacher_outputs: npt.NDArray[np.float32] | None = None
    soft_labels: bool = False


@dataclass(frozen=True)
class TrainingData:
    """Real rows and, perhaps, synthetic ones."""

    real: Rows
    synthetic: Rows | None = None

    @property
    def parts(self) -> list[Rows]:
        """The rows that are there, the real ones first."""
        return [self.real] if self.synthetic is None else [self.real, self.synthetic]


def batch_shares(batch_size: int, real_fraction: float, parts: int) -> list[int]:
    """Rows of each part in every batch.

    Args:
        batch_size: rows a batch.
        real_fraction: share of real rows where there are synthetic ones, in (0, 1).
        parts: 1 (real rows only) or 2.

    Raises:
        ConfigError: if a part would get no row.
    """
    if parts == 1:
        return [batch_size]
    real = round(batch_size * real_fraction)
    if not 0 < real < batch_size:
        raise ConfigError(
            f"real_fraction must leave both kinds of rows in a batch of {batch_size}, got {real_fraction}; try 0.5."
        )
    return [real, batch_size - real]


class DeviceBatches:
    """All rows on the device as uint8, and the batch of any step as a pure function of (seed, step).

    Args:
        data: what to learn from.
        label_space: what labels mean.
        batch_size: rows a batch.
        real_fraction: share of real rows in a batch where there are synthetic ones.
        seed: makes the order of rows; that of the real ones does not depend on the synthetic ones.
        label_mean: subtracted from continuous labels and from teacher outputs, in their own units; one number, or
            one an output, (K,), with 0 for logits.
        label_std: continuous labels and teacher outputs are divided by it; of the same shape, with 1 for logits.
        teacher_outputs: whether the batches carry the teacher's outputs.
        compute: where.

    Raises:
        DataError: if rows do not fit each other or the label space, or teacher outputs are needed and missing.
    """

    def __init__(
        self,
        data: TrainingData,
        label_space: LabelSpace,
        *,
        batch_size: int,
        real_fraction: float,
        seed: int,
        label_mean: Tensor | float,
        label_std: Tensor | float,
        teacher_outputs: bool,
        compute: Compute,
    ) -> None:
        for name, rows in zip(("real", "synthetic"), data.parts, strict=False):
            check_rows(rows, data.real.images.shape[1:], label_space, f"{name} rows", teacher_outputs)
        shares = batch_shares(batch_size, real_fraction, len(data.parts))
        self._compute = compute
        self._offsets = [0, len(data.real.images)]
        self._batches = [
            Batches(len(rows.images), share, derive_seed(seed, name))
            for name, rows, share in zip(("real", "synthetic"), data.parts, shares, strict=False)
        ]
        self._images = self._joined([rows.images for rows in data.parts])
        mean, std = (
            torch.as_tensor(item, dtype=torch.float32, device=compute.device).expand(label_space.outputs)
            for item in (label_mean, label_std)
        )
        answers = [rows.teacher_outputs for rows in data.parts if rows.teacher_outputs is not None]
        self._teacher = (self._joined(answers).float() - mean) / std if teacher_outputs else None
        self._values: Tensor | None = None
        if not label_space.has_classes:
            self._labels = (self._joined([rows.labels for rows in data.parts]).float() - mean) / std
            return
        self._labels = self._classes(data.parts, label_space)
        if label_space.dimensions:
            first = label_space.classes
            values = [label_space.continuous_part(rows.labels).astype(np.float32) for rows in data.parts]
            self._values = (self._joined(values) - mean[first:]) / std[first:]

    def _joined(self, arrays: Sequence[npt.NDArray[Any]]) -> Tensor:
        return torch.cat([torch.from_numpy(np.array(array)).to(self._compute.device) for array in arrays])

    def _classes(self, parts: Sequence[Rows], label_space: LabelSpace) -> Tensor:
        """Classes int64 (N,), or probabilities float32 (N, C) where some of the parts have soft labels."""
        classes = [self._joined([label_space.class_part(rows.labels)]) for rows in parts]
        if not any(rows.soft_labels for rows in parts):
            return torch.cat(classes)
        probabilities = []
        for rows, own in zip(parts, classes, strict=True):
            if rows.soft_labels and rows.teacher_outputs is not None:
                logits = self._joined([rows.teacher_outputs[:, : label_space.classes]])
                probabilities.append(logits.float().softmax(dim=1))
            else:
                probabilities.append(torch.nn.functional.one_hot(own, label_space.classes).float())
        return torch.cat(probabilities)

    def at(self, step: int) -> tuple[Tensor, Batch]:
        """Images, uint8 (B, C, H, W), and what else is known of the batch of ``step``; real rows first."""
        rows = np.concatenate(
            [batches.at(step) + offset for batches, offset in zip(self._batches, self._offsets, strict=False)]
        )
        index = torch.from_numpy(rows).to(self._compute.device, non_blocking=True)
        teacher, values = (None if column is None else column[index] for column in (self._teacher, self._values))
        return self._images[index], Batch(self._labels[index], teacher, values)


def check_rows(
    rows: Rows, image_shape: Sequence[int], label_space: LabelSpace, where: str, teacher_outputs: bool
) -> None:
    """Checks that rows fit each other, the images' shape and the label space.

    Raises:
        DataError: naming ``where`` and what does not fit.
    """
    count = len(rows.images)
    if rows.images.dtype != np.uint8 or rows.images.shape[1:] != tuple(image_shape) or not count:
        raise DataError(
            f"{where}: images must be uint8 (N, {', '.join(map(str, image_shape))}) with N >= 1, "
            f"got {rows.images.dtype} {rows.images.shape}."
        )
    if rows.labels.shape != (count, *label_space.label_shape):
        raise DataError(
            f"{where}: labels must have shape {(count, *label_space.label_shape)}, got {rows.labels.shape}."
        )
    label_space.check(rows.labels, where)
    if rows.soft_labels and not label_space.has_classes:
        raise DataError(f"{where}: soft labels must be of classes, got {label_space.kind} labels; try hard labels.")
    if teacher_outputs or rows.soft_labels:
        if rows.teacher_outputs is None:
            raise DataError(f"{where}: teacher outputs must be there for this method or these labels, got none.")
        if rows.teacher_outputs.shape != (count, label_space.outputs):
            raise DataError(
                f"{where}: teacher outputs must have shape ({count}, {label_space.outputs}), "
                f"got {rows.teacher_outputs.shape}."
            )
