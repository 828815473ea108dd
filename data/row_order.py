"""Which rows come in which batch, as a pure function of (seed, step): rows shuffled one by one."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from data.random import derive_seed


class BatchOrder(Protocol):
    """Row numbers of every training batch, every row once in each pass."""

    #: Rows of the set.
    rows: int
    #: Rows a batch.
    batch_size: int

    def at(self, step: int) -> npt.NDArray[np.int64]:
        """Row numbers of the batch of ``step``, int64, shape (batch_size,)."""
        ...


def check_step(step: int) -> None:
    """Checks the number of a batch.

    Raises:
        ValueError: if it is below 0.
    """
    if step < 0:
        raise ValueError(f"step must be 0 or more, got {step}.")


class Batches:
    """Row numbers of every training batch: endless permutations of the rows, cut into equal batches.

    Args:
        rows: number of rows of the set, at least 1.
        batch_size: rows a batch; may exceed the number of rows.
        seed: makes the order.
    """

    def __init__(self, rows: int, batch_size: int, seed: int) -> None:
        if rows < 1 or batch_size < 1:
            raise ValueError(f"rows and batch_size must be at least 1, got {rows} and {batch_size}.")
        self.rows = rows
        self.batch_size = batch_size
        self.seed = seed
        self._epochs: dict[int, npt.NDArray[np.int64]] = {}
        self._last: tuple[int, npt.NDArray[np.int64]] | None = None

    def _epoch(self, epoch: int) -> npt.NDArray[np.int64]:
        # Threads may ask at once: each keeps what it found, whatever another one forgets meanwhile.
        found = self._epochs.get(epoch)
        if found is None:
            rng = np.random.default_rng(derive_seed(self.seed, "epoch", epoch))
            found = rng.permutation(self.rows)
            self._epochs = {**{k: v for k, v in self._epochs.items() if k == epoch - 1}, epoch: found}
        return found

    def at(self, step: int) -> npt.NDArray[np.int64]:
        """Row numbers of the batch of ``step``, int64, shape (batch_size,).

        Raises:
            ValueError: if the step is below 0.
        """
        check_step(step)
        start, end = step * self.batch_size, (step + 1) * self.batch_size
        epoch, offset = divmod(start, self.rows)
        if offset + self.batch_size <= self.rows:
            return self._epoch(epoch)[offset : offset + self.batch_size].copy()
        known = self._last
        if known is not None and known[0] == step:
            return known[1].copy()
        pieces = []
        while start < end:
            epoch, offset = divmod(start, self.rows)
            pieces.append(self._epoch(epoch)[offset : offset + end - start])
            start += len(pieces[-1])
        found = np.concatenate(pieces)
        # Every column of a set asks for the same step.
        self._last = step, found
        return found.copy()
