"""The split of a source into training, validation and test rows, the same for any number of labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from data.errors import DataError
from data.labels import LabelSpace
from data.random import derive_seed
from data.sources import EITHER_POOL, TEST_POOL, TRAINING_POOL, VALIDATION_POOL

TRAIN, VALIDATION, TEST = 0, 1, 2
#: Most validation images that are taken from training rows unasked, and the share of those rows.
_MOST_VALIDATION, _VALIDATION_SHARE = 300, 10
Rows = npt.NDArray[np.int64]


def split_rows(
    labels: npt.NDArray[Any],
    pool: npt.NDArray[np.uint8],
    label_space: LabelSpace,
    *,
    labels_per_class: int | None,
    images_per_label: int | None,
    validation_images: int | None,
    test_images: int | None,
    seed: int,
) -> tuple[Rows, npt.NDArray[np.uint8]]:
    """Chooses rows of a source and their part.

    Test rows are chosen first, then validation, then training, so that neither the test nor the validation
    images change with the number of training images. Where labels have a class, the split is stratified: validation
    and test have equally many images of each class where that leaves each class at least half the share of its rows
    that is left of all; else as many as its share of the rows (rounded to largest remainders), and not its last row.

    Args:
        labels: all labels of the source, a column of the label space, (N, ...).
        pool: for each row 0 (any part), 1 (never test), 2 (test only) or 3 (validation only), shape (N,). Where rows
            of 2 (of 3) exist, the test (the validation) part is taken from them alone.
        label_space: the labels' space.
        labels_per_class: training images a class, where labels have one; None takes all.
        images_per_label: training images a distinct label (a class with its value counts as one), where labels are
            not classes alone; None takes all. It is applied before ``labels_per_class``.
        validation_images: number of validation images; None takes all reserved ones, or a tenth of the rows that are
            left beside the test, at most 300.
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

    reserved, kept_for_validation = order[pool[order] == TEST_POOL], order[pool[order] == VALIDATION_POOL]
    rest = order[(pool[order] == EITHER_POOL) | (pool[order] == TRAINING_POOL)]
    if len(reserved):
        wanted = len(reserved) if test_images is None else test_images
        test = _take(reserved, classes, wanted, "test", last=True)
    else:
        wanted = len(rest) // 3 if test_images is None else test_images
        test = _take(rest[pool[rest] == EITHER_POOL], classes, wanted, "test")
        rest = rest[~np.isin(rest, test)]
    if len(kept_for_validation):
        wanted = len(kept_for_validation) if validation_images is None else validation_images
        validation = _take(kept_for_validation, classes, wanted, "validation", last=True)
    else:
        unasked = max(1, min(_MOST_VALIDATION, len(rest) // _VALIDATION_SHARE))
        validation = _take(rest, classes, unasked if validation_images is None else validation_images, "validation")
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
            smaller = "validation_images or test_images"
            if labels_per_class is not None and labels_per_class > 1:
                smaller = f"labels_per_class, {smaller}"
            larger = "" if images_per_label is None else ", or a larger images_per_label"
            raise DataError(
                f"class '{label_space.names[poorest]}' must have {needed} training images, got {counts[poorest]}; "
                f"try a smaller prepare.{smaller}{larger}, or give the source more images of it."
            )
    if len(train) < 2:
        raise DataError(
            f"the training split must have at least 2 images, got {len(train)}; try fewer validation_images."
        )
    rows = np.concatenate([train, validation, test])
    parts = np.repeat(np.array([TRAIN, VALIDATION, TEST], np.uint8), [len(train), len(validation), len(test)])
    return rows, parts


def left_out(
    pool: npt.NDArray[np.uint8], rows: Rows, validation_images: int | None, test_images: int | None
) -> tuple[str, ...]:
    """Sentences on rows that the source reserves for a part which has got fewer.

    Args:
        pool: as ``split_rows``.
        rows: the chosen rows.
        validation_images: as ``split_rows``.
        test_images: as ``split_rows``.
    """
    told = []
    asked = (("validation", VALIDATION_POOL, validation_images), ("test", TEST_POOL, test_images))
    for name, reserved, wanted in asked:
        there = int((pool == reserved).sum())
        unused = there - int((pool[rows] == reserved).sum())
        if unused and wanted is not None:
            told.append(
                f"{unused:,} of the {there:,} {name} images of the source are not used, as prepare.{name}_images is "
                f"{wanted:,}; leave it unset to take them all."
            )
    return tuple(told)


def _take(rows: Rows, classes: npt.NDArray[np.int64] | None, count: int, name: str, *, last: bool = False) -> Rows:
    """The first ``count`` rows, stratified; ``last`` allows all rows of a class, as none of them could train."""
    if count > len(rows):
        fewer = "a smaller number" if len(rows) else "a smaller number, or give the source more images"
        raise DataError(
            f"the {name} split must have {count} images, got a source with {len(rows)} left for it; "
            f"set prepare.{name}_images to {fewer}."
        )
    if classes is None:
        return rows[:count]
    here = classes[rows]
    ranks = _rank_in_label(here)
    order = np.argsort(ranks, kind="stable")
    # Rows in the order of their rank within their class: any prefix is as even as the classes allow.
    even = rows[order[:count]]
    there = np.bincount(here)
    left = there - np.bincount(classes[even], minlength=len(there))
    if np.all(2 * left * len(rows) >= there * (len(rows) - count)):
        return even
    quota = _shares(there, count, there if last else np.maximum(there - 1, 0))
    return rows[order[(ranks < quota[here])[order]]]


def _shares(there: npt.NDArray[np.int64], count: int, most: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """How many of ``count`` rows each class gives: by its share, rounded to largest remainders, at most ``most``.

    Where that is too few in all, classes give more than ``most``.
    """
    exact = there * count / max(1, there.sum())
    quota: npt.NDArray[np.int64] = np.minimum(np.floor(exact).astype(np.int64), most)
    while quota.sum() < count:
        room = np.flatnonzero(quota < most)
        if not len(room):
            most = there
            continue
        # One more each, those that are furthest below their share first.
        first = room[np.argsort(quota[room] - exact[room], kind="stable")]
        quota[first[: count - quota.sum()]] += 1
    return quota


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
