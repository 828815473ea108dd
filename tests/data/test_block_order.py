"""Order of rows by shuffled blocks: what comes when, against the definition."""

from __future__ import annotations

import itertools
from typing import Literal

import numpy as np
import pytest

from data.block_order import BlockOrder, batch_order, rows_of_block
from data.errors import ConfigError
from data.row_order import Batches


@pytest.mark.parametrize(
    ("rows", "batch_size", "block_rows", "window_blocks"),
    [(100, 7, 8, 3), (96, 8, 8, 4), (5, 3, 8, 4), (5, 12, 2, 1), (1, 1, 1, 1), (64, 64, 64, 1), (33, 10, 1, 5)],
)
def test_every_row_comes_once_in_a_pass(rows: int, batch_size: int, block_rows: int, window_blocks: int) -> None:
    order = BlockOrder(rows, batch_size, 3, block_rows, window_blocks)
    steps = -(-3 * rows // batch_size)
    flat = np.concatenate([order.at(step) for step in range(steps)])
    assert flat.dtype == np.int64
    passes = [flat[start : start + rows] for start in range(0, 3 * rows, rows)]
    assert all(np.array_equal(np.sort(found), np.arange(rows)) for found in passes)
    if rows > 20:
        assert not any(np.array_equal(*pair) for pair in itertools.combinations(passes, 2))


def test_rows_are_shuffled_within_windows_of_whole_blocks() -> None:
    order = BlockOrder(1000, 50, 1, block_rows=10, window_blocks=5)
    flat = np.concatenate([order.at(step) for step in range(20)])
    opened = []
    for window in flat.reshape(20, 50):
        blocks = np.unique(window // 10)
        assert len(blocks) == 5
        assert not np.array_equal(window, np.sort(window))
        opened += blocks.tolist()
    assert sorted(opened) == list(range(100))
    assert opened != sorted(opened)


def test_a_step_is_a_pure_function_of_seed_and_number() -> None:
    first, second = BlockOrder(1000, 64, 5, 16, 4), BlockOrder(1000, 64, 5, 16, 4)
    steps = [40, 3, 900, 3, 0, 41]
    later = {step: first.at(step) for step in steps}
    for step in sorted(later):
        assert np.array_equal(second.at(step), later[step])
    assert not np.array_equal(BlockOrder(1000, 64, 6, 16, 4).at(3), later[3])


def test_short_blocks_and_windows_are_whole() -> None:
    order = BlockOrder(43, 43, 0, block_rows=10, window_blocks=2)
    windows = [order.window(number) for number in range(3)]
    assert sorted(len(window.places) for window in windows) in ([3, 20, 20], [10, 13, 20])
    for window in windows:
        runs = np.concatenate([np.arange(*run) for run in window.runs])
        assert np.array_equal(window.rows(np.arange(len(window.places))), runs)
        assert np.array_equal(np.sort(window.places), np.arange(len(runs)))


def test_pieces_of_a_batch_are_its_rows() -> None:
    order = BlockOrder(100, 33, 2, 8, 2)
    for step in range(20):
        pieces = order.pieces(step)
        assert np.array_equal(np.concatenate([p.window.rows(p.places) for p in pieces]), order.at(step))
        assert sum(piece.stop - piece.start for piece in pieces) == 33


def test_a_small_window_mixes_less_than_a_large_one() -> None:
    """Neighbours of the file that come within one batch: all in blocks of a batch, few in large windows."""

    def neighbours(window_blocks: int) -> float:
        order = BlockOrder(4096, 32, 1, 32, window_blocks)
        return float(np.mean([np.mean(np.diff(np.sort(order.at(step))) == 1) for step in range(128)]))

    assert neighbours(1) == 1.0
    assert neighbours(4) == pytest.approx(0.25, abs=0.05)
    assert neighbours(128) < 0.02


def test_windows_of_wide_rows_take_no_more_memory() -> None:
    assert rows_of_block(3 * 32 * 32) == rows_of_block(8) == rows_of_block(8192) == 256
    for row_bytes in (8193, 3 * 64 * 64, 3 * 224 * 224, 1 << 21):
        assert row_bytes * 32 * rows_of_block(row_bytes) <= 64 << 20 < row_bytes * 32 * (rows_of_block(row_bytes) + 1)
    assert rows_of_block(1 << 26) == 1


@pytest.mark.parametrize("order", ["rows", "blocks"])
def test_steps_begin_at_zero(order: Literal["rows", "blocks"]) -> None:
    made = batch_order(order, 50, 8, 0)
    for step in (-1, -2):
        with pytest.raises(ValueError, match=f"step must be 0 or more, got {step}"):
            made.at(step)


def test_orders_have_names() -> None:
    assert np.array_equal(batch_order("rows", 30, 4, 2).at(5), Batches(30, 4, 2).at(5))
    assert np.array_equal(batch_order("blocks", 30, 4, 2, 5, 2).at(5), BlockOrder(30, 4, 2, 5, 2).at(5))
    with pytest.raises(ConfigError, match="order must be 'rows' or 'blocks', got 'sorted'"):
        batch_order("sorted", 30, 4, 2)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 1, got 30, 4, 0 and 32"):
        BlockOrder(30, 4, 2, 0)
