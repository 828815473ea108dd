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
        labels: int64 (N,), or float32 (N,) in the label's own unit.
        teacher_outputs: float32 (N, K) of the clean images, logits or predictions in the label's own unit.
        soft_labels: for classes, whether the teacher's probabilities (softmax of ``teacher_outputs``) stand in for
            the labels, in every method.
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
        label_mean: subtracted from scalar labels and teacher outputs, in their own unit.
        label_std: scalar labels and teacher outputs are divided by it.
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
        label_mean: float,
        label_std: float,
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
        answers = [rows.teacher_outputs for rows in data.parts if rows.teacher_outputs is not None]
        self._teacher: Tensor | None = None
        if teacher_outputs:
            self._teacher = (self._joined(answers).float() - label_mean) / label_std
        if any(rows.soft_labels for rows in data.parts):
            self._labels = torch.cat([self._probabilities(rows, label_space.classes) for rows in data.parts])
        else:
            labels = self._joined([rows.labels for rows in data.parts])
            self._labels = labels.long() if label_space.kind == "class" else (labels.float() - label_mean) / label_std

    def _joined(self, arrays: Sequence[npt.NDArray[Any]]) -> Tensor:
        return torch.cat([torch.from_numpy(np.array(array)).to(self._compute.device) for array in arrays])

    def _probabilities(self, rows: Rows, classes: int) -> Tensor:
        if rows.soft_labels and rows.teacher_outputs is not None:
            return self._joined([rows.teacher_outputs]).float().softmax(dim=1)
        return torch.nn.functional.one_hot(self._joined([rows.labels]), classes).float()

    def at(self, step: int) -> tuple[Tensor, Batch]:
        """Images, uint8 (B, C, H, W), and what else is known of the batch of ``step``; real rows first."""
        rows = np.concatenate(
            [batches.at(step) + offset for batches, offset in zip(self._batches, self._offsets, strict=False)]
        )
        index = torch.from_numpy(rows).to(self._compute.device, non_blocking=True)
        teacher = None if self._teacher is None else self._teacher[index]
        return self._images[index], Batch(self._labels[index], teacher)


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
    if rows.labels.shape != (count,):
        raise DataError(f"{where}: labels must have shape ({count},), got {rows.labels.shape}.")
    label_space.check(rows.labels, where)
    if rows.soft_labels and label_space.kind != "class":
        raise DataError(f"{where}: soft labels must be of classes, got scalar labels; try hard labels.")
    if teacher_outputs or rows.soft_labels:
        if rows.teacher_outputs is None:
            raise DataError(f"{where}: teacher outputs must be there for this method or these labels, got none.")
        if rows.teacher_outputs.shape != (count, label_space.outputs):
            raise DataError(
                f"{where}: teacher outputs must have shape ({count}, {label_space.outputs}), "
                f"got {rows.teacher_outputs.shape}."
            )
