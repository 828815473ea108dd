"""Rows that a student learns from: images, labels and a teacher's outputs, and whether they fit each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from data.errors import DataError
from data.labels import LabelSpace
from data.reading import Selected
from data.recipes.mixes import Mixes
from data.views import ViewRule
from students.methods import ErrorStatistics

#: uint8 (N, C, H, W): in memory, over a memory map, or rows of such an array that are read when they are asked for.
Images = npt.NDArray[np.uint8] | Selected


@dataclass(frozen=True)
class Rows:
    """Images with their labels and, where a method needs them, the teacher's outputs; or mixes of such images.

    Args:
        images: uint8 (N, C, H, W); may be a memory map, or ``Selected`` rows of one.
        labels: of the images, a column of the label space, N rows.
        teacher_outputs: float32 (N, K) of the clean images, or (V, N, K) of V views of them; logits and then
            predictions in the labels' own units. With mixes (M, K), of the mixed images.
        soft_labels: whether the teacher's probabilities (softmax of its logits) stand in for the classes of the
            labels, in every method; of mixes its predictions for their values, too.
        views: how the teacher's views were made, where its outputs are of views.
        groups: comparisons for methods that compare groups: rows of the positive groups (M, p) and of the negative
            ones (M, q); unset draws them.
        mixes: where it is set, the rows are its M mixed images. Their labels are those of ``images`` mixed by the
            coefficients, or with ``soft_labels`` what the teacher says of the mixed images.
    """

    images: Images
    labels: npt.NDArray[Any]
    teacher_outputs: npt.NDArray[np.float32] | None = None
    soft_labels: bool = False
    views: ViewRule | None = None
    groups: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] | None = None
    mixes: Mixes | None = None

    def __len__(self) -> int:
        """Number of rows, or of mixed images."""
        return len(self.images) if self.mixes is None else len(self.mixes)

    def shown(self, places: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Rows of ``images`` that are needed for some rows: themselves, or all first ones of mixes, then all second."""
        if self.mixes is None:
            return places
        return np.concatenate([self.mixes.first[places], self.mixes.second[places]])


@dataclass(frozen=True)
class TrainingData:
    """Real rows and, perhaps, a second part: synthetic rows, or mixes of images."""

    real: Rows
    synthetic: Rows | None = None

    @property
    def parts(self) -> list[Rows]:
        """The rows that are there, the real ones first."""
        return [self.real] if self.synthetic is None else [self.real, self.synthetic]

    @property
    def names(self) -> list[str]:
        """What the parts are called in errors, seeds and files: "real", and "synthetic" or "mixed"."""
        second = [] if self.synthetic is None else ["synthetic" if self.synthetic.mixes is None else "mixed"]
        return ["real", *second]


def part_weights(shares: Sequence[int], synthetic_weight: float) -> list[float]:
    """Weight of the mean over each part's rows in the loss; they add up to 1.

    Args:
        shares: rows of each part in a batch, the real ones first.
        synthetic_weight: of a synthetic row beside a real one.
    """
    counted = [share * weight for share, weight in zip(shares, (1.0, synthetic_weight), strict=False)]
    return [part / sum(counted) for part in counted]


def error_statistics(rows: Rows, label_space: LabelSpace, std: npt.ArrayLike) -> ErrorStatistics:
    """How far the teacher's predictions are from the labels of the rows.

    Args:
        rows: with teacher outputs; of views, all views count.
        label_space: with a continuous part.
        std: by which labels are standardised, one number or one an output, in their own units.

    Returns:
        Figures of the squared errors of standardised values, mean over the axes.

    Raises:
        DataError: if the rows have no teacher outputs.
    """
    if rows.teacher_outputs is None:
        raise DataError("real rows: teacher outputs must be there for the teacher's errors, got none.")
    first = label_space.classes
    scale = np.broadcast_to(np.asarray(std, np.float64), (label_space.outputs,))[first:]
    wrong = (rows.teacher_outputs[..., first:] - label_space.continuous_part(rows.labels)) / scale
    errors = np.square(wrong).mean(axis=-1)
    return ErrorStatistics(*(float(reduce(errors)) for reduce in (np.min, np.max, np.mean, np.std)))


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
    if rows.soft_labels and not label_space.has_classes and rows.mixes is None:
        raise DataError(f"{where}: soft labels must be of classes, got {label_space.kind} labels; try hard labels.")
    if rows.mixes is not None:
        _check_mixes(rows, rows.mixes, where)
    if teacher_outputs or rows.soft_labels:
        if rows.teacher_outputs is None:
            raise DataError(f"{where}: teacher outputs must be there for this method or these labels, got none.")
        expected: tuple[int, ...] = (len(rows), label_space.outputs)
        given = rows.teacher_outputs.shape
        if rows.views is not None:
            expected = (given[0] if len(given) == 3 else -1, *expected)
        if given != expected:
            views = "(V, N, K)" if rows.views is not None else str(expected)
            raise DataError(f"{where}: teacher outputs must have shape {views}, got {given}.")


def _check_mixes(rows: Rows, mixes: Mixes, where: str) -> None:
    if not len(mixes):
        raise DataError(f"{where}: there must be at least one mixed image, got none.")
    if rows.views is not None:
        raise DataError(f"{where}: views must be of images themselves, got views of mixed ones; answer them clean.")
    lowest, highest = (int(reduce([reduce(mixes.first), reduce(mixes.second)])) for reduce in (np.min, np.max))
    if lowest < 0 or highest >= len(rows.images):
        raise DataError(
            f"{where}: mixes must be of rows 0..{len(rows.images) - 1}, got {lowest}..{highest}; make them anew."
        )
