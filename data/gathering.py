"""Rows of a column, batch by batch: picked out of an array or a mapped file, or out of windows read in long runs."""

from __future__ import annotations

import os
import threading
from contextlib import nullcontext
from typing import Any, Protocol
from weakref import WeakSet

import numpy as np
import numpy.typing as npt

from data.block_order import BlockOrder, Piece, Window
from data.mapped_rows import MappedRows, fits_in_memory
from data.reading import Selected
from data.row_order import BatchOrder

#: Bytes of rows that stay resident, of a column that is larger than memory.
_RESIDENT = 1 << 26
#: Bytes around a row that the kernel maps with it where they are in memory anyway.
_AROUND = 1 << 16

#: Chosen rows are read in one run with all between them where those are at most so many times as many: a disk reads
#: runs some thirty times as fast as single rows.
_SPAN = 8

Array = npt.NDArray[Any]
Rows = npt.NDArray[np.int64]


class ColumnReader(Protocol):
    """Reads the batches of one column."""

    def read(self, step: int, out: Array, share: slice = slice(None), *, rows: Rows | None = None) -> None:
        """Fills ``out`` with the rows of the batch of ``step``, or with a share of them.

        Args:
            step: of the batch.
            out: rows first.
            share: which rows of the batch.
            rows: those of the whole batch, where they have been looked up already.
        """
        ...


def column_reader(column: Array | Selected, order: BatchOrder) -> ColumnReader:
    """Reads by windows where the order has them and the column lies in a file, else row by row.

    Args:
        column: rows first, as many as the order has.
        order: of its rows.
    """
    array = column.array if isinstance(column, Selected) else column
    mapped = MappedRows.of(array)
    if mapped is not None and isinstance(order, BlockOrder):
        return WindowReader(column, order, mapped)
    return RowReader(column, order)


class RowReader:
    """Picks the rows of every batch out of the array, in one go.

    Of a file that half of the free memory does not hold, single rows are read without any read-ahead, and what was
    read is taken out of resident memory again.

    Args:
        column: rows first.
        order: of its rows; none where rows are asked for by ``take`` alone.
    """

    def __init__(self, column: Array | Selected, order: BatchOrder | None = None) -> None:
        self._array = column.array if isinstance(column, Selected) else column
        self._rows = column.rows if isinstance(column, Selected) else None
        self._order = order
        mapped = MappedRows.of(self._array)
        self._large = mapped if mapped is not None and not fits_in_memory(mapped.nbytes) else None
        self._taken = 0
        if self._large is not None:
            self._large.read_singly()

    def read(self, step: int, out: Array, share: slice = slice(None), *, rows: Rows | None = None) -> None:
        """Fills ``out`` with the rows of the batch of ``step``, or with a share of them; see ``ColumnReader``."""
        if rows is None:
            if self._order is None:
                raise ValueError("a reader without an order must be asked for rows, not for a step.")
            rows = self._order.at(step)
        self.take(rows[share], out)

    def take(self, rows: npt.NDArray[np.int64], out: Array) -> None:
        """Fills ``out`` (n, ...) with rows of the column, which must be in range: int64 (n,)."""
        if self._rows is not None:
            rows = self._rows[rows]
        # The range was checked when the order or the selection was made, so "clip" never clips; it spares NumPy a
        # buffered copy.
        self._array.take(rows, 0, out, "clip")
        if self._large is not None:
            self._taken += len(rows) * max(self._large.row_bytes, _AROUND)
            if self._taken > _RESIDENT:
                self._taken = 0
                self._large.release(0, self._large.rows)


