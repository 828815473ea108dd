"""The split of a source into training, validation and test rows, the same for any number of labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from data.errors import DataError
from data.labels import LabelSpace
from data.random import derive_seed

TRAIN, VALIDATION, TEST = 0, 1, 2
Rows = npt.NDArray[np.int64]


def split_rows(
    labels: npt.NDArray[Any],
    pool: npt.NDArray[np.uint8],
    label_space: LabelSpace,
    *,
    labels_per_class: int | None,
    images_per_label: int | None,
    validation_images: int,
    test_images: int | None,
    seed: int,
) -> tuple[Rows, npt.NDArray[np.uint8]]:
    """Chooses rows of a source and their part.

    Test rows are chosen first, then validation, then training, so that neither the test nor the validation
    images change with the number of training images. Where labels have a class, classes are split evenly
    (stratified).

    Args:
        labels: all labels of the source, a column of the label space, (N, ...).
        pool: for each row 0 (any part), 1 (never test) or 2 (test only), shape (N,).
        label_space: the labels' space.
        labels_per_class: training images a class, where labels have one; None takes all.
        images_per_label: training images a distinct label (a class with its value counts as one), where labels are
            not classes alone; None takes all. It is applied before ``labels_per_class``.
        validation_images: number of validation images.
        test_images: number of test images; None takes all reserved ones, or a third of the rows.
        seed: makes the choice.

    Returns:
        Chosen rows, int64 (M,), and their part, uint8 (M,): 0 training, 1 validation, 2 test.

    Raises:
        DataError: if the source has too few rows for what is asked.
    """
    if label_space.kind == "class" and images_per_label is not None:
        raise DataError("prepare.images_per_label is for labels with values; use prepare.labels_per_class for classes.")
    if not label_space.has_classes and labels_per_class is not None:
        raise DataError(
            f"prepare.labels_per_class is for classes; use prepare.images_per_label for {label_space.kind} labels."
        )
    order = np.random.default_rng(derive_seed(seed, "split")).permutation(len(labels))
    classes = label_space.class_part(labels) if label_space.has_classes else None

    reserved = order[pool[order] == 2]
    open_rows = order[pool[order] != 2]
    if len(reserved):
        wanted = len(reserved) if test_images is None else test_images
        test = _take(reserved, classes, wanted, "test")
    else:
        wanted = len(open_rows) // 3 if test_images is None else test_images
        test = _take(open_rows[pool[open_rows] == 0], classes, wanted, "test")
    rest = open_rows[~np.isin(open_rows, test)]
    validation = _take(rest, classes, validation_images, "validation")
    train = rest[~np.isin(rest, validation)]
    if images_per_label is not None:
        train = train[_rank_in_label(_distinct(labels[train])) < images_per_label]
    if classes is not None and labels_per_class is not None:
        train = train[_rank_in_label(classes[train]) < labels_per_class]
    if classes is not None:
        counts = np.bincount(classes[train], minlength=label_space.classes)
        needed = labels_per_class or 1
        if counts.min() < needed:
            poorest = int(counts.argmin())
            raise DataError(
                f"class '{label_space.names[poorest]}' must have {needed} training images, got {counts[poorest]}; "
                f"try a smaller prepare.labels_per_class, validation_images or test_images"
                f"{'' if images_per_label is None else ', or a larger images_per_label'}."
            )
    if len(train) < 2:
        raise DataError(
            f"the training split must have at least 2 images, got {len(train)}; try fewer validation_images."
        )
    rows = np.concatenate([train, validation, test])
    parts = np.repeat(np.array([TRAIN, VALIDATION, TEST], np.uint8), [len(train), len(validation), len(test)])
    return rows, parts


def _take(rows: Rows, classes: npt.NDArray[np.int64] | None, count: int, name: str) -> Rows:
    if count > len(rows):
        raise DataError(f"the {name} split must have {count} images, got a source with {len(rows)} left for it.")
    if classes is None:
        return rows[:count]
    # Rows in the order of their rank within their class: any prefix is as even as the classes allow.
    return rows[np.argsort(_rank_in_label(classes[rows]), kind="stable")][:count]


def _distinct(labels: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """For every row, the number of its label among the distinct ones. Shape (N,)."""
    return np.unique(labels, axis=0, return_inverse=True)[1].reshape(-1)


def _rank_in_label(labels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """For every row, how many earlier rows have the same label. Shape (N,)."""
    order = np.argsort(labels, kind="stable")
    ordered = labels[order]
    starts = np.r_[0, np.flatnonzero(ordered[1:] != ordered[:-1]) + 1] if len(labels) else np.zeros(0, np.int64)
    lengths = np.diff(np.r_[starts, len(labels)])
    ranks = np.empty(len(labels), np.int64)
    ranks[order] = np.arange(len(labels)) - np.repeat(starts, lengths)
    return ranks
