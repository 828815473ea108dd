"""Order of rows by shuffled blocks, for sets that are read from the disk: random enough, and read in long runs.

A pass permutes blocks of consecutive rows, takes them window by window, and permutes the rows of a window. A window is
read at the disk's speed and held while its rows are used. How random that is depends on the order of the file: sets are
shuffled once when they are written, so that a block is a random sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from data.errors import ConfigError
from data.random import derive_seed
from data.row_order import Batches, BatchOrder, check_step

#: Rows of a block, at most: of 3x32x32 pixels, 768 KiB that lie together.
BLOCK = 256
#: Blocks of a window: 8,192 rows, of 3x32x32 pixels 24 MiB.
WINDOW = 32
#: Bytes that the rows of a window take, but that a block has at least one row.
_WINDOW_BYTES = 1 << 26


def rows_of_block(row_bytes: int) -> int:
    """Rows of a block of which ``WINDOW`` take at most 64 MiB; at most ``BLOCK``, and at least one.

    Blocks are shortened and not windows, so that as many places of the file as ever are mixed.

    Args:
        row_bytes: of the widest column of the set, so that the order does not depend on what is read of it.
    """
    return min(BLOCK, max(1, _WINDOW_BYTES // (WINDOW * max(1, row_bytes))))


@dataclass(frozen=True)
class Window:
    """Rows that are shuffled among each other.

    Args:
        number: counted over all passes; names the window.
        runs: first row, and row after the last, of every block in it, rising, int64 (b, 2).
        places: which of its rows comes when: places in 0 .. n - 1 among its rows in rising order, int64 (n,).
    """

    number: int
    runs: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]

    def rows(self, places: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Row numbers of places."""
        starts = np.concatenate([[0], np.cumsum(self.runs[:, 1] - self.runs[:, 0])])
        block = np.searchsorted(starts, places, side="right") - 1
        found: npt.NDArray[np.int64] = self.runs[block, 0] + places - starts[block]
        return found


@dataclass(frozen=True)
class Piece:
    """What a batch takes from one window: entries ``start`` .. ``stop`` - 1 of its order."""

    window: Window
    start: int
    stop: int

    @property
    def places(self) -> npt.NDArray[np.int64]:
        """Places among the window's rows, in the order of the batch."""
        return self.window.places[self.start : self.stop]


class BlockOrder:
    """Row numbers of every training batch, shuffled by blocks; every row comes once in a pass.

    Args:
        rows: number of rows of the set, at least 1.
        batch_size: rows a batch; may exceed the number of rows.
        seed: makes the order.
        block_rows: rows of a block; the last block of the set may be shorter.
        window_blocks: blocks of a window; the last window of a pass may have fewer.

    Raises:
        ValueError: if one of the numbers is below 1.
    """

    def __init__(
        self, rows: int, batch_size: int, seed: int, block_rows: int = BLOCK, window_blocks: int = WINDOW
    ) -> None:
        if min(rows, batch_size, block_rows, window_blocks) < 1:
            raise ValueError(
                "rows, batch_size, block_rows and window_blocks must be at least 1, "
                f"got {rows}, {batch_size}, {block_rows} and {window_blocks}."
            )
        self.rows = rows
        self.batch_size = batch_size
        self.seed = seed
        self.block_rows = block_rows
        self.window_blocks = window_blocks
        self._blocks = -(-rows // block_rows)
        #: Windows of a pass.
        self.windows = -(-self._blocks // window_blocks)
        self._passes: dict[int, tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]] = {}
        self._known: dict[int, Window] = {}
        self._last: tuple[int, list[Piece]] | None = None

    def at(self, step: int) -> npt.NDArray[np.int64]:
        """Row numbers of the batch of ``step``, int64, shape (batch_size,)."""
        return np.concatenate([piece.window.rows(piece.places) for piece in self.pieces(step)])

    def pieces(self, step: int) -> list[Piece]:
        """What the batch of ``step`` takes from which windows, in the order of the batch.

        Raises:
            ValueError: if the step is below 0.
        """
        check_step(step)
        known = self._last
        if known is not None and known[0] == step:
            return known[1]
        start, end = step * self.batch_size, (step + 1) * self.batch_size
        found: list[Piece] = []
        while start < end:
            epoch, offset = divmod(start, self.rows)
            starts = self._pass(epoch)[1]
            here = int(np.searchsorted(starts, offset, side="right")) - 1
            first = offset - int(starts[here])
            last = min(first + end - start, int(starts[here + 1] - starts[here]))
            found.append(Piece(self.window(epoch * self.windows + here), first, last))
            start += last - first
        # Every column of a set asks for the same step.
        self._last = step, found
        return found

    def window(self, number: int) -> Window:
        """The window of this number, counted over all passes."""
        found = self._known.get(number)
        if found is None:
            epoch, here = divmod(number, self.windows)
            blocks = np.sort(self._pass(epoch)[0][here * self.window_blocks : (here + 1) * self.window_blocks])
            runs = np.stack([blocks * self.block_rows, np.minimum((blocks + 1) * self.block_rows, self.rows)], axis=1)
            rng = np.random.default_rng(derive_seed(self.seed, "window", number))
            found = Window(number, runs, rng.permutation(int((runs[:, 1] - runs[:, 0]).sum())))
            # Threads may ask at once: each keeps what it found, whatever another one forgets meanwhile.
            self._known = {**{k: v for k, v in self._known.items() if abs(k - number) <= 1}, number: found}
        return found

    def _pass(self, epoch: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Blocks in the order of a pass, and where each of its windows starts among its rows, with the end."""
        found = self._passes.get(epoch)
        if found is None:
            order = np.random.default_rng(derive_seed(self.seed, "blocks", epoch)).permutation(self._blocks)
            sizes = np.minimum((order + 1) * self.block_rows, self.rows) - order * self.block_rows
            ends = np.cumsum(sizes)[np.minimum(np.arange(1, self.windows + 1) * self.window_blocks, self._blocks) - 1]
            found = order, np.concatenate([[0], ends])
            self._passes = {**{k: v for k, v in self._passes.items() if abs(k - epoch) <= 1}, epoch: found}
        return found


def batch_order(
    order: Literal["rows", "blocks"],
    rows: int,
    batch_size: int,
    seed: int,
    block_rows: int = BLOCK,
    window_blocks: int = WINDOW,
) -> BatchOrder:
    """An order of rows by its name.

    Args:
        order: "rows" shuffles them one by one; "blocks" in windows of blocks of consecutive rows.
        rows: of the set.
        batch_size: rows a batch.
        seed: makes the order.
        block_rows: rows of a block.
        window_blocks: blocks of a window.

    Raises:
        ConfigError: for another name.
    """
    if order == "rows":
        return Batches(rows, batch_size, seed)
    if order == "blocks":
        return BlockOrder(rows, batch_size, seed, block_rows, window_blocks)
    raise ConfigError(f"order must be 'rows' or 'blocks', got '{order}'; try 'rows'.")
