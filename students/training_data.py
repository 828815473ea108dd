"""What a student learns from: real rows, and synthetic or mixed ones as a fixed share of each batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from data.compute import Compute
from data.errors import DataError
from data.labels import LabelSpace
from data.random import derive_seed
from data.recipes.applying import mix_images, mix_targets
from data.views import ViewRule
from students.augmentation import Augmentation
from students.image_memory import Memory, training_images
from students.methods import Batch
from students.row_order import RowOrder, batch_shares, check_shared
from students.rows import Rows, TrainingData, check_rows, error_statistics
from students.team import ALONE, Team

__all__ = [
    "DeviceBatches", "Rows", "TrainingData", "batch_shares", "check_rows", "check_shared", "error_statistics",
    "smoothed",
]  # fmt: skip


class DeviceBatches:
    """The batch of any step on the device, images as uint8, a pure function of (seed, step).

    Labels and the teacher's outputs lie on the device, images there or in their files. Mixed images are formed on the
    device from the two images of each, and are then augmented like all others. With groups every part has its own
    comparisons, so that one of them is of real rows or of synthetic ones; they are drawn once and shuffled in each
    pass. With views the student sees the very view that the teacher answered, chosen anew for every row and step, and
    is not shifted or mirrored again; synthetic and mixed images have no views.

    Args:
        data: what to learn from.
        label_space: what labels mean.
        batch_size: images a batch.
        real_fraction: share of real rows in a batch where there are synthetic ones.
        seed: makes the order of rows; that of the real ones does not depend on the synthetic ones.
        label_mean: subtracted from continuous labels and from teacher outputs, in their own units; one number, or
            one an output, (K,), with 0 for logits.
        label_std: continuous labels and teacher outputs are divided by it; of the same shape, with 1 for logits.
        teacher_outputs: whether the batches carry the teacher's outputs.
        compute: where.
        groups: sizes (p, q) of the groups that are compared; None where rows come singly.
        augmentation: of the images.
        fill: grey level of holes, (C,); needed for cutout alone.
        label_smoothing: share of a hard class label that is spread over all classes; soft labels stay as they are.
        order: whether rows are shuffled one by one ("rows") or in runs of consecutive ones ("blocks").
        image_memory: where images lie, see ``students.image_memory``; batches are the same.
        team: of which this process takes its share of every part of every batch.

    Raises:
        ConfigError: if groups do not fit, or the batch cannot be shared evenly.
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
        groups: tuple[int, int] | None = None,
        augmentation: Augmentation | None = None,
        fill: Tensor | None = None,
        label_smoothing: float = 0.0,
        order: Literal["rows", "blocks"] = "rows",
        image_memory: Memory = "auto",
        team: Team = ALONE,
    ) -> None:
        if data.real.mixes is not None:
            raise DataError("real rows: must be images themselves, got mixes; give mixes as the second part.")
        for name, rows in zip(data.names, data.parts, strict=True):
            check_rows(rows, data.real.images.shape[1:], label_space, f"{name} rows", teacher_outputs)
        self._compute, self._seed, self._groups = compute, seed, groups
        self._rng = compute.generator(seed)
        self._augmentation, self._fill = augmentation or Augmentation(), fill
        self._classes, self._smoothing = label_space.classes, label_smoothing
        group_size = 1 if groups is None else sum(groups)
        counts = batch_shares(batch_size, real_fraction, len(data.parts), group_size)
        check_shared(counts, team.size, group_size)
        #: Rows of each part in a batch of this process, the real ones first.
        self.shares = [count * group_size // team.size for count in counts]
        self._team = team
        self._names = data.names
        self._orders = [
            RowOrder(rows, count, groups, derive_seed(seed, name), name, order)
            for name, rows, count in zip(data.names, data.parts, counts, strict=True)
        ]
        self._offsets = [0, len(data.real)]
        shares = [slice(team.rank * share, (team.rank + 1) * share) for share in self.shares]
        self._images = training_images(data.parts, self._orders, shares, image_memory, compute, team.size)
        self._mixer = _Mixer(data.parts[-1], compute)
        mean, std = (
            torch.as_tensor(item, dtype=torch.float32, device=compute.device).expand(label_space.outputs)
            for item in (label_mean, label_std)
        )
        self._rule = data.real.views if teacher_outputs else None
        self._views = 1
        self._teacher: Tensor | None = None
        if teacher_outputs:
            answers = [rows.teacher_outputs for rows in data.parts if rows.teacher_outputs is not None]
            self._views = len(answers[0]) if self._rule else 1
            flat = [answer.reshape(-1, label_space.outputs) for answer in answers]
            self._teacher = (self._joined(flat).float() - mean) / std
        self._values: Tensor | None = None
        if not label_space.has_classes:
            self._labels = (torch.cat([self._values_of(rows, rows.labels) for rows in data.parts]) - mean) / std
            return
        self._labels = self._class_labels(data.parts, label_space)
        if label_space.dimensions:
            first = label_space.classes
            values = [self._values_of(rows, label_space.continuous_part(rows.labels)) for rows in data.parts]
            self._values = (torch.cat(values) - mean[first:]) / std[first:]

    def _joined(self, arrays: Sequence[npt.NDArray[Any]]) -> Tensor:
        return torch.cat([torch.from_numpy(np.array(array)).to(self._compute.device) for array in arrays])

    def _values_of(self, rows: Rows, values: npt.NDArray[Any]) -> Tensor:
        """Values of the rows of a part, in their own units: of mixes those of both images, or what the teacher says."""
        if rows.mixes is None or not rows.soft_labels or rows.teacher_outputs is None:
            return self._mixer.targets(rows, self._joined([values]).float())
        said = self._joined([rows.teacher_outputs[:, self._classes :]])
        return said.float().reshape(-1, *values.shape[1:])

    def _class_labels(self, parts: Sequence[Rows], label_space: LabelSpace) -> Tensor:
        """Classes int64 (N,), or probabilities float32 (N, C) where some of the parts have soft or mixed labels."""
        classes = [self._joined([label_space.class_part(rows.labels)]) for rows in parts]
        if not any(rows.soft_labels or rows.mixes is not None for rows in parts):
            return torch.cat(classes)
        probabilities = []
        for rows, own in zip(parts, classes, strict=True):
            if rows.soft_labels and rows.teacher_outputs is not None:
                logits = self._joined([rows.teacher_outputs[..., : label_space.classes]])
                found = logits.float().softmax(dim=-1)
                # Of views the mean of their probabilities: a label is of the image.
                probabilities.append(found if found.ndim == 2 else found.mean(dim=0))
            else:
                hard = smoothed(own, label_space.classes, self._smoothing)
                probabilities.append(self._mixer.targets(rows, hard))
        return torch.cat(probabilities)

    def targets(self, part: int) -> tuple[Tensor, Tensor | None]:
        """What the losses of all rows of a part compare with, whichever batch they come in.

        Args:
            part: 0 for the real rows, 1 for the synthetic or mixed ones.

        Returns:
            Labels (N, K): class probabilities, soft or smoothed as in the batches, and then standardised values; and
            the teacher's standardised outputs (N, K), of views their mean, or None without teacher outputs.
        """
        counts = [order.rows for order in self._orders]
        own = slice(sum(counts[:part]), sum(counts[: part + 1]))
        labels = self._labels[own]
        if self._classes and labels.ndim == 1:
            labels = smoothed(labels, self._classes, self._smoothing)
        columns = [labels.reshape(len(labels), -1), *([] if self._values is None else [self._values[own]])]
        teacher = None
        if self._teacher is not None:
            real = self._views * counts[0]
            teacher = self._teacher[:real] if part == 0 else self._teacher[real:]
            teacher = teacher.reshape(-1, counts[part], teacher.shape[1]).mean(dim=0)
        return torch.cat(columns, dim=1), teacher

    def rows_at(self, step: int) -> dict[str, list[int]]:
        """Row numbers of the batch of ``step``, or numbers of mixes, by part and in the order of the batch."""
        return {name: order.at(step).tolist() for name, order in zip(self._names, self._orders, strict=True)}

    def at(self, step: int) -> tuple[Tensor, Batch]:
        """Augmented images (B, C, H, W) and what else is known of the batch of ``step``; real rows first.

        Images are uint8 grey levels, or float32 ones where they have holes.
        """
        rng = self._rng.manual_seed(derive_seed(self._seed, "augment", step, *self._team.own_seed))
        places = [self._team.share(order.at(step)) for order in self._orders]
        rows = [own + offset for own, offset in zip(places, self._offsets, strict=False)]
        index = torch.from_numpy(np.concatenate(rows)).to(self._compute.device, non_blocking=True)
        images = self._images.batch(step, places, index)
        images = self._mixer.images(images, index[self.shares[0] :] - self._offsets[1])
        if self._rule is None:
            images, answered = self._augmentation.moved(images, rng), index
        else:
            images, answered = self._viewed(images, index, self._rule, rng)
        if self._fill is not None:
            images = self._augmentation.cut(images, self._fill, rng)
        labels = self._labels.index_select(0, index)
        if self._smoothing and self._classes and labels.ndim == 1:
            labels = smoothed(labels, self._classes, self._smoothing)
        teacher = None if self._teacher is None else self._teacher.index_select(0, answered)
        values = None if self._values is None else self._values.index_select(0, index)
        return images, Batch(labels, teacher, values, groups=self._groups)

    def _viewed(self, images: Tensor, index: Tensor, rule: ViewRule, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """A view of each real image, synthetic ones augmented as ever, and the rows of the teacher's answers."""
        real = self.shares[0]
        own = index[:real]
        view = torch.randint(0, self._views, (real,), generator=rng, device=images.device)
        seen = [rule(images[:real], own, view), self._augmentation.moved(images[real:], rng)]
        # Answers of views lie view by view, those of synthetic rows behind them.
        before = (self._views - 1) * self._offsets[1]
        return torch.cat(seen), torch.cat([view * self._offsets[1] + own, index[real:] + before])


class _Mixer:
    """Mixes images and labels of a part, if it is one of mixes.

    Args:
        rows: the last part.
        compute: with the device.
    """

    def __init__(self, rows: Rows, compute: Compute) -> None:
        self._mixes = rows.mixes
        if self._mixes is not None:
            self._coefficient, self._box = (
                torch.from_numpy(np.ascontiguousarray(column)).to(compute.device)
                for column in (self._mixes.coefficient, self._mixes.box)
            )

    def images(self, images: Tensor, index: Tensor) -> Tensor:
        """Images of a batch whose last ones are the first and the second ones of mixes, with these mixed.

        Args:
            images: uint8 (R + 2 M, C, H, W), R rows and M mixes.
            index: the mixes of the part, int64 (M,).
        """
        if self._mixes is None:
            return images
        count = len(index)
        start = len(images) - 2 * count
        rest, first, second = images[:start], images[start : start + count], images[start + count :]
        coefficient, box = (column.index_select(0, index) for column in (self._coefficient, self._box))
        return torch.cat([rest, mix_images(first, second, coefficient, box, self._mixes.kind)])

    def targets(self, rows: Rows, labels: Tensor) -> Tensor:
        """Labels of the rows of a part, float32 (M, ...), from those of its images (N, ...)."""
        if rows.mixes is None:
            return labels
        first, second = (
            labels.index_select(0, torch.from_numpy(np.ascontiguousarray(chosen)).to(labels.device))
            for chosen in (rows.mixes.first, rows.mixes.second)
        )
        return mix_targets(first, second, self._coefficient)


def smoothed(classes: Tensor, count: int, share: float) -> Tensor:
    """Classes as probabilities, of which ``share`` is spread evenly over all (Szegedy et al., 2016, section 7).

    Args:
        classes: int64 (B,).
        count: number of classes C.
        share: in [0, 1).

    Returns:
        float32 (B, C).
    """
    probabilities = torch.full((len(classes), count), share / count, device=classes.device)
    return probabilities.scatter_(1, classes[:, None], 1.0 - share + share / count)
