"""Distillation methods, one a file: what a method is, and the registry of all.

Methods are written with tensor methods alone, so that names and options can be checked without importing torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any, Protocol

from data.errors import ConfigError
from data.options import check_options
from data.registry import Registry
from students.batch import LIVE_NEEDS, NEEDS, Batch, ErrorStatistics, Features, LiveTeacher, Sizes
from students.method_checks import (
    check_choice,
    check_classes,
    check_fits,
    check_not_negative,
    check_positive,
    check_share,
    least_classes,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = [
    "LIVE_NEEDS", "NEEDS", "Batch", "ErrorStatistics", "Features", "LiveTeacher", "Method", "Recentring", "Sizes",
    "at_least_float32", "auxiliary_of", "check_choice", "check_classes", "check_fits", "check_method",
    "check_not_negative", "check_positive", "check_share", "class_probabilities", "fitting_methods", "group_sizes",
    "learns_labels", "least_classes", "make_method", "methods", "recentring_of", "split_outputs", "target_classes",
    "warmed_up",
]  # fmt: skip


class Method(Protocol):
    """One way to train a student; a frozen dataclass whose fields are its options."""

    @property
    def needs(self) -> frozenset[str]:
        """What it reads of a batch, of ``NEEDS``; may depend on its options."""
        ...

    @property
    def tasks(self) -> frozenset[str]:
        """Kinds of label space that it can serve, of "class", "scalar", "vector" and "class+scalar"."""
        ...

    def __call__(self, batch: Batch, outputs: Tensor, progress: float) -> dict[str, Tensor]:
        """The weighted parts of the loss, whose sum is minimised.

        Args:
            batch: labels and what else the method needs.
            outputs: the student's outputs (B, K): logits first, then standardised predictions.
            progress: share of the training steps already done, in [0, 1).
        """
        ...


def group_sizes(method: Method) -> tuple[int, int] | None:
    """Sizes (p, q) of the groups that a method compares, from its property ``groups``; None where rows come singly."""
    found: tuple[int, int] | None = getattr(method, "groups", None)
    return found


def auxiliary_of(method: Method, sizes: Sizes) -> nn.Module | None:
    """The network that a method trains beside the student, from its ``auxiliary(sizes)``; None where it has none.

    Its weights come from torch's global generator; it is part of the checkpoint and not of the result.
    """
    make: Callable[[Sizes], nn.Module | None] | None = getattr(method, "auxiliary", None)
    return None if make is None else make(sizes)


def learns_labels(method: Method) -> bool:
    """Whether a part of the loss is of labels alone and counts, from its ``learns_labels``; it is so mostly.

    Such parts are called ``ce``, ``mse`` or ``label``; among several methods they count once, see
    ``students.combination``.
    """
    found: bool = getattr(method, "learns_labels", True)
    return found


#: Shift (K,) of the final bias from mean outputs (K,) of the teacher and the student and the mean label (K,).
Recentring = Callable[["Tensor", "Tensor", "Tensor"], "Tensor"]


def recentring_of(method: Method) -> Recentring | None:
    """How a method wants the student's outputs moved after training, from its property ``recentre``; None mostly.

    Whenever the student is validated, and once training is over, the shift ``recentring(teacher_mean, student_mean,
    label_mean)`` is added to the student's standardised outputs, that is to the bias of its last layer (times the
    standard deviation of the labels where outputs are in their unit). All three means are float32 (K,) over the
    training rows, weighed as the loss weighs them: of the cached teacher outputs; of the student's outputs for the
    same clean images, in evaluation mode; and of the labels that the loss has seen, standardised, or class
    probabilities (of hard labels one-hot, or smoothed).
    """
    found: Recentring | None = getattr(method, "recentre", None)
    return found


methods: Registry[type[Any]] = Registry("method", "students.methods")


def make_method(name: str, options: Mapping[str, Any] | None = None) -> Method:
    """The method ``name`` with ``options`` over its defaults, or several: see ``students.combination``.

    Raises:
        ConfigError: for an unknown method or option, naming the nearest right one, or a value out of range; for
            methods that cannot be combined.
    """
    if "+" in name:
        from students.combination import combine

        return combine(check_method(name).split("+"), options or {})
    cls = methods.get(name)
    defaults = {field.name: field.default for field in fields(cls) if field.default is not MISSING}
    method: Method = cls(**check_options(f"method '{name}'", options or {}, defaults))
    return method


def check_method(name: str) -> str:
    """Returns ``name``, without blanks, if it is a registered method, or several different ones joined by "+".

    Raises:
        ConfigError: naming the nearest registered name.
    """
    parts = [part.strip() for part in name.split("+")]
    named = [part for part in parts if part]
    if named and len(named) < len(parts):
        raise ConfigError(f"method must have a name on each side of '+', got '{name}'; try '{'+'.join(named)}'.")
    for part in parts:
        methods.check(part)
    if len(set(parts)) < len(parts):
        raise ConfigError(f"method must join different names, got '{name}'; try '{'+'.join(dict.fromkeys(parts))}'.")
    return "+".join(parts)


def fitting_methods(kind: str) -> list[str]:
    """Names of the methods that serve a kind of label space with their default options."""
    return [name for name in methods.names() if kind in make_method(name).tasks]


def warmed_up(progress: float, warmup: float) -> float:
    """Factor of a term that grows linearly from 0 to 1 over the first share ``warmup`` of the steps."""
    return 1.0 if progress >= warmup else progress / warmup


def target_classes(labels: Tensor) -> Tensor:
    """The class of each row, int64 (B,): the labels themselves, or the most probable class of soft labels (B, C)."""
    return labels.argmax(dim=1) if labels.ndim == 2 else labels


def class_probabilities(labels: Tensor, outputs: Tensor) -> Tensor:
    """Labels as class probabilities (B, C) beside logits (B, C): one-hot for int64 classes (B,), else themselves.

    They are in the precision of ``outputs``, float32 at least.
    """
    outputs = at_least_float32(outputs.detach())
    if labels.ndim == 2:
        return labels.to(outputs.dtype)
    return outputs.new_zeros(outputs.shape).scatter(1, labels[:, None], 1.0)


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
