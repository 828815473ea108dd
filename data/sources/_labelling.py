"""Labels of the user's own data: the label space, its column and the parts, from what a table or an array tells."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from data.errors import ConfigError, DataError
from data.labels import Axis, LabelKind, LabelSpace
from data.sources import EITHER_POOL, TEST_POOL, TRAINING_POOL, VALIDATION_POOL
from data.splitting import TEST, TRAIN, VALIDATION

#: Names of the parts in files and folders; the first of each is the one that is told.
PART_NAMES = {"train": TRAIN, "training": TRAIN, "validation": VALIDATION, "val": VALIDATION, "valid": VALIDATION}
PART_NAMES |= {"dev": VALIDATION, "test": TEST, "testing": TEST}
_NAMED = 8
# What texts of classes are numbers: short ones, so that no text is a costly one.
_NUMBER = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?", re.ASCII)
_PART_COLUMNS = {"split", "subset", "part", "partition"}
Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Value:
    """One continuous label.

    Args:
        column: where its numbers are.
        name: what it measures; None takes the column's name.
        unit: unit of the numbers.
        minimum: smallest label of the space; None takes that of the data.
        maximum: largest label of the space; None takes that of the data.
    """

    column: str
    name: str | None = None
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None

    @property
    def shown(self) -> str:
        """What it is called."""
        return self.name or self.column


def read_values(kind: str, values: Sequence[Mapping[str, Any]], has_class: bool | None) -> tuple[Value, ...]:
    """The continuous labels of a source's options.

    Args:
        kind: the source, for messages.
        values: each a mapping with the fields of ``Value``.
        has_class: whether there is a class beside them; None where only the data tell.

    Raises:
        ConfigError: if there is no label at all, two have one name, or there is a class with several values.
    """
    found = tuple(Value(**value) for value in values)
    if has_class is False and not found:
        raise ConfigError(
            f"source: {kind} must be told what to predict, got neither a class nor values; set source.class_"
            f"{'key' if kind == 'hdf5' else 'column'}, or source.values: [{{column: NAME, unit: UNIT}}]."
        )
    if has_class and len(found) > 1:
        raise ConfigError(
            f"source.values must have at most one entry beside a class, got {len(found)}; leave the class or the "
            "others out."
        )
    if len({value.shown for value in found}) != len(found):
        raise ConfigError(
            f"source.values must have distinct names, got {', '.join(value.shown for value in found)}; set their name."
        )
    for value in found:
        if value.minimum is not None and value.maximum is not None and value.minimum >= value.maximum:
            raise ConfigError(
                f"source.values: minimum of {value.shown} must be below its maximum, got {value.minimum:g} and "
                f"{value.maximum:g}; swap them."
            )
    return found


def make_space(names: Sequence[str] | None, values: Sequence[Value], numbers: Numbers, where: str) -> LabelSpace:
    """The label space of classes, of numbers, or of both.

    Args:
        names: class names in label order; None without classes.
        values: the continuous labels, L of them.
        numbers: their numbers, float64 (N, L), which give the ends that are not told.
        where: name of the data, for messages.

    Raises:
        DataError: if there are fewer than two classes, or all numbers of a value are the same.
    """
    if names is not None and len(names) < 2:
        raise DataError(f"{where}: must have at least 2 classes, got {len(names)} ({', '.join(names)}); add another.")
    axes = [_axis(value, column, where) for value, column in zip(values, numbers.T, strict=True)]
    if len(axes) > 1:
        return LabelSpace("vector", axes=tuple(axes))
    if not axes:
        return LabelSpace("class", tuple(names or ()))
    axis = axes[0]
    kind: LabelKind = "scalar" if names is None else "class+scalar"
    return LabelSpace(kind, tuple(names or ()), axis.name, axis.unit, axis.minimum, axis.maximum)


def _axis(value: Value, column: npt.NDArray[np.float64], where: str) -> Axis:
    if not len(column):
        raise DataError(f"{where}: must have at least one row with {value.shown}, got none; add rows.")
    if (largest := float(np.abs(column).max())) > float(np.finfo(np.float32).max):
        raise DataError(
            f"{where}: {value.shown} must be at most 3.4e38, which is what float32 holds, got {largest:g}; use a "
            "larger unit, or leave such rows out."
        )
    # Labels are stored as float32: the ends are those of what is stored.
    stored = column.astype(np.float32)
    low = float(stored.min()) if value.minimum is None else value.minimum
    high = float(stored.max()) if value.maximum is None else value.maximum
    if not low < high:
        raise DataError(
            f"{where}: {value.shown} must have different values, got {low:g} in all rows; "
            "leave it out, or set its minimum and maximum."
        )
    return Axis(value.shown, value.unit, low, high)


def outside(axis: Axis, column: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Rows whose number lies outside the range of its axis."""
    stored = column.astype(np.float32)
    return np.flatnonzero((stored < np.float32(axis.minimum)) | (stored > np.float32(axis.maximum)))


