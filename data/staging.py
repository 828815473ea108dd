"""Batches on their way to a device: filled in by NumPy, in memory that a GPU reads while the next one is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


class Staging:
    """Brings arrays of one shape to a device.

    Towards a CUDA device there are two pinned buffers in turn, so that a copy goes on while the next batch is filled
    in; on the CPU each batch has memory of its own.

    Args:
        shape: of a batch.
        dtype: of its values.
        device: where batches go.
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any], device: torch.device) -> None:
        self._shape, self._device = shape, device
        self._dtype = torch.from_numpy(np.empty(0, dtype)).dtype
        self._turn = 0
        self._buffers: list[Tensor] = []
        self._copied: list[torch.cuda.Event] = []
        if device.type == "cuda":
            self._buffers = [torch.empty(shape, dtype=self._dtype, pin_memory=True) for _ in range(2)]
            self._copied = [torch.cuda.Event() for _ in self._buffers]  # type: ignore[no-untyped-call]

    def __call__(self, fill: Callable[[npt.NDArray[Any]], object]) -> Tensor:
        """A batch on the device.

        Args:
            fill: writes it into the array that it is given.
        """
        if not self._buffers:
            made = torch.empty(self._shape, dtype=self._dtype)
            fill(made.numpy())
            return made.to(self._device)
        self._turn = (self._turn + 1) % len(self._buffers)
        buffer, copied = self._buffers[self._turn], self._copied[self._turn]
        # Until its last copy has ended, its bytes are still needed; an event that was never recorded has.
        copied.synchronize()
        fill(buffer.numpy())
        made = buffer.to(self._device, non_blocking=True)
        copied.record(torch.cuda.current_stream(self._device))
        return made
