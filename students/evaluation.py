"""Outputs of a model for many images, and how good they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from data.labels import LabelSpace

if TYPE_CHECKING:
    from data.compute import Compute
    from students.model import ImageModel

Metric = Literal["accuracy", "mae", "rmse", "error"]

#: Unit of errors that are shares of the range of their axis, so that axes of different units can be averaged.
OF_RANGE = "% of range"


@dataclass(frozen=True)
class Figure:
    """One measured number.

    Args:
        metric: "accuracy", "mae" (mean absolute error), or "rmse" (root mean squared error, at least as large; much
            larger where a few errors are large).
        value: in ``unit``.
        unit: "%", "% of range", or the unit of the label.
        of: the axis that it is of; empty for a figure of whole labels.
    """

    metric: Metric
    value: float
    unit: str
    of: str = ""


class ImageRows(Protocol):
    """Images uint8 (N, C, H, W) of which runs of rows can be taken: an array, or rows that are read or made then."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, C, H, W)."""
        ...

    def __len__(self) -> int:
        """N."""
        ...

    def __getitem__(self, rows: slice, /) -> npt.NDArray[Any]:
        """Images of a run of rows."""
        ...


def predict(model: ImageModel, images: ImageRows, compute: Compute, batch_size: int = 256) -> npt.NDArray[np.float32]:
    """Outputs of the model in evaluation mode, on blocks of one fixed size.

    The last block is padded with zeros, so that a row's outputs do not depend on how many rows come with it.

    Args:
        model: on the device of ``compute``; its mode is restored.
        images: uint8 (N, C, H, W).
        compute: where and in what precision.
        batch_size: images a block.

    Returns:
        float32 (N, K): logits, then predictions in the label's own unit.
    """
    import torch

    training = model.training
    model.eval()
    outputs = np.empty((len(images), model.label_space.outputs), np.float32)
    with torch.inference_mode():
        for start in range(0, len(images), batch_size):
            rows = images[start : start + batch_size]
            block = np.zeros((batch_size, *images.shape[1:]), np.uint8)
            block[: len(rows)] = rows
            with compute.autocast():
                answers = model(compute.images(torch.from_numpy(block)))
            outputs[start : start + len(rows)] = answers[: len(rows)].cpu().numpy()
    model.train(training)
    return outputs


def figures(
    outputs: npt.NDArray[np.floating[Any]], labels: npt.NDArray[Any], label_space: LabelSpace
) -> tuple[Figure, ...]:
    """How good outputs are, the most telling figure first.

    ============  ==============================================================================================
    kind          figures
    ============  ==============================================================================================
    class         accuracy in percent
    scalar        mean absolute error in the label's unit
    vector        mean over the axes of the mean absolute error in percent of the axis's range; then the mean
                  absolute error of each axis in its own unit
    class+scalar  accuracy in percent; then the mean absolute error in the scalar's unit
    ============  ==============================================================================================

    Last come the root mean squared errors of the scalar, or of each axis, in the same units.

    Args:
        outputs: (N, K) logits, then predictions in their own units; N at least 1.
        labels: a column of the label space, N rows.
        label_space: decides what is measured.

    Raises:
        ValueError: if the numbers of rows differ or are 0.
    """
    if len(outputs) != len(labels) or not len(labels):
        raise ValueError(f"outputs and labels must have the same rows, got {len(outputs)} and {len(labels)}.")
    classes = label_space.classes
    found = []
    if label_space.has_classes:
        right = outputs[:, :classes].argmax(axis=1) == label_space.class_part(labels)
        found.append(Figure("accuracy", 100.0 * float(np.mean(right)), "%"))
    wrong = np.abs(outputs[:, classes:].astype(np.float64) - label_space.continuous_part(labels))
    errors = [float(error) for error in wrong.mean(axis=0)]
    if label_space.kind == "vector":
        found.append(Figure("mae", float(np.mean(_of_range(errors, label_space))), OF_RANGE))
    squared = [float(error) for error in np.sqrt(np.square(wrong).mean(axis=0))]
    of_axes: tuple[tuple[Metric, list[float]], ...] = (("mae", errors), ("rmse", squared))
    for metric, values in of_axes:
        for axis, value in zip(label_space.dimensions, values, strict=True):
            found.append(Figure(metric, value, axis.unit, axis.name if label_space.kind == "vector" else ""))
    return tuple(found)


def headlines(found: Sequence[Figure]) -> tuple[Figure, ...]:
    """The figures that are results of their own: those of whole labels, which are two for class+scalar, else one.

    Root mean squared errors are none: they stand beside the mean absolute errors.
    """
    return tuple(figure for figure in found if not figure.of and figure.metric != "rmse")


def selection_metric(label_space: LabelSpace) -> Metric:
    """What ``score`` measures for labels of this kind."""
    if label_space.kind == "class":
        return "accuracy"
    return "error" if label_space.has_classes else "mae"


def score(
    outputs: npt.NDArray[np.floating[Any]], labels: npt.NDArray[Any], label_space: LabelSpace
) -> tuple[Metric, float]:
    """One number for how good outputs are; on validation it decides which weights are kept.

    A class with a scalar has two figures of different units. They are added as the share of wrong classes in percent
    and the mean absolute error in percent of the scalar's range: one point of either weighs the same.

    Args:
        outputs: (N, K) logits, then predictions in their own units; N at least 1.
        labels: a column of the label space, N rows.
        label_space: decides what is measured.

    Returns:
        ("accuracy", percent) for classes, higher is better; ("mae", value) in the label's unit for scalars and in
        percent of the range for vectors, lower is better; ("error", sum of two percentages) for class+scalar, lower
        is better.

    Raises:
        ValueError: if the numbers of rows differ or are 0.
    """
    found = figures(outputs, labels, label_space)
    metric = selection_metric(label_space)
    if metric != "error":
        return metric, found[0].value
    accuracy, error = headlines(found)
    return metric, 100.0 - accuracy.value + float(_of_range([error.value], label_space)[0])


def _of_range(errors: Sequence[float], label_space: LabelSpace) -> npt.NDArray[np.float64]:
    """Errors in the units of their axes as percent of the axes' ranges."""
    return 100.0 * np.array(errors) / [axis.maximum - axis.minimum for axis in label_space.dimensions]


def at_least_as_good(metric: Metric, value: float, other: float) -> bool:
    """Whether ``value`` is better than ``other``, or ties with it; a value that is not a number never is."""
    return value >= other if metric == "accuracy" else value <= other
