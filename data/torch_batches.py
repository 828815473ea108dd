"""A reader's batches for torch: on a device, through pinned memory, or out of a ``DataLoader``."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torch.utils.data import Dataset

from data.batch_reader import BatchReader
from data.staging import Staging


class DeviceReader:
    """A reader whose batches are tensors on a device; images stay uint8.

    Towards a GPU, batches go through two pinned buffers in turn, so that a copy goes on while the next batch is read.

    Args:
        reader: what is read.
        device: where to.
    """

    def __init__(self, reader: BatchReader, device: torch.device | str) -> None:
        self._reader = reader
        place = torch.device(device)
        self._staging = {name: Staging(shape, dtype, place) for name, (dtype, shape) in reader.layout.items()}

    def at(self, step: int) -> dict[str, Tensor]:
        """The batch of ``step``: columns by name, on the device."""
        return {name: staging(partial(self._reader.read, name, step)) for name, staging in self._staging.items()}


class BatchDataset(Dataset[dict[str, Tensor]]):
    """The batches of a reader as items of a data set, for code that wants a ``DataLoader``.

    ``DataLoader(BatchDataset(reader, steps), batch_size=None, num_workers=n)`` gives the batches of steps 0, 1, ... in
    their order, the same for every ``n``; a ``sampler=range(first, steps)`` begins at another step. It is slower than
    the reader itself, with workers by far: each of them sends its batches through memory that is shared.

    Args:
        reader: what is read.
        steps: number of batches.
    """

    def __init__(self, reader: BatchReader, steps: int) -> None:
        self._reader, self._steps = reader, steps

    def __len__(self) -> int:
        """Number of batches."""
        return self._steps

    def __getitem__(self, step: int) -> dict[str, Tensor]:
        """The batch of ``step``: columns by name."""
        if not 0 <= step < self._steps:
            raise IndexError(f"step must lie in 0..{self._steps - 1}, got {step}.")
        return {name: torch.from_numpy(values) for name, values in self._reader.at(step).items()}
