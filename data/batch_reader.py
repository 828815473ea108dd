"""Batches of one or several sets as NumPy arrays: any step at once, at the speed of memory or, of large sets, the disk.

``docs/reading.md`` shows how it is used. It needs neither torch nor the rest of this project; ``data.torch_batches``
brings its batches to a device and into a ``DataLoader``.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from data.block_order import WINDOW, batch_order, rows_of_block
from data.digests import bytes_a_row
from data.errors import ConfigError, DataError
from data.gathering import ColumnReader, RowReader, column_reader
from data.random import derive_seed
from data.reading import ImageSet, Selected, open_set, release_pages
from data.schema import BLOCK_ROWS

Rows = npt.NDArray[np.int64]


class BatchReader:
    """The batch of any step, a pure function of (seed, step), with a fixed number of rows from every set.

    Pickling keeps paths and content digests alone, and another process opens the files for itself. Threads may share a
    reader, and processes that were forked may go on with theirs.

    Args:
        sets: opened sets, or paths of sets; one, or several whose columns have equal types and shapes. Sets from
            elsewhere are opened by ``data.untrusted.open_untrusted`` first.
        batch_size: rows a batch, of all sets together.
        seed: makes the order of rows; that of a set does not depend on the sets behind it.
        order: "rows" shuffles them one by one, for sets that fit in memory; "blocks" in windows of blocks of
            consecutive rows, which are read at the speed of the disk. Sets are shuffled when they are written; of one
            that is not, blocks are no random sample.
        columns: what is read.
        shares: of each set in a batch, in any unit; equal ones if unset.
        rows: of each set, the rows that are read, rising; None for all, as for every set if unset.
        in_memory: whether all that is read is copied to memory first, in large pages where the system has them: some
            rows are then found faster than in the pages of a file.
        block_rows: rows of a block; 256 if unset, or as many that a window takes at most 64 MiB of the set's widest
            column.
        window_blocks: blocks of a window; two windows are held in memory.

    Raises:
        ConfigError: if a set would get no row of a batch, or shares, rows and sets differ in number.
        DataError: if a set lacks a column, has no rows, or columns of two sets differ.
    """

    def __init__(
        self,
        sets: ImageSet | Path | str | Sequence[ImageSet | Path | str],
        batch_size: int,
        seed: int,
        *,
        order: Literal["rows", "blocks"] = "rows",
        columns: Sequence[str] = ("images", "labels"),
        shares: Sequence[float] | None = None,
        rows: Sequence[Rows | None] | None = None,
        in_memory: bool = False,
        block_rows: int | None = None,
        window_blocks: int = WINDOW,
    ) -> None:
        if isinstance(columns, str):
            raise ConfigError(f"columns must be a list of names, got '{columns}'; try columns=('{columns}',).")
        given = [sets] if isinstance(sets, ImageSet | Path | str) else list(sets)
        #: The sets, in the order of their rows in a batch.
        self.sets = [item if isinstance(item, ImageSet) else open_set(item) for item in given]
        chosen = [None] * len(self.sets) if rows is None else list(rows)
        weights = [1.0] * len(self.sets) if shares is None else list(shares)
        if not len(self.sets) == len(chosen) == len(weights) or not self.sets:
            raise ConfigError(
                f"sets, shares and rows must be as many as each other and at least one, got {len(self.sets)}, "
                f"{len(weights)} and {len(chosen)}; leave shares or rows out, or give one for each set."
            )
        self.batch_size, self.seed, self.order = batch_size, seed, order
        self._arguments = {
            "order": order, "columns": tuple(columns), "shares": shares, "rows": rows, "in_memory": in_memory,
            "block_rows": block_rows, "window_blocks": window_blocks,
        }  # fmt: skip
        #: Rows of each set in a batch.
        self.counts = shared_rows(batch_size, weights)
        counted = [len(found) if own is None else len(own) for found, own in zip(self.sets, chosen, strict=True)]
        for found, count in zip(self.sets, counted, strict=True):
            if not count:
                raise DataError(f"{found.path}: must have rows to read, got none; leave the set out.")
        self._chosen = chosen
        self._orders = [
            batch_order(
                order,
                rows_of,
                count,
                derive_seed(seed, "set", place),
                _rows_of_block(found) if block_rows is None else block_rows,
                window_blocks,
            )
            for place, (found, rows_of, count) in enumerate(zip(self.sets, counted, self.counts, strict=True))
        ]
        #: Type and shape of every column of a batch.
        self.layout: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {}
        self._readers: dict[str, list[ColumnReader]] = {}
        for name in columns:
            held = [_column(found, name, own, in_memory) for found, own in zip(self.sets, chosen, strict=True)]
            for found, values in zip(self.sets, held, strict=True):
                if (values.dtype, values.shape[1:]) != (held[0].dtype, held[0].shape[1:]):
                    raise DataError(
                        f"{found.path}: {name} must be as in {self.sets[0].path}, {held[0].dtype} rows of shape "
                        f"{held[0].shape[1:]}, got {values.dtype} {values.shape[1:]}; read the sets apart."
                    )
            self.layout[name] = held[0].dtype, (batch_size, *held[0].shape[1:])
            self._readers[name] = [column_reader(*both) for both in zip(held, self._orders, strict=True)]
        ends = list(itertools.accumulate(self.counts))
        #: Where the rows of each set lie in a batch.
        self._shares = [slice(end - count, end) for end, count in zip(ends, self.counts, strict=True)]
        #: Whether the rows of a batch are looked up once for all columns.
        self._singly = all(isinstance(own, RowReader) for readers in self._readers.values() for own in readers)

    def at(self, step: int, out: Mapping[str, npt.NDArray[Any]] | None = None) -> dict[str, npt.NDArray[Any]]:
        """The batch of ``step``: columns by name, (batch_size, ...), the rows of the first set first.

        Args:
            step: 0 or more.
            out: arrays that are written to, as ``buffers`` makes them; new ones if unset.

        Raises:
            ValueError: if the step is below 0, or an array is not one of ``buffers``.
        """
        made = self.buffers() if out is None else dict(out)
        if out is not None:
            for name in self.layout:
                self._check(name, made[name])
        for place, (order, share) in enumerate(zip(self._orders, self._shares, strict=True)):
            rows = order.at(step) if self._singly else None
            for name in self.layout:
                self._readers[name][place].read(step, made[name][share], rows=rows)
        return made

    def read(self, column: str, step: int, out: npt.NDArray[Any]) -> None:
        """Fills ``out`` with one column of the batch of ``step``.

        Raises:
            ValueError: if the step is below 0, or ``out`` has another type or shape than ``layout`` tells.
        """
        self._check(column, out)
        for reader, share in zip(self._readers[column], self._shares, strict=True):
            reader.read(step, out[share])

    def _check(self, column: str, out: npt.NDArray[Any]) -> None:
        dtype, shape = self.layout[column]
        if out.shape != shape or out.dtype != dtype:
            wanted, got = f"{dtype} {shape}", f"{out.dtype} {out.shape}"
            raise ValueError(f"{column} must be written to {wanted}, as buffers() makes it, got {got}.")

    def rows_at(self, step: int) -> list[Rows]:
        """Row numbers of the batch of ``step`` in each set, int64."""
        places = [order.at(step) for order in self._orders]
        return [here if own is None else own[here] for here, own in zip(places, self._chosen, strict=True)]

    def buffers(self) -> dict[str, npt.NDArray[Any]]:
        """Arrays that ``at`` can write a batch to, again and again."""
        return {name: np.empty(shape, dtype) for name, (dtype, shape) in self.layout.items()}

    def batches(
        self, start: int = 0, stop: int | None = None, *, ahead: int = 2
    ) -> Iterator[dict[str, npt.NDArray[Any]]]:
        """Batches of consecutive steps, read by a thread while the ones before are used.

        Args:
            start: first step.
            stop: step after the last one; None never ends.
            ahead: batches that are read before they are asked for, at least 1.

        Raises:
            ConfigError: if ahead is below 1.
        """
        if ahead < 1:
            raise ConfigError(f"ahead must be at least 1, got {ahead}; call at(step) to read nothing ahead.")
        return self._read_ahead(start, stop, ahead)

    def _read_ahead(self, start: int, stop: int | None, ahead: int) -> Iterator[dict[str, npt.NDArray[Any]]]:
        steps = iter(range(start, stop)) if stop is not None else itertools.count(start)
        with ThreadPoolExecutor(1, "batches") as thread:
            waiting: list[Future[dict[str, npt.NDArray[Any]]]] = []
            try:
                for step in itertools.islice(steps, ahead):
                    waiting.append(thread.submit(self.at, step))
                while waiting:
                    batch = waiting.pop(0).result()
                    waiting.extend(thread.submit(self.at, step) for step in itertools.islice(steps, 1))
                    yield batch
            finally:
                for unread in waiting:
                    unread.cancel()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles the sets, as paths and content digests, and the arguments."""
        return _reader_again, (self.sets, self.batch_size, self.seed, self._arguments)


