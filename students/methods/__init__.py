"""Distillation methods, one a file: what a method is, and the registry of all.

Methods are written with tensor methods alone, so that names and options can be checked without importing torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from data.options import check_options
from data.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """What a method may know of a batch, beside the student's outputs. All tensors lie on the student's device.

    Args:
        labels: class labels int64 (B,), or class probabilities float32 (B, K) where some rows have soft labels;
            scalar labels float32 (B,), standardised by mean and standard deviation of the training labels.
        teacher_outputs: logits (B, K), or scalar predictions (B, 1) standardised like the labels; float32, None
            unless the method needs them.
    """

    labels: Tensor
    teacher_outputs: Tensor | None = None

    def teacher(self) -> Tensor:
        """The teacher's outputs.

        Raises:
            ValueError: if the batch has none.
        """
        if self.teacher_outputs is None:
            raise ValueError("batch must have teacher_outputs for this method, got none.")
        return self.teacher_outputs


class Method(Protocol):
    """One way to train a student; a frozen dataclass whose fields are its options.

    Attributes:
        needs: what it reads of a batch, of "labels" and "teacher_outputs".
        tasks: kinds of label space it can serve, of "class" and "scalar".
    """

    needs: ClassVar[frozenset[str]]
    tasks: ClassVar[frozenset[str]]

    def __call__(self, batch: Batch, outputs: Tensor, progress: float) -> dict[str, Tensor]:
        """The weighted parts of the loss, whose sum is minimised.

        Args:
            batch: labels and teacher outputs of the rows.
            outputs: the student's outputs, (B, K) logits or (B, 1) standardised predictions.
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


def at_least_float32(tensor: Tensor) -> Tensor:
    """Half precisions as float32, all others as they are: losses overflow and lose digits in half precision."""
    return tensor.float() if tensor.element_size() < 4 else tensor
