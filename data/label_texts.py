"""Labels as a person writes them: a class by number or name, values in their units, ranges."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from data.errors import ConfigError
from data.labels import Axis, LabelSpace

_MOST_NAMES = 12
_MOST_VALUES = 10_000


def find_class(text: str, space: LabelSpace) -> int | None:
    """The class that a text names, or None.

    Digits are a class number, anything else is a name. Upper and lower case matter only where names differ by it.
    """
    text = text.strip()
    if text.isascii() and text.isdigit():
        return int(text) if len(text) < 10 and int(text) < space.classes else None
    if text in space.names:
        return space.names.index(text)
    folded = [name.casefold() for name in space.names]
    return folded.index(text.casefold()) if folded.count(text.casefold()) == 1 else None


def parse_class(text: str, space: LabelSpace, where: str) -> int:
    """The class that a text names.

    Args:
        text: a class number or a class name.
        space: what labels mean; has classes.
        where: the text's origin, for messages ("--label").

    Raises:
        ConfigError: if it names no class.
    """
    found = find_class(text, space)
    if found is None:
        near = difflib.get_close_matches(text.strip(), space.names, n=1)
        names = ", ".join(space.names[:_MOST_NAMES]) + (" ..." if space.classes > _MOST_NAMES else "")
        hint = f"; did you mean '{near[0]}'?" if near else "."
        raise ConfigError(
            f"{where} must be a class number 0..{space.classes - 1} or a class name ({names}), got '{text}'{hint}"
        )
    return found


def parse_value(text: str, axis: Axis, where: str) -> float:
    """A value within the range of its axis.

    Raises:
        ConfigError: if it is no number, or lies outside.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        unit = f" in {axis.unit}" if axis.unit else ""
        raise ConfigError(f"{where} must be a number{unit} for {axis.name}, got '{text}'.")
    if not axis.minimum <= value <= axis.maximum:
        raise ConfigError(
            f"{where} must lie between {axis.describe(axis.minimum)} and {axis.describe(axis.maximum)}, "
            f"got {value:g} for {axis.name}."
        )
    return value


def parse_label(text: str, space: LabelSpace, where: str) -> npt.NDArray[Any]:
    """One label: "3" or "Shirt"; "37.5"; "30,12.5" for a vector; "chair 2,37.5" for a class with a value.

    Args:
        text: as a person wrote it.
        space: what labels mean.
        where: the text's origin, for messages ("--label").

    Returns:
        A row of a label column: the shape ``space.label_shape``, the type ``space.dtype``.

    Raises:
        ConfigError: if it is no label of the space.
    """
    if space.kind == "class":
        return np.asarray(parse_class(text, space, where), space.dtype)
    if space.kind == "scalar":
        return np.asarray(parse_value(text, space.dimensions[0], where), space.dtype)
    if space.kind == "class+scalar":
        # The last comma: a name may have some.
        name, comma, value = text.rpartition(",")
        if not comma:
            middle = (space.minimum + space.maximum) / 2
            raise ConfigError(
                f"{where} must be a class and a value with a comma between them, such as "
                f"'{space.names[0]},{middle:g}', got '{text}'."
            )
        return np.asarray(
            [parse_class(name, space, where), parse_value(value, space.dimensions[0], where)], space.dtype
        )
    parts = text.split(",")
    if len(parts) != len(space.axes):
        names = ", ".join(axis.name for axis in space.axes)
        raise ConfigError(f"{where} must be {len(space.axes)} values with commas between them ({names}), got '{text}'.")
    values = [parse_value(part, axis, where) for part, axis in zip(parts, space.axes, strict=True)]
    return np.asarray(values, space.dtype)


def parse_labels(texts: Sequence[str], space: LabelSpace, where: str) -> npt.NDArray[Any]:
    """A column of labels, in the order of the texts; see ``parse_label``."""
    rows = [parse_label(text, space, where) for text in texts]
    return np.asarray(rows, space.dtype).reshape(len(rows), *space.label_shape)


def parse_ranges(text: str, space: LabelSpace, where: str) -> list[npt.NDArray[np.float64]]:
    """Values of every continuous dimension, evenly from LOW to HIGH, from "LOW:HIGH:COUNT" with commas between them.

    Args:
        text: one part a dimension, e.g. "0:90:10" or "0:90:4,-10:10:3"; both ends are included.
        space: what labels mean.
        where: the text's origin, for messages ("--range").

    Returns:
        One array (COUNT,) a dimension.

    Raises:
        ConfigError: if labels have no continuous part, or the text is no such range within the space.
    """
    axes = space.dimensions
    if not axes:
        raise ConfigError(f"{where} is for labels with values, got classes; leave it out to take every class.")
    parts = text.split(",")
    if len(parts) != len(axes):
        raise ConfigError(f"{where} must be LOW:HIGH:COUNT for each of {len(axes)} dimension(s), got '{text}'.")
    values = []
    for part, axis in zip(parts, axes, strict=True):
        fields = part.split(":")
        if len(fields) != 3 or not (fields[2].strip().isdigit() and 1 <= int(fields[2][:9]) <= _MOST_VALUES):
            raise ConfigError(
                f"{where} must be LOW:HIGH:COUNT with a COUNT of 1 to {_MOST_VALUES}, such as "
                f"{axis.minimum:g}:{axis.maximum:g}:10, got '{part}'."
            )
        low, high = (parse_value(field, axis, where) for field in fields[:2])
        values.append(np.linspace(low, high, int(fields[2])))
    return values


def label_grid(
    space: LabelSpace, values: Sequence[npt.NDArray[np.floating[Any]]], classes: Sequence[int] | None = None
) -> npt.NDArray[Any]:
    """Every combination of classes and values, the last dimension changing fastest.

    Args:
        space: what labels mean.
        values: values of each continuous dimension; none for classes.
        classes: the classes, or None for all of them.

    Returns:
        A column of the label space.
    """
    parts: list[npt.NDArray[Any]] = [np.asarray(axis, np.float64) for axis in values]
    if space.has_classes:
        parts.insert(0, np.arange(space.classes) if classes is None else np.asarray(classes, np.int64))
    grid = np.stack([part.reshape(-1) for part in np.meshgrid(*parts, indexing="ij")], axis=1)
    return space.join(grid[:, 0] if space.has_classes else None, grid[:, 1:] if space.has_classes else grid)