def shared_rows(batch_size: int, shares: Sequence[float]) -> list[int]:
    """Rows of each set in a batch, as near to their shares as whole rows can be (largest remainders, Hamilton, 1792).

    Args:
        batch_size: rows of all sets together.
        shares: above 0, in any unit.

    Raises:
        ConfigError: if a share is not above 0, or a set would get no row.
    """
    if not shares or not all(share > 0 for share in shares):
        raise ConfigError(f"shares must be above 0, got {', '.join(map(str, shares))}; leave out a set without rows.")
    wanted = np.asarray(shares, np.float64) * (batch_size / sum(shares))
    counts = np.floor(wanted + 1e-9).astype(np.int64)
    counts[np.argsort(counts - wanted, kind="stable")[: batch_size - int(counts.sum())]] += 1
    if not counts.all():
        raise ConfigError(
            f"batch_size must hold a row of every set, got {batch_size} for shares of {', '.join(map(str, shares))}; "
            f"try {int(np.ceil(sum(shares) / min(shares)))}."
        )
    return [int(count) for count in counts]


def _rows_of_block(found: ImageSet) -> int:
    return rows_of_block(max(bytes_a_row(values.dtype, values.shape) for values in found.columns.values()))


def _column(found: ImageSet, name: str, rows: Rows | None, in_memory: bool) -> npt.NDArray[Any] | Selected:
    if name not in found.columns:
        raise DataError(f"{found.path}: must have the column '{name}', got {', '.join(found.columns)}.")
    column = found.columns[name] if rows is None else Selected(found.columns[name], rows)
    if not in_memory:
        return column
    copied = np.empty(column.shape, column.dtype)
    for start in range(0, len(column), BLOCK_ROWS):
        copied[start : start + BLOCK_ROWS] = column[start : start + BLOCK_ROWS]
        release_pages(column)
    return copied


def _reader_again(sets: list[ImageSet], batch_size: int, seed: int, arguments: Mapping[str, Any]) -> BatchReader:
    return BatchReader(sets, batch_size, seed, **arguments)
