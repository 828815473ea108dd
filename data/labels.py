"""Label spaces: what a label means, its range and unit, and its map to [0, 1]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from data.errors import DataError


@dataclass(frozen=True)
class LabelSpace:
    """A space of class labels, or of scalar labels in a unit.

    Args:
        kind: ``"class"`` (int64 labels, 0 .. classes - 1) or ``"scalar"`` (float32 labels in ``unit``).
        names: class names in label order; empty for a scalar.
        name: what a scalar label measures ("yaw angle").
        unit: unit of a scalar label ("degree").
        minimum: smallest label of the space (scalar); maps to 0.
        maximum: largest label of the space (scalar); maps to 1.
    """

    kind: Literal["class", "scalar"]
    names: tuple[str, ...] = ()
    name: str = "label"
    unit: str = ""
    minimum: float = 0.0
    maximum: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in ("class", "scalar"):
            raise DataError(f"label space kind must be 'class' or 'scalar', got {self.kind!r}.")
        if self.kind == "class" and len(self.names) < 2:
            raise DataError(f"a class label space must have at least 2 names, got {len(self.names)}.")
        if self.kind == "scalar" and not self.minimum < self.maximum:
            raise DataError(f"a scalar label space must have minimum < maximum, got {self.minimum} and {self.maximum}.")

    @property
    def classes(self) -> int:
        """Number of classes; 0 for a scalar."""
        return len(self.names)

    @property
    def outputs(self) -> int:
        """Number K of teacher or student outputs: one a class, or 1 for a scalar."""
        return self.classes if self.kind == "class" else 1

    @property
    def dtype(self) -> np.dtype[Any]:
        """NumPy type of a stored label column."""
        return np.dtype("<i8") if self.kind == "class" else np.dtype("<f4")

    def normalise(self, labels: Any) -> Any:
        """Maps scalar labels (array or tensor, in ``unit``) linearly to [0, 1]."""
        return (labels - self.minimum) / (self.maximum - self.minimum)

    def describe(self, label: float) -> str:
        """A label as a person reads it: the class name, or the number with its unit."""
        if self.kind == "class":
            return self.names[int(label)]
        return f"{label:g} {self.unit}".strip()

    def check(self, labels: npt.NDArray[Any], where: str) -> None:
        """Raises DataError if a label lies outside the space (class) or is not finite (scalar)."""
        if self.kind == "class":
            if labels.size and (labels.min() < 0 or labels.max() >= self.classes):
                raise DataError(
                    f"{where}: class labels must lie in 0..{self.classes - 1}, got {labels.min()}..{labels.max()}."
                )
        elif not np.isfinite(labels).all():
            raise DataError(f"{where}: scalar labels must be finite, got {np.sum(~np.isfinite(labels))} that are not.")

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        if self.kind == "class":
            return {"kind": "class", "names": list(self.names)}
        return {
            "kind": "scalar",
            "name": self.name,
            "unit": self.unit,
            "minimum": self.minimum,
            "maximum": self.maximum,
        }

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> LabelSpace:
        """Inverse of ``to_dict``.

        Raises:
            DataError: if the description is not that of a label space.
        """
        try:
            return cls(**{**value, "names": tuple(value.get("names", ()))})
        except TypeError as error:
            raise DataError(f"label space has an unknown or missing field: {error}.") from error
