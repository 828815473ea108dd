"""How the labels of a set are distributed, as tables of a card: rows a class, and quantiles of values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from data.exporting.markdown import grid, plain
from data.exporting.rows import rows_by_split
from data.labels import LabelSpace
from data.reading import ImageSet

_MOST_CLASSES = 100
_POINTS = {"smallest": 0.0, "5 %": 0.05, "median": 0.5, "95 %": 0.95, "largest": 1.0}


def label_tables(found: ImageSet) -> list[str]:
    """Tables of the labels that go with the rows, or a sentence for a set without any.

    Args:
        found: any set.
    """
    column = next((name for name in ("labels", "condition") if name in found.columns), None)
    space = found.label_space
    if column is None or found.columns[column].shape[1:] != space.label_shape:
        return [f"Labels of the rows that this set is about: {plain(space_in_words(space))}."]
    parts = []
    if found.kind == "mixed":
        parts.append(
            "Each image has two labels, `labels` of its first and `other_labels` of its second image, with the shares "
            "`coefficient` and 1 - `coefficient`. The tables count those of the first images."
        )
    if space.has_classes:
        parts.append(_class_table(found, column))
    if space.dimensions and len(found):
        values = space.continuous_part(found.columns[column])
        lines = [
            [axis.name, axis.unit, *(f"{value:.4g}" for value in np.quantile(each, tuple(_POINTS.values())))]
            for axis, each in zip(space.dimensions, values.T, strict=True)
        ]
        parts.append(grid(["value", "unit", *_POINTS], lines))
    return parts


def space_in_words(space: LabelSpace) -> str:
    """What labels mean, on one line."""
    words = [f"{space.classes} classes"] if space.has_classes else []
    words += [
        f"{axis.name}, {axis.describe(axis.minimum)} to {axis.describe(axis.maximum)}" for axis in space.dimensions
    ]
    return "; ".join(words)


def _class_table(found: ImageSet, column: str) -> str:
    """Rows a class, in all and, where there are several splits, in each."""
    space = found.label_space
    classes = space.class_part(found.columns[column])
    counts = np.bincount(classes, minlength=space.classes)
    splits = rows_by_split(found)
    apart = [np.bincount(classes[rows], minlength=space.classes) for rows in splits.values()] if len(splits) > 1 else []
    lines: list[Sequence[str]] = [
        [
            str(number),
            space.names[number],
            f"{counts[number]:,}",
            f"{counts[number] / max(len(found), 1):.1%}",
            *(f"{each[number]:,}" for each in apart),
        ]
        for number in range(min(space.classes, _MOST_CLASSES))
    ]
    text = grid(["number", "class", "rows", "share", *(splits if apart else ())], lines)
    if space.classes > _MOST_CLASSES:
        rest = counts[_MOST_CLASSES:]
        text += (
            f"\n\nand {len(rest)} more classes with {rest.min():,} to {rest.max():,} rows each; "
            "`label_space` in the file names them all."
        )
    return text
