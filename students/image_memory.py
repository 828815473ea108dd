"""Where training images lie: all of them on the device, or in their files, from which every batch is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from data.compute import Compute
from data.errors import ConfigError
from data.gathering import ColumnReader, RowReader, column_reader
from data.mapped_rows import fits_in_memory
from data.reading import release_pages
from data.staging import Staging
from students.row_order import RowOrder
from students.rows import Images, Rows

Memory = Literal["auto", "device", "mapped"]

#: Images copied to the device at a time.
_AT_ONCE = 4096


class TrainingImages(Protocol):
    """The images of all parts."""

    def batch(self, step: int, places: Sequence[npt.NDArray[np.int64]], index: Tensor) -> Tensor:
        """Images uint8 on the device, part after part: of mixes the first ones and then the second ones.

        Args:
            step: of the batch.
            places: rows of each part, or mixes of it, of this process in the batch of ``step``, int64.
            index: the same on the device, counted over all parts one behind the other.
        """
        ...


def training_images(
    parts: Sequence[Rows],
    orders: Sequence[RowOrder],
    shares: Sequence[slice],
    memory: Memory,
    compute: Compute,
    processes: int = 1,
) -> TrainingImages:
    """Puts images where they are to lie.

    Args:
        parts: what is learnt from.
        orders: of the rows of each part.
        shares: which rows of each part of a batch this process takes.
        memory: "device", "mapped", or "auto": on the device where half of its free memory holds them.
        compute: with the device.
        processes: how many train together, each with its own copy; on the CPU they share its memory.

    Raises:
        ConfigError: for another memory.
    """
    if memory not in ("auto", "device", "mapped"):
        raise ConfigError(f"image_memory must be 'auto', 'device' or 'mapped', got '{memory}'; try 'auto'.")
    if memory == "device" or (memory == "auto" and _fits(parts, compute, processes)):
        return DeviceImages(parts, compute)
    return MappedImages(parts, orders, shares, compute)


def _fits(parts: Sequence[Rows], compute: Compute, processes: int) -> bool:
    nbytes = sum(int(np.prod(images.shape)) for images in _distinct(parts))
    if compute.device.type == "cuda":
        return nbytes <= torch.cuda.mem_get_info(compute.device)[0] // 2
    return fits_in_memory(processes * nbytes)


def _distinct(parts: Sequence[Rows]) -> list[Images]:
    """Images of all parts; mixes of the real rows need none of their own."""
    return list({id(rows.images): rows.images for rows in parts}.values())


class DeviceImages:
    """All images in one tensor on the device; a batch is one gather.

    Args:
        parts: what is learnt from.
        compute: with the device.
    """

    def __init__(self, parts: Sequence[Rows], compute: Compute) -> None:
        distinct = _distinct(parts)
        count = sum(len(images) for images in distinct)
        self._images = torch.empty((count, *distinct[0].shape[1:]), dtype=torch.uint8, device=compute.device)
        starts, start = {}, 0
        for images in distinct:
            starts[id(images)] = start
            for first in range(0, len(images), _AT_ONCE):
                block = np.array(images[first : first + _AT_ONCE])
                self._images[start : start + len(block)] = torch.from_numpy(block)
                start += len(block)
                release_pages(images)
        self._parts = [(rows, starts[id(rows.images)]) for rows in parts]
        # Images of the parts then lie one behind the other, as their rows are counted.
        self._as_counted = len(distinct) == len(parts) and all(rows.mixes is None for rows in parts)

    def batch(self, step: int, places: Sequence[npt.NDArray[np.int64]], index: Tensor) -> Tensor:
        """Images of some rows of each part; see ``TrainingImages``."""
        del step
        if self._as_counted:
            return self._images.index_select(0, index)
        found = [rows.shown(own) + start for (rows, start), own in zip(self._parts, places, strict=True)]
        needed = torch.from_numpy(np.concatenate(found)).to(self._images.device, non_blocking=True)
        return self._images.index_select(0, needed)


class MappedImages:
    """Images stay where they are, in files or in the host's memory, and every batch is read and brought to the device.

    Rows that come singly and by blocks are read in long runs; others where they lie.

    Args:
        parts: what is learnt from.
        orders: of the rows of each part.
        shares: which rows of each part of a batch this process takes.
        compute: with the device.
    """

    def __init__(
        self, parts: Sequence[Rows], orders: Sequence[RowOrder], shares: Sequence[slice], compute: Compute
    ) -> None:
        self._parts, self._shares = list(parts), list(shares)
        self._singly: list[ColumnReader | None] = [
            column_reader(rows.images, order.singly) if order.singly is not None and rows.mixes is None else None
            for rows, order in zip(parts, orders, strict=True)
        ]
        self._anyhow = [
            RowReader(rows.images) if reader is None else None for rows, reader in zip(parts, self._singly, strict=True)
        ]
        self._shape, self._compute = parts[0].images.shape[1:], compute
        self._staging: Staging | None = None

    def batch(self, step: int, places: Sequence[npt.NDArray[np.int64]], index: Tensor) -> Tensor:
        """Images of some rows of each part; see ``TrainingImages``."""
        del index
        counts = [len(own) * (1 if rows.mixes is None else 2) for rows, own in zip(self._parts, places, strict=True)]
        if self._staging is None:
            self._staging = Staging((sum(counts), *self._shape), np.dtype(np.uint8), self._compute.device)

        def fill(out: npt.NDArray[Any]) -> None:
            start = 0
            for part, count in enumerate(counts):
                own = out[start : start + count]
                singly, anyhow = self._singly[part], self._anyhow[part]
                if singly is not None:
                    singly.read(step, own, self._shares[part])
                elif anyhow is not None:
                    anyhow.take(self._parts[part].shown(places[part]), own)
                start += count

        return self._staging(fill)