class WindowReader:
    """Picks the rows of every batch out of windows, each of which is read from the file in long runs.

    The kernel is told which runs come next, so that the disk reads them while this window is used, and pages that were
    copied are released: resident are two windows, whatever the size of the file. Threads that share a reader read one
    after the other; a process that is forked meanwhile begins anew.

    Args:
        column: rows first, over a map.
        order: by blocks.
        mapped: where the rows of its array lie.
    """

    def __init__(self, column: Array | Selected, order: BlockOrder, mapped: MappedRows) -> None:
        self._array = column.array if isinstance(column, Selected) else column
        self._rows = column.rows if isinstance(column, Selected) else None
        self._order, self._mapped = order, mapped
        # A batch may need two windows. Their memory is taken once: new pages would cost as much as the copy.
        self._held: list[tuple[int, Array]] = []
        self._wished = -1
        self._lock = threading.Lock()
        _READERS.add(self)

    def read(self, step: int, out: Array, share: slice = slice(None), *, rows: Rows | None = None) -> None:
        """Fills ``out`` with the rows of the batch of ``step``, or with a share of them; see ``ColumnReader``."""
        del rows
        first, last, _ = share.indices(self._order.batch_size)
        done = 0
        with self._lock:
            for piece in self._order.pieces(step):
                size = piece.stop - piece.start
                low, high = max(first - done, 0), min(last - done, size)
                if low < high:
                    mine = Piece(piece.window, piece.start + low, piece.start + high)
                    place = done + low - first
                    values = self._window(piece.window)
                    np.take(values, mine.places, axis=0, out=out[place : place + high - low], mode="clip")
                done += size

    def begin_anew(self) -> None:
        """Forgets what was read, in a process that was just forked and has but one thread.

        A lock that another thread held stays locked here for ever, and what that thread was reading is half there.
        """
        self._lock, self._held, self._wished = threading.Lock(), [], -1

    def _window(self, window: Window) -> Array:
        """The rows of a window, rising; the one read before it is kept as well."""
        for number, values in self._held:
            if number == window.number:
                return values[: len(window.places)]
        memory = self._held.pop(0)[1] if len(self._held) > 1 else None
        if memory is None:
            rows = min(self._order.rows, self._order.block_rows * self._order.window_blocks)
            memory = np.empty((rows, *self._array.shape[1:]), self._array.dtype)
        self._fill(window, memory)
        self._held.append((window.number, memory))
        return memory[: len(window.places)]

    def _fill(self, window: Window, memory: Array) -> None:
        if self._wished != window.number:
            self._wish(window)
        # Before this one is copied, so that the disk never waits.
        self._wish(self._order.window(window.number + 1))
        place = 0
        for start, stop in window.runs.tolist():
            own, span = memory[place : place + stop - start], self._span(start, stop)
            # What was asked for as a whole is there, and brings nothing else with it.
            with nullcontext() if self._lies_together(start, stop, span) else self._mapped.exactly(*span):
                if self._rows is None:
                    own[...] = self._array[start:stop]
                else:
                    np.take(self._array, self._rows[start:stop], axis=0, out=own, mode="clip")
            self._mapped.release(*span)
            place += stop - start

    def _wish(self, window: Window) -> None:
        self._wished = window.number
        for start, stop in window.runs.tolist():
            span = self._span(start, stop)
            if self._lies_together(start, stop, span):
                self._mapped.read_soon(*span)

    def _lies_together(self, start: int, stop: int, span: tuple[int, int]) -> bool:
        """Whether a run is read as a whole: rows far apart are better read singly than with all that lies between."""
        return span[1] - span[0] <= _SPAN * (stop - start)

    def _span(self, start: int, stop: int) -> tuple[int, int]:
        """First row, and row after the last, of the array between which the rows of a run lie."""
        if self._rows is None:
            return start, stop
        return int(self._rows[start:stop].min()), int(self._rows[start:stop].max()) + 1


#: All readers by windows of this process.
_READERS: WeakSet[WindowReader] = WeakSet()


def _after_fork() -> None:
    for reader in list(_READERS):
        reader.begin_anew()


# Before the new process has any other thread: a check in ``read`` would be one more race between its threads.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
