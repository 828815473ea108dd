"""A teacher that is a function of arrays, asked in blocks of one size; what it gives is checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from data.errors import StageError, StillhouseError
from data.factories import in_one_line
from students.teachers.interface import Interface

if TYPE_CHECKING:
    from data.labels import LabelSpace

#: Normalised images float32 (B, C, H, W), or their grey levels uint8, to outputs (B, R).
Function = Callable[[npt.NDArray[Any]], Any]


class FunctionAnswers:
    """A function that is asked for answers; a ``Teacher``.

    Blocks have one size, the last one padded with zeros, so that a row's outputs do not depend on what comes with it.

    Args:
        function: see ``Function``.
        interface: what it takes and gives.
        who: the function, for messages.
        block_rows: images a call.
        raw: whether it takes uint8 grey levels and normalises them itself.
    """

    def __init__(
        self, function: Function, interface: Interface, who: str, block_rows: int, *, raw: bool = False
    ) -> None:
        self._function = function
        self._interface = interface
        self._who = who
        self._block_rows = block_rows
        self._raw = raw

    @property
    def label_space(self) -> LabelSpace:
        """What its outputs mean."""
        return self._interface.label_space

    def answer(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Outputs for uint8 images (n, C, H, W), float32 (n, K).

        Raises:
            StageError: if the function fails, or what it gives are no outputs.
        """
        size, prepare = self._block_rows, self._interface.bytes if self._raw else self._interface.normalised
        outputs = np.empty((len(images), self.label_space.outputs), np.float32)
        for start in range(0, len(images), size):
            rows = images[start : start + size]
            block = np.zeros((size, *images.shape[1:]), np.uint8)
            block[: len(rows)] = rows
            given = self._called(prepare(block))[: len(rows)]
            if not np.isfinite(given).all():
                raise StageError(f"{self._who} must give finite outputs, got others for {len(rows)} images.")
            outputs[start : start + len(rows)] = self._interface.to_answers(given, self._who)
        return outputs

    def _called(self, block: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        try:
            given = self._function(block)
            # Tensors come along without torch being imported for it.
            given = np.asarray(given.detach().cpu() if hasattr(given, "detach") else given)
        except StillhouseError:
            raise
        except Exception as error:
            raise StageError(f"{self._who} fails on {len(block)} images ({in_one_line(error)}).") from error
        if given.ndim != 2 or len(given) != len(block) or given.dtype.kind not in "fiu":
            raise StageError(
                f"{self._who} must give numbers of shape ({len(block)}, K) for {len(block)} images, got {given.dtype} "
                f"{given.shape}."
            )
        return given.astype(np.float32)
