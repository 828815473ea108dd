"""Label spaces: what a label means, its ranges and units, and its map to what networks take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from data.errors import DataError

LabelKind = Literal["class", "scalar", "vector", "class+scalar"]
KINDS: tuple[LabelKind, ...] = ("class", "scalar", "vector", "class+scalar")


@dataclass(frozen=True)
class Axis:
    """One continuous dimension of a label.

    Args:
        name: what it measures ("yaw angle").
        unit: its unit ("degree"); may be empty.
        minimum: smallest value of the space; maps to 0.
        maximum: largest value of the space; maps to 1.
    """

    name: str
    unit: str = ""
    minimum: float = 0.0
    maximum: float = 1.0

    def __post_init__(self) -> None:
        # The width, too: a value is mapped by it.
        ends = [self.minimum, self.maximum, self.maximum - self.minimum]
        if not (np.isfinite(ends).all() and self.minimum < self.maximum):
            raise DataError(
                "an axis of a label space must have a finite range with minimum < maximum, got "
                f"{self.minimum} and {self.maximum} for '{self.name}'."
            )

    def describe(self, value: float) -> str:
        """A value with its unit."""
        return f"{value:g} {self.unit}".strip()


@dataclass(frozen=True)
class LabelSpace:
    """A space of classes, of scalars, of vectors, or of a class together with a scalar.

    ==============  ====================  =====================================================
    kind            a column of N labels  what a row holds
    ==============  ====================  =====================================================
    class           int64 (N,)            a class, 0 .. classes - 1
    scalar          float32 (N,)          a value in ``unit``
    vector          float32 (N, L)        L values, each in the unit of its axis
    class+scalar    float32 (N, 2)        a class, 0 .. classes - 1, then a value in ``unit``
    ==============  ====================  =====================================================

    Args:
        kind: one of the four.
        names: class names in label order; empty for scalars and vectors.
        name: what the scalar measures ("yaw angle").
        unit: unit of the scalar ("degree").
        minimum: smallest scalar of the space; maps to 0.
        maximum: largest scalar of the space; maps to 1.
        axes: the dimensions of a vector, at least 2; empty for all other kinds.
    """

    kind: LabelKind
    names: tuple[str, ...] = ()
    name: str = "label"
    unit: str = ""
    minimum: float = 0.0
    maximum: float = 1.0
    axes: tuple[Axis, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise DataError(f"label space kind must be one of {', '.join(KINDS)}, got {self.kind!r}.")
        if self.has_classes and len(self.names) < 2:
            raise DataError(f"a {self.kind} label space must have at least 2 names, got {len(self.names)}.")
        if not self.has_classes and self.names:
            raise DataError(f"a {self.kind} label space must have no class names, got {len(self.names)}.")
        if self.kind == "vector" and len(self.axes) < 2:
            raise DataError(f"a vector label space must have at least 2 axes, got {len(self.axes)}; try a scalar one.")
        if self.kind != "vector" and self.axes:
            raise DataError(f"a {self.kind} label space must have no axes, got {len(self.axes)}.")
        if len({axis.name for axis in self.axes}) != len(self.axes):
            raise DataError(
                f"the axes of a label space must have distinct names, got {', '.join(a.name for a in self.axes)}."
            )
        _ = self.dimensions

    @property
    def has_classes(self) -> bool:
        """Whether a label has a class."""
        return self.kind in ("class", "class+scalar")

    @property
    def classes(self) -> int:
        """Number of classes; 0 where a label has none."""
        return len(self.names)

    @property
    def dimensions(self) -> tuple[Axis, ...]:
        """The continuous dimensions of a label, L of them; none for classes."""
        if self.kind == "class":
            return ()
        return self.axes or (Axis(self.name, self.unit, self.minimum, self.maximum),)

    @property
    def label_shape(self) -> tuple[int, ...]:
        """Shape of one label in a column: () for a class or a scalar, else (number of values,)."""
        if self.kind in ("class", "scalar"):
            return ()
        return (len(self.dimensions) + (self.kind == "class+scalar"),)

    @property
    def outputs(self) -> int:
        """Number K of teacher or student outputs: one a class, then one a continuous dimension."""
        return self.classes + len(self.dimensions)

    @property
    def dtype(self) -> np.dtype[Any]:
        """NumPy type of a stored label column."""
        return np.dtype("<i8") if self.kind == "class" else np.dtype("<f4")

    def class_part(self, labels: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """The classes of labels, int64 (N,).

        Raises:
            ValueError: if labels of this space have no class.
        """
        if not self.has_classes:
            raise ValueError(f"labels must have a class, got a {self.kind} label space.")
        return np.asarray(labels if self.kind == "class" else labels[:, 0]).astype(np.int64)

    def continuous_part(self, labels: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """The continuous values of labels in their own units, float64 (N, L); L is 0 for classes."""
        values = np.asarray(labels, np.float64)
        if self.kind == "class":
            return np.zeros((len(values), 0))
        if self.kind == "scalar":
            return values.reshape(-1, 1)
        return values[:, 1:] if self.kind == "class+scalar" else values

    def join(
        self, classes: npt.NDArray[np.integer] | None, continuous: npt.NDArray[np.floating[Any]] | None
    ) -> npt.NDArray[Any]:
        """Labels from their parts, inverse of ``class_part`` and ``continuous_part``; of ``dtype``.

        Args:
            classes: (N,); None where labels have none.
            continuous: (N, L) in their own units; None for classes.
        """
        parts = []
        if self.has_classes:
            parts.append(np.asarray(classes).reshape(-1, 1))
        if self.dimensions:
            parts.append(np.asarray(continuous).reshape(-1, len(self.dimensions)))
        joined = np.concatenate(parts, axis=1).astype(self.dtype)
        return joined.reshape(len(joined), *self.label_shape)

    def normalise(self, labels: Any) -> Any:
        """Maps every continuous value linearly to [0, 1]; classes stay as they are. Array or tensor, any shape of N."""
        if self.kind == "class":
            return labels
        if self.kind == "scalar":
            return (labels - self.minimum) / (self.maximum - self.minimum)
        low = [axis.minimum for axis in self.dimensions]
        span = [axis.maximum - axis.minimum for axis in self.dimensions]
        if self.kind == "class+scalar":
            low, span = [0.0, *low], [1.0, *span]
        if isinstance(labels, np.ndarray):
            return (labels - np.array(low)) / np.array(span)
        return (labels - labels.new_tensor(low)) / labels.new_tensor(span)

    def restore(self, labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Inverse of ``normalise`` for arrays, float64 (classes stay int64)."""
        if self.kind == "class":
            return labels
        low = np.array([axis.minimum for axis in self.dimensions])
        span = np.array([axis.maximum - axis.minimum for axis in self.dimensions])
        if self.kind == "class+scalar":
            low, span = np.r_[0.0, low], np.r_[1.0, span]
        values = np.asarray(labels, np.float64)
        if self.kind == "scalar":
            return np.asarray(values * span[0] + low[0])
        return np.asarray(values * span + low)

    def conditions(self, labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """What networks take for labels: int64 (N,) for classes, else normalised float32 of the labels' shape."""
        if self.kind == "class":
            return np.asarray(labels).astype(np.int64)
        return np.asarray(self.normalise(np.asarray(labels, np.float64)), np.float32)

    def describe(self, label: Any) -> str:
        """A label as a person reads it: the class name, the values with their units, or both."""
        if self.kind == "class":
            return self.names[int(label)]
        if self.kind == "scalar":
            return self.dimensions[0].describe(float(label))
        values = np.asarray(label, np.float64).reshape(-1)
        if self.kind == "class+scalar":
            return f"{self.names[int(values[0])]}, {self.dimensions[0].describe(values[1])}"
        return ", ".join(f"{axis.name} {axis.describe(value)}" for axis, value in zip(self.axes, values, strict=True))

    def check(self, labels: npt.NDArray[Any], where: str) -> None:
        """Raises DataError if labels have another shape, a class is unknown, or a value is not finite."""
        if labels.shape[1:] != self.label_shape:
            wanted = ", ".join(("N", *map(str, self.label_shape))) + ("" if self.label_shape else ",")
            raise DataError(f"{where}: {self.kind} labels must have shape ({wanted}), got {labels.shape}.")
        if self.kind != "class" and not np.isfinite(labels).all():
            raise DataError(
                f"{where}: {self.kind} labels must be finite, got {np.sum(~np.isfinite(labels))} that are not."
            )
        if self.has_classes and labels.size:
            classes = labels if self.kind == "class" else labels[:, 0]
            if classes.min() < 0 or classes.max() >= self.classes:
                raise DataError(
                    f"{where}: class labels must lie in 0..{self.classes - 1}, got {classes.min()}..{classes.max()}."
                )
            if np.any(classes != np.floor(classes)):
                raise DataError(f"{where}: class labels must be whole numbers, got {classes[classes % 1 != 0][0]}.")

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        value: dict[str, Any] = {"kind": self.kind}
        if self.has_classes:
            value["names"] = list(self.names)
        if self.kind in ("scalar", "class+scalar"):
            value |= {"name": self.name, "unit": self.unit, "minimum": self.minimum, "maximum": self.maximum}
        if self.kind == "vector":
            value["axes"] = [
                {"name": axis.name, "unit": axis.unit, "minimum": axis.minimum, "maximum": axis.maximum}
                for axis in self.axes
            ]
        return value

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> LabelSpace:
        """Inverse of ``to_dict``.

        Raises:
            DataError: if the description is not that of a label space.
        """
        try:
            axes = tuple(Axis(**axis) for axis in value.get("axes", ()))
            return cls(**{**value, "names": tuple(value.get("names", ())), "axes": axes})
        except TypeError as error:
            raise DataError(f"label space has an unknown or missing field: {error}.") from error
