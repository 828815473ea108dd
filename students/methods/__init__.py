"""Distillation methods, one a file: what a method is, and the registry of all.

Methods are written with tensor methods alone, so that names and options can be checked without importing torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from data.errors import ConfigError
from data.options import check_options
from data.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """What a method may know of a batch, beside the student's outputs. All tensors lie on the student's device.

    Args:
        labels: where labels have a class, that class, int64 (B,), or class probabilities float32 (B, C) where some
            rows have soft labels; otherwise scalars (B,) or vectors (B, L), float32, standardised by mean and
            standard deviation of the training labels.
        teacher_outputs: float32 (B, K), logits first and then predictions, these standardised like the labels; None
            unless the method needs them.
        values: the continuous part of labels that also have a class, float32 (B, L), standardised; else None.
    """

    labels: Tensor
    teacher_outputs: Tensor | None = None
    values: Tensor | None = None

    def teacher(self) -> Tensor:
        """The teacher's outputs.

        Raises:
            ValueError: if the batch has none.
        """
        if self.teacher_outputs is None:
            raise ValueError("batch must have teacher_outputs for this method, got none.")
        return self.teacher_outputs

    def both(self) -> tuple[Tensor, Tensor]:
        """The two parts of labels that have a class and a continuous part: ``labels`` and ``values``.

        Raises:
            ValueError: if the labels have one part only.
        """
        if self.values is None:
            raise ValueError("batch must have values beside its classes for this method, got none.")
        return self.labels, self.values


class Method(Protocol):
    """One way to train a student; a frozen dataclass whose fields are its options.

    Attributes:
        needs: what it reads of a batch, of "labels" and "teacher_outputs".
        tasks: kinds of label space it can serve, of "class", "scalar", "vector" and "class+scalar".
    """

    needs: ClassVar[frozenset[str]]
    tasks: ClassVar[frozenset[str]]

    def __call__(self, batch: Batch, outputs: Tensor, progress: float) -> dict[str, Tensor]:
        """The weighted parts of the loss, whose sum is minimised.

        Args:
            batch: labels and teacher outputs of the rows.
            outputs: the student's outputs (B, K): logits first, then standardised predictions.
            progress: share of the training steps already done, in [0, 1).
        """
        ...


methods: Registry[type[Any]] = Registry("method", "students.methods")


def make_method(name: str, options: Mapping[str, Any] | None = None) -> Method:
    """The method ``name`` with ``options`` over its defaults.

    Raises:
        ConfigError: for an unknown method or option, naming the nearest right one, or a value out of range.
    """
    cls = methods.get(name)
    defaults = {field.name: field.default for field in fields(cls) if field.default is not MISSING}
    method: Method = cls(**check_options(f"method '{name}'", options or {}, defaults))
    return method


def fitting_methods(kind: str) -> list[str]:
    """Names of the methods that serve a kind of label space."""
    return [name for name in methods.names() if kind in methods.get(name).tasks]


def check_share(method: str, option: str, value: float, example: float) -> None:
    """Checks an option that divides a loss between two terms.

    Raises:
        ConfigError: if the value is not in [0, 1].
    """
    if not 0.0 <= value <= 1.0:
        raise ConfigError(f"option '{option}' of method '{method}' must be in [0, 1], got {value}; try {example:g}.")


def check_positive(method: str, option: str, value: float, example: float) -> None:
    """Checks an option that must be above 0.

    Raises:
        ConfigError: if it is not.
    """
    if not value > 0.0:
        raise ConfigError(f"option '{option}' of method '{method}' must be above 0, got {value}; try {example:g}.")


def split_outputs(outputs: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Logits and predictions of labels that have a class and a continuous part.

    Args:
        outputs: (B, C + L).
        values: (B, L), the continuous part of the labels.

    Returns:
        Views of the shapes (B, C) and (B, L).
    """
    classes = outputs.shape[1] - values.shape[1]
    return outputs[:, :classes], outputs[:, classes:]


def at_least_float32(tensor: Tensor) -> Tensor:
    """Half precisions as float32, all others as they are: losses overflow and lose digits in half precision."""
    return tensor.float() if tensor.element_size() < 4 else tensor