def plain(name: str) -> str:
    """A class name in Unicode's composed form: files of a Mac and of others name a class by the same text."""
    return unicodedata.normalize("NFC", name)


def order_classes(found: Iterable[str], given: Sequence[str], where: str, *, numerically: bool) -> tuple[str, ...]:
    """Class names in label order.

    Args:
        found: the names in the data.
        given: the order that the options tell; empty sorts them.
        where: name of the data, for messages.
        numerically: whether names that are all numbers are sorted as numbers.

    Raises:
        DataError: if ``given`` does not name exactly the classes of the data.
    """
    names = set(found)
    if given:
        wanted = [plain(name) for name in given]
        unknown = sorted(names - set(wanted))
        absent = [name for name in wanted if name not in names]
        if unknown or absent or len(set(wanted)) != len(wanted):
            odd = f"'{unknown[0]}' is missing" if unknown else "one is named twice"
            odd = f"the data have no '{absent[0]}'" if absent else odd
            raise DataError(
                f"{where}: source.classes must name each class of the data once ({some(sorted(names))}), "
                f"but {odd}; correct it."
            )
        return tuple(wanted)
    if numerically and all(map(_NUMBER.fullmatch, names)):
        return tuple(sorted(names, key=lambda name: (Fraction(name), name)))
    return tuple(sorted(names))


def order_note(names: Sequence[str], given: Sequence[str], where: str) -> tuple[str, ...]:
    """A sentence where classes are numbers other than 0, 1, 2 ..., so that a teacher may mean others by its outputs.

    Args:
        names: class names in label order.
        given: the order that the options tell; nothing is said where they tell one.
        where: name of the data.
    """
    if (
        given
        or not names
        or not all(map(_NUMBER.fullmatch, names))
        or tuple(names) == tuple(map(str, range(len(names))))
    ):
        return ()
    return (
        f"{where}: the class numbers {some(names)} are the teacher's outputs 0 .. {len(names) - 1}; set source.classes "
        "if its order is another.",
    )


def unused_parts(columns: Iterable[str], used: Iterable[str], where: str, option: str | None = None) -> tuple[str, ...]:
    """A sentence for each column that by its name tells a split, and is not used.

    Args:
        columns: those that there are.
        used: those that are used, in small letters.
        where: name of the data.
        option: what makes a source use it; None if nothing does.
    """
    taken = set(used)
    odd = [column for column in columns if column.casefold() in _PART_COLUMNS and column.casefold() not in taken]
    remedy = f"set {option} to it if it is the split" if option else "put each part into a file of its name"
    return tuple(f"{where}: '{column}' is not used, the split is made at random; {remedy}." for column in odd)


def make_pool(parts: npt.NDArray[np.integer] | None, rows: int) -> npt.NDArray[np.uint8]:
    """What rows may serve for, as ``Source.pool``.

    Without test rows the test is taken from the training rows, and so is the validation without validation rows.

    Args:
        parts: 0 training, 1 validation, 2 test, (N,); None leaves everything open.
        rows: number of rows N.
    """
    if parts is None:
        return np.full(rows, EITHER_POOL, np.uint8)
    training = TRAINING_POOL if (parts == TEST).any() else EITHER_POOL
    return np.take(np.array([training, VALIDATION_POOL, TEST_POOL], np.uint8), parts)


def some(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
