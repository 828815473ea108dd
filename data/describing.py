"""Says what a set holds, for a person who meets it for the first time, and for programs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data.labels import LabelSpace
from data.reading import ImageSet, open_set, release_pages
from data.schema import SCHEMA_VERSION, blocks

#: Names of the parts of a split, by their number.
PARTS = ("training", "validation", "test")
#: Images that are looked at for the range of their values, evenly spread over the set.
SAMPLED_IMAGES = 1024
#: Columns of one number a row of which the range is told.
_NUMBERS = ("coefficient", "density_ratio", "teacher_error")


def describe_set(path: Path | str | ImageSet) -> dict[str, Any]:
    """What a person who meets a set for the first time wants to know, JSON-ready; ``docs/data-format.md`` tells it all.

    What a set does not have is null: ``images``, ``split``, ``teacher`` and so on.

    Args:
        path: the file, or the opened set.

    Returns:
        ``path``, ``format_version``, ``kind``, ``rows``, ``bytes`` (of the columns), ``file_bytes``, ``columns`` (type,
        shape, bytes), ``images``, ``split``, ``label_space``, ``labels``, ``teacher``, ``numbers``, ``license``,
        ``content_sha256`` and ``provenance``. For each label column ``labels`` tells by kind: class, the rows of each
        class; scalar, the range, mean and standard deviation; vector, those of each axis; class+scalar, the rows of
        each class with those of its values.

    Raises:
        DataError: if the file is no whole set.
    """
    found = path if isinstance(path, ImageSet) else open_set(path)
    columns, space = found.columns, found.label_space
    return {
        "path": str(found.path),
        "format_version": SCHEMA_VERSION,
        "kind": found.kind,
        "rows": len(found),
        "bytes": sum(values.nbytes for values in columns.values()),
        "file_bytes": found.path.stat().st_size,
        "columns": {
            name: {"dtype": values.dtype.name, "shape": list(values.shape), "bytes": values.nbytes}
            for name, values in columns.items()
        },
        "images": _images(columns["images"]) if "images" in columns else None,
        "split": _split(columns["split"]) if "split" in columns else None,
        "label_space": space.to_dict(),
        "labels": {name: _labels(columns[name], space) for name in ("labels", "condition") if name in columns},
        "teacher": _teacher(found) if "teacher_outputs" in columns else None,
        "numbers": {name: summary(columns[name]) for name in _NUMBERS if name in columns},
        "license": found.license,
        "content_sha256": found.content_sha256,
        "provenance": found.provenance,
    }


def summary(values: npt.NDArray[Any]) -> dict[str, float]:
    """``minimum``, ``maximum``, ``mean`` and ``std`` (of the population) of some numbers; empty for none."""
    if not values.size:
        return {}
    wide = values.astype(np.float64)
    return {
        "minimum": float(wide.min()),
        "maximum": float(wide.max()),
        "mean": float(wide.mean()),
        "std": float(wide.std()),
    }


def _images(images: npt.NDArray[np.uint8]) -> dict[str, Any]:
    """Shape and values; these of a sample, so that a large set is described at once."""
    rows, channels, height, width = images.shape
    told: dict[str, Any] = {"channels": channels, "height": height, "width": width}
    places = np.unique(np.linspace(0, rows - 1, min(rows, SAMPLED_IMAGES)).astype(np.int64)) if rows else np.arange(0)
    told["sampled"] = len(places)
    if rows:
        sample = images[places]
        release_pages(images)
        told |= {
            "minimum": int(sample.min()),
            "maximum": int(sample.max()),
            "mean": [float(value) for value in sample.mean(axis=(0, 2, 3), dtype=np.float64)],
            "std": [float(value) for value in sample.std(axis=(0, 2, 3), dtype=np.float64)],
        }
    return told


def _split(parts: npt.NDArray[np.uint8]) -> dict[str, int]:
    counts = np.bincount(parts, minlength=len(PARTS))
    return {name: int(count) for name, count in zip(PARTS, counts, strict=True)}


def _labels(labels: npt.NDArray[Any], space: LabelSpace) -> dict[str, Any]:
    if space.kind == "class":
        return _by_name(space, np.bincount(labels, minlength=space.classes).tolist())
    if space.kind == "scalar":
        return summary(labels)
    if space.kind == "vector":
        return {axis.name: summary(labels[:, number]) for number, axis in enumerate(space.axes)}
    return _by_name(space, _by_class(labels, space.classes))


def _by_class(labels: npt.NDArray[Any], classes: int) -> list[dict[str, Any]]:
    """Rows of each class and the summary of their values, float32 (N, 2); sorted once, whatever number of classes."""
    order = np.argsort(labels[:, 0], kind="stable")
    values = labels[order, 1].astype(np.float64)
    counts = np.bincount(labels[:, 0].astype(np.int64), minlength=classes)
    told: list[dict[str, Any]] = [{"rows": int(count)} for count in counts]
    there = np.flatnonzero(counts)
    if not len(there):
        return told
    starts, rows = (np.cumsum(counts) - counts)[there], counts[there]
    means = np.add.reduceat(values, starts) / rows
    spread = np.add.reduceat((values - np.repeat(means, rows)) ** 2, starts) / rows
    found = (np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts), means, np.sqrt(spread))
    for number, *numbers in zip(there.tolist(), *(column.tolist() for column in found), strict=True):
        told[number] |= dict(zip(("minimum", "maximum", "mean", "std"), numbers, strict=True))
    return told


def _by_name(space: LabelSpace, values: list[Any]) -> dict[str, Any]:
    """By class name; classes that share one are told apart by their number."""
    times = Counter(space.names)
    return {
        name if times[name] == 1 else f"{name} [{number}]": value
        for number, (name, value) in enumerate(zip(space.names, values, strict=True))
    }


def _teacher(found: ImageSet) -> dict[str, Any]:
    """How far the teacher's outputs agree with the labels, or with what was asked for where there are no labels."""
    outputs, space = found.columns["teacher_outputs"], found.label_space
    column = next((name for name in ("labels", "condition") if name in found.columns), None)
    if "other_labels" in found.columns:
        # What a mixed image shows is neither of both labels.
        column = None
    told: dict[str, Any] = {"outputs": outputs.shape[1], "compared_with": column}
    if column is None or not len(found):
        return told
    same, distance = 0, np.zeros(len(space.dimensions))
    for start, stop in blocks(len(found)):
        block, labels = outputs[start:stop], found.columns[column][start:stop]
        if space.has_classes:
            same += int((block[:, : space.classes].argmax(axis=1) == space.class_part(labels)).sum())
        values = block[:, space.classes :].astype(np.float64)
        distance += np.abs(values - space.continuous_part(labels)).sum(axis=0)
        release_pages(outputs)
    if space.has_classes:
        told["same_class"] = same / len(found)
    if space.dimensions:
        told["mean_absolute_difference"] = {
            axis.name: float(total / len(found)) for axis, total in zip(space.dimensions, distance, strict=True)
        }
    return told
